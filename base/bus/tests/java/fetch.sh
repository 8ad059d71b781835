#!/bin/sh
# Copies Kafka's jars (pom.xml beside this file) into the folder DIR, once: fetch.sh DIR
# Needs Java 17 and Maven. The tests take the folder from ARTEL_KAFKA_LIBS.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: fetch.sh DIR" >&2
    exit 2
fi
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
mkdir -p "$1"
dir=$(CDPATH= cd -- "$1" && pwd)
# The stamp is written last and names the pom it was made from.
stamp=$(cksum < "$here/pom.xml")
if [ -f "$dir/fetched" ] && [ "$(cat "$dir/fetched")" = "$stamp" ]; then
    exit 0
fi
rm -f "$dir"/*.jar "$dir/fetched"
mvn -B -q -ntp -f "$here/pom.xml" \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DoutputDirectory="$dir" -DincludeScope=runtime
printf '%s\n' "$stamp" > "$dir/fetched"
