//! What only several nodes can do: take over from each other, and survive one that froze.

use crate::nodes::Nodes;
use crate::scenarios::crashes::{agree, numbered, reached, sending};
use crate::system::{System, consumed, post, stderr};
use crate::until::until;
use artel_frame::client::Client;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Instant;

/// Waits until every lease is a living node's and these nodes have shares; returns how long that took.
pub async fn shared_by(client: &Client, names: &[&str]) -> std::time::Duration {
    let began = Instant::now();
    until(&format!("leases shared by {names:?}"), async || {
        let answer = client.get("/api/admin/status").await.ok()?;
        let status: Value = answer.json().ok()?;
        let leases = status["leases"].as_array()?;
        let partitions: Vec<&Value> = leases.iter().filter(|lease| lease["topic"].is_string()).collect();
        let lives = |lease: &Value| lease["alive"] == true && names.iter().any(|name| lease["node"] == *name);
        let has = |name: &&str| partitions.iter().any(|lease| lease["node"] == **name);
        (!partitions.is_empty() && leases.iter().all(lives) && names.iter().all(has)).then_some(())
    })
    .await;
    began.elapsed()
}

#[tokio::test]
async fn work_is_taken_over_after_a_kill_and_after_a_clean_stop() {
    let Some(mut nodes) = Nodes::of(2).await else { return };
    let hello = json!({ "topic": "greetings", "value": 1 });
    assert_eq!(post(&nodes, "/api/bridge/messages", &hello).await.status, 202);
    shared_by(&nodes.client(), &["node-1", "node-2"]).await;
    nodes.processes[1].kill();
    let killed = shared_by(&nodes.client(), &["node-1"]).await;
    assert_eq!(post(&nodes, "/api/bridge/messages", &hello).await.status, 202);
    consumed(&nodes, 2).await;
    nodes.processes[1].begin();
    shared_by(&nodes.client(), &["node-1", "node-2"]).await;
    nodes.processes[1].signal(Signal::TERM);
    let left = shared_by(&nodes.client(), &["node-1"]).await;
    let status = nodes.processes[1].ended().await;
    assert!(status.success(), "{status}");
    println!("taken over {killed:?} after kill -9, {left:?} after SIGTERM");
    assert_eq!(post(&nodes, "/api/bridge/messages", &hello).await.status, 202);
    consumed(&nodes, 3).await;
}

#[tokio::test]
async fn a_node_that_froze_does_no_harm_when_it_comes_back() {
    const LINES: u64 = 20_000;
    let Some(mut nodes) = Nodes::of(2).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines.ndjson");
    numbered(&file, LINES);
    let mut producer = sending(&nodes, "freezing", &file);
    assert!(reached(&nodes, &mut producer, LINES / 4).await, "it was sent before the freeze");
    nodes.processes[1].signal(Signal::STOP);
    let taken = shared_by(&nodes.client(), &["node-1"]).await;
    nodes.processes[1].signal(Signal::CONT);
    let sent = tokio::task::spawn_blocking(move || producer.wait_with_output().unwrap()).await.unwrap();
    assert!(sent.status.success(), "{}", stderr(&sent));
    let totals = consumed(&nodes, LINES).await;
    println!("taken over {taken:?} after the freeze: {totals}");
    agree(&nodes, "freezing", LINES).await;
    shared_by(&nodes.client(), &["node-1", "node-2"]).await;
    nodes.restart().await;
}
