//! Servers that are away when a node starts, or go away later: it waits, says for whom, and goes on by itself.

use crate::address::free;
use crate::backends::Backends;
use crate::nodes::{Nodes, Servers};
use crate::scenarios::crashes::agree;
use crate::system::{System, consumed, get, post, stats};
use crate::until::until;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::task::JoinSet;

/// A way to a server that can be cut: with it go the connections through it.
fn way(from: SocketAddr, to: String) -> JoinSet<()> {
    let mut way = JoinSet::new();
    way.spawn(async move {
        let listener = tokio::net::TcpListener::bind(from).await.unwrap();
        let mut connections = JoinSet::new();
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let to = to.clone();
            connections.spawn(async move {
                if let Ok(mut far) = tokio::net::TcpStream::connect(&to).await {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
    way
}

/// HOST:PORT of a URL.
fn host(url: &str) -> String {
    let (_, rest) = url.split_once("://").unwrap();
    rest.split('@').next_back().unwrap().split('/').next().unwrap().to_owned()
}

/// Messages numbered from `from` on; each is accepted.
async fn send(nodes: &Nodes, from: u64, count: u64) {
    for n in from..from + count {
        let message = json!({ "topic": "waiting", "key": format!("key {n}"), "value": { "n": n } });
        let answer = post(nodes, "/api/bridge/messages", &message).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
}

/// It lives, and serves nothing yet.
async fn is_closed(nodes: &Nodes) {
    let client = nodes.client();
    assert_eq!(client.get("/livez").await.unwrap().status, 200);
    let refused = client.get("/api/bridge/stats").await.unwrap();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").parse::<u32>().is_ok(), "it says when to come again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_waits_for_its_database_at_the_start_and_later() {
    let Some(servers) = Servers::given().await else { return };
    let (near, far) = (free(), host(&servers.database.url));
    let settings = servers.settings("node-1", "").replace(&far, &near.to_string());
    let nodes = Nodes::unready(servers, &settings);
    nodes.report(503, &["waiting for the database (db.url)"]).await;
    is_closed(&nodes).await;
    let open = way(near, far.clone());
    nodes.report(200, &[]).await;
    send(&nodes, 0, 3).await;
    consumed(&nodes, 3).await;
    drop(open);
    nodes.report(503, &["database bridge"]).await;
    let message = json!({ "topic": "waiting", "value": { "n": 3 } });
    assert_eq!(post(&nodes, "/api/bridge/messages", &message).await.status, 503, "not accepted: not saved");
    let _open = way(near, far);
    nodes.report(200, &[]).await;
    send(&nodes, 3, 3).await;
    consumed(&nodes, 6).await;
    agree(&nodes, "waiting", 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_waits_for_kafka_at_the_start_and_later() {
    let Some(mut servers) = Servers::given().await else { return };
    let Some(backends) = Backends::start("waits", &["kafka"], &[]) else { return };
    servers.kafka = backends.given("ARTEL_TEST_KAFKA");
    backends.kill("kafka-1");
    let (settings, brokers) = (servers.settings("node-1", ""), servers.kafka.clone());
    let nodes = Nodes::unready(servers, &settings);
    nodes.report(503, &["waiting for Kafka (bus.url)", &brokers]).await;
    is_closed(&nodes).await;
    backends.up().await;
    nodes.report(200, &[]).await;
    send(&nodes, 0, 3).await;
    consumed(&nodes, 3).await;

    backends.kill("kafka-1");
    let report = nodes.report(503, &["\"log\":{\"status\":\"failed\"", "brokers"]).await;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["checks"]["database bridge"]["status"], "ready", "{report}");
    // What is accepted is saved, and leaves when Kafka is back.
    send(&nodes, 3, 5).await;
    let now = stats(&nodes).await;
    assert_eq!((&now["accepted"], &now["consumed"]), (&json!(8), &json!(3)), "{now}");
    backends.up().await;
    consumed(&nodes, 8).await;
    nodes.report(200, &[]).await;
    agree(&nodes, "waiting", 8).await;
}

/// What `/readyz` says of the cache.
async fn cache(nodes: &Nodes, status: &str) -> Value {
    until(&format!("the cache to be {status}"), async || {
        let answer = nodes.client().get("/readyz").await.ok()?;
        let report: Value = answer.json().ok()?;
        let found = report["checks"]["cache"].clone();
        (found["status"] == status).then(|| {
            assert_eq!((answer.status, &report["status"]), (200, &json!("ready")), "{report}");
            found
        })
    })
    .await
}

/// How many entries the cache has.
async fn entries(nodes: &Nodes) -> usize {
    let page = get(nodes, "/api/admin/cache").await;
    page["items"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_works_without_its_cache_and_takes_it_back() {
    let Some(servers) = Servers::given().await else { return };
    let (near, far) = (free(), host(&servers.redis));
    let settings = servers.settings("node-1", "").replace(&far, &near.to_string());
    let nodes = Nodes::unready(servers, &settings);
    nodes.report(200, &[]).await;
    let found = cache(&nodes, "degraded").await;
    let reason = found["reason"].as_str().unwrap();
    assert!(reason.contains("it can't be reached") && reason.contains("work goes on without it"), "{reason}");
    let status = get(&nodes, "/api/admin/status").await;
    let problem = format!("node node-1 goes on without cache: {reason}");
    assert_eq!(status["problems"], json!([problem]));
    assert_eq!(status["nodes"][0]["ready"], true, "{status}");
    send(&nodes, 0, 3).await;
    consumed(&nodes, 3).await;

    let open = way(near, far.clone());
    cache(&nodes, "ready").await;
    let first = crate::system::messages(&nodes, "waiting").await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/bridge/messages/{first}");
    until("a message that is looked at to be in the cache again", async || {
        get(&nodes, &path).await;
        (entries(&nodes).await > 0).then_some(())
    })
    .await;
    drop(open);
    cache(&nodes, "degraded").await;
    send(&nodes, 3, 3).await;
    consumed(&nodes, 6).await;
    assert_eq!(get(&nodes, &path).await["status"], "consumed");
    let _open = way(near, far);
    cache(&nodes, "ready").await;
    agree(&nodes, "waiting", 6).await;
}
