//! Messages that end as failed, each with its reason.

use crate::{get, post, produce, start, stats};
use artel_bus::Record;
use artel_frame::Sandbox;
use artel_message::Time;
use serde_json::{Value, json};
use std::time::Duration;

async fn append(node: &Sandbox, topic: &str, values: &[Option<&[u8]>]) {
    let time = node.now();
    let bus = node.ctx("bridge").topics().bus().clone();
    for value in values {
        let record = Record { key: Some(b"k"), value: *value, headers: &[], time };
        bus.append(topic, 0, &[record]).await.expect("append");
    }
}

#[tokio::test]
async fn a_value_of_others_that_is_no_json_fails_and_the_rest_is_consumed() {
    let node = start().await;
    let client = node.client();
    node.ctx("bridge").topics().ensure("far").await.expect("the topic is made");
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    append(&node, "far", &[Some(b"1"), Some(b"{x"), None, Some(b"\xff\xfe"), Some(deep.as_bytes())]).await;
    for name in ["far", "again"] {
        let body = json!({"topic": "far", "from": "earliest", "name": name});
        assert_eq!(post(&client, "/api/bridge/consumers", &body).await.status, 201);
    }
    node.settle().await;
    assert_eq!(
        stats(&client).await,
        json!({"accepted": 5, "produced": 5, "consumed": 2, "failed": 3, "duplicates": 0, "again": 5})
    );
    let failed = get(&client, "/api/bridge/messages?topic=far&status=failed").await;
    let mut reasons: Vec<&str> = failed["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|m| m["reason"].as_str().expect("why"))
        .collect();
    reasons.sort_unstable();
    assert_eq!(reasons.len(), 3);
    assert!(reasons[0].starts_with("the value is not JSON: invalid utf-8"), "{reasons:?}");
    assert!(reasons[1].starts_with("the value is not JSON: key must be a string at column 2"), "{reasons:?}");
    assert!(reasons[2].starts_with("the value is not JSON: nested deeper than"), "{reasons:?}");
    let id = failed["items"][0]["id"].as_str().expect("an id");
    let message = get(&client, &format!("/api/bridge/messages/{id}")).await;
    assert_eq!((&message["status"], &message["consumed_at"]), (&json!("failed"), &Value::Null));
    node.stop().await;
}

/// A `ConsumeMessage` about this message that nobody can read.
async fn unreadable_command(node: &Sandbox, id: &str) {
    let headers = [
        ("ce_id", Some(b"018f0000-0000-7000-8000-000000000001".as_slice())),
        ("ce_type", Some(b"bridge.consume-message".as_slice())),
        ("ce_source", Some(b"artel/elsewhere".as_slice())),
        ("ce_specversion", Some(b"1.0".as_slice())),
        ("ce_time", Some(b"2026-01-01T00:00:00.000000Z".as_slice())),
    ];
    let bus = node.ctx("bridge").topics().bus().clone();
    let record = Record { key: Some(id.as_bytes()), value: Some(b"{}"), headers: &headers, time: node.now() };
    bus.append("bridge.commands", 0, &[record]).await.expect("append");
}

/// Until the time is over for which a message is tried.
async fn give_up(node: &Sandbox) {
    node.settle().await;
    node.advance(Duration::from_secs(2 * 3600));
    node.settle().await;
}

#[tokio::test]
async fn a_message_whose_consuming_was_given_up_fails_until_a_later_try_consumes_it() {
    let options = Sandbox::of(|| vec![artel_bridge::service()], || artel_contract::of(&["bridge"]));
    let start = Time::from_micros(1_790_000_000_000_000);
    let node = options
        .manual_clock(start)
        .setting("bridge.consume", "false")
        .start()
        .await
        .expect("the node starts");
    let client = node.client();
    let id = produce(&client, "near", "k", json!(1)).await;
    node.settle().await;
    let path = format!("/api/bridge/messages/{id}");
    assert_eq!(get(&client, &path).await["status"], "produced");

    unreadable_command(&node, &id).await;
    give_up(&node).await;
    let failed = get(&client, &path).await;
    assert_eq!((&failed["status"], &failed["offset"]), (&json!("failed"), &json!(0)));
    assert!(failed["reason"].as_str().expect("why").contains("cannot be read"), "{failed}");
    assert_eq!(stats(&client).await["failed"], 1);
    assert_eq!(get(&client, "/api/bridge/messages?status=failed").await["items"][0]["id"], json!(id));
    unreadable_command(&node, &id).await;
    give_up(&node).await;
    assert_eq!(stats(&client).await["failed"], 1, "a message fails once");

    post(&client, "/api/bridge/consumers", &json!({"topic": "near", "from": "earliest"})).await;
    node.settle().await;
    let consumed = get(&client, &path).await;
    assert_eq!((&consumed["status"], &consumed["reason"]), (&json!("consumed"), &Value::Null));
    let totals =
        json!({"accepted": 1, "produced": 1, "consumed": 1, "failed": 0, "duplicates": 0, "again": 0});
    assert_eq!(stats(&client).await, totals);
    unreadable_command(&node, &id).await;
    give_up(&node).await;
    assert_eq!(get(&client, &path).await["status"], "consumed", "what is consumed stays so");
    assert_eq!(stats(&client).await, totals);
    node.stop().await;
}
