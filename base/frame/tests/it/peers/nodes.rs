//! Several nodes in this process, on one PostgreSQL database and one log.

use super::way::Way;
use super::{Hello, Long, SECRET, Sum, catalogue, put, services};
use artel_bus::Bus;
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_flow::Asked;
use artel_frame::{Sandbox, SandboxOptions};
use artel_message::{Code, Fault};
use artel_store::conformance::{TestDatabase, database};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// What the nodes share.
struct System {
    database: TestDatabase,
    log: Arc<dyn Bus>,
    _folder: TempDir,
}

impl System {
    async fn new() -> Option<System> {
        let database = database().await?;
        let folder = TempDir::new().unwrap();
        let log: Arc<dyn Bus> = Segments::open(folder.path().join("log"), SegmentsConfig::default()).unwrap();
        Some(System { database, log, _folder: folder })
    }

    fn node(&self, name: &str, role: &str) -> SandboxOptions {
        Sandbox::of(services, catalogue)
            .one_of_several(self.log.clone(), &self.database.url)
            .setting("node.name", name)
            .setting("node.roles", role)
            .setting("flow.beat", "100ms")
            .setting("flow.silence", "2s")
            .setting("peers.listen", "127.0.0.1:0")
            .setting("peers.secret", SECRET)
            .setting("peers.timeout", "10s")
    }

    async fn start(&self, name: &str, role: &str) -> Sandbox {
        self.node(name, role).start().await.unwrap()
    }
}

/// Until a node sees so many living ones.
async fn sees(node: &Sandbox, living: usize) {
    let mut look_again = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..1500 {
        let members = node.node().runtime().members().list();
        if members.iter().filter(|member| member.alive).count() == living {
            return;
        }
        look_again.tick().await;
    }
    panic!("it sees {:?}", node.node().runtime().members().list());
}

async fn status(node: &Sandbox) -> Value {
    let answer = node.client().get("/api/admin/status").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().unwrap()
}

/// Until the status of a node is as wanted.
async fn status_until(node: &Sandbox, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut look_again = tokio::time::interval(Duration::from_millis(100));
    let mut last = Value::Null;
    for _ in 0..300 {
        last = status(node).await;
        if holds(&last) {
            return last;
        }
        look_again.tick().await;
    }
    panic!("{what} did not come true: {last:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_on_another_node_answers_as_if_it_were_here() {
    let Some(system) = System::new().await else { return };
    let depot = system.start("depot-1", "depot").await;
    let front = system.start("front-1", "front").await;
    sees(&depot, 2).await;
    let ctx = front.ctx("front");
    assert_eq!(ctx.ask(put("tea", 3)).await, Ok(3));
    assert_eq!(ctx.query(Sum {}).await, Ok(3));
    let poison = Fault::forbidden("not in this depot").with(json!({ "law": 7 }));
    assert_eq!(ctx.ask(put("poison", 1)).await, Err(poison));
    assert_eq!(ctx.ask(put("later", 1)).await, Err(Fault::not_found("no such shelf")));
    let panicked = ctx.ask(put("panic", 1)).await.unwrap_err();
    assert!(panicked.code == Code::Internal && panicked.reason.contains("on fire"), "{panicked}");
    assert_eq!(depot.ctx("depot").query(Hello {}).await, Ok("hello".to_owned()), "both ways");
    assert_eq!(ctx.query(Sum {}).await, Ok(3));
    front.stop().await;
    depot.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_midway_is_asked_for_again_and_the_command_runs_once() {
    let Some(system) = System::new().await else { return };
    let way = Way::open().await;
    let url = format!("http://{}", way.address);
    let depot = system.node("depot-1", "depot").setting("peers.url", url).start().await.unwrap();
    way.leads_to(depot.node().peer_address().unwrap());
    let front = system.start("front-1", "front").await;
    let ctx = front.ctx("front");
    for total in 1..=3 {
        way.lose(1);
        assert_eq!(ctx.ask(put("tea", 1)).await, Ok(total), "the first reply");
        assert_eq!(way.left_to_lose(), 0, "an answer was lost");
    }
    way.lose(1);
    assert_eq!(ctx.query(Sum {}).await, Ok(3), "each ran once");
    // Two tries and no more.
    way.lose(2);
    let fault = ctx.ask(put("tea", 1)).await.unwrap_err();
    assert!(fault.code == Code::Unavailable && fault.reason.contains("depot-1"), "{fault}");
    // Under a key of the caller's own asking again later gives the first reply.
    let asked = || Asked::by("customer").key(Some("k".to_owned()));
    way.lose(2);
    assert_eq!(ctx.ask_as(put("tea", 10), asked()).await.unwrap_err().code, Code::Unavailable);
    way.lose(0);
    // After so many failures the node is left alone for a while, and whoever asks is told for how long.
    let mut look_again = tokio::time::interval(Duration::from_millis(50));
    let mut reply = ctx.ask_as(put("tea", 10), asked()).await;
    for _ in 0..600 {
        let Err(fault) = &reply else { break };
        let pause = fault.detail.as_ref().and_then(|detail| detail["retry_after"].as_u64());
        assert!(pause.is_some_and(|seconds| (1..=10).contains(&seconds)), "{fault}");
        look_again.tick().await;
        reply = ctx.ask_as(put("tea", 10), asked()).await;
    }
    assert_eq!((reply.clone(), ctx.query(Sum {}).await), (Ok(14), Ok(14)));
    assert_eq!(ctx.ask_as(put("tea", 10), asked()).await, reply);
    front.stop().await;
    depot.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_gone_is_passed_over_and_one_that_comes_back_is_found() {
    let Some(system) = System::new().await else { return };
    let mut first = system.start("depot-1", "depot").await;
    let second = system.start("depot-2", "depot").await;
    let front = system.start("front-1", "front").await;
    sees(&front, 3).await;
    let ctx = front.ctx("front");
    for total in 1..=8 {
        assert_eq!(ctx.ask(put("tea", 1)).await, Ok(total));
    }
    // It goes without a word: until its silence is noticed every call still finds the other one.
    drop(second);
    for total in 9..=20 {
        assert_eq!(ctx.ask(put("tea", 1)).await, Ok(total));
    }
    first.restart().await.unwrap();
    let mut look_again = tokio::time::interval(Duration::from_millis(50));
    let mut found = ctx.query(Sum {}).await;
    for _ in 0..600 {
        if found.is_ok() {
            break;
        }
        look_again.tick().await;
        found = ctx.query(Sum {}).await;
    }
    assert_eq!(found, Ok(20));
    front.stop().await;
    first.stop().await;
}

/// It lives, takes connections, and says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_node_that_is_silent_another_one_is_asked() {
    let Some(system) = System::new().await else { return };
    let way = Way::open().await;
    let url = format!("http://{}", way.address);
    let silent = system.node("depot-1", "depot").setting("peers.url", url).start().await.unwrap();
    way.leads_to(silent.node().peer_address().unwrap());
    let other = system.start("depot-2", "depot").await;
    let front = system.node("front-1", "front").setting("peers.timeout", "3s").start().await.unwrap();
    sees(&front, 3).await;
    let ctx = front.ctx("front");
    assert_eq!(ctx.ask(put("tea", 1)).await, Ok(1));
    way.falls_silent();
    for total in 2..=9 {
        assert_eq!(ctx.ask(put("tea", 1)).await, Ok(total), "each once, whoever ran it");
        assert_eq!(ctx.query(Sum {}).await, Ok(total));
    }
    front.stop().await;
    other.stop().await;
    silent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_is_too_large_is_nothing_that_the_caller_asked_wrongly() {
    let Some(system) = System::new().await else { return };
    let depot = system.start("depot-1", "depot").await;
    let front = system.node("front-1", "front").setting("peers.body_limit", "64KiB").start().await.unwrap();
    sees(&front, 2).await;
    let fault = front.ctx("front").query(Long {}).await.unwrap_err();
    assert_eq!((fault.code, fault.reason.contains("peers.body_limit")), (Code::Internal, true), "{fault}");
    front.stop().await;
    depot.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_runs_nowhere_and_a_wrong_secret_are_said_in_words() {
    let Some(system) = System::new().await else { return };
    let front = system.start("front-1", "front").await;
    let fault = front.ctx("front").query(Sum {}).await.unwrap_err();
    assert!(
        fault.code == Code::Unavailable && fault.reason.contains("'depot' runs on no living node"),
        "{fault}"
    );
    let other = "another secret, which is long enough too";
    let depot = system.node("depot-1", "depot").setting("peers.secret", other).start().await.unwrap();
    sees(&front, 2).await;
    let fault = front.ctx("front").ask(put("tea", 1)).await.unwrap_err();
    assert!(fault.code == Code::Unavailable && fault.reason.contains("depot-1"), "{fault}");
    assert!(fault.reason.contains("the same peers.secret on every node"), "{fault}");
    assert_eq!(depot.ctx("depot").query(Sum {}).await, Ok(0));
    let status = status(&front).await;
    let problems = status["problems"].to_string();
    assert!(
        problems.contains("node depot-1 can't be asked") && problems.contains("peers.secret"),
        "{problems}"
    );
    front.stop().await;
    depot.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_shows_all_nodes_who_does_what_and_what_is_wrong() {
    let Some(system) = System::new().await else { return };
    let depot = system.start("depot-1", "depot").await;
    let front = system.start("front-1", "front").await;
    sees(&depot, 2).await;
    let well = |status: &Value| {
        let leases = status["leases"].as_array().unwrap();
        status["problems"] == json!([]) && leases.iter().any(|lease| lease["service"] == "front")
    };
    for (node, this) in [(&depot, "depot-1"), (&front, "front-1")] {
        let status = status_until(node, "all is well", well).await;
        let nodes: Vec<&Value> = status["nodes"].as_array().unwrap().iter().collect();
        assert_eq!(nodes.len(), 2);
        for node in nodes {
            assert_eq!(node["this"], json!(node["name"] == this));
            assert_eq!((&node["alive"], &node["ready"]), (&json!(true), &json!(true)), "{node}");
            assert!(node["peer"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{node}");
        }
        let leases = status["leases"].as_array().unwrap();
        let partitions =
            leases.iter().filter(|l| l["what"] == "depot" && l["node"] == "depot-1" && l["epoch"].is_i64());
        assert_eq!(partitions.count(), 4, "{leases:?}");
        let relay = |service: &str| {
            leases
                .iter()
                .filter(|l| l["service"] == service && l["what"] == "relay" && l["alive"] == true)
                .count()
        };
        assert_eq!((relay("depot"), relay("front")), (1, 1));
        assert_eq!(status["groups"][0]["group"], "depot");
        assert_eq!(status["groups"][0]["partitions"].as_array().unwrap().len(), 4);
        assert_eq!(
            status["outboxes"],
            json!([{ "service": "depot", "rows": 0 }, { "service": "front", "rows": 0 }])
        );
    }
    drop(depot);
    let wrong =
        |status: &Value| status["problems"].to_string().contains("service depot runs on no living node");
    let status = status_until(&front, "the depot is missed", wrong).await;
    assert_eq!(status["nodes"].as_array().unwrap().iter().filter(|node| node["alive"] == true).count(), 1);
    front.stop().await;
}
