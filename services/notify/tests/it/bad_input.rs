//! What can't work, from every side: refused with the field's name before anything is stored, or stored with the reason where it is
//! found out later. Rules that can't match stand in `rules.rs`, providers that are set up wrongly in `wires.rs` and `mail.rs`.

use crate::board::Board;
use crate::edit::{change, field, put};
use crate::{fresh, get, of, post, send, start, to};
use artel_contract::notify::dead::{EmailGivenUp, PushGivenUp};
use artel_frame::Sandbox;
use serde_json::{Value, json};

/// Requests that are refused: method, path, body, the field, a part of the sentence.
fn refused() -> Vec<(&'static str, &'static str, Value, &'static str, &'static str)> {
    const DELIVERIES: &str = "/api/notify/deliveries";
    const TEMPLATE: &str = "/api/notify/templates/own";
    let good = || to(json!({ "email": "ivan@example.com" }), &["email"]);
    let with = |place: &str, value: Value| {
        let mut body = good();
        let (at, name) = place.rsplit_once('/').unwrap();
        body.pointer_mut(at).unwrap()[name] = value;
        body
    };
    let schema =
        json!({ "type": "object", "properties": { "code": { "type": "string" } }, "required": ["code"] });
    let template = |sms: &str| json!({ "default_language": "en", "languages": { "en": { "sms": sms } }, "schema": schema });
    let push = json!({
        "default_language": "en", "schema": schema,
        "languages": { "en": { "push": { "title": "{{ code }}", "body": "x".repeat(3_600) } } },
    });
    let address = |kind: &str, address: &str| json!({ "addresses": [{ "kind": kind, "address": address }] });
    let own = "profile.addresses[0].address";
    vec![
        (
            "POST",
            DELIVERIES,
            with("/content/template", json!("nonsense")),
            "content.template",
            "no template 'nonsense'",
        ),
        ("POST", DELIVERIES, with("/content/template", json!("")), "content.template", "is empty"),
        ("POST", DELIVERIES, with("/content/topic", json!("a\nb")), "content.topic", "control character"),
        ("POST", DELIVERIES, with("/content/channels", json!(["fax"])), "content.channels[0]", "fax"),
        ("POST", DELIVERIES, with("/content/channels", json!(["sms", "sms"])), "content.channels", "twice"),
        ("POST", DELIVERIES, with("/content/data", json!([])), "content.data", "map"),
        (
            "POST",
            DELIVERIES,
            with("/content/data", json!({ "a": "x".repeat(65_536) })),
            "content.data",
            "65544 bytes",
        ),
        ("POST", DELIVERIES, with("/content/lane", json!("fast")), "content.lane", "fast"),
        (
            "POST",
            DELIVERIES,
            with("/content/expires_at", json!("2020-01-01T00:00:00Z")),
            "content.expires_at",
            "is over",
        ),
        ("POST", DELIVERIES, with("/content/expires_at", json!("soon")), "content.expires_at", "soon"),
        ("POST", DELIVERIES, with("/content/colour", json!("red")), "content.colour", "colour"),
        ("POST", DELIVERIES, with("/recipient", json!({})), "recipient", "names nobody"),
        (
            "POST",
            DELIVERIES,
            with("/recipient", json!({ "subscriber": "" })),
            "recipient.subscriber",
            "is empty",
        ),
        ("PUT", "/api/notify/subscribers/ivan", address("email", "nobody"), own, "@"),
        ("PUT", "/api/notify/subscribers/ivan", address("phone", "12"), own, ""),
        (
            "PUT",
            "/api/notify/subscribers/ivan",
            address("web_push", "https://a"),
            "profile.addresses[0].keys",
            "keys",
        ),
        ("POST", "/api/notify/suppressions", json!({ "kind": "email", "address": "nobody" }), "address", ""),
        ("PUT", TEMPLATE, template("{{ kode }}"), "en.sms", "did you mean 'code'?"),
        ("PUT", TEMPLATE, template("{{ code"), "en.sms", ""),
        ("PUT", TEMPLATE, template("{{ code | nonsense }}"), "en.sms", "nonsense"),
        ("PUT", TEMPLATE, push, "en.push", "3500 are the most"),
    ]
}

#[tokio::test]
async fn what_can_t_be_is_refused_and_the_field_is_named() {
    let board = Board::new();
    let node = start(&board).await;
    let client = node.client();
    for (method, path, body, at, sentence) in refused() {
        let answer = match method {
            "PUT" => change(&client, path, &[], &body).await,
            _ => post(&client, path, &body).await,
        };
        let shown: String = body.to_string().chars().take(300).collect();
        assert_eq!((answer.status, field(&answer).as_str()), (400, at), "{shown}\n{}", answer.text());
        assert!(answer.problem().contains(sentence), "{shown}\n{}", answer.problem());
    }
    node.settle().await;
    assert!(board.all().is_empty());
    assert_eq!(get(&client, "/api/notify/deliveries").await["items"], json!([]));
    node.stop().await;
}

async fn failed(node: &Sandbox, body: &Value, says: &str) {
    let id = send(node, body).await;
    node.settle().await;
    let seen = fresh(node, &id).await;
    assert_eq!(seen["state"], "failed", "{seen}");
    assert!(seen["legs"][0]["reason"].as_str().unwrap().contains(says), "{says}: {seen}");
}

#[tokio::test]
async fn what_is_found_out_when_it_is_sent_stands_there_with_the_reason() {
    let board = Board::new();
    let node = start(&board).await;
    let client = node.client();
    // Without a schema nothing tells beforehand which fields there are, nor how long they get.
    let texts = json!({ "email": { "subject": "s", "text": "a\n{{ code }}" }, "push": { "title": "t", "body": "{{ code }}" } });
    let template = json!({ "default_language": "en", "languages": { "en": texts } });
    assert!(put(&client, "/api/notify/templates/own", &template).await.is_success());
    let addresses = json!([{ "kind": "fcm", "address": "token-of-ivans-telephone-0123456789-0123456789" }]);
    let saved = put(&client, "/api/notify/subscribers/ivan", &json!({ "addresses": addresses })).await;
    assert!(saved.is_success(), "{}", saved.text());
    let own = |channel: &str, data: Value| {
        let mut body = to(json!({ "subscriber": "ivan", "email": "ivan@example.com" }), &[channel]);
        body["content"]["template"] = json!("own");
        body["content"]["data"] = data;
        body
    };
    failed(
        &node,
        &own("email", json!({})),
        "template 'own': en.email.text, line 2: prints what is not there",
    )
    .await;
    failed(
        &node,
        &own("push", json!({ "code": "x".repeat(3_600) })),
        "template 'own': en.push: title, body and data have 3601 bytes",
    )
    .await;
    assert_eq!(node.published::<EmailGivenUp>().await.len(), 1);
    assert_eq!(node.published::<PushGivenUp>().await.len(), 1);
    assert!(board.all().is_empty());

    // Each recipient by itself: one that is nobody holds up no other.
    let mut body = to(json!({}), &["email", "sms"]);
    body.as_object_mut().unwrap().remove("recipient");
    body["recipients"] = json!([{ "email": "nobody", "phone": "12" }, { "email": "ivan@example.com" }]);
    let answer = post(&client, "/api/notify/deliveries", &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let queued: Value = answer.json().unwrap();
    let states: Vec<&Value> =
        queued["deliveries"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
    assert_eq!(states, ["suppressed", "accepted"]);
    let id = queued["deliveries"][0]["delivery"].as_str().unwrap();
    let why = get(&client, &format!("/api/notify/deliveries/{id}/why")).await;
    let left: Vec<(&str, &str)> = why["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["channel"].as_str().unwrap(), one["why"].as_str().unwrap()))
        .collect();
    assert!(left[0].0 == "email" && left[0].1.starts_with("email: "), "{left:?}");
    assert!(left[1].0 == "sms" && left[1].1.starts_with("phone: "), "{left:?}");
    node.settle().await;
    assert_eq!(board.all().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn settings_that_can_t_be_end_the_start_and_name_the_field() {
    let board = Board::new();
    for (setting, value, says) in [
        ("notify.hold_ms", "60000", "notify.hold_ms: 60000 is not 0 to 20000"),
        ("notify.keep_days", "0", "notify.keep_days: 0 is not 1 to"),
        ("notify.attachments_mib", "1", "notify.attachments_mib: 1 is not 10 to 4096"),
        ("notify.retry.tries", "0", "notify.retry.tries: 0 is not 1 to 40"),
        ("notify.public_url", "http://a.b", "notify.unsubscribe_secret_file: "),
    ] {
        let failure =
            of(&board).setting(setting, value).start().await.map(drop).expect_err(setting).to_string();
        assert!(failure.contains(says), "{failure} says not: {says}");
    }
    let short = of(&board).setting("notify.keep_days", "2").setting("notify.retry.age_hours", "49");
    let failure = short.start().await.map(drop).expect_err("it is tried for longer than it is kept");
    let says = "notify.keep_days: 2 days are less than retry.age_hours (49)";
    assert!(failure.to_string().contains(says), "{failure}");
}
