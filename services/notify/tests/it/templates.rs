//! Templates: saved, seen, sent.

use super::place;
use crate::board::Board;
use crate::edit::{change, field, put};
use crate::{fresh, get, post, send, to};
use serde_json::{Value, json};

fn plain(text: &str) -> Value {
    json!({ "default_language": "en", "languages": { "en": { "sms": text } }, "message": "logistics.shipment-moved" })
}

#[tokio::test]
async fn what_came_with_the_program_is_there_and_can_be_changed_and_taken_back() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    let client = node.client();
    let listed = get(&client, "/api/notify/templates").await;
    assert_eq!(
        (&listed["items"][0]["id"], &listed["items"][0]["shipped"]),
        (&json!("shipment"), &json!(true))
    );
    let path = "/api/notify/templates/shipment";
    let shipped = client.get(path).await.unwrap();
    assert_eq!(shipped.header("etag"), "\"1\"");
    let mut body = shipped.json::<Value>().unwrap()["body"].clone();
    body["languages"]["en"]["sms"] = json!("Own words for {{ tracking_number }}");
    assert_eq!(change(&client, path, &[("if-match", "\"3\"")], &body).await.status, 412);
    let saved = change(&client, path, &[("if-match", "\"1\"")], &body).await;
    assert_eq!((saved.status, saved.header("etag")), (200, "\"2\""), "{}", saved.text());
    assert_eq!(saved.json::<Value>().unwrap()["checked"], true);

    let phone = json!({ "phone": "+79161234567", "language": "en" });
    send(&node, &to(phone.clone(), &["sms"])).await;
    node.settle().await;
    assert!(board.all()[0].text.contains("Own words for RA123"), "{}", board.all()[0].text);
    let versions = get(&client, "/api/notify/templates?versions_of=shipment").await;
    let numbers: Vec<u64> =
        versions["items"].as_array().unwrap().iter().map(|one| one["version"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [2, 1]);

    assert_eq!(client.delete(path).await.unwrap().status, 204);
    send(&node, &to(phone, &["sms"])).await;
    node.settle().await;
    assert!(!board.all()[1].text.contains("Own words"), "{}", board.all()[1].text);
    let again = client.delete(path).await.unwrap();
    assert_eq!(again.status, 409, "{}", again.text());
    // Numbers are given once.
    assert_eq!(put(&client, path, &body).await.header("etag"), "\"3\"");
    node.stop().await;
}

#[tokio::test]
async fn what_can_t_be_sent_is_not_saved_and_the_place_is_named() {
    let Some(place) = place().await else { return };
    let node = place.start(&Board::new()).await;
    let client = node.client();
    for (body, at, sentence) in [
        (plain("{{ traking_number }}"), "en.sms", "did you mean 'tracking_number'?"),
        (plain("Arrives {{ eta }}"), "en.sms", "{% if field %}"),
        (plain("{{ tracking_number"), "en.sms", "line 1"),
        (
            json!({ "default_language": "ru", "languages": { "en": { "sms": "x" } } }),
            "default_language",
            "'ru'",
        ),
        (
            json!({ "default_language": "en", "languages": { "en": { "fax": "x" } } }),
            "languages.en.fax",
            "fax",
        ),
        (
            json!({ "default_language": "en", "languages": { "en": { "sms": "x" } }, "message": "a.b" }),
            "message",
            "schema",
        ),
        (
            json!({ "default_language": "en", "languages": { "en": { "sms": "x" } }, "schema": 1 }),
            "schema",
            "JSON Schema",
        ),
    ] {
        let answer = put(&client, "/api/notify/templates/own", &body).await;
        assert_eq!((answer.status, field(&answer).as_str()), (400, at), "{}", answer.text());
        assert!(answer.problem().contains(sentence), "'{sentence}' in {}", answer.problem());
    }
    let schema =
        json!({ "type": "object", "properties": { "code": { "type": "string" } }, "required": ["code"] });
    let own =
        json!({ "default_language": "en", "languages": { "en": { "sms": "{{ code }}" } }, "schema": schema });
    let saved = put(&client, "/api/notify/templates/own", &own).await;
    assert_eq!((saved.status, saved.json::<Value>().unwrap()["checked"].clone()), (201, json!(true)));
    node.stop().await;
}

#[tokio::test]
async fn a_template_is_seen_before_it_is_saved_and_tried_on_somebody() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    let client = node.client();
    let path = "/api/notify/templates/shipment/preview";
    let seen =
        post(&client, path, &json!({ "language": "ru", "zone": "Europe/Moscow", "name": "Иван" })).await;
    assert_eq!(seen.status, 200, "{}", seen.text());
    let seen: Value = seen.json().unwrap();
    let messages = seen["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 3);
    assert!(messages.iter().all(|one| one["language"] == "ru" && one.get("error").is_none()), "{seen}");
    assert!(messages[0]["html"].as_str().unwrap().contains("<html"), "{}", messages[0]["html"]);
    assert!(messages[1]["segments"].as_u64().unwrap() >= 1);

    let look = json!({ "body": plain("{{ eta }} {{ nothing }}"), "data": { "eta": "soon" } });
    let draft = post(&client, "/api/notify/templates/draft/preview", &look).await.json::<Value>().unwrap();
    assert!(draft["messages"][0]["error"].as_str().unwrap().contains("not there"), "{draft}");
    assert_eq!(draft["problems"][0]["field"], "en.sms", "{draft}");
    assert_eq!(post(&client, "/api/notify/templates/draft/preview", &json!({})).await.status, 404);

    let test = json!({ "recipient": { "phone": "+79161234567" }, "channels": ["sms"] });
    let queued = post(&client, "/api/notify/templates/shipment/test-sends", &test).await;
    assert_eq!(queued.status, 202, "{}", queued.text());
    node.settle().await;
    assert_eq!(board.all().len(), 1);
    let id = queued.json::<Value>().unwrap()["delivery"].as_str().unwrap().to_owned();
    assert_eq!(fresh(&node, &id).await["topic"], "test");
    node.stop().await;
}

#[tokio::test]
async fn a_template_keeps_what_rules_send_of_it() {
    let Some(place) = place().await else { return };
    let node = place.start(&Board::new()).await;
    let client = node.client();
    put(&client, "/api/notify/templates/own", &plain("{{ tracking_number }}")).await;
    let rule = json!({
        "on": { "topic": "logistics.shipment" }, "template": "own", "topic": "shipments", "channels": ["sms"],
        "to": { "event": { "phone": "receiver.phone" } },
    });
    let saved = put(&client, "/api/notify/rules/own", &rule).await;
    assert_eq!(saved.status, 201, "{}", saved.text());
    let other =
        json!({ "default_language": "en", "languages": { "en": { "push": { "title": "a", "body": "b" } } } });
    let refused = put(&client, "/api/notify/templates/own", &other).await;
    assert!(refused.status == 409 && refused.problem().contains("rule 'own'"), "{}", refused.text());
    assert_eq!(client.delete("/api/notify/templates/own").await.unwrap().status, 409);
    assert_eq!(client.delete("/api/notify/rules/own").await.unwrap().status, 204);
    assert_eq!(client.delete("/api/notify/templates/own").await.unwrap().status, 204);
    assert_eq!(client.get("/api/notify/templates/own").await.unwrap().status, 404);
    node.stop().await;
}
