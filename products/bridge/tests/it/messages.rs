//! Sending messages and following them.

use crate::{get, post, produce, start, stats};
use artel_bus::Record;
use artel_frame::client::Outgoing;
use http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_message_is_accepted_produced_and_consumed() {
    let node = start().await;
    let client = node.client();
    let id = produce(&client, "orders", "o-1", json!({"total": 12.50, "items": ["чай", null]})).await;
    node.settle().await;
    let message = get(&client, &format!("/api/bridge/messages/{id}")).await;
    assert_eq!(message["status"], "consumed");
    assert_eq!((&message["topic"], &message["key"]), (&json!("orders"), &json!("o-1")));
    assert_eq!(message["value"], json!({"total": 12.50, "items": ["чай", null]}));
    assert_eq!(message["offset"], 0);
    for time in ["accepted_at", "produced_at", "consumed_at"] {
        assert!(message[time].as_str().is_some_and(|t| t.ends_with('Z')), "{time}: {message}");
    }
    let copy = get(&client, &format!("/api/bridge/messages/{id}")).await;
    assert_eq!(copy, message, "the copy in the cache is the message");
    assert_eq!(
        stats(&client).await,
        json!({"accepted": 1, "produced": 1, "consumed": 1, "failed": 0, "duplicates": 0, "again": 0})
    );
    node.stop().await;
}

#[tokio::test]
async fn a_lost_cache_loses_nothing() {
    let node = start().await;
    let client = node.client();
    let id = produce(&client, "orders", "o-1", json!(1)).await;
    node.settle().await;
    let path = format!("/api/bridge/messages/{id}");
    let before = get(&client, &path).await;
    let keys = node.ctx("bridge").cache().scan("", None, 100).await.expect("keys").keys;
    assert!(!keys.is_empty(), "a copy was kept");
    for entry in keys {
        node.ctx("bridge").cache().delete(&entry.key).await.expect("deleted");
    }
    assert_eq!(get(&client, &path).await, before);
    node.stop().await;
}

#[tokio::test]
async fn a_value_is_kept_to_the_letter() {
    let node = start().await;
    let client = node.client();
    let body = r#"{"topic":"t","value":{"n":12345678901234567890.10,  "b":1, "a":2}}"#;
    let request = Outgoing::new(Method::POST, "/api/bridge/messages").body("application/json", body);
    let answer = client.send(request).await.expect("an answer");
    assert_eq!(answer.status, 202, "{}", answer.problem());
    node.settle().await;
    let text = client.get("/api/bridge/messages?topic=t").await.expect("an answer").text();
    assert!(text.contains(r#"{"n":12345678901234567890.10,  "b":1, "a":2}"#), "{text}");
    node.stop().await;
}

#[tokio::test]
async fn a_repeat_under_a_key_gets_the_same_id_and_another_body_is_a_conflict() {
    let node = start().await;
    let client = node.client();
    let send = |body: Value| {
        let request = Outgoing::new(Method::POST, "/api/bridge/messages")
            .header("idempotency-key", "k-1")
            .body("application/json", body.to_string());
        client.send(request)
    };
    let first = send(json!({"topic": "t", "value": {"a": 1, "b": 2}})).await.expect("an answer");
    let again = send(json!({"topic": "t", "value": {"a": 1, "b": 2}})).await.expect("an answer");
    assert_eq!((first.status, again.status), (202, 202));
    assert_eq!(first.text(), again.text());
    let other = send(json!({"topic": "t", "value": {"a": 1, "b": 3}})).await.expect("an answer");
    assert_eq!(other.status, 409, "{}", other.text());
    node.settle().await;
    assert_eq!(stats(&client).await["accepted"], 1);
    node.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_message_is_said_and_names_the_field() {
    let node = start().await;
    let client = node.client();
    let long = "x".repeat(2_200_000);
    let cases = [
        (json!({"topic": "a b", "value": 1}), 400, "topic: 'a b' is no topic name"),
        (json!({"topic": "", "value": 1}), 400, "topic: is empty"),
        (json!({"topic": "t"}), 400, "value"),
        (json!({"topic": "t", "value": 1, "colour": 2}), 400, "colour"),
        (
            json!({"topic": "t", "value": 1, "headers": {"ce_id": "x"}}),
            400,
            "headers: 'ce_id' is written by the platform",
        ),
        (json!({"topic": "t", "value": 1, "headers": {"Artel_seq": "1"}}), 400, "headers: 'Artel_seq'"),
        (json!({"topic": "t", "value": 1, "headers": {"traceparent": "1"}}), 400, "headers: 'traceparent'"),
        (json!({"topic": "t", "key": "k".repeat(5000), "value": 1}), 400, "key: is longer"),
        (json!({"topic": "bridge.commands", "value": 1}), 403, "belongs to service 'bridge'"),
        (json!({"topic": "t", "value": long}), 400, "bus.max_message_bytes"),
    ];
    for (body, status, sentence) in cases {
        let answer = post(&client, "/api/bridge/messages", &body).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.problem().contains(sentence), "'{sentence}' in '{}'", answer.problem());
    }
    assert_eq!(stats(&client).await["accepted"], 0);
    node.stop().await;
}

async fn batch(
    client: &artel_frame::client::Client,
    key: Option<&str>,
    body: String,
) -> artel_frame::client::Answer {
    let mut request =
        Outgoing::new(Method::POST, "/api/bridge/messages:batch").body("application/x-ndjson", body);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    client.send(request).await.expect("an answer")
}

#[tokio::test]
async fn a_batch_takes_good_lines_and_names_the_bad_ones() {
    let node = start().await;
    let client = node.client();
    let mut lines: Vec<String> = (0..2500)
        .map(|i| json!({"topic": "big", "key": format!("k{}", i % 7), "value": i}).to_string())
        .collect();
    lines[4] = "{not json".to_owned();
    lines[5] = json!({"topic": "no topic", "value": 1}).to_string();
    lines[6] = String::new();
    lines[1700] = json!({"topic": "bridge.commands", "value": 1}).to_string();
    let answer = batch(&client, Some("b-1"), lines.join("\n")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let report: Value = answer.json().expect("JSON");
    assert_eq!((&report["accepted"], &report["refused"]), (&json!(2496), &json!(3)));
    let numbers: Vec<i64> = report["errors"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|e| e["line"].as_i64().expect("a line"))
        .collect();
    assert_eq!(numbers, [5, 6, 1701]);
    let again = batch(&client, Some("b-1"), lines.join("\n")).await;
    assert_eq!(again.text(), answer.text(), "the same batch under the same key is taken in once");
    node.settle().await;
    let totals = stats(&client).await;
    assert_eq!((&totals["accepted"], &totals["consumed"]), (&json!(2496), &json!(2496)));
    node.stop().await;
}

#[tokio::test]
async fn a_batch_of_another_type_is_refused() {
    let node = start().await;
    let request = Outgoing::new(Method::POST, "/api/bridge/messages:batch").body("application/json", "{}");
    let answer = node.client().send(request).await.expect("an answer");
    assert_eq!(answer.status, 415, "{}", answer.text());
    node.stop().await;
}

#[tokio::test]
async fn a_list_goes_page_by_page_from_the_newest() {
    let node = start().await;
    let client = node.client();
    for i in 0..25 {
        produce(&client, if i % 5 == 0 { "other" } else { "mine" }, "k", json!(i)).await;
    }
    node.settle().await;
    let (mut seen, mut path) = (Vec::new(), "/api/bridge/messages?topic=mine&limit=7".to_owned());
    loop {
        let page = get(&client, &path).await;
        seen.extend(
            page["items"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|m| m["id"].as_str().expect("id").to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => path = format!("/api/bridge/messages?topic=mine&limit=7&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 20);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "newest first, none twice");
    let consumed = get(&client, "/api/bridge/messages?status=consumed&limit=500").await;
    assert_eq!(consumed["items"].as_array().expect("a list").len(), 25);
    assert_eq!(get(&client, "/api/bridge/messages?status=failed").await["items"], json!([]));
    let wrong = client.get("/api/bridge/messages?cursor=zz").await.expect("an answer");
    assert_eq!(wrong.status, 400);
    node.stop().await;
}

#[tokio::test]
async fn what_others_write_is_consumed_once_also_when_it_copies_our_headers() {
    let node = start().await;
    let client = node.client();
    let id = produce(&client, "shared", "k", json!(1)).await;
    node.settle().await;
    let bus = node.ctx("bridge").topics().bus().clone();
    let own = get(&client, &format!("/api/bridge/messages/{id}")).await;
    let headers = [("ce_id", Some(id.as_bytes())), ("ce_type", Some(b"bridge.message".as_slice()))];
    let time = node.now();
    let record = Record { key: None, value: Some(b"2"), headers: &headers, time };
    bus.append("shared", 0, &[record, Record { headers: &[], ..record }]).await.expect("append");
    node.settle().await;
    let totals = stats(&client).await;
    assert_eq!((&totals["accepted"], &totals["consumed"]), (&json!(3), &json!(3)));
    assert_eq!(get(&client, &format!("/api/bridge/messages/{id}")).await, own);
    node.stop().await;
}

#[tokio::test]
async fn what_is_told_of_a_message_again_is_counted() {
    let node = start().await;
    let client = node.client();
    for n in 0..3 {
        produce(&client, "shared", "k", json!(n)).await;
    }
    node.settle().await;
    let once = json!({"accepted": 3, "produced": 3, "consumed": 3, "failed": 0, "duplicates": 0, "again": 0});
    assert_eq!(stats(&client).await, once);
    let before = get(&client, "/api/bridge/messages?topic=shared").await;
    let body = json!({"topic": "shared", "from": "earliest", "name": "further"});
    assert_eq!(post(&client, "/api/bridge/consumers", &body).await.status, 201);
    node.settle().await;
    let again =
        json!({"accepted": 3, "produced": 3, "consumed": 3, "failed": 0, "duplicates": 0, "again": 3});
    assert_eq!(stats(&client).await, again);
    assert_eq!(get(&client, "/api/bridge/messages?topic=shared").await, before, "the first report stays");
    node.stop().await;
}
