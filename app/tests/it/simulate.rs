//! `artel simulate providers`, and a node that sends to what it simulates.

use crate::process::Process;
use crate::system::{System, post, program};
use crate::until::until;
use artel_frame::client::Client;
use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

/// They end with the test, however it ends.
struct Simulators(Child);

impl Drop for Simulators {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn messages_of_a_node_arrive_at_the_simulated_providers() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    // The node has an address before it is started.
    let mut node = Process::prepared(None, &[]);
    command
        .args(["simulate", "providers", "--port", "0", "--node", &node.url(), "--folder"])
        .arg(folder.path());
    let mut simulators = Simulators(command.stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(simulators.0.stdout.take().unwrap()).lines();
    let mut page = String::new();
    let config = lines.map_while(Result::ok).find_map(|line| {
        page = line.strip_prefix("what arrives: ").map_or(page.clone(), str::to_owned);
        line.strip_prefix("a node that sends to them: artel run --config ").map(str::to_owned)
    });
    let config = config.expect("it says what settings to use");

    node.set_arguments(&["--config", &config]);
    node.begin();
    let data = json!({
        "shipment": "s-1", "state": "in_transit", "tracking_number": "RA123", "occurred_at": "2026-01-02T10:00:00Z",
    });
    let body = json!({
        "recipient": { "email": "ivan@example.com", "phone": "+79161234567", "language": "ru" },
        "content": { "template": "shipment", "topic": "shipments", "mode": "all", "data": data },
    });
    let answer = post(&node, "/api/notify/deliveries", &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.json::<Value>().unwrap()["deliveries"][0]["delivery"].as_str().unwrap().to_owned();

    let board = Client::new(page.trim_end_matches('/')).unwrap();
    let all = until("a mail and a short message", async || {
        let all: Value = board.get("/api/arrivals").await.ok()?.json().ok()?;
        let text = all.to_string();
        (text.contains("ivan@example.com") && text.contains("79161234567")).then_some(text)
    })
    .await;
    assert!(all.contains("RA123"), "{all}");
    // The centre's receipt is what says so.
    until("it is delivered", async || {
        let path = format!("/api/notify/deliveries/{id}");
        let delivery: Value = node.client().get(&path).await.ok()?.json().ok()?;
        delivery.to_string().contains("\"delivered\"").then_some(())
    })
    .await;
    // The first account for short messages does not take this one: the second one does, and its report comes back.
    let body = json!({ "recipient": { "phone": "+79161230066" }, "content": {
        "template": "shipment", "topic": "shipments", "channels": ["sms"], "data": body["content"]["data"],
    } });
    let busy = json!({ "addresses": [{ "provider": "smpp", "ends": "0066", "refusal": { "smpp": { "status": 8 } } }] });
    let set = board.send_json(Method::PUT, "/api/faults", &busy).await.unwrap();
    assert!(set.is_success(), "{}", set.text());
    let answer = post(&node, "/api/notify/deliveries", &body).await;
    let id = answer.json::<Value>().unwrap()["deliveries"][0]["delivery"].as_str().unwrap().to_owned();
    let delivered = until("the second account delivers it", async || {
        let path = format!("/api/notify/deliveries/{id}");
        let delivery: Value = node.client().get(&path).await.ok()?.json().ok()?;
        (delivery["state"] == "delivered").then_some(delivery)
    })
    .await;
    assert_eq!(delivered["legs"][0]["provider"], "simulated-sms-2", "{delivered}");
    drop(node);

    kill_process(Pid::from_child(&simulators.0), Signal::TERM).unwrap();
    assert!(simulators.0.wait().unwrap().success());
}
