//! What a real Prometheus makes of a real node, with the rules and the job of `deploy/prometheus`.

use crate::process::Process;
use crate::system::{System, consumed, post, skipped};
use crate::until::until;
use artel_frame::client::{Client, Outgoing, query};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Those that `./test tools` fetches, or those of this machine; without it the test can't run.
fn tool(name: &str) -> Option<PathBuf> {
    let fetched = std::env::var_os("ARTEL_TEST_TOOLS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = fetched.into_iter().chain(std::env::split_paths(&path));
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        skipped(&format!("{name} is missing; ./test tools fetches it"));
    }
    found
}

/// A Prometheus of this test's own, which ends with it.
struct Prometheus {
    child: Child,
    client: Client,
    folder: TempDir,
}

impl Prometheus {
    /// Reads the files of the installation, pointed at one node and with a clock that suits a test.
    fn start(program: &Path, node: &str) -> Prometheus {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus");
        let text = std::fs::read_to_string(deploy.join("prometheus.yml")).unwrap();
        // The other jobs ask an exporter, and Prometheus itself under another path.
        let end = text.find("  # Whether each node says that it is ready.").expect("the job after ours");
        let nodes = r#"["artel-1:8080", "artel-2:8080", "artel-3:8080"]"#;
        assert!(text[..end].contains(nodes) && text[..end].contains("_interval: 15s"));
        let text = text[..end]
            .replace(nodes, &format!("[\"{}\"]", node.trim_start_matches("http://")))
            .replace("_interval: 15s", "_interval: 1s")
            .replace("_timeout: 10s", "_timeout: 1s");
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("prometheus.yml"), text).unwrap();
        std::fs::copy(deploy.join("alerts.yml"), folder.path().join("alerts.yml")).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(program)
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .stdout(Stdio::null())
            .stderr(File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Prometheus { child, client: Client::new(&format!("http://{address}")).unwrap(), folder }
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let answer = self.client.get(path).await.ok().filter(|answer| answer.status == 200)?;
        Some(answer.json::<Value>().unwrap()["data"].take())
    }

    /// The one value of an expression, as soon as it is that.
    async fn gives(&self, expression: &str, value: &str) {
        let path = format!("/api/v1/query{}", query(&[("query", Some(expression))]));
        until(&format!("{expression} = {value}"), async || {
            let found = self.get(&path).await?;
            (found["result"][0]["value"][1] == *value).then_some(())
        })
        .await;
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("{}", std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
        }
    }
}

/// A node that has done something of everything.
async fn busy_node() -> Process {
    let process = Process::start().await;
    for n in 0..3 {
        let body = json!({ "topic": "greetings", "key": "ann", "value": n });
        assert_eq!(post(&process, "/api/bridge/messages", &body).await.status, 202);
    }
    consumed(&process, 3).await;
    assert_eq!(post(&process, "/api/bridge/messages", &json!({ "topic": 1 })).await.status, 400);
    process
}

#[tokio::test]
async fn prometheus_scrapes_a_node_and_its_rules_hold() {
    let Some(program) = tool("prometheus") else { return };
    let process = busy_node().await;
    let prometheus = Prometheus::start(&program, &process.url());
    prometheus.gives(r#"up{job="artel"}"#, "1").await;
    let handled =
        r#"artel_flow_handled_total{service="bridge",message="bridge.produce-message",result="ok"}"#;
    prometheus.gives(handled, "3").await;
    prometheus.gives(r#"artel_http_requests_total{route="/api/bridge/messages",status="202"}"#, "3").await;
    prometheus.gives("min(artel_ready)", "1").await;
    prometheus.gives(r#"artel_ready{check="database bridge"}"#, "1").await;
    prometheus.gives(&format!("artel_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), "1").await;
    // Both the declared group of the bridge and the one that it made at run time.
    prometheus.gives("count(count by (group) (artel_flow_lag_messages{group=~\"bridge.*\"}))", "2").await;
    prometheus.gives(r#"artel_flow_outbox_age_seconds{service="bridge"}"#, "0").await;

    let alerts = std::fs::read_to_string(prometheus.folder.path().join("alerts.yml")).unwrap();
    let count = alerts.matches("- alert: ").count();
    let rules = until("every rule evaluated", async || {
        let data = prometheus.get("/api/v1/rules").await?;
        let groups = data["groups"].as_array()?;
        let rules: Vec<Value> = groups.iter().flat_map(|g| g["rules"].as_array().cloned().unwrap()).collect();
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    })
    .await;
    assert_eq!(rules.len(), count);
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}

#[tokio::test]
async fn promtool_finds_nothing_wrong_with_the_metrics() {
    let Some(promtool) = tool("promtool") else { return };
    let process = busy_node().await;
    let client = process.client();
    let text = client.get("/metrics").await.unwrap();
    assert_eq!(text.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.text().as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap();
    let said = [said.stdout, said.stderr].concat();
    assert!(said.is_empty(), "{}\n{}", String::from_utf8_lossy(&said), text.text());

    let asked =
        Outgoing::new("GET".parse().unwrap(), "/metrics").header("accept", "application/openmetrics-text");
    let open = client.send(asked).await.unwrap();
    assert!(open.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(open.text().ends_with("# EOF\n"));
    for name in
        ["artel_ready{check=\"log\"} 1\n", "artel_build_info{version=", "artel_flow_outbox_age_seconds{"]
    {
        assert!(text.text().contains(name) && open.text().contains(name), "{name}");
    }
}
