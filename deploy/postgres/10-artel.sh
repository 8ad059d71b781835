#!/bin/bash
# Run once by the image of PostgreSQL, when its data folder is empty: the database `artel` and its owner. The owner is no
# superuser; Artel makes a schema per service by itself.
set -euo pipefail

psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\set password `cat /run/secrets/postgres-artel`
CREATE ROLE artel LOGIN PASSWORD :'password';
CREATE DATABASE artel OWNER artel ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE artel FROM PUBLIC;
SQL
