//! Three nodes in this process on real Kafka, PostgreSQL and Redis, with the services split between them: two run the bridge,
//! the third one a service that counts what the bridge writes.

use crate::nodes::{Servers, TOKEN};
use crate::system::{System, messages, stats};
use crate::until::until;
use crate::{address, tally};
use artel_contract::bridge::GetStats;
use artel_frame::Sandbox;
use artel_frame::client::Client;
use artel_message::Described;
use std::collections::BTreeMap;
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

    /// How often the third node has seen each message, asked on the first one.
    async fn seen(&self) -> BTreeMap<Uuid, i64> {
        let (mut all, mut after) = (BTreeMap::new(), Uuid::nil());
        loop {
            let page = self.nodes[0].ctx("bridge").query(tally::Seen { after }).await.unwrap();
            let Some((last, _)) = page.last_key_value() else { return all };
            after = *last;
            all.extend(page);
        }
    }
}

fn services() -> Vec<artel_flow::Service> {
    vec![artel_bridge::service(), tally::service()]
}

fn catalogue() -> Vec<Described> {
    artel_contract::catalogue().into_iter().chain(tally::catalogue()).collect()
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

    /// What the bridge tracks is what the third node has seen, each message once.
    async fn holds(&self) {
        let totals = stats(self).await;
        let consumed = totals["consumed"].as_i64().unwrap();
        until(&format!("{consumed} messages seen by the third node"), async || {
            let count = self.nodes[0].ctx("bridge").query(tally::Count {}).await.ok()?;
            (count >= consumed).then_some(())
        })
        .await;
        let mut tracked = BTreeMap::new();
        for topic in TOPICS {
            let ids = messages(self, topic).await.into_iter().map(|m| m["id"].as_str().unwrap().parse());
            tracked.extend(ids.map(|id: Result<Uuid, _>| (id.unwrap(), 1)));
        }
        assert_eq!(i64::try_from(tracked.len()).unwrap(), consumed, "{totals}");
        let seen = self.seen().await;
        let wrong: Vec<_> = seen.iter().filter(|(id, times)| tracked.get(id) != Some(times)).collect();
        assert!(wrong.is_empty(), "{} messages are not there once: {:?}", wrong.len(), wrong.first());
        assert_eq!(seen.len(), tracked.len());
        // And the other way round.
        let there = self.nodes[2].ctx("tally").query(GetStats {}).await.unwrap();
        assert_eq!(serde_json::to_value(there).unwrap(), totals);
    }
}
