//! Shipments to notifications: events out of a file to the log, a rule that comes with the program, messages over every channel at
//! simulated providers, states. On one process that simulates the providers itself, and on two nodes on real servers.

#[cfg(feature = "grown")]
use crate::nodes::{Nodes, Servers};
use crate::process::Process;
use crate::system::{System, artel, consumed, example, get, stderr, stdout};
use crate::until::until;
#[cfg(feature = "grown")]
use crate::{process::Program, providers::Providers};
use artel_frame::client::Client;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const TOPIC: &str = "logistics.shipment";

/// What the file says.
struct Events {
    lines: u64,
    /// By tracking number: the state that each shipment is in at last, and its receiver.
    last: BTreeMap<String, Value>,
}

impl Events {
    fn read() -> Events {
        let text = std::fs::read_to_string(example("notify/shipments.ndjson")).unwrap();
        let (mut lines, mut last) = (0, BTreeMap::new());
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            last.insert(event["tracking_number"].as_str().unwrap().to_owned(), event["receiver"].clone());
            lines += 1;
        }
        Events { lines, last }
    }
}

#[tokio::test]
async fn on_one_process_that_stands_in_for_the_providers() {
    let node = Process::with(None, &["--simulate=0"]).await;
    let says = node.says("simulated providers: ").await;
    let page = says.split_whitespace().find_map(|word| word.strip_prefix("http://")).expect(&says);
    let board = Client::new(&format!("http://{}", page.trim_end_matches('/'))).unwrap();
    whoever_waits_hears_of_it_once(&node, &board).await;
}

#[cfg(feature = "grown")]
#[tokio::test]
async fn on_two_nodes_on_kafka_postgresql_and_redis() {
    let Some(servers) = Servers::given().await else { return };
    let providers = Providers::start();
    let accounts = std::fs::read_to_string(&providers.config).unwrap();
    let nodes = Nodes::running(servers, 2, &Program::Artel, &accounts).await;
    whoever_waits_hears_of_it_once(&nodes, &providers.board).await;
}

async fn whoever_waits_hears_of_it_once(system: &impl System, board: &Client) {
    let events = Events::read();
    know_anna(system, board).await;
    produce(system, events.lines).await;
    let (found, all) = through(system, &events).await;
    arrived(board, &events, &all).await;
    for delivery in &found {
        told(system, delivery).await;
    }
    seen_in_cache_and_database(system, &found[0]).await;

    // Whoever wrote the events writes them again: others by what they are called, the same by what they say.
    produce(system, events.lines).await;
    consumed(system, 2 * events.lines).await;
    until("all of them read", async || {
        let rule = get(system, "/api/notify/rules/shipment-moved").await;
        (rule["reading"]["lag"] == 0).then_some(())
    })
    .await;
    let (_, again) = through(system, &events).await;
    assert_eq!(again, all, "a repeat notifies nobody");
    assert_eq!(counts(board).await, all);
}

/// A subscriber with an app and a browser.
async fn know_anna(system: &impl System, board: &Client) {
    let simulators: Value = board.get("/api/simulators").await.unwrap().json().unwrap();
    let of = |name: &str| simulators.as_array().unwrap().iter().find(|one| one["name"] == name).cloned();
    let push =
        Client::new(&format!("http://{}", of("web_push").unwrap()["address"].as_str().unwrap())).unwrap();
    let made = push.send_json("POST".parse().unwrap(), "/subscriptions", &json!({})).await.unwrap();
    let browser: Value = made.json().unwrap();
    let text = std::fs::read_to_string(example("notify/anna.json")).unwrap();
    let mut anna: Value = serde_json::from_str(&text).unwrap();
    let web = json!({ "kind": "web_push", "address": browser["endpoint"], "keys": browser["keys"] });
    anna["addresses"].as_array_mut().unwrap().push(web);
    let put = system.client().send_json("PUT".parse().unwrap(), "/api/notify/subscribers/anna", &anna).await;
    let answer = put.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
}

async fn produce(system: &impl System, lines: u64) {
    let mut command = artel(system, &["produce", "--topic", TOPIC, "--key-field", "shipment"]);
    let sent = command.arg(example("notify/shipments.ndjson")).output().unwrap();
    assert!(sent.status.success(), "{}", stderr(&sent));
    assert!(stdout(&sent).starts_with(&format!("accepted {lines}, refused 0, ")), "{}", stdout(&sent));
}

/// Waits until every event is a delivery and none is under way any more; these, and how many messages were sent for them, by channel.
async fn through(system: &impl System, events: &Events) -> (Vec<Value>, BTreeMap<String, u64>) {
    let found = until("every delivery at its end", async || {
        let page = get(system, "/api/notify/deliveries?limit=500").await;
        let found = page["items"].as_array().unwrap().clone();
        let last = |delivery: &Value| {
            // A text message is delivered when its receipt says so; of mail and push messages there is none.
            delivery["legs"].as_array().unwrap().iter().all(|leg| {
                let sms = leg["channel"] == "sms";
                leg["state"] == "superseded" || leg["state"] == if sms { "delivered" } else { "sent" }
            })
        };
        (found.len() as u64 == events.lines && found.iter().all(last)).then_some(found)
    })
    .await;
    let mut sent = BTreeMap::new();
    for leg in found.iter().flat_map(|delivery| delivery["legs"].as_array().unwrap()) {
        if leg["state"] != "superseded" {
            *sent.entry(leg["channel"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    for delivery in &found {
        let (state, legs) = (&delivery["state"], delivery["legs"].as_array().unwrap());
        let best = ["delivered", "sent", "superseded"];
        let reached = best.iter().find(|state| legs.iter().any(|leg| leg["state"] == **state));
        assert_eq!(state, reached.unwrap(), "{delivery}");
    }
    (found, sent)
}

/// How many messages the simulators took, by channel.
async fn counts(board: &Client) -> BTreeMap<String, u64> {
    let counts: Value = board.get("/api/counts").await.unwrap().json().unwrap();
    let taken: BTreeMap<String, u64> = serde_json::from_value(counts["taken"].clone()).unwrap();
    let mut all = BTreeMap::new();
    for (name, count) in taken {
        let channel = match name.as_str() {
            "smtp" => "email",
            "smpp" | "twilio" => "sms",
            _ => "push",
        };
        *all.entry(channel.to_owned()).or_default() += count;
    }
    all
}

/// As many messages as were sent, and what became of each shipment in the end over every channel of its receiver.
async fn arrived(board: &Client, events: &Events, sent: &BTreeMap<String, u64>) {
    assert_eq!(&counts(board).await, sent);
    let listed: Value = board.get("/api/arrivals?limit=1000").await.unwrap().json().unwrap();
    let listed = listed.as_array().unwrap();
    for (number, receiver) in &events.last {
        let about = listed.iter().filter(|one| one.to_string().contains(number.as_str()));
        let over: BTreeSet<&str> = about.map(|one| one["provider"].as_str().unwrap()).collect();
        let wanted: &[&str] = match receiver {
            anna if anna["subscriber"] == "anna" => &["fcm", "smpp", "smtp", "web_push"],
            harry if harry["phone"].is_null() => &["smtp"],
            _ => &["smpp", "smtp"],
        };
        assert_eq!(over, wanted.iter().copied().collect(), "{number}");
    }
}

/// Every change of a delivery is an event: from its acceptance to the state that it has.
async fn told(system: &impl System, delivery: &Value) {
    let id = delivery["id"].as_str().unwrap();
    let path = format!("/api/admin/topics/notify.delivery/messages?limit=1000&key={id}");
    let events = until("the last change of a delivery told", async || {
        let found = get(system, &path).await;
        let events: Vec<Value> =
            found["items"].as_array().unwrap().iter().map(|record| record["value"].clone()).collect();
        (events.last()?["state"] == delivery["state"]).then_some(events)
    })
    .await;
    assert_eq!(events[0]["state"], "accepted", "{events:?}");
    for channel in ["email", "sms", "push"] {
        let legs = delivery["legs"].as_array().unwrap();
        let of: Vec<&Value> = legs.iter().filter(|leg| leg["channel"] == channel).collect();
        let ended = |event: &&Value| event["channel"] == channel && event["leg_state"] == of[0]["state"];
        assert!(of.is_empty() || events.iter().filter(ended).count() == of.len(), "{channel}: {events:?}");
    }
}

/// A status says where it comes from and how old it is.
async fn seen_in_cache_and_database(system: &impl System, delivery: &Value) {
    let path = format!("/api/notify/deliveries/{}", delivery["id"].as_str().unwrap());
    for source in ["database", "cache", "database"] {
        let seen = until(&format!("a status of the {source}"), async || {
            let seen = get(system, &path).await;
            (seen["source"] == source).then_some(seen)
        })
        .await;
        assert_eq!(seen["state"], delivery["state"]);
        assert!(source == "cache" || seen["age_ms"] == 0, "{seen}");
    }
}
