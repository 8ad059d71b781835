//! Three nodes in this process on real Kafka, PostgreSQL and Redis, with the services split between them: two run the bridge,
//! the third one a service that counts what the bridge writes.

use crate::nodes::{Servers, TOKEN};
use crate::system::{self, System, stats};
use crate::until::until;
use crate::{address, tally};
use artel_bus::BusError;
use artel_contract::bridge::GetStats;
use artel_frame::Sandbox;
use artel_frame::client::Client;
use artel_message::Described;
use std::collections::BTreeSet;
use std::path::PathBuf;
use tempfile::TempDir;
use uuid::Uuid;

/// What the nodes sign with when they ask each other.
const SECRET: &str = "what all nodes of these tests know";
/// The service that each node runs.
const ROLES: [&str; 3] = ["bridge", "bridge", "tally"];
/// Where the scenarios write to.
const TOPICS: [&str; 4] = ["greetings", "shipments", "mixed", "crashing"];

pub struct Sandboxes {
    pub nodes: Vec<Sandbox>,
    place: TempDir,
    /// Whom the next crash hits.
    next: usize,
    servers: Servers,
}

impl Sandboxes {
    /// All nodes, the third one following every topic of the scenarios; `None` where there are no servers.
    pub async fn start() -> Option<Sandboxes> {
        let mut system = Sandboxes::of(&ROLES).await?;
        system.follow().await;
        Some(system)
    }

    /// Nodes with these roles.
    pub async fn of(roles: &[&str]) -> Option<Sandboxes> {
        let servers = Servers::given().await?;
        let place = TempDir::new().unwrap();
        std::fs::write(place.path().join("operator-token"), TOKEN).unwrap();
        let mut system = Sandboxes { nodes: Vec::new(), place, next: 0, servers };
        for role in roles {
            system.join(role).await;
        }
        Some(system)
    }

    /// One more node.
    pub async fn join(&mut self, role: &str) {
        let name = format!("node-{}", self.nodes.len() + 1);
        let file = self.place.path().join(format!("{name}.toml"));
        let peers = format!("[peers]\nlisten = \"127.0.0.1:0\"\nsecret = \"{SECRET}\"\n");
        std::fs::write(&file, self.servers.settings(&name, &peers)).unwrap();
        let node = Sandbox::of(services, catalogue)
            .file(file)
            .setting("node.roles", role)
            .setting("http.listen", address::free().to_string());
        self.nodes.push(node.start().await.unwrap());
    }

    /// The first node asks, the third one answers.
    async fn follow(&mut self) {
        let topics: Vec<String> = TOPICS.map(str::to_owned).to_vec();
        let ctx = self.nodes[0].ctx("bridge");
        let followed = until("the third node to be known to the first", async || {
            ctx.ask(tally::Follow { topics: topics.clone() }).await.ok()
        });
        assert_eq!(followed.await, TOPICS.len());
    }

    /// The messages that the third node has seen, asked on the first one.
    async fn seen(&self) -> BTreeSet<Uuid> {
        let (mut all, mut after) = (BTreeSet::new(), Uuid::nil());
        loop {
            let page = self.nodes[0].ctx("bridge").query(tally::Seen { after }).await.unwrap();
            let Some(last) = page.last() else { return all };
            after = *last;
            all.extend(page);
        }
    }

    /// How many records the log has in the topics of the scenarios.
    async fn logged(&self) -> i64 {
        let (bus, mut records) = (self.nodes[0].node().bus(), 0);
        for topic in TOPICS {
            let partitions = match bus.describe(topic).await {
                Err(BusError::UnknownTopic(_)) => 0,
                found => found.unwrap().partitions,
            };
            for partition in 0..partitions {
                let bounds = bus.bounds(topic, partition).await.unwrap();
                records += bounds.end - bounds.begin;
            }
        }
        records
    }
}

fn services() -> Vec<artel_flow::Service> {
    vec![artel_bridge::service(), tally::service()]
}

fn catalogue() -> Vec<Described> {
    artel_contract::of(&["bridge"]).into_iter().chain(tally::catalogue()).collect()
}

impl System for Sandboxes {
    fn url(&self) -> String {
        self.nodes[0].url()
    }

    fn client(&self) -> Client {
        self.nodes[0].client()
    }

    fn data_dir(&self) -> PathBuf {
        self.place.path().to_owned()
    }

    /// One after the other, as an installation is upgraded.
    async fn restart(&mut self) {
        for node in &mut self.nodes {
            node.restart().await.unwrap();
        }
    }

    /// Another node at each call.
    async fn crash(&mut self) {
        self.next = (self.next + 1) % self.nodes.len();
        self.nodes[self.next].crash().await.unwrap();
    }

    /// What the bridge has consumed is what the third node has seen, and it took in each record of the log once.
    async fn holds(&self) {
        let (totals, records) = (stats(self).await, self.logged().await);
        let counted = until(&format!("{records} records taken in by the third node"), async || {
            let counted = self.nodes[0].ctx("bridge").query(tally::Count {}).await.ok()?;
            (counted.records >= records).then_some(counted)
        })
        .await;
        let messages = totals["consumed"].as_i64().unwrap();
        println!("seen on the third node: {counted:?}");
        assert_eq!(counted, tally::Counted { messages, records, again: 0 }, "{totals}");
        let mut tracked = BTreeSet::new();
        for topic in TOPICS {
            let ids = system::messages(self, topic).await.into_iter();
            tracked.extend(ids.map(|message| message["id"].as_str().unwrap().parse::<Uuid>().unwrap()));
        }
        let seen = self.seen().await;
        assert!(seen == tracked, "{:?}", seen.symmetric_difference(&tracked).take(10).collect::<Vec<_>>());
        // And the other way round: the third one asks one of the others.
        let there = self.nodes[2].ctx("tally").query(GetStats {}).await.unwrap();
        assert_eq!(serde_json::to_value(there).unwrap(), totals);
    }
}
