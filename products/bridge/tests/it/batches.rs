//! Batches: every line on its own, whatever the others are.

use crate::{get, start, stats};
use artel_frame::Sandbox;
use artel_frame::client::{Answer, Client, Outgoing};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn batch(client: &Client, key: Option<&str>, body: impl Into<bytes::Bytes>) -> Answer {
    let mut request =
        Outgoing::new(Method::POST, "/api/bridge/messages:batch").body("application/x-ndjson", body.into());
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    client.send(request).await.expect("an answer")
}

fn with(setting: &str, value: &str) -> artel_frame::SandboxOptions {
    Sandbox::of(|| vec![artel_bridge::service()], || artel_contract::of(&["bridge"])).setting(setting, value)
}

#[tokio::test]
async fn one_bad_line_takes_no_other_with_it() {
    let node = start().await;
    let client = node.client();
    let good = |n: u32| json!({"topic": "t", "value": n}).to_string();
    let headers: serde_json::Map<String, Value> =
        (0..6).map(|n| (format!("h{n}"), "x".repeat(5_000).into())).collect();
    let bad = [
        ("{\"topic\":\"t\",\"value\":\"\\ud800\"}".to_owned(), "value: holds half of a surrogate pair"),
        ("{\"topic\":\"t\",\"value\":1e999}".to_owned(), "value: number out of range"),
        (format!("{{\"topic\":\"t\",\"value\":{}1", "[".repeat(5_000)), "not JSON: "),
        (
            format!("{{\"topic\":\"t\",\"value\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000)),
            "value: nested deeper than 100",
        ),
        (json!({"topic": "t", "value": 1, "headers": headers}).to_string(), "headers: they are 30"),
        (json!({"topic": "t", "key": "a\0", "value": 1}).to_string(), "key: holds the character U+0000"),
        (
            json!({"topic": "t", "value": 1, "headers": {"a\0b": "x"}}).to_string(),
            "headers: 'a\u{fffd}b' holds the character U+0000",
        ),
        (json!({"topic": "t", "value": "x".repeat(5 << 20)}).to_string(), "is longer than "),
        (json!({"topic": "t", "value": "x".repeat(2_100_000)}).to_string(), "value: is 2100002 bytes"),
        (
            json!({"topic": "__consumer_offsets", "value": 1}).to_string(),
            "topic: '__consumer_offsets' is reserved",
        ),
        (json!({"topic": "t.dlq", "value": 1}).to_string(), "topic: 't.dlq' is reserved"),
        ("{\"topic\":\"t\",\"topic\":\"u\",\"value\":1}".to_owned(), "does not fit: duplicate field `topic`"),
    ];
    let mut body = b"\xef\xbb\xbf".to_vec();
    for (n, (line, _)) in (0..).zip(&bad) {
        body.extend_from_slice(format!("{}\r\n{line}\r\n\r\n", good(n)).as_bytes());
    }
    body.extend_from_slice(good(99).as_bytes());
    let answer = batch(&client, Some("k"), body.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let report: Value = answer.json().expect("JSON");
    assert_eq!((&report["accepted"], &report["refused"]), (&json!(bad.len() + 1), &json!(bad.len())));
    let errors = report["errors"].as_array().expect("a list");
    for (error, (n, (_, said))) in errors.iter().zip((0..).zip(&bad)) {
        assert_eq!(error["line"], json!(3 * n + 2), "{error}");
        let reason = error["reason"].as_str().expect("a reason");
        assert!(reason.starts_with(said) && !reason.contains("line 1"), "{reason} / {said}");
    }
    assert_eq!(batch(&client, Some("k"), body).await.text(), answer.text());
    node.settle().await;
    assert_eq!(stats(&client).await["consumed"], json!(bad.len() + 1));
    node.stop().await;
}

#[tokio::test]
async fn what_the_log_could_not_take_is_refused_at_the_door() {
    let node = with("bus.max_message_bytes", "16KiB").start().await.expect("the node starts");
    let client = node.client();
    let line =
        |size: usize| json!({"topic": "t", "value": 1, "headers": {"a": "x".repeat(size)}}).to_string();
    let report: Value =
        batch(&client, None, format!("{}\n{}", line(8_000), line(6_000))).await.json().expect("JSON");
    assert_eq!((&report["accepted"], &report["refused"]), (&json!(1), &json!(1)), "{report}");
    assert_eq!(report["errors"][0]["line"], 1);
    node.settle().await;
    assert_eq!(stats(&client).await["consumed"], 1);
    assert_eq!(client.get("/readyz").await.expect("an answer").status, 200, "no partition waits");
    node.stop().await;
}

#[tokio::test]
async fn a_full_outbox_slows_a_batch_down_and_does_not_end_it() {
    let node = with("flow.outbox_limit", "1200").start().await.expect("the node starts");
    let client = node.client();
    let line = json!({"topic": "t", "value": 1}).to_string() + "\n";
    let answer = batch(&client, None, line.repeat(20_000)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json::<Value>().expect("JSON")["accepted"], 20_000);
    node.stop().await;
}

#[tokio::test]
async fn a_sender_that_pauses_for_too_long_is_told_how_far_it_came() {
    let node = with("http.body_pause", "300ms").start().await.expect("the node starts");
    let client = node.client();
    let mut stream = TcpStream::connect(node.node().address()).await.expect("connected");
    let lines = (json!({"topic": "t", "value": 1}).to_string() + "\n").repeat(1_500);
    let head = "POST /api/bridge/messages:batch HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n\
                connection: close\r\ncontent-length: 10000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(lines.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut answer));
    read.await.expect("an answer in time").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let document: Value =
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).expect("a body")).expect("JSON");
    assert_eq!(document["data"], json!({"accepted": 1_000, "refused": 0, "line": 1_000}));
    assert_eq!(stats(&client).await["accepted"], 1_000, "whole thousands are left");
    node.stop().await;
}

#[tokio::test]
async fn a_key_of_the_greatest_length_is_enough_for_every_chunk() {
    let node = start().await;
    let client = node.client();
    let line = json!({"topic": "t", "value": 1}).to_string() + "\n";
    let too_long = batch(&client, Some(&"k".repeat(181)), line.clone()).await;
    assert_eq!(
        (too_long.status, too_long.problem().contains("1 to 180")),
        (400, true),
        "{}",
        too_long.text()
    );
    assert_eq!(batch(&client, Some(&"k".repeat(180)), line.repeat(2_500)).await.status, 200);
    assert_eq!(get(&client, "/api/bridge/stats").await["accepted"], 2_500);
    node.stop().await;
}
