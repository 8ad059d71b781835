//! Kafka without ZooKeeper and without its scripts: one broker, or three. Each is its own controller as well. Settings are
//! for tests: small internal topics, no waiting for the first member of a group, quick to notice a dead broker.

use super::instance::{Instance, Server};
use super::process::{self, Process};
use super::{Kind, install, progress, wire};
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// 22 characters of base64; every instance is its own cluster by its ports.
const CLUSTER: &str = "YXJ0ZWwtYmFja2VuZHMtMQ";
const READY: Duration = Duration::from_secs(60);
const MEMORY: [&str; 3] = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

struct Broker {
    name: String,
    id: u8,
    port: u16,
    controller: u16,
    folder: PathBuf,
}

/// What every start of a JVM here has in common.
struct Java {
    program: PathBuf,
    libs: PathBuf,
    /// Classes that are loaded and checked already; a start takes less than half the time.
    archive: PathBuf,
    version: String,
}

pub fn up(instance: &mut Instance, root: &Path, brokers: Option<u8>, settings: &[String]) -> Result<()> {
    let known = instance.state();
    let count = brokers.or(known.brokers).unwrap_or(1);
    if known.brokers.is_some_and(|known| known != count) {
        bail!("this instance has another number of brokers; take another --instance, or `down --wipe` first");
    }
    let settings = if settings.is_empty() { known.kafka_settings.clone() } else { settings.to_vec() };
    let running: Vec<String> = instance.servers().iter().map(|server| server.name.clone()).collect();
    let missing = (1..=count).filter(|id| !running.contains(&name(*id))).count();
    if missing < usize::from(count) && settings != known.kafka_settings {
        bail!(
            "kafka runs with other settings in this instance; stop it by `down`, or take another --instance"
        );
    }
    if missing == 0 {
        progress("kafka: already up");
        return Ok(());
    }
    instance.change(|state| (state.brokers, state.kafka_settings) = (Some(count), settings.clone()))?;
    let java = java(root, instance.dir())?;
    let brokers = (1..=count).map(|id| broker(instance, id, &running)).collect::<Result<Vec<_>>>()?;
    let text = |broker: &Broker| properties(broker, &brokers, &settings);
    let new: Vec<&Broker> = brokers.iter().filter(|broker| !running.contains(&broker.name)).collect();
    format(&java, &new, text)?;
    for broker in &new {
        progress(&format!("{} {}: starting on port {}", broker.name, java.version, broker.port));
        let process = java.start(broker, &[])?;
        let version = java.version.clone();
        instance.add(Server::new(Kind::Kafka, &broker.name, process, broker.port, version))?;
    }
    let deadline = Instant::now() + READY;
    for broker in &brokers {
        await_ready(instance, broker, brokers.len(), deadline)?;
    }
    Ok(())
}

/// A setting as KEY=VALUE on one line.
pub fn parse_setting(text: &str) -> Result<String, String> {
    let key = text.split_once('=').map_or("", |(key, _)| key.trim());
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !key.is_empty() && key.chars().all(fits) && !text.contains(['\n', '\r', '\\']) {
        Ok(text.to_owned())
    } else {
        Err("write a broker's setting as key=value, such as log.retention.ms=1000".to_owned())
    }
}

fn name(id: u8) -> String {
    format!("kafka-{id}")
}

fn broker(instance: &mut Instance, id: u8, running: &[String]) -> Result<Broker> {
    let name = name(id);
    let controller = format!("{name}-controller");
    let (port, controller) = if running.contains(&name) {
        let ports = instance.known_port(&name).zip(instance.known_port(&controller));
        ports.with_context(|| format!("{name} runs, but its ports are not known; `down --wipe` first"))?
    } else {
        (instance.port(&name)?, instance.port(&controller)?)
    };
    Ok(Broker { id, port, controller, folder: instance.folder(&name)?, name })
}

/// The text of `server.properties`. What was asked for comes last and wins; `{port}` and `{controller}` in it are the ports of
/// the broker, for who gives it one more listener.
fn properties(broker: &Broker, all: &[Broker], settings: &[String]) -> String {
    let Broker { id, port, controller, folder, .. } = broker;
    let voters: Vec<_> = all.iter().map(|b| format!("{}@127.0.0.1:{}", b.id, b.controller)).collect();
    let replicas = all.len();
    let in_sync = if replicas > 1 { 2 } else { 1 };
    // One broker that signs off may come back at once. Three that end together would wait for each other.
    let alone = replicas == 1;
    let mut text = format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={}
listeners=CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=CLIENTS://127.0.0.1:{port}
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
log.dirs={}
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.num.partitions=4
offsets.topic.replication.factor={replicas}
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
log.index.size.max.bytes=1048576
controlled.shutdown.enable={alone}
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
controller.quorum.election.timeout.ms=500
",
        voters.join(","),
        folder.join("data").display()
    );
    for setting in settings {
        let own = setting.replace("{port}", &port.to_string());
        text.push_str(&own.replace("{controller}", &controller.to_string()));
        text.push('\n');
    }
    text
}

/// Writes the settings of each broker, and prepares the data folders of new ones, all at the same time.
fn format(java: &Java, brokers: &[&Broker], text: impl Fn(&Broker) -> String) -> Result<()> {
    let mut running = Vec::new();
    for broker in brokers {
        let settings = broker.folder.join("server.properties");
        fs::write(&settings, text(broker)).with_context(|| format!("write {}", settings.display()))?;
        if broker.folder.join("data/meta.properties").exists() {
            continue;
        }
        let mut command = java.command(&[], "kafka.tools.StorageTool");
        command.args(["format", "-t", CLUSTER, "-c"]).arg(settings);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        running.push((&broker.name, child.context("start java")?));
    }
    for (name, child) in running {
        let output = child.wait_with_output()?;
        let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        ensure!(output.status.success(), "{name}: Kafka's StorageTool failed: {told}");
    }
    Ok(())
}

fn await_ready(instance: &Instance, broker: &Broker, count: usize, deadline: Instant) -> Result<()> {
    let log = broker.folder.join("log");
    let server = instance.servers().iter().find(|server| server.name == broker.name);
    let process = &server.context("a broker that was never started")?.process;
    let ready = || wire::brokers(broker.port).is_ok_and(|alive| alive.len() == count);
    let in_time = process::wait(deadline, || ready() || !process.is_alive());
    ensure!(process.is_alive(), "{} has ended; see {}", broker.name, log.display());
    ensure!(in_time, "{} is not ready after {} s; see {}", broker.name, READY.as_secs(), log.display());
    Ok(())
}

impl Java {
    fn command(&self, options: &[String], main: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(MEMORY).args(options);
        if options.is_empty() && self.archive.exists() {
            command.arg(format!("-XX:SharedArchiveFile={}", self.archive.display()));
        }
        // The archive is good for this very text of the class path.
        command.arg("-cp").arg(format!("{}/*", self.libs.display())).arg(main);
        command
    }

    fn start(&self, broker: &Broker, options: &[String]) -> Result<Process> {
        let mut command = self.command(options, "kafka.Kafka");
        command.arg(broker.folder.join("server.properties")).current_dir(&broker.folder);
        process::spawn(&mut command, &broker.folder.join("log"))
    }
}

/// Finds Java and the jars, gets them if need be, and makes the archive of classes the first time.
fn java(root: &Path, dir: &Path) -> Result<Java> {
    let program = install::program("java", "default-jdk-headless", "openjdk")?;
    let libs = install::fetch_kafka(root)?;
    let version = fs::read_dir(&libs)?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .find_map(|name| Some(name.strip_prefix("kafka_2.13-")?.strip_suffix(".jar")?.to_owned()))
        .with_context(|| format!("no kafka_2.13 jar in {}", libs.display()))?;
    let archive = dir.join(format!("kafka-{version}-{:016x}.jsa", fingerprint(&program, &libs)?));
    let java = Java { program, libs, archive, version };
    if !java.archive.exists() {
        make_archive(&java, dir)?;
    }
    Ok(java)
}

/// Another Java, other jars or another place of them need another archive.
fn fingerprint(program: &Path, libs: &Path) -> Result<u64> {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let program = program.canonicalize()?;
    let mut hasher = DefaultHasher::new();
    (&program, program.metadata()?.modified()?, libs, fs::read(libs.join(".pom")).ok()).hash(&mut hasher);
    Ok(hasher.finish())
}

/// Starts a broker that writes down at its end which classes it loaded. Without an archive all works too, only slower.
fn make_archive(java: &Java, dir: &Path) -> Result<()> {
    let mut instance = Instance::open(dir, ".archive")?;
    if java.archive.exists() {
        return Ok(());
    }
    progress("kafka: writing an archive of its classes, once; some seconds");
    instance.forget_the_dead()?;
    ensure!(
        instance.servers().is_empty(),
        "a broker that writes the archive runs; see `backends status --all`"
    );
    let broker = broker(&mut instance, 1, &[])?;
    let all = [broker];
    format(java, &[&all[0]], |broker| properties(broker, &all, &[]))?;
    let new = java.archive.with_extension("new");
    let process = java.start(&all[0], &[format!("-XX:ArchiveClassesAtExit={}", new.display())])?;
    instance.add(Server::new(
        Kind::Kafka,
        &all[0].name,
        process.clone(),
        all[0].port,
        java.version.clone(),
    ))?;
    await_ready(&instance, &all[0], 1, Instant::now() + READY)?;
    process.signal(Signal::TERM);
    let ended = process::wait(Instant::now() + READY, || !process.is_alive());
    process.signal(Signal::KILL);
    if ended && new.exists() {
        remove_archives(dir)?;
        fs::rename(&new, &java.archive)?;
    } else {
        progress("kafka: no archive came of it; brokers start without one");
    }
    instance.forget_the_dead()?;
    instance.wipe()
}

/// Those of an earlier Java or Kafka; a broker that uses one keeps it open.
fn remove_archives(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "jsa") {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers(count: u8) -> Vec<Broker> {
        let broker = |id: u8| Broker {
            name: name(id),
            id,
            port: 20_000 + u16::from(id),
            controller: 21_000 + u16::from(id),
            folder: PathBuf::from("/data").join(name(id)),
        };
        (1..=count).map(broker).collect()
    }

    #[test]
    fn three_brokers_know_each_other_and_lose_nothing_with_one_of_them() {
        let all = brokers(3);
        let text = properties(&all[1], &all, &["min.insync.replicas=3".to_owned()]);
        let has = |line: &str| text.lines().any(|l| l == line);
        assert!(has("node.id=2"), "{text}");
        assert!(
            has("controller.quorum.voters=1@127.0.0.1:21001,2@127.0.0.1:21002,3@127.0.0.1:21003"),
            "{text}"
        );
        assert!(
            has("offsets.topic.replication.factor=3") && has("transaction.state.log.min.isr=2"),
            "{text}"
        );
        assert!(has("log.dirs=/data/kafka-2/data"), "{text}");
        // A file of Java's properties takes the last of two.
        assert_eq!(text.lines().last(), Some("min.insync.replicas=3"));
    }

    #[test]
    fn a_single_broker_needs_nobody() {
        let all = brokers(1);
        let text = properties(&all[0], &all, &["listeners=A://:{port},B://:{controller}".to_owned()]);
        assert_eq!(text.lines().last(), Some("listeners=A://:20001,B://:21001"));
        let replicas = text.lines().filter(|line| line.contains("replication.factor"));
        assert!(replicas.into_iter().all(|line| line.ends_with("=1")), "{text}");
        assert!(text.lines().any(|line| line == "min.insync.replicas=1"), "{text}");
    }

    #[test]
    fn settings_have_a_key_and_one_line() {
        assert_eq!(parse_setting("log.retention.ms=1000"), Ok("log.retention.ms=1000".to_owned()));
        for wrong in ["log.retention.ms", "=1", "a b=1", "a=1\nb=2", "a=1\\"] {
            assert!(parse_setting(wrong).is_err(), "{wrong:?}");
        }
    }
}
