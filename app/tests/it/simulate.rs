//! `artel simulate providers`, and a node that sends to what it simulates.

use crate::process::Process;
use crate::providers::Providers;
use crate::system::{System, post};
use crate::until::until;
use serde_json::{Value, json};

#[tokio::test]
async fn messages_of_a_node_arrive_at_the_simulated_providers() {
    let providers = Providers::start();
    let node = Process::with(None, &["--config", &providers.config]).await;
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

    let all = until("a mail and a short message", async || {
        let all: Value = providers.board.get("/api/arrivals").await.ok()?.json().ok()?;
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
    drop(node);
    assert!(providers.stop());
}
