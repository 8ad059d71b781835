//! Brokers of a test's own, from the jars in ARTEL_TEST_KAFKA_LIBS: to be killed, or with settings that others don't want.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A machine for tests has no room for many brokers at once.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
const CLUSTER: &str = "YXJ0ZWwtdGVzdHMtYnJvaw";

/// The folder with Kafka's jars, or a reason said aloud.
pub fn libs(test: &str) -> Option<PathBuf> {
    if let Some(libs) = std::env::var_os("ARTEL_TEST_KAFKA_LIBS") {
        return Some(PathBuf::from(libs));
    }
    assert!(
        std::env::var("CI").map_or(true, |ci| ci != "true"),
        "ARTEL_TEST_KAFKA_LIBS is not set; `./test tools` fetches the jars"
    );
    println!(
        "skipped: kafka_broker::{test}: ARTEL_TEST_KAFKA_LIBS is not set (Kafka's jars, from ./test tools)"
    );
    None
}

/// One of Kafka's command line tools; what it printed.
pub fn tool(libs: &Path, args: &[&str]) -> String {
    let output = java(libs, "-Xmx128m").args(args).output().expect("java runs");
    let [text, errors] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{args:?}: {errors}\n{text}");
    text
}

fn java(libs: &Path, memory: &str) -> Command {
    let mut command = Command::new("java");
    command.args([memory, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]).arg(libs.join("*"));
    command
}

pub struct Cluster {
    libs: PathBuf,
    folder: tempfile::TempDir,
    brokers: Vec<Broker>,
    _turn: MutexGuard<'static, ()>,
}

struct Broker {
    id: usize,
    /// Without a password, for the test itself.
    port: u16,
    /// For those who log in; under TLS where the options say so.
    login: u16,
    /// Under TLS, for those who show a certificate.
    shown: u16,
    controller: u16,
    child: Option<Child>,
}

/// What a cluster has beside the defaults.
#[derive(Default)]
pub struct Options<'a> {
    /// More lines of server.properties.
    pub settings: &'a [&'a str],
    /// Name and password of users, by each mechanism, on a listener of their own.
    pub users: &'a [(&'a str, &'a str)],
    /// What the brokers show and trust: users log in under TLS then, and there is a listener for who shows a certificate.
    pub tls: Option<&'a BrokerTls>,
}

/// Files in Kafka's PEM format.
pub struct BrokerTls {
    /// The brokers' key and certificate.
    pub own: PathBuf,
    /// Who may have signed the certificate of somebody that connects.
    pub trusted: PathBuf,
}

impl Options<'_> {
    /// The listeners for users, their protocols, and the lines about who gets in.
    fn logins(&self, login: u16, shown: u16) -> (String, &'static str, String) {
        let users: String =
            self.users.iter().map(|(name, word)| format!(" user_{name}=\"{word}\"")).collect();
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        let mechanisms = format!(
            "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.login.scram-sha-256.sasl.jaas.config={scram}
listener.name.login.scram-sha-512.sasl.jaas.config={scram}
listener.name.login.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required{users};
"
        );
        let Some(BrokerTls { own, trusted }) = self.tls else {
            return (format!("LOGIN://127.0.0.1:{login}"), "LOGIN:SASL_PLAINTEXT", mechanisms);
        };
        let tls = format!(
            "ssl.keystore.type=PEM
ssl.keystore.location={}
ssl.truststore.type=PEM
ssl.truststore.location={}
listener.name.shown.ssl.client.auth=required
",
            own.display(),
            trusted.display()
        );
        let listeners = format!("LOGIN://127.0.0.1:{login},SHOWN://127.0.0.1:{shown}");
        (listeners, "LOGIN:SASL_SSL,SHOWN:SSL", mechanisms + &tls)
    }
}

impl Cluster {
    pub fn start(libs: PathBuf, count: usize, options: &Options<'_>) -> Cluster {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = 20_000 + u16::try_from(std::process::id() % 9_000).expect("small");
        let mut port = || {
            next = (next..32_000)
                .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
                .expect("a free port");
            next += 1;
            next - 1
        };
        let brokers: Vec<Broker> = (1..=count)
            .map(|id| Broker {
                id,
                port: port(),
                login: port(),
                shown: port(),
                controller: port(),
                child: None,
            })
            .collect();
        let folder = tempfile::tempdir().expect("a folder");
        let mut cluster = Cluster { libs, folder, brokers, _turn: turn };
        for at in 0..count {
            cluster.format(at, options);
        }
        for id in 1..=count {
            cluster.up(id);
        }
        cluster
    }

    fn settings(&self, id: usize) -> PathBuf {
        self.folder.path().join(format!("{id}.properties"))
    }

    fn format(&self, at: usize, options: &Options<'_>) {
        let Broker { id, port, login, shown, controller, .. } = &self.brokers[at];
        let (logins, protocols, users) = options.logins(*login, *shown);
        let count = self.brokers.len();
        let voters: Vec<String> =
            self.brokers.iter().map(|b| format!("{}@127.0.0.1:{}", b.id, b.controller)).collect();
        let in_sync = count.min(2);
        let text = format!(
            "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAIN://127.0.0.1:{port},{logins},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAIN://127.0.0.1:{port},{logins}
listener.security.protocol.map=PLAIN:PLAINTEXT,{protocols},CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
controller.listener.names=CONTROLLER
{users}log.dirs={data}
auto.create.topics.enable=false
default.replication.factor={count}
min.insync.replicas={in_sync}
offsets.topic.num.partitions=4
offsets.topic.replication.factor={count}
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor={count}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor={count}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
log.index.size.max.bytes=1048576
controlled.shutdown.enable=false
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
controller.quorum.election.timeout.ms=500
{more}
",
            voters = voters.join(","),
            data = self.folder.path().join(format!("{id}")).display(),
            more = options.settings.join("\n"),
        );
        fs::write(self.settings(*id), text).expect("written");
        let mut command = java(&self.libs, "-Xmx64m");
        command.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"]).arg(self.settings(*id));
        for (name, password) in options.users {
            for scram in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                command.arg("--add-scram").arg(format!("{scram}=[name={name},password={password}]"));
            }
        }
        let output = command.output().expect("java runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts a broker that does not run. Whoever talks to it waits until it answers.
    pub fn up(&mut self, id: usize) {
        let log =
            File::options().create(true).append(true).open(self.folder.path().join("log")).expect("a log");
        let mut command = java(&self.libs, "-Xmx256m");
        command.arg("kafka.Kafka").arg(self.settings(id)).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a copy")).stderr(log);
        self.brokers[id - 1].child = Some(command.spawn().expect("java starts"));
    }

    /// As `kill -9`.
    pub fn kill(&mut self, id: usize) {
        if let Some(mut child) = self.brokers[id - 1].child.take() {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
    }

    /// The first file of a partition, at the first broker.
    pub fn file_of(&self, topic: &str, partition: u32) -> PathBuf {
        self.folder.path().join(format!("1/{topic}-{partition}/00000000000000000000.log"))
    }

    /// Where nobody has to log in.
    pub fn address(&self) -> String {
        self.list(|broker| broker.port)
    }

    /// Where users log in.
    pub fn login_address(&self) -> String {
        self.list(|broker| broker.login)
    }

    /// Where a certificate is asked for.
    pub fn shown_address(&self) -> String {
        self.list(|broker| broker.shown)
    }

    fn list(&self, port: impl Fn(&Broker) -> u16) -> String {
        let all: Vec<String> =
            self.brokers.iter().map(|broker| format!("127.0.0.1:{}", port(broker))).collect();
        all.join(",")
    }

    pub fn tool(&self, args: &[&str]) -> String {
        tool(&self.libs, args)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for id in 1..=self.brokers.len() {
            self.kill(id);
        }
    }
}
