//! Three processes of the real binary on real Kafka, PostgreSQL and Redis.

use crate::process::{Process, Program};
use crate::system::{System, given};
use crate::until::until;
use artel_frame::client::Client;
use artel_frame::config::Secret;
use artel_store::conformance::{TestDatabase, database};
use std::fmt::Write;
use std::path::PathBuf;
use tempfile::TempDir;

pub const TOKEN: &str = "the operator of these tests";

/// Three nodes with everything of their own on servers that other tests use too.
pub struct Nodes {
    pub processes: Vec<Process>,
    place: TempDir,
    /// Whom the next crash hits.
    next: usize,
    _database: TestDatabase,
}

/// Where the servers are; `None`, said on the standard output, where they are not given.
pub struct Servers {
    pub kafka: String,
    pub redis: String,
    pub database: TestDatabase,
}

impl Servers {
    pub async fn given() -> Option<Servers> {
        let (kafka, redis) = (given("ARTEL_TEST_KAFKA")?, given("ARTEL_TEST_REDIS")?);
        Some(Servers { kafka, redis, database: database().await? })
    }

    /// The settings of a node; topics, groups and keys have the database's name before them, which no other test has.
    pub fn settings(&self, node: &str, more: &str) -> String {
        let own = &self.database.name;
        let mut text = String::new();
        let (db, kafka, redis) = (&self.database.url, &self.kafka, &self.redis);
        write!(
            text,
            "[node]\nname = \"{node}\"\n[bus]\nurl = \"kafka://{kafka}\"\n\
             [kafka]\ntopic_prefix = \"{own}.\"\ngroup_prefix = \"{own}.\"\n\
             [db]\nurl = \"{db}\"\nconnections = 8\n[cache]\nurl = \"{redis}\"\nprefix = \"{own}\"\n\
             [auth]\noperator_token = \"{TOKEN}\"\n{more}"
        )
        .unwrap();
        text
    }
}

impl Nodes {
    /// Three nodes; `None` where there are no servers.
    pub async fn start() -> Option<Nodes> {
        Nodes::of(3).await
    }

    pub async fn of(count: usize) -> Option<Nodes> {
        Some(Nodes::on(Servers::given().await?, count).await)
    }

    pub async fn on(servers: Servers, count: usize) -> Nodes {
        Nodes::running(servers, count, &Program::Artel, "").await
    }

    /// Nodes of the driver of crashes.
    pub async fn keyed(servers: Servers, count: usize) -> Nodes {
        Nodes::running(servers, count, &Program::Keyed, "").await
    }

    /// Nodes of this program, with these settings beside those that all have.
    pub async fn running(servers: Servers, count: usize, program: &Program, more: &str) -> Nodes {
        let place = TempDir::new().unwrap();
        std::fs::write(place.path().join("operator-token"), TOKEN).unwrap();
        let mut processes = Vec::new();
        for number in 1..=count {
            let config = place.path().join(format!("node-{number}.toml"));
            std::fs::write(&config, servers.settings(&format!("node-{number}"), more)).unwrap();
            processes.push(Process::of(program.clone(), Some(&config)).await);
        }
        Nodes { processes, place, next: 0, _database: servers.database }
    }

    /// One node with these settings, started and not waited for; `servers` says whose database it is.
    pub fn unready(servers: Servers, settings: &str) -> Nodes {
        let mut nodes = Nodes {
            processes: Vec::new(),
            place: TempDir::new().unwrap(),
            next: 0,
            _database: servers.database,
        };
        std::fs::write(nodes.place.path().join("operator-token"), TOKEN).unwrap();
        let config = nodes.set(settings);
        let mut process = Process::prepared(None, &["--config", config.to_str().unwrap()]);
        process.begin_unready();
        nodes.processes.push(process);
        nodes
    }

    /// Writes the settings that the node has from its next start on.
    pub fn set(&self, settings: &str) -> PathBuf {
        let config = self.place.path().join("node-1.toml");
        std::fs::write(&config, settings).unwrap();
        config
    }

    /// Until `/readyz` answers so, with all of this in its report.
    pub async fn report(&self, status: u16, says: &[&str]) -> String {
        let client = self.client_of(0);
        until(&format!("/readyz with {status} and {says:?}"), async || {
            let answer = client.get("/readyz").await.ok()?;
            let text = answer.text();
            (answer.status == status && says.iter().all(|part| text.contains(part))).then_some(text)
        })
        .await
    }

    /// A client of one of the nodes, with the operator's token.
    pub fn client_of(&self, node: usize) -> Client {
        Client::new(&self.processes[node].url()).unwrap().with_token(Some(Secret::new(TOKEN)))
    }

    /// Another node at each call.
    fn turn(&mut self) -> usize {
        self.next = (self.next + 1) % self.processes.len();
        self.next
    }
}

impl System for Nodes {
    fn url(&self) -> String {
        self.processes[0].url()
    }

    fn client(&self) -> Client {
        self.client_of(0)
    }

    fn data_dir(&self) -> PathBuf {
        self.place.path().to_owned()
    }

    /// One after the other, as an installation is upgraded.
    async fn restart(&mut self) {
        for process in &mut self.processes {
            process.restart().await;
        }
    }

    async fn crash(&mut self) {
        let node = self.turn();
        self.processes[node].crash().await;
    }
}
