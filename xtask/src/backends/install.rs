//! Gets what is missing: packages by apt as root on Debian, Kafka's jars by Maven. Elsewhere a sentence names the command.

use super::{foreign, process, progress};
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the `kafka` feature compiles against: librdkafka is built from source.
const LIBRARIES: [(&str, &str); 5] = [
    ("libssl-dev", "/usr/include/openssl/ssl.h"),
    ("zlib1g-dev", "/usr/include/zlib.h"),
    ("libcurl4-openssl-dev", "/usr/include/*/curl/curl.h"),
    ("pkg-config", "/usr/bin/pkg-config"),
    ("cmake", "/usr/bin/cmake"),
];
const POM: &str = "base/bus/tests/java/pom.xml";
pub const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// Everything that servers, their tests and the heavy features need.
pub fn everything(root: &Path) -> Result<()> {
    let mut packages = Vec::new();
    if debian() {
        packages.extend(LIBRARIES.iter().filter(|(_, file)| !there(file)).map(|(package, _)| *package));
    }
    for (missing, package) in [
        (process::find("java").is_none(), "default-jdk-headless"),
        (process::find("mvn").is_none(), "maven"),
        (process::find("redis-server").is_none(), "redis-server"),
        (find_postgres().is_none(), "postgresql"),
    ] {
        if missing {
            packages.push(package);
        }
    }
    if !packages.is_empty() {
        apt(&packages)
            .context("on macOS: brew install openjdk maven redis postgresql cmake pkg-config openssl")?;
    }
    fetch_kafka(root)?;
    foreign::fetch(root)
}

/// A program, installed if it is missing.
pub fn program(name: &str, package: &str, brew: &str) -> Result<PathBuf> {
    if let Some(found) = process::find(name) {
        return Ok(found);
    }
    apt(&[package]).with_context(|| format!("{name} is missing; on macOS: brew install {brew}"))?;
    process::find(name)
        .with_context(|| format!("{package} is installed, but {name} is not on the search path"))
}

/// The folder with PostgreSQL's programs, the newest there is.
pub fn postgres() -> Result<PathBuf> {
    if let Some(found) = find_postgres() {
        return Ok(found);
    }
    apt(&["postgresql"]).context("postgres is missing; on macOS: brew install postgresql")?;
    find_postgres().context("postgresql is installed, but initdb and pg_ctl can't be found")
}

/// Debian keeps each version in a folder of its own, off the search path.
pub fn find_postgres() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, folder)| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file())
        .max();
    match newest {
        Some((_, folder)) => Some(folder),
        None => process::find("initdb")?.parent().map(Path::to_owned),
    }
}

/// Where Kafka's jars are: the folder that `ARTEL_TEST_KAFKA_LIBS` names, or the workspace's own.
pub fn kafka_libs(root: &Path) -> PathBuf {
    std::env::var_os("ARTEL_TEST_KAFKA_LIBS").map_or_else(|| root.join(".cache/kafka-libs"), PathBuf::from)
}

/// Fetches the jars unless they are there as the pom says; gives their folder.
pub fn fetch_kafka(root: &Path) -> Result<PathBuf> {
    let libs = kafka_libs(root);
    let _alone = super::instance::lock(&root.join(".cache"), "kafka-libs")?;
    let pom = fs::read(root.join(POM)).with_context(|| format!("read {POM}"))?;
    if fs::read(libs.join(".pom")).is_ok_and(|known| known == pom) {
        return Ok(libs);
    }
    let maven = program("mvn", "maven", "maven")?;
    progress(&format!("fetching Kafka's jars by Maven into {}; half a minute", libs.display()));
    // First beside their place: a fetch that is broken off leaves no half of them.
    let new = libs.with_extension("new");
    for folder in [&new, &libs] {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
        }
    }
    let mut command = Command::new(maven);
    command
        .args(["-B", "-q", "-ntp", "-Dstyle.color=never", "-f"])
        .arg(root.join(POM))
        .arg(COPY)
        .arg("-DincludeScope=runtime");
    command.arg(format!("-DoutputDirectory={}", new.display())).stdin(Stdio::null()).stdout(Stdio::null());
    ensure!(
        command.status().context("start mvn")?.success(),
        "Maven could not fetch Kafka's jars; a failure is remembered for a day, after that or with `mvn -U` it asks again"
    );
    fs::write(new.join(".pom"), pom)
        .and_then(|()| fs::rename(&new, &libs))
        .context("put the jars in place")?;
    Ok(libs)
}

fn debian() -> bool {
    process::find("apt-get").is_some()
}

/// `*` stands for one folder: Debian has one for each architecture.
fn there(file: &str) -> bool {
    let Some((before, after)) = file.split_once("/*/") else { return Path::new(file).exists() };
    let folders = fs::read_dir(before).into_iter().flatten().flatten();
    Path::new(before).join(after).exists()
        || folders.map(|entry| entry.path().join(after)).any(|path| path.exists())
}

pub fn apt(packages: &[&str]) -> Result<()> {
    let wanted = packages.join(" ");
    if !debian() || !rustix::process::geteuid().is_root() {
        bail!("missing: {wanted}; on Debian: sudo apt-get install {wanted}");
    }
    progress(&format!("installing {wanted}"));
    let options = ["-o", "DPkg::Lock::Timeout=600", "-qq", "-y"];
    let run = |arguments: &[&str]| -> Result<()> {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(options).args(arguments);
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().context("start apt-get")?;
        ensure!(
            status.success(),
            "apt-get {} failed; by hand: apt-get install {wanted}",
            arguments.join(" ")
        );
        Ok(())
    };
    run(&["update"])?;
    run(&[&["install", "--no-install-recommends"], packages].concat())
}
