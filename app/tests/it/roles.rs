//! Services split between nodes: asked over the nodes' own listener, missed by name, taken over after a crash.

use crate::cluster::shared_by;
use crate::sandboxes::Sandboxes;
use crate::system::{System, consumed, post};
use crate::tally::{Count, Follow};
use crate::until::until;
use artel_message::Code;
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn a_role_that_runs_nowhere_is_named_until_a_node_has_it() {
    let Some(mut system) = Sandboxes::of(&["bridge", "bridge"]).await else { return };
    for node in &system.nodes {
        let fault = node.ctx("bridge").ask(Follow { topics: Vec::new() }).await.unwrap_err();
        assert_eq!(fault.code, Code::Unavailable, "{fault}");
        assert!(fault.reason.contains("service 'tally' runs on no living node"), "{fault}");
        assert_eq!(fault.detail, Some(Box::new(json!({ "service": "tally" }))));
    }
    let status = system.client().get("/api/admin/status").await.unwrap().text().to_string();
    assert!(status.contains("service tally runs on no living node"), "{status}");
    system.join("tally").await;
    for node in &system.nodes[..2] {
        let answered = until("an answer of the third node", async || {
            node.ctx("bridge").ask(Follow { topics: vec!["greetings".to_owned()] }).await.ok()
        });
        assert_eq!(answered.await, 1);
        let metrics = node.client().get("/metrics").await.unwrap().text().to_string();
        let answered = "artel_peer_calls_total{service=\"tally\",result=\"ok\"} 1\n";
        assert!(metrics.contains(answered), "no {answered} in {metrics}");
    }
    let peer = system.nodes[2].node().peer_address().unwrap();
    let unsigned = artel_frame::client::Client::new(&format!("http://{peer}")).unwrap();
    let answer = unsigned.send_json("POST".parse().unwrap(), "/peers/query/tally.count", &json!({})).await;
    assert_eq!(answer.unwrap().status, 401, "who signs nothing is not answered");
}

#[tokio::test]
async fn what_a_killed_node_did_is_taken_over_and_nothing_of_it_runs_on() {
    let Some(mut system) = Sandboxes::start().await else { return };
    let hello = json!({ "topic": "greetings", "value": 1 });
    let all = ["node-1", "node-2", "node-3"];
    assert_eq!(post(&system, "/api/bridge/messages", &hello).await.status, 202);
    shared_by(&system.client(), &all).await;
    let log = Arc::downgrade(system.nodes[1].node().bus());
    system.nodes[1].kill().await;
    assert!(log.upgrade().is_none(), "somebody still holds the log of the killed node");
    let taken = shared_by(&system.client(), &["node-1", "node-3"]).await;
    println!("taken over {taken:?} after the crash");
    assert_eq!(post(&system, "/api/bridge/messages", &hello).await.status, 202);
    consumed(&system, 2).await;
    let folder = system.nodes[1].folder().to_owned();
    system.nodes[1].begin().await.unwrap();
    assert_eq!(system.nodes[1].folder(), folder);
    shared_by(&system.client(), &all).await;
    // The third one's work has nobody else: it waits, and says so, until the node is back.
    system.nodes[2].kill().await;
    let fault = system.nodes[0].ctx("bridge").query(Count {}).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable, "{fault}");
    assert_eq!(post(&system, "/api/bridge/messages", &hello).await.status, 202);
    consumed(&system, 3).await;
    system.nodes[2].begin().await.unwrap();
    system.holds().await;
}
