//! What holds of a person at the edges: the order of addresses, the language, reasons, exports.

use super::place;
use crate::board::Board;
use crate::edit::{field, put};
use crate::{ACCOUNTS, get, post, send, to};
use serde_json::{Value, json};

fn mail(address: &str, verified: bool) -> Value {
    json!({ "kind": "email", "address": address, "verified": verified })
}

#[tokio::test]
async fn an_address_that_is_verified_stays_where_its_owner_put_it() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    let client = node.client();
    let path = "/api/notify/subscribers/ivan";
    let profile = json!({ "addresses": [mail("first@example.com", false), mail("second@example.com", true)] });
    put(&client, path, &profile).await;
    let verified = post(&client, &format!("{path}/addresses"), &mail("first@example.com", true)).await;
    assert_eq!(verified.status, 200, "{}", verified.text());
    let added = post(&client, &format!("{path}/addresses"), &mail("third@example.com", true)).await;
    assert_eq!(added.status, 201, "{}", added.text());
    let order = async || {
        let read = get(&client, path).await;
        let all = read["profile"]["addresses"].as_array().unwrap().iter();
        all.map(|one| one["address"].as_str().unwrap()[..5].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(order().await, ["first", "secon", "third"]);
    send(&node, &to(json!({ "subscriber": "ivan" }), &["email"])).await;
    node.settle().await;
    assert_eq!(board.all()[0].address, "first@example.com");
    // Whoever writes the profile anew says the order anew.
    let profile = json!({ "addresses": [mail("third@example.com", true), mail("first@example.com", true)] });
    put(&client, path, &profile).await;
    assert_eq!(order().await, ["third", "first"]);
    node.stop().await;
}

#[tokio::test]
async fn the_language_that_is_asked_for_goes_before_the_subscriber_s() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    let profile = json!({ "language": "ru", "addresses": [{ "kind": "phone", "address": "+79161234567" }] });
    put(&node.client(), "/api/notify/subscribers/ivan", &profile).await;
    for recipient in [json!({ "subscriber": "ivan", "language": "en" }), json!({ "subscriber": "ivan" })] {
        send(&node, &to(recipient, &["sms"])).await;
        node.settle().await;
    }
    let texts: Vec<String> = board.all().into_iter().map(|one| one.text).collect();
    assert!(texts[0].contains("parcel") && !texts[1].contains("parcel"), "{texts:?}");
    for (name, value) in [
        ("language", json!("Russian, please")),
        ("language", json!("ru-RU".repeat(20))),
        ("phone", json!("1".repeat(65))),
        ("email", json!("x".repeat(2_000))),
    ] {
        let mut recipient = json!({ "subscriber": "ivan" });
        recipient[name] = value;
        let one = post(&node.client(), "/api/notify/deliveries", &to(recipient.clone(), &["sms"])).await;
        assert_eq!((one.status, field(&one)), (400, format!("recipient.{name}")), "{}", one.text());
        let mut many = to(Value::Null, &["sms"]);
        many.as_object_mut().unwrap().remove("recipient");
        many["recipients"] = json!([{ "subscriber": "ivan" }, recipient]);
        let many = post(&node.client(), "/api/notify/deliveries", &many).await;
        assert_eq!((many.status, field(&many)), (400, format!("recipients[1].{name}")), "{}", many.text());
    }
    node.stop().await;
}

#[tokio::test]
async fn an_address_is_suppressed_for_reasons_of_its_kind() {
    let Some(place) = place().await else { return };
    let node = place.start(&Board::new()).await;
    let client = node.client();
    let profile = json!({ "addresses": [mail("ivan@example.com", true)] });
    put(&client, "/api/notify/subscribers/ivan", &profile).await;
    let device = format!("device:{}", "x".repeat(100));
    let add = async |kind: &str, address: &str, reason: &str| {
        let body = json!({ "kind": kind, "address": address, "reason": reason });
        post(&client, "/api/notify/suppressions", &body).await
    };
    for (kind, address, reason) in [
        ("email", "ivan@example.com", "token_gone"),
        ("email", "ivan@example.com", "bad_number"),
        ("phone", "+79161234567", "token_foreign"),
        ("phone", "+79161234567", "hard_bounce"),
        ("fcm", &device, "hard_bounce"),
        ("fcm", &device, "not_mobile"),
        ("web_push", "https://push.example.com/1", "complaint"),
    ] {
        let refused = add(kind, address, reason).await;
        assert_eq!((refused.status, field(&refused).as_str()), (400, "reason"), "{}", refused.text());
        assert!(refused.problem().contains(reason) && refused.problem().contains(kind), "{}", refused.text());
    }
    let kept = get(&client, "/api/notify/subscribers/ivan").await;
    assert_eq!(kept["profile"]["addresses"].as_array().unwrap().len(), 1, "{kept}");
    for (kind, address, reason) in
        [("email", "ivan@example.com", "complaint"), ("fcm", &device, "token_gone"), ("fcm", &device, "by_hand")]
    {
        let taken = add(kind, address, reason).await;
        assert_eq!(taken.status, 200, "{}", taken.text());
    }
    node.stop().await;
}

#[tokio::test]
async fn an_id_that_looks_like_an_address_is_found_as_both() {
    let Some(place) = place().await else { return };
    let node = place.start(&Board::new()).await;
    let client = node.client();
    let both = "ivan@example.com";
    let profile = json!({ "addresses": [{ "kind": "phone", "address": "+79161234567" }] });
    put(&client, &format!("/api/notify/subscribers/{both}"), &profile).await;
    let mut ids = Vec::new();
    for n in 0..6 {
        let recipient = match n % 3 {
            0 => json!({ "subscriber": both }),
            1 => json!({ "email": both }),
            _ => json!({ "subscriber": both, "email": both }),
        };
        ids.push(send(&node, &to(recipient, if n % 3 == 0 { &["sms"] } else { &["email"] })).await);
    }
    send(&node, &to(json!({ "subscriber": "anna", "email": "anna@example.com" }), &["email"])).await;
    ids.sort_by(|a: &String, b| b.cmp(a));
    for limit in [1, 4, 10] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/notify/deliveries?recipient={both}&limit={limit}{cursor}");
            let page = get(&client, &path).await;
            let items = page["items"].as_array().unwrap();
            seen.extend(items.iter().map(|one| one["id"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, ids, "{limit}");
    }
    node.stop().await;
}

#[tokio::test]
async fn an_export_says_how_many_subscriptions_it_leaves_out() {
    let Some(place) = place().await else { return };
    let options = place.of(&Board::new()).file(ACCOUNTS).setting("notify.export_subscriptions", "3");
    let node = options.start().await.expect("the node starts");
    let client = node.client();
    put(&client, "/api/notify/subscribers/ivan", &json!({})).await;
    for (key, left) in [("a", None), ("b", None), ("c", None), ("d", Some(1)), ("e", Some(2))] {
        let subscribed = json!({ "topic": "shipments", "key": key, "subscribers": ["ivan"] });
        assert!(post(&client, "/api/notify/subscriptions", &subscribed).await.is_success());
        let export = get(&client, "/api/notify/subscribers/ivan/export").await;
        assert_eq!(export.get("subscriptions_left").and_then(Value::as_u64), left, "{export}");
        assert!(export["subscriptions"].as_array().unwrap().len() <= 3, "{export}");
    }
    node.stop().await;
}
