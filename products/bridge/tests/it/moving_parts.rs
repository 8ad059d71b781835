//! Consumers, test messages, restarts and purges.

use crate::{get, post, produce, start, stats};
use artel_frame::Sandbox;
use artel_frame::client::Outgoing;
use artel_message::Time;
use http::Method;
use serde_json::json;
use std::time::Duration;

/// 2026-01-01T00:30:00Z
const START: Time = Time::from_micros(1_767_227_400_000_000);

async fn at_a_set_time() -> Sandbox {
    let options = Sandbox::of(|| vec![artel_bridge::service()], || artel_contract::of(&["bridge"]));
    options.manual_clock(START).start().await.expect("the node starts")
}

#[tokio::test]
async fn a_consumer_is_started_listed_stopped_and_started_again() {
    let mut node = start().await;
    let client = node.client();
    node.ctx("bridge").topics().ensure("far").await.expect("the topic is made");
    let body = json!({"topic": "far", "from": "earliest", "name": "watch"});
    let answer = post(&client, "/api/bridge/consumers", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.problem());
    node.settle().await;
    let listed = get(&client, "/api/bridge/consumers").await;
    assert_eq!(listed, json!([{"id": "watch", "topic": "far", "state": "running", "lag": 0}]));

    let stopped = client.delete("/api/bridge/consumers/watch").await.expect("an answer");
    assert_eq!(stopped.status, 204, "{}", stopped.text());
    node.restart().await.expect("it starts again");
    let client = node.client();
    assert_eq!(get(&client, "/api/bridge/consumers").await[0]["state"], "stopped");

    let answer = post(&client, "/api/bridge/consumers", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.problem());
    node.settle().await;
    assert_eq!(get(&client, "/api/bridge/consumers").await[0]["state"], "running");
    let forgotten = client.delete("/api/bridge/consumers/watch?forget=true").await.expect("an answer");
    assert_eq!(forgotten.status, 204);
    assert_eq!(get(&client, "/api/bridge/consumers").await, json!([]));
    let gone = client.delete("/api/bridge/consumers/watch").await.expect("an answer");
    assert_eq!(gone.status, 404, "{}", gone.text());
    node.stop().await;
}

#[tokio::test]
async fn a_consumer_that_cannot_be_is_refused_with_a_reason() {
    let node = start().await;
    let client = node.client();
    produce(&client, "near", "k", json!(1)).await;
    let cases = [
        (json!({"topic": "nowhere", "from": "earliest"}), 404, "topic 'nowhere' does not exist"),
        (json!({"topic": "bridge.commands", "from": "earliest"}), 403, "the bridge's own"),
        (json!({"topic": "near", "from": {"offset": -1}}), 400, "an offset is 0 or more"),
        (json!({"topic": "near", "from": "sometime"}), 400, "from"),
        (json!({"topic": "near", "from": "earliest", "name": "a b"}), 400, "name:"),
    ];
    for (body, status, sentence) in cases {
        let answer = post(&client, "/api/bridge/consumers", &body).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.problem().contains(sentence), "'{sentence}' in '{}'", answer.problem());
    }
    node.stop().await;
}

#[tokio::test]
async fn two_consumers_of_a_topic_consume_a_message_once() {
    let node = start().await;
    let client = node.client();
    produce(&client, "near", "k", json!(1)).await;
    post(&client, "/api/bridge/consumers", &json!({"topic": "near", "from": "earliest", "name": "second"}))
        .await;
    produce(&client, "near", "k", json!(2)).await;
    node.settle().await;
    let totals = stats(&client).await;
    assert_eq!((&totals["accepted"], &totals["consumed"]), (&json!(2), &json!(2)));
    node.stop().await;
}

#[tokio::test]
async fn totals_and_consumers_outlive_restarts_and_crashes() {
    let mut node = start().await;
    for round in 1..=3 {
        for i in 0..20 {
            produce(&node.client(), "near", "k", json!(i)).await;
        }
        if round % 2 == 0 {
            node.restart().await.expect("it starts again");
        } else {
            node.crash().await.expect("it starts again");
        }
    }
    node.settle().await;
    let client = node.client();
    let totals = stats(&client).await;
    assert_eq!((&totals["accepted"], &totals["consumed"]), (&json!(60), &json!(60)));
    assert_eq!(get(&client, "/api/bridge/consumers").await[0]["lag"], 0);
    node.stop().await;
}

#[tokio::test]
async fn the_timer_sends_test_messages_while_it_is_on() {
    let mut node = at_a_set_time().await;
    let client = node.client();
    let off = get(&client, "/api/bridge/timer").await;
    assert_eq!(off["enabled"], false);
    let on = json!({"enabled": true, "interval_ms": 1000, "topic": "ticks"});
    let answer = client.send_json(Method::PUT, "/api/bridge/timer", &on).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.problem());
    for _ in 0..3 {
        node.advance(Duration::from_secs(1));
        node.settle().await;
    }
    assert_eq!(stats(&client).await["consumed"], 3);
    node.restart().await.expect("it starts again");
    let client = node.client();
    assert_eq!(get(&client, "/api/bridge/timer").await, on);
    node.advance(Duration::from_secs(1));
    node.settle().await;
    assert_eq!(stats(&client).await["consumed"], 4);
    let off = json!({"enabled": false, "interval_ms": 1000, "topic": "ticks"});
    client.send_json(Method::PUT, "/api/bridge/timer", &off).await.expect("an answer");
    node.advance(Duration::from_secs(10));
    node.settle().await;
    assert_eq!(stats(&client).await["consumed"], 4);
    let hasty = json!({"enabled": true, "interval_ms": 1, "topic": "ticks"});
    let answer = client.send_json(Method::PUT, "/api/bridge/timer", &hasty).await.expect("an answer");
    assert_eq!(answer.status, 400, "{}", answer.text());
    node.stop().await;
}

#[tokio::test]
async fn old_messages_are_purged_and_totals_stay() {
    let node = at_a_set_time().await;
    let client = node.client();
    let old = produce(&client, "near", "k", json!(1)).await;
    node.settle().await;
    node.advance(Duration::from_secs(31 * 86_400));
    let young = produce(&client, "near", "k", json!(2)).await;
    node.settle().await;
    let gone = client.get(&format!("/api/bridge/messages/{old}")).await.expect("an answer");
    assert_eq!(gone.status, 404, "{}", gone.text());
    get(&client, &format!("/api/bridge/messages/{young}")).await;
    assert_eq!(stats(&client).await["accepted"], 2);
    node.stop().await;
}

#[tokio::test]
async fn a_purge_goes_on_until_nothing_old_is_left() {
    let node = at_a_set_time().await;
    let client = node.client();
    let lines = (json!({"topic": "near", "value": 1}).to_string() + "\n").repeat(5_000);
    let request =
        Outgoing::new(Method::POST, "/api/bridge/messages:batch").body("application/x-ndjson", lines);
    assert_eq!(client.send(request).await.expect("an answer").status, 200);
    node.settle().await;
    node.advance(Duration::from_secs(31 * 86_400));
    for _ in 0..5 {
        node.settle().await;
        node.advance(Duration::from_secs(1));
    }
    let left = get(&client, "/api/bridge/messages?limit=1").await;
    assert_eq!(left["items"], json!([]), "one run of the schedule leaves nothing old");
    assert_eq!(stats(&client).await["consumed"], 5_000);
    node.stop().await;
}

#[tokio::test]
async fn a_consumers_name_keeps_no_topic_from_being_sent_to() {
    let node = start().await;
    let client = node.client();
    produce(&client, "near", "k", json!(1)).await;
    let squatter = json!({"topic": "near", "from": "earliest", "name": "orders"});
    assert_eq!(post(&client, "/api/bridge/consumers", &squatter).await.status, 201);
    produce(&client, "orders", "k", json!(2)).await;
    node.settle().await;
    assert_eq!(stats(&client).await["consumed"], 2);
    node.stop().await;
}

#[tokio::test]
async fn a_timer_that_is_refused_makes_no_topic() {
    let node = start().await;
    let client = node.client();
    for (interval, topic) in [(1, "made"), (1_000, "made.dlq"), (1_000, "__made")] {
        let body = json!({"enabled": true, "interval_ms": interval, "topic": topic});
        let answer = client.send_json(Method::PUT, "/api/bridge/timer", &body).await.expect("an answer");
        assert_eq!(answer.status, 400, "{}", answer.text());
        let topic = client.get(&format!("/api/admin/topics/{topic}")).await.expect("an answer");
        assert_eq!(topic.status, 404);
    }
    node.stop().await;
}
