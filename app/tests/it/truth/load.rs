//! What is asked for: chunks of notifications to many, each accepted by one request that is repeated until it is answered, and events
//! on the log that a rule makes notifications of. A recipient gets at most one of a chunk, with its number in the text, so that what
//! arrives is known by both.

use super::ledger::Ledger;
use crate::until::until;
use artel_frame::client::{Answer, Client, Outgoing};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::watch;

/// Notifications of a chunk.
pub const CHUNK: u64 = 100;
/// Of them: mails and short messages to people who get one in each chunk, and to people who get no other; push messages; events.
const BUSY_MAILS: u64 = 5;
const MAILS: u64 = 55;
const BUSY_PHONES: u64 = 3;
const PHONES: u64 = 17;
const APPS: u64 = 10;
const EVENTS: u64 = 10;
const _: () = assert!(BUSY_MAILS + MAILS + BUSY_PHONES + PHONES + APPS + EVENTS == CHUNK);

const TEMPLATE: &str = "numbered";
const TOPIC: &str = "parcels";

/// Where a notification arrives: the simulator's name, and whom it calls the recipient.
pub type Place = (&'static str, String);

pub struct Load {
    clients: Vec<Client>,
    turn: usize,
}

fn token(n: u64) -> String {
    format!("token-of-the-app-of-reader-{n}-{}", "x".repeat(40))
}

/// The number in a text of [`TEMPLATE`].
pub fn number(text: &str) -> Option<u64> {
    text.trim().strip_prefix("Number ")?.parse().ok()
}

impl Load {
    /// Makes the template, who gets push messages, and the rule.
    pub async fn prepare(clients: &[Client]) -> Load {
        let mut load = Load { clients: clients.to_vec(), turn: 0 };
        let text = "Number {{ n }}";
        let texts = json!({
            "email": { "subject": "A parcel", "text": text }, "sms": text, "push": { "title": "A parcel", "body": text },
        });
        let template = json!({ "default_language": "en", "languages": { "en": texts } });
        load.put(&format!("/api/notify/templates/{TEMPLATE}"), &template).await;
        for n in 0..APPS {
            let addresses = json!([{ "kind": "fcm", "address": token(n) }]);
            let reader = json!({ "language": "en", "addresses": addresses });
            load.put(&format!("/api/notify/subscribers/reader-{n}"), &reader).await;
        }
        // A rule wants its topic to be there; what was written before the rule is nobody's.
        let first = json!({ "topic": TOPIC, "value": {} });
        load.insist("POST", "/api/bridge/messages", "first", &first).await;
        let rule = json!({
            "on": { "topic": TOPIC }, "template": TEMPLATE, "topic": "parcels", "channels": ["email"],
            "to": { "event": { "email": "email" } },
        });
        load.put("/api/notify/rules/parcels", &rule).await;
        load
    }

    async fn put(&mut self, path: &str, body: &Value) {
        let answer = self.insist("PUT", path, path, body).await;
        assert!(answer.is_success(), "{path}: {}", answer.text());
    }

    /// Asks one node after the other, until one answers for good.
    async fn insist(&mut self, method: &str, path: &str, key: &str, body: &Value) -> Answer {
        self.turn += 1;
        insist(&self.clients, self.turn, method, path, key, body).await
    }

    /// All chunks, each behind the one before it, as far as is allowed.
    pub async fn accept(mut self, chunks: u64, mut allowed: watch::Receiver<u64>, ledger: Arc<Ledger>) {
        for n in 0..chunks {
            allowed.wait_for(|allowed| n * CHUNK < *allowed).await.expect("somebody allows it");
            let (recipients, places): (Vec<Value>, Vec<Place>) = asked(n).into_iter().unzip();
            let content = json!({ "template": TEMPLATE, "topic": "parcels", "data": { "n": n } });
            let body = json!({ "recipients": recipients, "content": content });
            let answer = self.insist("POST", "/api/notify/deliveries", &format!("chunk-{n}"), &body).await;
            assert_eq!(answer.status, 202, "{}", answer.text());
            let queued: Value = answer.json().unwrap();
            let ids = queued["deliveries"].as_array().unwrap().iter().map(|one| &one["delivery"]);
            ledger.asked_for(n, places.into_iter().zip(ids.map(|id| id.as_str().unwrap().parse().unwrap())));
            self.events(n).await;
            ledger.events((0..EVENTS).map(|at| (("smtp", hears(at)), n)));
        }
    }

    /// Each of another key, so that they need not wait for each other.
    async fn events(&mut self, n: u64) {
        self.turn += 1;
        let event = |at: u64| {
            let clients = &self.clients;
            let turn = self.turn;
            async move {
                let message =
                    json!({ "topic": TOPIC, "key": hears(at), "value": { "email": hears(at), "n": n } });
                let key = format!("event-{n}-{at}");
                let answer = insist(clients, turn, "POST", "/api/bridge/messages", &key, &message).await;
                assert_eq!(answer.status, 202, "{}", answer.text());
            }
        };
        futures::future::join_all((0..EVENTS).map(event)).await;
    }
}

fn hears(at: u64) -> String {
    format!("hears-{at}@example.com")
}

/// Whom a chunk is for, and where it arrives.
fn asked(n: u64) -> Vec<(Value, Place)> {
    let mail = |address: String| (json!({ "email": address }), ("smtp", address));
    let phone = |number: String| (json!({ "phone": number }), ("smpp", number));
    let own = |at: u64| n * CHUNK + at;
    let mut all: Vec<(Value, Place)> = Vec::new();
    all.extend((0..BUSY_MAILS).map(|at| mail(format!("busy-{at}@example.com"))));
    all.extend((0..MAILS).map(|at| mail(format!("once-{}@example.com", own(at)))));
    all.extend((0..BUSY_PHONES).map(|at| phone(format!("+7917000000{at}"))));
    all.extend((0..PHONES).map(|at| phone(format!("+7916{:07}", own(at)))));
    all.extend((0..APPS).map(|at| (json!({ "subscriber": format!("reader-{at}") }), ("fcm", token(at)))));
    all
}

async fn insist(
    clients: &[Client],
    mut turn: usize,
    method: &str,
    path: &str,
    key: &str,
    body: &Value,
) -> Answer {
    until(&format!("an answer to {key}"), async || {
        let client = &clients[turn % clients.len()];
        turn += 1;
        let request = Outgoing::new(method.parse().unwrap(), path).header("idempotency-key", key);
        let request = request.body("application/json", serde_json::to_vec(body).unwrap());
        // Nobody there, broken off, or a node that can't now: the same again, which is done once however often it is asked for.
        client.send(request).await.ok().filter(|answer| answer.status < 500 && answer.status != 429)
    })
    .await
}
