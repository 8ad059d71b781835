//! Sending and following.

use super::place;
use crate::board::{Board, Does, smtp};
use crate::edit::{field, put};
use crate::{fresh, get, post, reaches, send, shipment, to};
use artel_contract::notify::dead::EmailGivenUp;
use artel_contract::notify::{DeliveryChanged, State};
use artel_frame::client::Outgoing;
use artel_message::Time;
use artel_notify::domain::state::Receipt;
use artel_notify::{TakeReceipts, Told};
use http::Method;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

#[tokio::test]
async fn a_message_is_accepted_sent_and_delivered() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    let body = to(json!({ "email": "ivan@example.com", "language": "ru" }), &["email"]);
    let id = send(&node, &body).await;
    node.settle().await;
    let sent = fresh(&node, &id).await;
    assert_eq!((&sent["state"], &sent["legs"][0]["provider"]), (&json!("sent"), &json!("post")), "{sent}");
    assert_eq!(sent["legs"][0]["address"], "i***@example.com");
    let arrived = board.all();
    assert_eq!((arrived.len(), arrived[0].address.as_str()), (1, "ivan@example.com"));
    assert!(arrived[0].text.contains("RA123"), "{}", arrived[0].text);

    let told = Told { reference: arrived[0].key.clone(), receipt: Receipt::Delivered };
    let take = TakeReceipts { account: "post".to_owned(), receipts: vec![told.clone(), told] };
    node.ctx("notify").ask(take).await.expect("taken");
    node.settle().await;
    let delivered = fresh(&node, &id).await;
    assert_eq!(delivered["state"], "delivered");
    let what: Vec<&str> =
        delivered["timeline"].as_array().unwrap().iter().map(|line| line["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["accepted", "begun: post", "answered", "receipt"]);
    let states: Vec<State> =
        node.published::<DeliveryChanged>().await.iter().map(|event| event.state).collect();
    assert_eq!(states, [State::Accepted, State::Sent, State::Delivered]);
    node.stop().await;
}

#[tokio::test]
async fn a_receipt_may_be_quicker_than_our_commit() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    board.closed.send_replace(true);
    board.answers("tower", [Does::Names("early".to_owned())]);
    let id = send(&node, &to(json!({ "phone": "+79161234567" }), &["sms"])).await;
    board.has(1).await;
    let told = Told { reference: "early".to_owned(), receipt: Receipt::Delivered };
    let take = TakeReceipts { account: "tower".to_owned(), receipts: vec![told] };
    node.ctx("notify").ask(take).await.expect("taken");
    board.closed.send_replace(false);
    reaches(&node, &id, "delivered").await;
    node.stop().await;
}

#[tokio::test]
async fn many_are_sent_to_with_one_request_and_a_repeat_sends_nothing_twice() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    let recipients: Vec<Value> =
        (0..300).map(|n| json!({ "phone": format!("+7916{:07}", 1_000_000 + n) })).collect();
    let content = json!({ "template": "shipment", "topic": "t", "data": shipment(), "channels": ["sms"] });
    let body = json!({ "recipients": recipients, "content": content });
    let request = || {
        Outgoing::new(Method::POST, "/api/notify/deliveries")
            .header("idempotency-key", "k-1")
            .body("application/json", body.to_string())
    };
    let first = node.client().send(request()).await.expect("an answer");
    assert_eq!(first.status, 202, "{}", first.problem());
    let again = node.client().send(request()).await.expect("an answer");
    assert_eq!(first.text(), again.text());
    node.settle().await;
    assert_eq!(board.all().len(), 300);
    // Page by page, by state and by recipient.
    let (mut seen, mut path) = (0, "/api/notify/deliveries?state=sent&limit=70".to_owned());
    loop {
        let page = get(&node.client(), &path).await;
        seen += page["items"].as_array().unwrap().len();
        match page["next"].as_str() {
            Some(next) => path = format!("/api/notify/deliveries?state=sent&limit=70&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, 300);
    let one = get(&node.client(), "/api/notify/deliveries?recipient=%2B79161000007").await;
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
    assert_eq!(get(&node.client(), "/api/notify/deliveries?state=failed").await["items"], json!([]));
    node.stop().await;
}

#[tokio::test]
async fn what_waits_makes_room_for_a_newer_one() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    let body = |at: &str| {
        let mut body = to(json!({ "email": "ivan@example.com" }), &["email"]);
        body["content"]["supersede_key"] = json!("shipment:1");
        if !at.is_empty() {
            body["content"]["send_at"] = json!(at);
        }
        body
    };
    let later = Time::from_system(SystemTime::now()) + Duration::from_secs(30 * 86_400);
    let first = send(&node, &body(&later.to_string())).await;
    assert_eq!(fresh(&node, &first).await["state"], "scheduled");
    let second = send(&node, &body("")).await;
    node.settle().await;
    let (first, second) = (fresh(&node, &first).await, fresh(&node, &second).await);
    assert_eq!((&first["state"], &second["state"]), (&json!("superseded"), &json!("sent")));
    assert_eq!(first["legs"][0]["reason"], second["id"]);
    assert_eq!(board.all().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn messages_to_one_recipient_keep_their_order_also_while_one_is_tried_again() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    let busy = || Does::Says(artel_wires::Said::Smpp { status: 0x14 });
    board.answers("tower", [busy()]);
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(send(&node, &to(json!({ "phone": "+79161234567" }), &["sms"])).await);
    }
    for id in &ids {
        reaches(&node, id, "sent").await;
    }
    let arrived: Vec<String> = board.all().into_iter().map(|one| one.key).collect();
    let of = |at: usize, attempt: u32| format!("{}-0-{attempt}", ids[at].replace('-', ""));
    assert_eq!(arrived, [of(0, 1), of(0, 2), of(1, 1), of(2, 1), of(3, 1)]);
    node.stop().await;
}

#[tokio::test]
async fn a_status_says_where_it_comes_from_and_a_lost_cache_costs_nothing() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    let id = send(&node, &to(json!({ "email": "ivan@example.com" }), &["email"])).await;
    node.settle().await;
    let path = format!("/api/notify/deliveries/{id}");
    let first = get(&node.client(), &path).await;
    assert_eq!((&first["source"], &first["age_ms"]), (&json!("database"), &json!(0)));
    let second = get(&node.client(), &path).await;
    assert_eq!(second["state"], first["state"]);
    for entry in node.ctx("notify").cache().scan("", None, 100).await.expect("keys").keys {
        node.ctx("notify").cache().delete(&entry.key).await.expect("deleted");
    }
    let third = get(&node.client(), &path).await;
    assert_eq!((&third["source"], &third["state"]), (&json!("database"), &json!("sent")));
    node.stop().await;
}

#[tokio::test]
async fn what_can_t_be_sent_is_refused_or_stored_with_the_reason() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    let whole = to(json!({ "email": "ivan@example.com" }), &["email"]);
    let with = |place: &str, value: Value| {
        let mut body = whole.clone();
        *body.pointer_mut(place).unwrap() = value;
        body
    };
    for (body, sentence) in [
        (with("/content/template", json!("nonsense")), "content.template: there is no template 'nonsense'"),
        (with("/recipient", json!({})), "recipient: names nobody"),
        (with("/content/channels", json!(["fax"])), "channels"),
        (with("/recipient", json!({ "email": "nobody" })), "recipient.email: "),
        (with("/recipient", json!({ "subscriber": "ivan", "phone": "12" })), "recipient.phone: "),
    ] {
        let answer = post(&node.client(), "/api/notify/deliveries", &body).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.problem().contains(sentence), "'{sentence}' in '{}'", answer.problem());
    }
    // Somebody who has no address that fits.
    let id = send(&node, &to(json!({ "subscriber": "nobody" }), &["sms", "email"])).await;
    node.settle().await;
    let why = get(&node.client(), &format!("/api/notify/deliveries/{id}/why")).await;
    assert_eq!(why["state"], "suppressed");
    assert_eq!(why["left_out"].as_array().unwrap().len(), 2, "{why}");
    assert!(board.all().is_empty());
    node.stop().await;
}

#[tokio::test]
async fn data_are_held_against_the_schema_of_the_template() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    let client = node.client();
    let deep = json!({ "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"] });
    let schema = json!({
        "type": "object", "required": ["code", "person"],
        "properties": { "code": { "type": "integer" }, "note": { "type": "string" }, "person": deep },
    });
    let text = "{{ code }} {{ person.name }}{% if note %}{{ note }}{% endif %}";
    let own = json!({ "default_language": "en", "languages": { "en": { "sms": text } }, "schema": schema });
    assert!(put(&client, "/api/notify/templates/own", &own).await.is_success());
    let bare = json!({ "default_language": "en", "languages": { "en": { "sms": "{{ code }}" } } });
    assert!(put(&client, "/api/notify/templates/bare", &bare).await.is_success());
    let body = |template: &str, data: Value| {
        let mut body = to(json!({ "phone": "+79161234567" }), &["sms"]);
        body["content"]["template"] = json!(template);
        body["content"]["data"] = data;
        body
    };
    let mut late = shipment();
    late["state"] = json!("flown");
    for (template, data, at, sentence) in [
        ("own", json!({}), "code", "is missing"),
        ("own", json!({ "code": null, "person": { "name": "I" } }), "code", "is missing"),
        ("own", json!({ "code": "7", "person": { "name": "I" } }), "code", "is a string; the schema says integer"),
        ("own", json!({ "code": 1.5, "person": { "name": "I" } }), "code", "is a number; the schema says integer"),
        ("own", json!({ "code": 7, "person": {} }), "person.name", "is missing"),
        ("own", json!({ "code": 7, "person": "I" }), "person", "is a string; the schema says object"),
        ("own", json!({ "code": 7, "person": { "name": "I" }, "note": [] }), "note", "is an array"),
        ("shipment", json!({}), "state", "is missing"),
        ("shipment", late, "state", "is none of"),
    ] {
        let body = body(template, data);
        let refused = post(&client, "/api/notify/deliveries", &body).await;
        let field = field(&refused);
        assert_eq!((refused.status, field.strip_prefix("content.data.")), (400, Some(at)), "{}", refused.text());
        assert!(refused.problem().contains(sentence), "{}", refused.problem());
    }
    // What is not named by the texts of the channel may be anything, and without a schema all may be.
    for (template, data) in [
        ("own", json!({ "code": 7, "person": { "name": "I" }, "more": true })),
        ("bare", json!({ "code": [1] })),
        ("shipment", shipment()),
    ] {
        send(&node, &body(template, data)).await;
    }
    node.settle().await;
    assert_eq!(board.all().len(), 3);
    // Another version, other fields.
    let mut own = own;
    own["schema"]["properties"]["code"] = json!({ "type": "string" });
    assert!(put(&client, "/api/notify/templates/own", &own).await.is_success());
    send(&node, &body("own", json!({ "code": "7", "person": { "name": "I" } }))).await;
    node.stop().await;
}

#[tokio::test]
async fn what_is_given_up_is_told_explained_and_sent_again_by_a_person() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    board.answers("post", [Does::Says(smtp(550))]);
    let id = send(&node, &to(json!({ "email": "ivan@example.com" }), &["email"])).await;
    node.settle().await;
    assert_eq!(fresh(&node, &id).await["state"], "failed");
    let given = node.published::<EmailGivenUp>().await;
    assert_eq!((given.len(), given[0].given.address.as_str()), (1, "i***@example.com"));
    let path = format!("/api/notify/deliveries/{id}");
    let why = get(&node.client(), &format!("{path}/why")).await;
    let sentence = why["legs"][0]["attempts"][0]["why"].as_str().unwrap().to_owned();
    assert!(sentence.contains("550") && sentence.contains("not tried again"), "{sentence}");
    let russian = get(&node.client(), &format!("{path}/why?language=ru")).await;
    assert!(russian["legs"][0]["attempts"][0]["why"].as_str().unwrap().contains("повтора не будет"));
    let decisions = format!("{path}/decisions");
    let answer = post(&node.client(), &decisions, &json!({ "decision": "arrived" })).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    let answer = post(&node.client(), &decisions, &json!({ "decision": "send_again" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    reaches(&node, &id, "sent").await;
    assert_eq!(board.all().len(), 2);
    node.stop().await;
}

#[tokio::test]
async fn what_is_replaced_while_it_is_on_the_wire_is_told_of_as_sent_once() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    let mut body = to(json!({ "email": "ivan@example.com" }), &["email"]);
    body["content"]["supersede_key"] = json!("shipment:1");
    board.closed.send_replace(true);
    let first = send(&node, &body).await;
    board.has(1).await;
    let second = send(&node, &body).await;
    board.closed.send_replace(false);
    node.settle().await;
    let (first, second) = (fresh(&node, &first).await, fresh(&node, &second).await);
    assert_eq!((&first["state"], &second["state"]), (&json!("sent"), &json!("sent")), "{first} {second}");
    node.stop().await;
}
