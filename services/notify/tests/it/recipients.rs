//! Subscribers, subscriptions, the suppression list.

use super::place;
use crate::board::Board;
use crate::edit::{change, field, put};
use crate::{fresh, get, post, send, to};
use serde_json::{Value, json};

fn ivan() -> Value {
    json!({
        "name": "Иван", "language": "ru", "zone": "Europe/Moscow",
        "quiet_hours": [{ "from": "22:00", "to": "08:00" }],
        "addresses": [
            { "kind": "email", "address": "Ivan@Example.com" },
            { "kind": "phone", "address": "+7 916 123-45-67", "verified": false },
        ],
        "preferences": { "topics": { "news": { "sms": "out" } } },
    })
}

#[tokio::test]
async fn a_subscriber_is_made_read_changed_and_found() {
    let Some(place) = place().await else { return };
    let node = place.start(&Board::new()).await;
    let client = node.client();
    let made = put(&client, "/api/notify/subscribers/ivan", &ivan()).await;
    assert_eq!((made.status, made.header("etag")), (201, "\"1\""), "{}", made.text());
    let read = client.get("/api/notify/subscribers/ivan").await.unwrap();
    assert_eq!(read.header("etag"), "\"1\"");
    let read: Value = read.json().unwrap();
    assert_eq!(
        read["profile"]["addresses"][1],
        json!({ "kind": "phone", "address": "+79161234567", "verified": false })
    );
    assert_eq!(read["profile"]["preferences"], ivan()["preferences"]);

    // What was read is what can be written.
    let again = put(&client, "/api/notify/subscribers/ivan", &read["profile"]).await;
    assert_eq!((again.status, again.header("etag")), (200, "\"2\""), "{}", again.text());
    let chosen = json!({ "everywhere": { "push": "out" } });
    let changed = put(&client, "/api/notify/subscribers/ivan/preferences", &chosen).await;
    assert_eq!((changed.status, changed.header("etag")), (200, "\"3\""), "{}", changed.text());
    let now = get(&client, "/api/notify/subscribers/ivan").await;
    assert_eq!((&now["profile"]["preferences"], &now["profile"]["name"]), (&chosen, &json!("Иван")));

    for (address, count) in [("ivan@example.com", 1), ("%2B79161234567", 1), ("anna@example.com", 0)] {
        let found = get(&client, &format!("/api/notify/subscribers?address={address}")).await;
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{address}");
    }
    node.stop().await;
}

#[tokio::test]
async fn nobody_s_change_is_lost_to_somebody_else_s() {
    let Some(place) = place().await else { return };
    let node = place.start(&Board::new()).await;
    let client = node.client();
    let path = "/api/notify/subscribers/ivan";
    let change = async |headers: &[(&'static str, &str)]| change(&client, path, headers, &ivan()).await;
    assert_eq!(change(&[("if-match", "\"1\"")]).await.status, 412);
    assert_eq!(change(&[("if-none-match", "*")]).await.status, 201);
    assert_eq!(change(&[("if-none-match", "*")]).await.status, 412);
    assert_eq!(change(&[("if-match", "\"1\"")]).await.status, 200);
    let late = change(&[("if-match", "\"1\"")]).await;
    assert_eq!(late.status, 412);
    assert!(late.problem().contains("it is at 2 now"), "{}", late.problem());
    assert_eq!(change(&[("if-match", "2")]).await.status, 400);
    node.stop().await;
}

#[tokio::test]
async fn what_can_t_be_kept_is_refused_and_the_field_is_named() {
    let Some(place) = place().await else { return };
    let node = place.start(&Board::new()).await;
    let client = node.client();
    let twice = json!([{ "kind": "email", "address": "a@example.com" }, { "kind": "email", "address": "a@EXAMPLE.com" }]);
    for (name, value, at) in [
        ("language", json!("x"), "profile.language"),
        ("zone", json!("Mars/Olympus"), "profile.zone"),
        ("zone", Value::Null, "profile.zone"),
        ("quiet_hours", json!([{ "from": "00:00", "to": "00:00" }]), "profile.quiet_hours"),
        ("quiet_hours", json!([{ "from": "25:00", "to": "08:00" }]), "profile.quiet_hours[0].from"),
        ("addresses", json!([{ "kind": "email", "address": "nobody" }]), "profile.addresses[0].address"),
        (
            "addresses",
            json!([{ "kind": "web_push", "address": "https://p.example/1" }]),
            "profile.addresses[0].keys",
        ),
        ("addresses", twice, "profile.addresses[1].address"),
        ("adresses", json!([]), "adresses"),
    ] {
        let mut profile = ivan();
        profile[name] = value;
        let answer = put(&client, "/api/notify/subscribers/ivan", &profile).await;
        assert_eq!(answer.status, 400, "{at}: {}", answer.text());
        assert_eq!(field(&answer), at, "{}", answer.text());
    }
    let missing = client.get("/api/notify/subscribers/ivan").await.unwrap();
    assert_eq!((missing.status, missing.problem()), (404, "there is no subscriber 'ivan'".to_owned()));
    node.stop().await;
}

#[tokio::test]
async fn a_device_is_one_person_s() {
    let Some(place) = place().await else { return };
    let node = place.start(&Board::new()).await;
    let client = node.client();
    let device = json!({ "kind": "fcm", "address": format!("device:{}", "x".repeat(100)) });
    for who in ["ivan", "anna"] {
        put(&client, &format!("/api/notify/subscribers/{who}"), &json!({})).await;
        let path = format!("/api/notify/subscribers/{who}/addresses");
        let added = post(&client, &path, &device).await;
        assert_eq!((added.status, added.header("etag")), (201, "\"2\""), "{}", added.text());
        let again = post(&client, &path, &device).await;
        assert_eq!((again.status, again.header("etag")), (200, "\"3\""), "{}", again.text());
    }
    let addresses = async |who: &str| {
        get(&client, &format!("/api/notify/subscribers/{who}")).await["profile"]["addresses"].clone()
    };
    assert_eq!(addresses("anna").await.as_array().unwrap().len(), 1);
    assert_eq!(addresses("ivan").await, Value::Null);
    assert_eq!(get(&client, "/api/notify/subscribers/ivan").await["rev"], 4);

    let path = format!(
        "/api/notify/subscribers/anna/addresses?kind=fcm&address={}",
        device["address"].as_str().unwrap()
    );
    assert_eq!(client.delete(&path).await.unwrap().status, 204);
    assert_eq!(client.delete(&path).await.unwrap().status, 404);
    let nobody = post(&client, "/api/notify/subscribers/olga/addresses", &device).await;
    assert_eq!(nobody.status, 404, "{}", nobody.text());
    node.stop().await;
}

#[tokio::test]
async fn subscribers_come_in_pages_and_subscribe_to_keys() {
    let Some(place) = place().await else { return };
    let node = place.start(&Board::new()).await;
    let client = node.client();
    for n in 0..5 {
        put(&client, &format!("/api/notify/subscribers/s{n}"), &json!({})).await;
    }
    let first = get(&client, "/api/notify/subscribers?limit=3").await;
    let next = first["next"].as_str().unwrap();
    let second = get(&client, &format!("/api/notify/subscribers?limit=3&cursor={next}")).await;
    let ids = |page: &Value| {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (ids(&first), ids(&second)),
        (["s0", "s1", "s2"].map(String::from).to_vec(), ["s3", "s4"].map(String::from).to_vec())
    );
    assert_eq!(second.get("next"), None);

    let of = |who: &[&str]| json!({ "topic": "shipments", "key": "shipment:S-1", "subscribers": who });
    let subscribed = post(&client, "/api/notify/subscriptions", &of(&["s0", "s1", "s0"])).await;
    assert_eq!(subscribed.json::<Value>().unwrap(), json!({ "changed": 2 }));
    let unknown = post(&client, "/api/notify/subscriptions", &of(&["s0", "nobody"])).await;
    assert_eq!(unknown.json::<Value>().unwrap()["field"], "subscribers[1]", "{}", unknown.text());
    let listed = get(&client, "/api/notify/subscribers/s1/subscriptions").await;
    assert_eq!(
        (&listed["items"][0]["topic"], &listed["items"][0]["key"]),
        (&json!("shipments"), &json!("shipment:S-1"))
    );
    let gone = post(&client, "/api/notify/subscriptions:remove", &of(&["s1", "s2"])).await;
    assert_eq!(gone.json::<Value>().unwrap(), json!({ "changed": 1 }));
    assert_eq!(get(&client, "/api/notify/subscribers/s1/subscriptions").await["items"], json!([]));
    node.stop().await;
}

#[tokio::test]
async fn a_suppressed_address_is_listed_found_and_taken_off() {
    let Some(place) = place().await else { return };
    let node = place.start(&Board::new()).await;
    let client = node.client();
    let add = async |body: Value| post(&client, "/api/notify/suppressions", &body).await;
    let bounced = json!({ "kind": "email", "address": "ivan@example.com", "reason": "hard_bounce" });
    assert_eq!(add(bounced.clone()).await.json::<Value>().unwrap(), json!({ "changed": 1 }));
    let stopped =
        json!({ "kind": "email", "address": "Ivan@EXAMPLE.com".to_lowercase(), "note": "called us" });
    assert_eq!(add(stopped).await.json::<Value>().unwrap(), json!({ "changed": 1 }));
    // A wish is not forgotten because a mail bounces.
    assert_eq!(add(bounced).await.json::<Value>().unwrap(), json!({ "changed": 0 }));
    add(json!({ "kind": "phone", "address": "+79161234567", "reason": "bad_number" })).await;
    let wrong = add(json!({ "kind": "phone", "address": "12" })).await;
    assert_eq!((wrong.status, &wrong.json::<Value>().unwrap()["field"]), (400, &json!("address")));

    let listed = get(&client, "/api/notify/suppressions").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    let found = get(&client, "/api/notify/suppressions?address=ivan@example.com").await;
    let entry = &found["items"][0];
    assert_eq!(
        (&entry["reason"], &entry["note"], &entry["by"]),
        (&json!("by_hand"), &json!("called us"), &json!("operator"))
    );
    assert_eq!((entry["address"].as_str().unwrap().contains("ivan@"), entry.get("until")), (false, None));
    assert_eq!(
        get(&client, "/api/notify/suppressions?reason=bad_number").await["items"].as_array().unwrap().len(),
        1
    );

    let path = format!("/api/notify/suppressions/{}", entry["id"].as_str().unwrap());
    assert_eq!(client.delete(&path).await.unwrap().status, 204);
    assert_eq!(client.delete(&path).await.unwrap().status, 404);
    node.stop().await;
}

#[tokio::test]
async fn a_person_s_data_are_given_out_and_forgotten() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    let client = node.client();
    let path = "/api/notify/subscribers/ivan";
    let phone = json!({ "kind": "phone", "address": "+79161234567" });
    let profile =
        json!({ "name": "Иван", "addresses": [{ "kind": "email", "address": "ivan@example.com" }, phone] });
    put(&client, path, &profile).await;
    let subscribed = json!({ "topic": "shipments", "key": "shipment:S-1", "subscribers": ["ivan"] });
    post(&client, "/api/notify/subscriptions", &subscribed).await;
    let id = send(&node, &to(json!({ "subscriber": "ivan" }), &["email", "sms"])).await;
    send(&node, &to(json!({ "phone": "+79161234567" }), &["sms"])).await;
    let other = send(&node, &to(json!({ "subscriber": "anna", "phone": "+79160000000" }), &["sms"])).await;
    node.settle().await;
    post(&client, "/api/notify/suppressions", &json!({ "kind": "email", "address": "ivan@example.com" }))
        .await;

    let export = get(&client, &format!("{path}/export")).await;
    assert_eq!(export["subscriber"]["profile"]["addresses"].as_array().unwrap().len(), 2, "{export}");
    assert_eq!(
        (&export["subscriptions"][0]["key"], &export["suppressions"][0]["reason"]),
        (&json!("shipment:S-1"), &json!("by_hand"))
    );
    let deliveries = export["deliveries"]["items"].as_array().unwrap();
    assert_eq!(deliveries.len(), 2);
    assert_eq!(deliveries[1]["addresses"][0]["address"], "ivan@example.com");
    assert_eq!(deliveries[1]["data"]["tracking_number"], "RA123");

    let erased = client.delete(path).await.unwrap();
    assert_eq!(
        erased.json::<Value>().unwrap(),
        json!({ "subscriber": true, "addresses": 2, "subscriptions": 1, "deliveries": 2 })
    );
    assert_eq!(client.get(path).await.unwrap().status, 404);
    let empty = get(&client, &format!("{path}/export")).await;
    assert_eq!(empty, json!({ "deliveries": { "items": [] } }));
    // What became of them stays, and nobody else's is touched.
    let left = fresh(&node, &id).await;
    assert_eq!(
        (&left["state"], left.get("subscriber"), &left["legs"][0]["address"]),
        (&json!("sent"), None, &json!(""))
    );
    assert_eq!(fresh(&node, &other).await["subscriber"], "anna");
    // A stop holds.
    let stopped = get(&client, "/api/notify/suppressions?address=ivan@example.com").await;
    assert_eq!((stopped["items"].as_array().unwrap().len(), stopped["items"][0].get("address")), (1, None));
    node.stop().await;
}

#[tokio::test]
async fn somebody_with_many_deliveries_is_forgotten_in_parts() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    let client = node.client();
    put(
        &client,
        "/api/notify/subscribers/ivan",
        &json!({ "addresses": [{ "kind": "phone", "address": "+79161234567" }] }),
    )
    .await;
    let recipients: Vec<Value> = (0..450).map(|_| json!({ "subscriber": "ivan" })).collect();
    let mut many = to(Value::Null, &["sms"]);
    many["recipients"] = json!(recipients);
    many.as_object_mut().unwrap().remove("recipient");
    let queued = post(&client, "/api/notify/deliveries", &many).await;
    assert_eq!(queued.status, 202, "{}", queued.text());
    node.settle().await;
    let erased = client.delete("/api/notify/subscribers/ivan").await.unwrap();
    assert_eq!(erased.json::<Value>().unwrap()["deliveries"], 200);
    node.settle().await;
    assert_eq!(get(&client, "/api/notify/subscribers/ivan/export").await["deliveries"]["items"], json!([]));
    node.stop().await;
}
