//! Nodes as a whole: start, stop, crash, folders, readiness.

use crate::stall::{Add, Added, Total, catalogue, services};
use artel_frame::config::{Config, Sources};
use artel_frame::{Node, Overrides, Sandbox, StartFailure};
use artel_message::Time;
use std::time::{Duration, Instant};

const START: Time = Time::from_micros(1_767_225_600_000_000);

fn add(item: &str, count: u32) -> Add {
    Add { item: item.to_owned(), count }
}

async fn sandbox() -> Sandbox {
    Sandbox::start(services, catalogue).await.unwrap()
}

async fn total(node: &Sandbox) -> i64 {
    node.settle().await;
    node.ctx("stall").query(Total {}).await.unwrap()
}

#[tokio::test]
async fn a_message_goes_through_a_node_and_over_a_restart() {
    let mut node = sandbox().await;
    let answer =
        node.client().send_json("POST".parse().unwrap(), "/api/stall/items", &add("a", 2)).await.unwrap();
    assert_eq!((answer.status, answer.json::<u32>().unwrap()), (200, 2));
    assert_eq!(total(&node).await, 2);
    assert_eq!(node.published::<Added>().await, [Added { item: "a".to_owned(), count: 2 }]);
    node.restart().await.unwrap();
    node.ctx("stall").ask(add("a", 3)).await.unwrap();
    assert_eq!(total(&node).await, 5);
    node.stop().await;
}

#[tokio::test]
async fn what_was_answered_survives_crashes_and_is_taken_in_once() {
    let mut node = sandbox().await;
    for round in 1..=5 {
        for i in 0..20 {
            node.ctx("stall").ask(add(&format!("item {i}"), 1)).await.unwrap();
        }
        node.crash().await.unwrap();
        assert_eq!(total(&node).await, i64::from(20 * round));
    }
    assert_eq!(node.published::<Added>().await.len(), 100);
    node.stop().await;
}

#[tokio::test]
async fn time_moves_by_hand() {
    let node = Sandbox::of(services, catalogue).manual_clock(START).start().await.unwrap();
    assert_eq!(total(&node).await, 0);
    node.advance(Duration::from_secs(3600));
    assert_eq!((total(&node).await, node.now()), (1000, START + Duration::from_secs(3600)));
    node.stop().await;
}

#[tokio::test]
async fn nodes_in_one_process_have_nothing_in_common() {
    let (one, two) = (sandbox().await, sandbox().await);
    one.ctx("stall").ask(add("a", 1)).await.unwrap();
    assert_eq!((total(&one).await, total(&two).await), (1, 0));
    assert_ne!(one.url(), two.url());
    one.stop().await;
    two.stop().await;
}

fn config(sources: Sources) -> Config {
    Config::load(sources.set("--listen", "http.listen", "127.0.0.1:0")).unwrap()
}

async fn refused(config: Config) -> StartFailure {
    // Starting takes much room, which is not to be part of every test.
    let start = Box::pin(Node::start(config, services(), catalogue(), Overrides::default()));
    start.await.err().expect("is refused")
}

#[tokio::test]
async fn a_folder_has_one_node() {
    let node = sandbox().await;
    let folder = node.folder().display().to_string();
    let failure = refused(config(Sources::new().set("--data-dir", "node.data_dir", folder.clone()))).await;
    let pid = std::process::id();
    let expected = format!(
        "the data folder '{folder}' is in use by another process (pid {pid}); stop that one, or choose another folder with \
         --data-dir"
    );
    assert_eq!(failure.to_string(), expected);
    node.stop().await;
}

#[tokio::test]
async fn an_address_in_use_is_refused_with_a_sentence() {
    let node = sandbox().await;
    let folder = tempfile::tempdir().unwrap();
    let sources = Sources::new().set("--data-dir", "node.data_dir", folder.path().display().to_string()).set(
        "--listen",
        "http.listen",
        node.node().address().to_string(),
    );
    let failure = refused(Config::load(sources).unwrap()).await.to_string();
    assert!(failure.starts_with(&format!("can't listen on {}", node.node().address())), "{failure}");
    node.stop().await;
}

#[tokio::test]
async fn the_embedded_log_belongs_to_one_process_with_every_service() {
    let second = || artel_flow::Service::new("second");
    let folder = tempfile::tempdir().unwrap();
    let sources = Sources::new()
        .set("--data-dir", "node.data_dir", folder.path().display().to_string())
        .set_list("--roles", "node.roles", vec!["stall".to_owned()]);
    let services = vec![crate::stall::stall(), second()];
    let failure =
        Node::start(config(sources), services, catalogue(), Overrides::default()).await.err().unwrap();
    let said = failure.to_string();
    assert!(said.starts_with("--roles: node.roles: second would run nowhere: the embedded log"), "{said}");
    let sources = Sources::new().set_list("--roles", "node.roles", vec!["stal".to_owned()]);
    let said = refused(config(sources)).await.to_string();
    assert_eq!(said, "--roles: node.roles: no service is called 'stal'; there are stall");
}

#[tokio::test]
async fn a_services_own_settings_are_checked_with_their_source() {
    let defaults = "[stall]\nmost = 7\n";
    for (setting, said) in [
        ("most = 0", "my.toml:2: stall.most: 0 lets nothing in; use 1 or more"),
        ("mast = 1", "my.toml:2: stall.mast: no such key; did you mean 'most'?"),
        ("most = \"x\"", "my.toml:2: stall.most: expected a whole number in range, found the text \"x\""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("my.toml");
        std::fs::write(&file, format!("[stall]\n{setting}\n")).unwrap();
        let sources = Sources::new().defaults("stall", defaults).file(Some(&file));
        let failure = refused(config(sources)).await.to_string();
        assert!(failure.ends_with(said), "{failure}");
    }
}

#[tokio::test]
async fn a_node_is_ready_soon_and_says_of_what() {
    let started = Instant::now();
    let node = sandbox().await;
    let client = node.client();
    let ready = client.get("/readyz").await.unwrap();
    println!("ready after {:?} on an empty folder", started.elapsed());
    assert_eq!(ready.status, 200, "{}", ready.text());
    let report: serde_json::Value = ready.json().unwrap();
    let names: Vec<&String> = report["checks"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["cache", "database stall", "disk", "groups", "log", "messages", "start"]);
    node.ctx("stall").ask(add("a", 1)).await.unwrap();
    node.settle().await;
    let metrics = client.get("/metrics").await.unwrap().text();
    for name in [
        "artel_flow_published_total{service=\"stall\"}",
        "artel_http_requests",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.contains(name), "{name}");
    }
    node.stop().await;
}

#[tokio::test]
async fn settings_are_read_as_the_type_of_their_key() {
    let options = Sandbox::of(services, catalogue);
    let options =
        options.setting("http.compression", "false").setting("flow.tries", "2").setting("stall.most", "7");
    let node = options.setting("http.hosts", "a.example, b.example").start().await.unwrap();
    assert_eq!(node.client().get("/livez").await.unwrap().status, 200);
    node.stop().await;
    let wrong = Sandbox::of(services, catalogue).setting("flow.tries", "some").start().await;
    let Err(StartFailure::Config(problems)) = wrong else { panic!("a wrong setting is refused") };
    assert_eq!((problems.len(), &*problems[0].path, &*problems[0].source), (1, "flow.tries", "sandbox"));
}

#[tokio::test]
async fn a_folder_that_a_node_makes_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("made/data");
    let sources = Sources::new().set("test", "node.data_dir", folder.display().to_string());
    let config = Config::load(sources.set("test", "http.listen", "127.0.0.1:0")).unwrap();
    let node = Node::start(config, services(), catalogue(), Overrides::default()).await.unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join(artel_frame::TOKEN_FILE))), (0o700, 0o600));
    node.stop().await;
    assert!(!folder.join(artel_frame::TOKEN_FILE).exists());
}
