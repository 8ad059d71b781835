//! `artel simulate providers`, and a node that sends to what it simulates; a node that simulates them itself.

use crate::process::Process;
use crate::providers::Providers;
use crate::system::{System, post};
use crate::until::until;
use http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn messages_of_a_node_arrive_at_the_simulated_providers() {
    // The node has an address before it is started.
    let mut node = Process::prepared(None, &[]);
    let providers = Providers::for_node(&node.url());
    node.set_arguments(&["--config", &providers.config]);
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
    // The first account for short messages does not take this one: the second one does, and its report comes back.
    let body = json!({ "recipient": { "phone": "+79161230066" }, "content": {
        "template": "shipment", "topic": "shipments", "channels": ["sms"], "data": body["content"]["data"],
    } });
    let busy = json!({ "addresses": [{ "provider": "smpp", "ends": "0066", "refusal": { "smpp": { "status": 8 } } }] });
    let set = providers.board.send_json(Method::PUT, "/api/faults", &busy).await.unwrap();
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
    assert!(providers.stop());
}

fn to_everything() -> Value {
    json!({
        "recipient": { "email": "ivan@example.com", "phone": "+79161234567" },
        "content": { "template": "shipment", "topic": "shipments", "mode": "all", "data": {
            "shipment": "s-1", "state": "lost", "tracking_number": "RA123", "occurred_at": "2026-01-02T10:00:00Z",
        } },
    })
}

/// Sends to everything and gives the legs at their end: (channel, account or reason).
async fn legs(node: &Process) -> Vec<(String, String)> {
    let answer = post(node, "/api/notify/deliveries", &to_everything()).await;
    let id = answer.json::<Value>().unwrap()["deliveries"][0]["delivery"].as_str().unwrap().to_owned();
    let path = format!("/api/notify/deliveries/{id}");
    let legs = until("every leg at its end", async || {
        let delivery: Value = node.client().get(&path).await.ok()?.json().ok()?;
        let legs = delivery["legs"].as_array()?.clone();
        let ended = |leg: &Value| ["sent", "delivered", "suppressed"].iter().any(|end| leg["state"] == *end);
        legs.iter().all(ended).then_some(legs)
    })
    .await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut legs: Vec<_> = legs
        .iter()
        .map(|leg| (text(&leg["channel"]), text(&leg["provider"]) + &text(&leg["reason"])))
        .collect();
    legs.sort();
    legs
}

#[tokio::test]
async fn a_node_stands_in_for_providers_where_there_is_no_account_and_only_if_told_to() {
    let place = tempfile::tempdir().unwrap();
    let (data, config) = (place.path().join("data"), place.path().join("artel.toml"));
    std::fs::write(&config, "[[notify.email.accounts]]\nname = \"own\"\nnone = {}\n").unwrap();
    let arguments = ["--config", config.to_str().unwrap(), "--simulate=0"];
    let mut node = Process::with(Some(&data), &arguments).await;
    node.says("sms, push messages go to simulated providers: http://127.0.0.1:").await;
    let own = ("email".to_owned(), "own".to_owned());
    assert_eq!(legs(&node).await, [own.clone(), ("sms".to_owned(), "simulated-sms".to_owned())]);
    let key = std::fs::read(data.join("simulated/vapid.secret")).unwrap();
    node.restart().await;
    assert_eq!(
        std::fs::read(data.join("simulated/vapid.secret")).unwrap(),
        key,
        "browsers subscribed with it"
    );
    assert!(node.stop().await.success());

    // As `./run` is told not to.
    let mut node =
        Process::with(Some(&data), &[arguments[0], arguments[1], arguments[2], "--no-simulate"]).await;
    let without = legs(&node).await;
    assert_eq!(without[0], own);
    assert!(without[1].1.contains("notify.sms.accounts"), "{without:?}");
    assert!(node.stop().await.success());
}
