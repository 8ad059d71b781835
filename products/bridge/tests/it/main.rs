//! The bridge on a real node: real HTTP, the embedded log, SQLite.

mod batches;
mod failing;
mod messages;
mod moving_parts;

use artel_frame::Sandbox;
use artel_frame::client::{Answer, Client};
use http::Method;
use serde_json::{Value, json};

pub async fn start() -> Sandbox {
    Sandbox::start(|| vec![artel_bridge::service()], || artel_contract::of(&["bridge"]))
        .await
        .expect("the node starts")
}

pub async fn post(client: &Client, path: &str, body: &Value) -> Answer {
    client.send_json(Method::POST, path, body).await.expect("an answer")
}

pub async fn get(client: &Client, path: &str) -> Value {
    let answer = client.get(path).await.expect("an answer");
    assert!(answer.is_success(), "{path}: {}", answer.problem());
    answer.json().expect("JSON")
}

pub async fn produce(client: &Client, topic: &str, key: &str, value: Value) -> String {
    let answer =
        post(client, "/api/bridge/messages", &json!({"topic": topic, "key": key, "value": value})).await;
    assert_eq!(answer.status, 202, "{}", answer.problem());
    answer.json::<Value>().expect("JSON")["id"].as_str().expect("an id").to_owned()
}

pub async fn stats(client: &Client) -> Value {
    get(client, "/api/bridge/stats").await
}
