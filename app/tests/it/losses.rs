//! Everything falls over while messages are under way: nodes, brokers, the database, the cache. Servers of its own, which
//! `cargo xtask backends` starts; nothing of what was accepted is lost or done twice, and keys keep their order.

use crate::backends::Backends;
use crate::nodes::Nodes;
use crate::scenarios::crashes::{agree, numbered, sending};
use crate::system::{System, consumed, messages, stderr};
use crate::until::until;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;

const LINES: u64 = 50_000;

/// What happens when so many of a hundred lines are consumed.
const EVENTS: [(u64, &str); 9] = [
    (5, "node 2"),
    (15, "broker 1"),
    (25, "node 1"),
    (35, "database"),
    (45, "node 2"),
    (55, "cache"),
    (65, "broker 2"),
    (75, "node 1"),
    (85, "node 2"),
];

async fn happen(event: &str, backends: &Backends, nodes: &mut Nodes) {
    match event {
        "node 1" => nodes.processes[0].crash().await,
        "node 2" => nodes.processes[1].crash().await,
        "broker 1" | "broker 2" => {
            let broker = event.replace("broker ", "kafka-");
            backends.kill(&broker);
            backends.up().await;
        }
        "database" | "cache" => {
            let server = if event == "database" { "postgres" } else { "redis" };
            backends.kill(server);
            backends.up().await;
        }
        other => panic!("no such event: {other}"),
    }
}

/// Within a partition, the messages of a key lie in the log in the order in which they were sent.
fn check_order(messages: &[Value]) {
    let mut keys: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    for message in messages {
        let (n, offset) = (message["value"]["n"].as_u64(), message["offset"].as_u64());
        let key = message["key"].as_str().unwrap();
        keys.entry(key).or_default().push((n.unwrap(), offset.unwrap()));
    }
    assert_eq!(keys.len(), 97);
    for (key, mut places) in keys {
        places.sort_unstable();
        assert!(places.is_sorted_by_key(|(_, offset)| *offset), "{key} is out of order: {places:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_accepted_is_lost_whatever_falls_over() {
    let which = ["kafka", "postgres", "redis"];
    let Some(backends) = Backends::start("losses", &which, &["--brokers", "3", "--durable"]) else { return };
    let mut nodes = Nodes::on(backends.servers().await, 2).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines.ndjson");
    numbered(&file, LINES);
    let began = Instant::now();
    let producer = sending(&nodes, "losses", &file);
    for (hundredths, event) in EVENTS {
        let moment = LINES / 100 * hundredths;
        until(&format!("{moment} lines consumed"), async || {
            let answer = nodes.client().get("/api/bridge/stats").await.ok()?;
            (answer.json::<Value>().ok()?["consumed"].as_u64()? >= moment).then_some(())
        })
        .await;
        let at = began.elapsed();
        happen(event, &backends, &mut nodes).await;
        println!("{at:?}: {event} ended without warning and came back, {:?}", began.elapsed() - at);
    }
    let sent = tokio::task::spawn_blocking(move || producer.wait_with_output().unwrap()).await.unwrap();
    assert!(sent.status.success(), "{}", stderr(&sent));
    let totals = consumed(&nodes, LINES).await;
    println!(
        "{LINES} lines, 5 nodes and 2 brokers killed, {:?} until all were consumed: {totals}",
        began.elapsed()
    );
    agree(&nodes, "losses", LINES).await;
    check_order(&messages(&nodes, "losses").await);
}
