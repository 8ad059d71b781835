//! A log on real brokers that has lost what a group stands behind: the group's partition stops and says why, an operator decides,
//! and nothing is taken in twice or passed over in silence.

use crate::java::{TOPICS, Tools};
use crate::nodes::{Nodes, Servers};
use crate::system::{artel, consumed, get, messages, post, stats, stderr};
use crate::until::until;
use serde_json::{Value, json};
use std::io::Write;
use std::ops::Range;

const DELETE_RECORDS: &str = "org.apache.kafka.tools.DeleteRecordsCommand";

/// A node that has taken in three messages of one key, and stands.
struct Lost {
    nodes: Nodes,
    tools: Tools,
    /// The topic's name on the brokers.
    topic: String,
    /// Where the messages are.
    partition: u64,
}

impl Lost {
    async fn given() -> Option<Lost> {
        let servers = Servers::given().await?;
        let tools = Tools::given(&servers.kafka)?;
        let topic = format!("{}.orders", servers.database.name);
        let mut nodes = Nodes::on(servers, 1).await;
        for n in 0..3 {
            send(&nodes, n).await;
        }
        consumed(&nodes, 3).await;
        let partition = messages(&nodes, "orders").await[0]["partition"].as_u64().unwrap();
        assert!(nodes.processes[0].stop().await.success());
        Some(Lost { nodes, tools, topic, partition })
    }

    /// The node starts, goes on elsewhere, and takes in nothing of the partition; all that is asked for says why.
    async fn stops(&mut self, says: &str) {
        self.nodes.processes[0].begin();
        self.nodes.report(503, &["orders/", says, "artel groups skip"]).await;
        let elsewhere = json!({ "topic": "elsewhere", "key": "ann", "value": 1 });
        assert_eq!(post(&self.nodes, "/api/bridge/messages", &elsewhere).await.status, 202);
        // Written behind the loss, where the group would find it if it went on by itself.
        send(&self.nodes, 3).await;
        until("the message to be in the log", async || {
            (stats(&self.nodes).await["produced"].as_u64() == Some(5)).then_some(())
        })
        .await;
        consumed(&self.nodes, 4).await;
        assert_eq!(seen(&self.nodes, "consumed").await, [0, 1, 2]);
        self.nodes.report(503, &["orders/", says]).await;
    }

    /// An operator moves every partition on that stopped.
    async fn go_on(&self, partitions: Range<u64>) {
        for partition in partitions {
            let partition = partition.to_string();
            let skip = [
                "groups",
                "skip",
                "bridge.orders",
                "orders",
                &partition,
                "--to",
                "beginning",
                "--reason",
                "lost",
            ];
            let skipped = artel(&self.nodes, &skip).output().unwrap();
            assert!(skipped.status.success(), "{}", stderr(&skipped));
        }
        consumed(&self.nodes, 5).await;
        assert_eq!(seen(&self.nodes, "consumed").await, [0, 1, 2, 3], "each of them once, and nothing else");
        self.nodes.report(200, &[]).await;
        let totals = stats(&self.nodes).await;
        assert_eq!((&totals["consumed"], &totals["failed"]), (&json!(5), &json!(0)), "{totals}");
        assert_eq!(get(&self.nodes, "/readyz").await["status"], "ready");
    }
}

/// The numbers of the messages of `orders` that are this far.
pub async fn seen(nodes: &Nodes, status: &str) -> Vec<u64> {
    let all = messages(nodes, "orders").await;
    let of_it = all.iter().filter(|message| message["status"] == status);
    let mut seen: Vec<u64> = of_it.filter_map(|message| message["value"].as_u64()).collect();
    seen.sort_unstable();
    seen
}

pub async fn send(nodes: &Nodes, n: u64) {
    let message = json!({ "topic": "orders", "key": "ann", "value": n });
    let answer = post(nodes, "/api/bridge/messages", &message).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_made_anew_stops_its_group_until_somebody_decides() {
    let Some(mut lost) = Lost::given().await else { return };
    let topic = lost.topic.clone();
    lost.tools.run(TOPICS, &["--delete", "--topic", &topic], "").await;
    until("the topic to be gone", async || {
        let listed = lost.tools.run(TOPICS, &["--list"], "").await;
        (!listed.lines().any(|line| line == topic)).then_some(())
    })
    .await;
    lost.tools.run(TOPICS, &["--create", "--topic", &topic, "--partitions", "4"], "").await;
    lost.stops("the place was stored for log").await;
    lost.go_on(0..4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_were_deleted_before_they_were_read_stop_their_group_until_somebody_decides() {
    let Some(mut lost) = Lost::given().await else { return };
    let topic = lost.topic.clone();
    // Two that nobody of us has read, in the same partition as the key says.
    let with_key = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=|"];
    lost.tools.produce(&topic, &with_key, "ann|{\"unread\":1}\nann|{\"unread\":2}\n").await;
    let all: Value = json!({
        "version": 1,
        "partitions": [{ "topic": topic, "partition": lost.partition, "offset": -1 }],
    });
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(all.to_string().as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    lost.tools.run(DELETE_RECORDS, &["--offset-json-file", path], "").await;
    lost.stops("retention has passed the place").await;
    lost.go_on(lost.partition..lost.partition + 1).await;
}
