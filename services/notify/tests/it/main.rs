//! The notification service on a real node: real HTTP, the embedded log; every test on SQLite, and on PostgreSQL where a server is
//! given. The providers are a board in the test's hands, or simulators.
#![allow(clippy::unwrap_used, clippy::duplicate_mod)]

/// The tests that hold on every engine. Each begins with the place, or the board, of the module that it stands in.
macro_rules! suite {
    () => {
        pub async fn board() -> Option<std::sync::Arc<crate::board::Board>> {
            Some(crate::board::Board::on(place().await?))
        }

        #[path = "asking.rs"]
        mod asking;
        #[path = "attachments.rs"]
        mod attachments;
        #[path = "deliveries.rs"]
        mod deliveries;
        #[path = "failing.rs"]
        mod failing;
        #[path = "given_up.rs"]
        mod given_up;
        #[path = "kept.rs"]
        mod kept;
        #[path = "late.rs"]
        mod late;
        #[path = "limits.rs"]
        mod limits;
        #[path = "names.rs"]
        mod names;
        #[path = "people.rs"]
        mod people;
        #[path = "queues.rs"]
        mod queues;
        #[path = "recipients.rs"]
        mod recipients;
        #[path = "replay.rs"]
        mod replay;
        #[path = "rules.rs"]
        mod rules;
        #[path = "templates.rs"]
        mod templates;
        #[path = "unsubscribe.rs"]
        mod unsubscribe;
        #[path = "verdicts.rs"]
        mod verdicts;
        #[path = "wires.rs"]
        mod wires;
    };
}

mod bad_input;
mod board;
mod centre;
mod edit;
#[path = "../../../../base/wires/tests/foreign/mod.rs"]
mod foreign;
mod mail;
mod place;
mod postgres;
mod rows;
mod sqlite;
mod twilio;

use artel_frame::client::{Answer, Client};
use artel_frame::{Sandbox, SandboxOptions};
use artel_message::Described;
use board::Board;
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The messages of this service.
pub fn catalogue() -> Vec<Described> {
    artel_contract::of(&["notify", "logistics"])
}

/// A node with this board for all of its providers, without accounts.
pub fn of(board: &Arc<Board>) -> SandboxOptions {
    board.place.of(board)
}

pub use place::ACCOUNTS;

/// The same with accounts.
pub async fn start(board: &Arc<Board>) -> Sandbox {
    board.place.start(board).await
}

pub async fn post(client: &Client, path: &str, body: &Value) -> Answer {
    client.send_json(Method::POST, path, body).await.expect("an answer")
}

pub async fn get(client: &Client, path: &str) -> Value {
    let answer = client.get(path).await.expect("an answer");
    assert!(answer.is_success(), "{path}: {}", answer.problem());
    answer.json().expect("JSON")
}

/// What the shipped template is filled with.
pub fn shipment() -> Value {
    json!({
        "shipment": "0190f5a0-0000-7000-8000-000000000001", "state": "in_transit", "tracking_number": "RA123",
        "occurred_at": "2026-01-02T10:00:00Z",
    })
}

pub fn to(recipient: Value, channels: &[&str]) -> Value {
    json!({
        "recipient": recipient,
        "content": { "template": "shipment", "topic": "shipments", "data": shipment(), "channels": channels },
    })
}

/// Sends, and gives the id.
pub async fn send(node: &Sandbox, body: &Value) -> String {
    let answer = post(&node.client(), "/api/notify/deliveries", body).await;
    assert_eq!(answer.status, 202, "{}", answer.problem());
    answer.json::<Value>().expect("JSON")["deliveries"][0]["delivery"].as_str().expect("an id").to_owned()
}

/// The delivery, from the database.
pub async fn fresh(node: &Sandbox, id: &str) -> Value {
    let delivery = id.parse().unwrap();
    let query = artel_contract::notify::GetDelivery { delivery };
    serde_json::to_value(node.ctx("notify").query(query).await.expect("the delivery")).unwrap()
}

/// Returns the delivery when it is in this state.
pub async fn reaches(node: &Sandbox, id: &str, state: &str) -> Value {
    let wait = async {
        loop {
            let delivery = fresh(node, id).await;
            if delivery["state"] == state {
                return delivery;
            }
            tokio::task::yield_now().await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(120), wait).await {
        Ok(delivery) => delivery,
        Err(_) => panic!("it is not {state}: {}", fresh(node, id).await),
    }
}
