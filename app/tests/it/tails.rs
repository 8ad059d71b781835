//! A broker that comes back without the end of a partition, under the same identity of the topic: what it confirmed is gone, and new
//! records take the places of the lost ones. The group that stands behind them stops and says why, the numbers of what was lost are
//! not given again, an operator decides, and nothing is taken in twice or passed over in silence. The broker is the test's own.

use crate::backends::Backends;
use crate::java::Tools;
use crate::losses::{seen, send};
use crate::nodes::{Nodes, Servers};
use crate::system::{artel, consumed, get, messages, post, stats, stderr};
use crate::until::until;
use rustix::process::Signal;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A node that has taken in three messages of one key.
struct Tail {
    nodes: Nodes,
    broker: Backends,
    tools: Tools,
    /// The topic's name on the broker.
    topic: String,
    /// Where the messages are.
    partition: u64,
}

impl Tail {
    async fn given(name: &str) -> Option<Tail> {
        let servers = Servers::given().await?;
        let broker = Backends::start(name, &["kafka"], &[])?;
        let servers = Servers { kafka: broker.given("ARTEL_TEST_KAFKA"), ..servers };
        let tools = Tools::given(&servers.kafka)?;
        let topic = format!("{}.orders", servers.database.name);
        let nodes = Nodes::on(servers, 1).await;
        for n in 0..3 {
            send(&nodes, n).await;
            consumed(&nodes, n + 1).await;
        }
        let partition = messages(&nodes, "orders").await[0]["partition"].as_u64().unwrap();
        Some(Tail { nodes, broker, tools, topic, partition })
    }

    /// The broker ends without a warning, and begins with so many records of the partition. What it keeps beside them it makes
    /// again from them.
    async fn cut(&self, records: i64) {
        self.broker.kill("kafka-1");
        let folder = self.broker.folder("kafka-1").join("data");
        cut(&folder.join(format!("{}-{}", self.topic, self.partition)), records);
        self.broker.up().await;
    }

    /// Records of a program that knows nothing of us, in the same partition as the key says.
    async fn grow(&self, count: usize) {
        let with_key = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=|"];
        let lines = (0..count).map(|n| format!("ann|{{\"other\":{n}}}\n")).collect::<String>();
        self.tools.produce(&self.topic, &with_key, &lines).await;
    }

    /// The group stands and says why, while others go on.
    async fn stands(&self, says: &str) {
        self.nodes.report(503, &["orders/", says, "artel groups skip"]).await;
        let elsewhere = json!({ "topic": "elsewhere", "key": "ann", "value": 1 });
        assert_eq!(post(&self.nodes, "/api/bridge/messages", &elsewhere).await.status, 202);
        consumed(&self.nodes, 4).await;
        assert_eq!(seen(&self.nodes, "consumed").await, [0, 1, 2]);
    }

    /// One more message, in the place of the one that was lost: it is another one, and the group takes it for none.
    async fn sends_one_more(&self) {
        send(&self.nodes, 3).await;
        until("the message to be in the log", async || {
            (stats(&self.nodes).await["produced"].as_u64() == Some(5)).then_some(())
        })
        .await;
        self.nodes.report(503, &["orders/", "offset 2 holds message", "artel groups skip"]).await;
        assert_eq!(seen(&self.nodes, "consumed").await, [0, 1, 2]);
    }

    /// An operator moves the group.
    fn skip(&self, to: &str, more: &[&str]) {
        let partition = self.partition.to_string();
        let skip = ["groups", "skip", "bridge.orders", "orders", &partition, "--to", to, "--reason", "lost"];
        let skipped = artel(&self.nodes, &[&skip, more].concat()).output().unwrap();
        assert!(skipped.status.success(), "{}", stderr(&skipped));
    }

    async fn all_is_well(&self, count: u64) {
        consumed(&self.nodes, count).await;
        self.nodes.report(200, &[]).await;
        let totals = stats(&self.nodes).await;
        assert_eq!((&totals["consumed"], &totals["failed"]), (&json!(count), &json!(0)), "{totals}");
        assert_eq!(get(&self.nodes, "/readyz").await["status"], "ready");
    }
}

/// Leaves so many records in a partition's only segment, and nothing that was made from it.
fn cut(folder: &Path, records: i64) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let ending = path.extension().map(|ending| ending.to_string_lossy().into_owned());
        if matches!(ending.as_deref(), Some("index" | "timeindex" | "snapshot")) {
            std::fs::remove_file(path).unwrap();
        }
    }
    let segment =
        OpenOptions::new().read(true).write(true).open(folder.join("00000000000000000000.log")).unwrap();
    segment.set_len(place_of(&segment, records)).unwrap();
}

/// Where the batch begins whose first record has this offset.
fn place_of(segment: &File, offset: i64) -> u64 {
    let (mut at, length) = (0, segment.metadata().unwrap().len());
    while at < length {
        // The offset of its first record, and how many bytes follow.
        let mut head = [0u8; 12];
        segment.read_exact_at(&mut head, at).unwrap();
        let (first, rest) = head.split_at(8);
        let first = i64::from_be_bytes(first.try_into().unwrap());
        if first >= offset {
            assert_eq!(first, offset, "a batch begins there");
            return at;
        }
        at += 12 + u64::from(u32::from_be_bytes(rest.try_into().unwrap()));
    }
    panic!("offset {offset} is not there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lost_its_end_stops_the_group_that_stands_behind_it_until_somebody_decides() {
    let Some(mut tail) = Tail::given("tail-away").await else { return };
    assert!(tail.nodes.processes[0].stop().await.success());
    tail.cut(2).await;
    tail.nodes.processes[0].begin();
    tail.stands("the log ends at 2, before the stored place 3").await;
    tail.sends_one_more().await;
    // What it has taken in of the beginning stays known by its numbers; the new one has another number than the lost one.
    tail.skip("beginning", &[]);
    tail.all_is_well(5).await;
    assert_eq!(seen(&tail.nodes, "consumed").await, [0, 1, 2, 3], "each of them once, and nothing else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_loses_its_end_under_a_node_that_runs_stops_its_group_too() {
    let Some(tail) = Tail::given("tail-running").await else { return };
    tail.cut(2).await;
    tail.stands("the log ends at 2, before the stored place 3").await;
    tail.sends_one_more().await;
    tail.skip("beginning", &[]);
    tail.all_is_well(5).await;
    assert_eq!(seen(&tail.nodes, "consumed").await, [0, 1, 2, 3], "each of them once, and nothing else");
}

/// What others wrote lies where the lost message was, and beyond where the group stands.
async fn grown_over(tail: &Tail) {
    tail.stands("offset 2 holds message").await;
    // Where the new ones begin; the first of them could be one that it knows.
    tail.skip("2", &["--repeats"]);
    tail.all_is_well(4 + 3).await;
    let places = messages(&tail.nodes, "orders").await;
    let mut offsets: Vec<_> = places.iter().map(|message| message["offset"].as_u64().unwrap()).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [0, 1, 2, 2, 3, 4], "the lost one, and all that took its place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_has_grown_over_its_lost_end_stops_the_group_until_somebody_decides() {
    let Some(mut tail) = Tail::given("tail-grown").await else { return };
    assert!(tail.nodes.processes[0].stop().await.success());
    tail.cut(2).await;
    tail.grow(3).await;
    tail.nodes.processes[0].begin();
    grown_over(&tail).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_has_grown_over_its_lost_end_under_a_node_that_runs_stops_its_group_too() {
    let Some(tail) = Tail::given("tail-frozen").await else { return };
    // It sees the broker again when the log is long enough for its place.
    tail.nodes.processes[0].signal(Signal::STOP);
    tail.cut(2).await;
    tail.grow(3).await;
    tail.nodes.processes[0].signal(Signal::CONT);
    grown_over(&tail).await;
}
