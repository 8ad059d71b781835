//! Rules on a real log.

use super::place;
use crate::board::{Arrived, Board};
use crate::edit::{change, field, put};
use crate::place::{ACCOUNTS, Place};
use crate::{get, post};
use artel_bus::Record;
use artel_contract::notify::rules::GetRule;
use artel_contract::notify::subscribers::{Profile, PutSubscriber, Subscribe};
use artel_contract::notify::{DeliveryChanged, State};
use artel_frame::Sandbox;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Writes to the log as some other program would.
async fn write(node: &Sandbox, topic: &str, headers: &[(&str, &str)], value: &[u8]) {
    let headers: Vec<(&str, Option<&[u8]>)> =
        headers.iter().map(|(name, value)| (*name, Some(value.as_bytes()))).collect();
    let record = Record { key: None, value: Some(value), headers: &headers, time: node.ctx("notify").now() };
    node.ctx("notify").topics().bus().append(topic, 0, &[record]).await.expect("append");
}

async fn event(node: &Sandbox, topic: &str, value: &Value) {
    write(node, topic, &[], value.to_string().as_bytes()).await;
}

/// Returns when there is a rule of that id.
async fn has_rule(node: &Sandbox, id: &str) {
    let wait = async {
        while node.ctx("notify").query(GetRule { rule: id.to_owned(), version: None }).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("the rule is there");
}

fn moved(shipment: &str, receiver: Value) -> Value {
    json!({
        "shipment": shipment, "tracking_number": format!("RB-{shipment}"), "state": "out_for_delivery",
        "receiver": receiver, "occurred_at": "2026-01-10T20:00:00Z",
    })
}

/// A rule on a topic of others.
fn rule(change: Value) -> Value {
    let mut whole = json!({
        "on": { "topic": "parcels" },
        "template": "shipment",
        "topic": "shipments",
        "to": { "event": { "subscriber": "receiver.subscriber", "phone": "receiver.phone" } },
        "channels": ["sms"],
    });
    for (name, value) in change.as_object().unwrap() {
        whole[name] = value.clone();
    }
    whole
}

fn addresses(arrived: &[Arrived]) -> BTreeSet<String> {
    arrived.iter().map(|one| one.address.clone()).collect()
}

async fn node_with_topic(place: &Place, board: &Arc<Board>) -> Sandbox {
    let node = place.start(board).await;
    node.ctx("notify").topics().ensure("parcels").await.expect("the topic is made");
    node
}

#[tokio::test]
async fn whoever_waits_for_a_shipment_hears_of_it_once_over_each_channel() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    let client = node.client();
    has_rule(&node, "shipment-moved").await;
    let device = format!("device:{}", "x".repeat(100));
    let ivan = json!({ "name": "Иван", "language": "ru", "addresses": [
        { "kind": "email", "address": "ivan@example.com" }, { "kind": "fcm", "address": device },
        { "kind": "phone", "address": "+79161234567" },
    ] });
    assert_eq!(put(&client, "/api/notify/subscribers/ivan", &ivan).await.status, 201);

    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", "e-1"),
        ("ce_source", "carrier"),
        ("ce_type", "logistics.shipment-moved"),
        ("ce_time", "2026-01-10T20:00:00Z"),
    ];
    let value = moved("S-1", json!({ "subscriber": "ivan" })).to_string();
    let fresh: Vec<(&str, &str)> = headers.iter().copied().filter(|(name, _)| *name != "ce_time").collect();
    let now = node.ctx("notify").now().to_string();
    let headers = [fresh, vec![("ce_time", now.as_str())]].concat();
    for _ in 0..3 {
        write(&node, "logistics.shipment", &headers, value.as_bytes()).await;
    }
    // Without any headers, to somebody who is no subscriber: known by what the rule says that only one event has.
    let anna = json!({ "email": "anna@example.com", "phone": "+49 30 901820", "language": "en" });
    for _ in 0..2 {
        event(&node, "logistics.shipment", &moved("S-2", anna.clone())).await;
    }
    node.settle().await;

    let arrived = board.all();
    assert_eq!(arrived.len(), 5, "{arrived:?}");
    let wanted = ["ivan@example.com", "+79161234567", device.as_str(), "anna@example.com", "+4930901820"];
    assert_eq!(addresses(&arrived), wanted.map(String::from).into());
    let text = |address: &str| arrived.iter().find(|one| one.address == address).unwrap().text.clone();
    assert!(text("+79161234567").contains("RB-S-1") && text("anna@example.com").contains("RB-S-2"));
    assert_ne!(text("+79161234567").is_ascii(), text("+4930901820").is_ascii());
    let told = node.published::<DeliveryChanged>().await;
    let of_ivan: Vec<&DeliveryChanged> =
        told.iter().filter(|event| event.subscriber.as_deref() == Some("ivan")).collect();
    assert_eq!(of_ivan[0].state, State::Accepted);
    assert!(of_ivan.iter().any(|event| event.cause.as_deref() == Some("e-1")), "{of_ivan:?}");
    assert_eq!(
        get(&client, "/api/notify/deliveries?recipient=ivan").await["items"].as_array().unwrap().len(),
        1
    );
    node.stop().await;
}

#[tokio::test]
async fn a_rule_takes_what_is_written_from_the_moment_on_that_it_is_saved() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let mut node = node_with_topic(&place, &board).await;
    let path = "/api/notify/rules/parcels";
    let to = |n: u32| json!({ "phone": format!("+7916000000{n}") });
    let off = rule(json!({ "enabled": false }));
    let sent = async |node: &Sandbox, n: u32| event(node, "parcels", &moved(&n.to_string(), to(n))).await;

    sent(&node, 1).await;
    let saved = put(&node.client(), path, &rule(json!({}))).await;
    assert_eq!((saved.status, saved.header("etag")), (201, "\"1\""), "{}", saved.text());
    sent(&node, 2).await;
    node.settle().await;
    // A change of an enabled rule goes on where it was.
    let changed = put(&node.client(), path, &rule(json!({ "valid_for_s": 3600 }))).await;
    assert_eq!((changed.status, changed.header("etag")), (200, "\"2\""), "{}", changed.text());
    sent(&node, 3).await;
    node.settle().await;
    node.crash().await.expect("it starts again");
    sent(&node, 4).await;
    node.settle().await;
    assert_eq!(put(&node.client(), path, &off).await.status, 200);
    sent(&node, 5).await;
    node.settle().await;
    assert_eq!(get(&node.client(), path).await.get("reading"), None);
    assert_eq!(put(&node.client(), path, &rule(json!({}))).await.status, 200);
    sent(&node, 6).await;
    node.settle().await;
    let seen = get(&node.client(), path).await;
    assert_eq!((&seen["reading"]["running"], &seen["reading"]["lag"]), (&json!(true), &json!(0)), "{seen}");
    let versions = get(&node.client(), "/api/notify/rules?versions_of=parcels&limit=3").await;
    assert_eq!((&versions["items"][0]["version"], versions["next"].is_string()), (&json!(4), true));

    let late = change(&node.client(), path, &[("if-match", "\"3\"")], &off).await;
    assert_eq!(late.status, 412, "{}", late.text());
    assert_eq!(node.client().delete(path).await.unwrap().status, 204);
    assert_eq!(node.client().delete(path).await.unwrap().status, 404);
    sent(&node, 7).await;
    node.settle().await;
    let wanted = [2, 3, 4, 6].map(|n| format!("+7916000000{n}"));
    assert_eq!(addresses(&board.all()), wanted.into());
    node.stop().await;
}

#[tokio::test]
async fn a_rule_that_can_t_work_is_refused_and_the_field_is_named() {
    let Some(place) = place().await else { return };
    let node = node_with_topic(&place, &Board::new()).await;
    let client = node.client();
    let event = |fields: Value| json!({ "event": fields });
    let shipments = json!({ "topic": "logistics.shipment" });
    for (wrong, at) in [
        (json!({ "on": { "topic": "nowhere" } }), "on.topic"),
        (json!({ "on": { "topic": "notify.delivery" } }), "on.topic"),
        (json!({ "template": "unknown" }), "template"),
        (json!({ "channels": [] }), "channels"),
        (json!({ "channels": ["fax"] }), "channels[0]"),
        (json!({ "when": "state = 1" }), "when"),
        (json!({ "when": "state == 'flying'", "on": shipments }), "when"),
        (json!({ "to": event(json!({ "phone": "receiver.fone" })), "on": shipments }), "to.event.phone"),
        (json!({ "to": event(json!({ "email": "a" })) }), "channels"),
        (json!({ "supersede": "x:{" }), "supersede"),
        (json!({ "patience_s": 5 }), "patience_s"),
        (json!({ "colour": "red" }), "colour"),
    ] {
        let answer = put(&client, "/api/notify/rules/parcels", &rule(wrong)).await;
        assert_eq!((answer.status, field(&answer).as_str()), (400, at), "{}", answer.text());
    }
    let name = put(&client, "/api/notify/rules/Parcels", &rule(json!({}))).await;
    assert_eq!((name.status, field(&name).as_str()), (400, "id"), "{}", name.text());
    // One that is not enabled may wait for its topic.
    let off = rule(json!({ "on": { "topic": "nowhere" }, "enabled": false }));
    assert_eq!(put(&client, "/api/notify/rules/parcels", &off).await.status, 201);
    node.stop().await;
}

#[tokio::test]
async fn what_a_rule_can_t_use_is_seen_and_taken_from_no_other() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = node_with_topic(&place, &board).await;
    let client = node.client();
    put(&client, "/api/notify/rules/phone", &rule(json!({}))).await;
    let keyed = rule(json!({ "supersede": "batch:{batch}" }));
    put(&client, "/api/notify/rules/keyed", &keyed).await;
    let typed = rule(json!({ "on": { "topic": "parcels", "message": "parcel.moved" } }));
    put(&client, "/api/notify/rules/typed", &typed).await;

    write(&node, "parcels", &[], b"{x").await;
    event(&node, "parcels", &moved("1", json!({ "name": "Nobody" }))).await;
    event(&node, "parcels", &moved("2", json!({ "phone": "+79160000002" }))).await;
    event(&node, "parcels", &moved("3", json!({ "subscriber": "x".repeat(300) }))).await;
    node.settle().await;
    assert_eq!(addresses(&board.all()), ["+79160000002".to_owned()].into());

    let reasons = async |id: &str| {
        let page = get(&client, &format!("/api/notify/rules/{id}/misses")).await;
        let items = page["items"].as_array().unwrap().clone();
        items
            .into_iter()
            .map(|miss| (miss["offset"].as_i64().unwrap(), miss["reason"].as_str().unwrap().to_owned()))
    };
    let of_phone: Vec<(i64, String)> = reasons("phone").await.collect();
    let offsets: BTreeSet<i64> = of_phone.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [0, 1, 3].into(), "{of_phone:?}");
    for (offset, sentence) in [(0, "not JSON"), (1, "receiver.subscriber, receiver.phone"), (3, "is no id")] {
        let (_, reason) = of_phone.iter().find(|(at, _)| *at == offset).unwrap();
        assert!(reason.contains(sentence), "{reason}");
    }
    let of_keyed: Vec<(i64, String)> = reasons("keyed").await.collect();
    assert!(of_keyed.iter().any(|(at, reason)| *at == 2 && reason.contains("batch")), "{of_keyed:?}");
    assert_eq!(reasons("typed").await.count(), 0);
    node.stop().await;
}

#[tokio::test]
async fn many_subscribers_hear_of_a_key_page_by_page() {
    let Some(place) = place().await else { return };
    const MANY: usize = 620;
    let board = Board::new();
    let node = node_with_topic(&place, &board).await;
    let ctx = node.ctx("notify").clone();
    let ids: Vec<String> = (0..MANY).map(|n| format!("s-{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        let profile = json!({ "addresses": [{ "kind": "phone", "address": format!("+7916{n:07}") }] });
        let profile: Profile = serde_json::from_value(profile).unwrap();
        ctx.ask(PutSubscriber { subscriber: id.clone(), profile, expected: None }).await.expect("saved");
    }
    let subscribe = |topic: &str| Subscribe {
        topic: topic.to_owned(),
        key: "parcel:1".to_owned(),
        subscribers: ids.clone(),
    };
    ctx.ask(subscribe("shipments")).await.expect("subscribed");
    let to_all = rule(json!({ "to": { "subscribed": { "key": "parcel:{shipment}" } }, "lane": "bulk" }));
    assert_eq!(put(&node.client(), "/api/notify/rules/all", &to_all).await.status, 201);
    event(&node, "parcels", &moved("1", json!({}))).await;
    event(&node, "parcels", &moved("2", json!({}))).await;
    node.settle().await;
    let arrived = board.all();
    assert_eq!((arrived.len(), addresses(&arrived).len()), (MANY, MANY));
    node.stop().await;
}

#[tokio::test]
async fn what_people_chose_and_what_holds_for_a_topic_counts() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = node_with_topic(&place, &board).await;
    let client = node.client();
    let person = |phone: &str, choice: Value| json!({ "addresses": [{ "kind": "phone", "address": phone }], "preferences": choice });
    let out = json!({ "topics": { "shipments": { "sms": "out" } } });
    put(&client, "/api/notify/subscribers/out", &person("+79160000001", out)).await;
    put(&client, "/api/notify/subscribers/unsaid", &person("+79160000002", json!({}))).await;
    let inside = json!({ "topics": { "shipments": { "sms": "in" } } });
    put(&client, "/api/notify/subscribers/in", &person("+79160000003", inside)).await;
    put(&client, "/api/notify/subscribers/stopped", &person("+79160000004", json!({}))).await;
    post(&client, "/api/notify/suppressions", &json!({ "kind": "phone", "address": "+79160000004" })).await;
    put(&client, "/api/notify/rules/parcels", &rule(json!({}))).await;

    let all = async |shipment: &str| {
        for who in ["out", "unsaid", "in", "stopped"] {
            event(&node, "parcels", &moved(shipment, json!({ "subscriber": who }))).await;
        }
        node.settle().await;
        addresses(&board.arrived.send_replace(Vec::new()))
    };
    let phones = |numbers: &[u32]| numbers.iter().map(|n| format!("+7916000000{n}")).collect::<BTreeSet<_>>();
    assert_eq!(all("1").await, phones(&[2, 3]));
    let off = json!({ "defaults": { "sms": "out" } });
    assert_eq!(put(&client, "/api/notify/topics/shipments", &off).await.status, 201);
    assert_eq!(all("2").await, phones(&[3]));
    let required = json!({ "required": true });
    let changed = change(&client, "/api/notify/topics/shipments", &[("if-match", "\"1\"")], &required).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(all("3").await, phones(&[1, 2, 3]));
    let of_stopped = get(&client, "/api/notify/deliveries?recipient=stopped").await;
    assert_eq!(of_stopped["items"][0]["state"], "suppressed", "{of_stopped}");
    node.stop().await;
}

#[tokio::test]
async fn a_rule_is_tried_without_sending_anything() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = node_with_topic(&place, &board).await;
    let client = node.client();
    let path = "/api/notify/rules/parcels/try";
    let body = rule(json!({ "when": "state == 'lost'", "valid_for_s": 60 }));
    let lost = json!({ "state": "lost", "receiver": { "phone": "+79160000001" } });
    let tried = async |event: Value, at: Option<&str>| {
        let answer = post(&client, path, &json!({ "body": body, "event": event, "at": at })).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json::<Value>().unwrap()["outcome"].clone()
    };
    let found = tried(lost.clone(), None).await;
    assert_eq!(found["notifies"]["recipients"][0]["legs"][0]["channel"], "sms", "{found}");
    assert!(!found.to_string().contains("+79160000001"), "{found}");
    assert_eq!(tried(json!({ "state": "delivered" }), None).await, "not_met");
    assert!(tried(json!({ "state": "lost" }), None).await["missed"]["reason"].is_string());
    let stale = tried(lost, Some("2026-01-01T00:00:00Z")).await;
    assert_eq!(stale, json!({ "stale": { "expired_at": "2026-01-01T00:01:00.000000Z" } }));
    let wrong = post(&client, path, &json!({ "body": rule(json!({ "template": "unknown" })) })).await;
    assert_eq!(wrong.json::<Value>().unwrap()["problems"][0]["field"], "template", "{}", wrong.text());
    assert_eq!(post(&client, path, &json!({})).await.status, 404);
    assert_eq!(board.all(), []);
    node.stop().await;
}

#[tokio::test]
async fn rules_of_a_file_are_applied_at_the_start_and_changes_by_hand_stay() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.toml");
    let text = |ids: &[&str], seconds: u32| {
        let one = |id: &&str| {
            format!(
                "[[rule]]\nid = '{id}'\non = {{ topic = 'logistics.shipment' }}\ntemplate = 'shipment'\ntopic = 'shipments'\n\
                 channels = ['sms']\nvalid_for_s = {seconds}\nto = {{ event = {{ phone = 'receiver.phone' }} }}\n"
            )
        };
        ids.iter().map(one).collect::<String>()
    };
    std::fs::write(&file, text(&["one", "two"], 60)).unwrap();
    let options = place.of(&board).file(ACCOUNTS).setting("notify.example", "false");
    let mut node = options.setting("notify.rules_file", file.display().to_string()).start().await.unwrap();
    has_rule(&node, "two").await;
    let mut by_hand = get(&node.client(), "/api/notify/rules/two").await["body"].clone();
    by_hand["valid_for_s"] = json!(90);
    assert_eq!(put(&node.client(), "/api/notify/rules/two", &by_hand).await.status, 200);
    let version = async |node: &Sandbox, id: &str| {
        let found = node.client().get(&format!("/api/notify/rules/{id}")).await.unwrap();
        found.json::<Value>().unwrap()["version"].as_u64()
    };

    std::fs::write(&file, text(&["two", "three"], 60)).unwrap();
    node.restart().await.unwrap();
    has_rule(&node, "three").await;
    let versions = (version(&node, "one").await, version(&node, "two").await, version(&node, "three").await);
    assert_eq!(versions, (None, Some(2), Some(1)));
    let list = get(&node.client(), "/api/notify/rules").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2, "{list}");

    // The same over HTTP; what others have named is theirs.
    let body = rule(json!({ "on": { "topic": "logistics.shipment" } }));
    let set = |id: &str| json!({ "source": "shop", "rules": [{ "id": id, "body": body }] });
    let taken = post(&node.client(), "/api/notify/rules:apply", &set("two")).await;
    assert_eq!(taken.status, 409, "{}", taken.text());
    let applied = post(&node.client(), "/api/notify/rules:apply", &set("four")).await;
    assert_eq!(
        applied.json::<Value>().unwrap(),
        json!({ "saved": ["four"], "removed": [] }),
        "{}",
        applied.text()
    );
    let gone =
        post(&node.client(), "/api/notify/rules:apply", &json!({ "source": "shop", "rules": [] })).await;
    assert_eq!(gone.json::<Value>().unwrap(), json!({ "saved": [], "removed": ["four"] }));
    node.stop().await;
}

#[tokio::test]
async fn a_rule_that_was_there_when_messages_piled_up_takes_all_of_them() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let mut node = node_with_topic(&place, &board).await;
    put(&node.client(), "/api/notify/rules/parcels", &rule(json!({ "channels": ["sms"] }))).await;
    for n in 0..9 {
        event(&node, "parcels", &moved(&n.to_string(), json!({ "phone": format!("+7916000000{n}") }))).await;
    }
    node.crash().await.expect("it starts again");
    node.settle().await;
    let taken = get(&node.client(), "/api/notify/deliveries").await;
    assert_eq!(taken["items"].as_array().unwrap().len(), 9, "{taken}");
    node.stop().await;
}
