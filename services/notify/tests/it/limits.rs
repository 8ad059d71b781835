//! How much of a template is taken, and how many are listed at once.

use super::place;
use crate::board::Board;
use crate::edit::{field, put};
use crate::{get, post};
use serde_json::{Map, Value, json};

const TEMPLATE: &str = "/api/notify/templates/own";
const PREVIEW: &str = "/api/notify/templates/own/preview";

fn sms(text: &str) -> Value {
    json!({ "default_language": "en", "languages": { "en": { "sms": text } } })
}

fn mail(mjml: &str) -> Value {
    let email = json!({ "subject": "s", "text": "t", "html": { "mjml": mjml } });
    json!({ "default_language": "en", "languages": { "en": { "email": email } } })
}

/// What is too much of a template, the field that says so when it is saved, and the sentence.
fn too_much() -> Vec<(Value, &'static str, &'static str)> {
    let inside = |inside: &str| format!("<mjml><mj-body><mj-raw>{inside}</mj-raw></mj-body></mjml>");
    let deep = format!("{}{}", "<a>".repeat(30_000), "</a>".repeat(30_000));
    let languages: Map<String, Value> = (0..101u8)
        .map(|n| (format!("x{}{}", char::from(b'a' + n / 26), char::from(b'a' + n % 26)), json!({ "sms": "x" })))
        .collect();
    let fields: Map<String, Value> = (0..51).map(|n| (format!("f{n}"), json!("x"))).collect();
    let push = |data: Value| {
        let push = json!({ "title": "t", "body": "b", "data": data });
        json!({ "default_language": "en", "languages": { "en": { "push": push } } })
    };
    let long: Map<String, Value> = Map::from_iter([("x".repeat(101), json!("x"))]);
    let mut schema = sms("x");
    schema["schema"] = json!({ "description": "x".repeat(200_000) });
    vec![
        (mail(&inside(&deep)), "en.email.html", "more than 100 deep"),
        (mail(&inside(&"{{ a }}".repeat(2_001))), "en.email.html", "more than 2000 tags"),
        (sms("{{ 'x' * 20000000 }}"), "en.sms", "'*' is not taken"),
        (json!({ "default_language": "xaa", "languages": languages }), "languages", "there are 101"),
        (push(Value::Object(fields)), "languages.en.push.data", "there are 51; 50 are the most"),
        (push(Value::Object(long)), "languages.en.push.data", "has 101 bytes; 1 to 100 are right"),
        (schema, "schema", "131072 are the most"),
    ]
}

#[tokio::test]
async fn too_much_of_a_template_is_neither_saved_nor_shown() {
    let Some(place) = place().await else { return };
    let node = place.start(&Board::new()).await;
    let client = node.client();
    for (body, at, sentence) in too_much() {
        for answer in [put(&client, TEMPLATE, &body).await, post(&client, PREVIEW, &json!({ "body": body })).await] {
            assert_eq!((answer.status, field(&answer).as_str()), (400, at), "{}", answer.text());
            assert!(answer.problem().contains(sentence), "'{sentence}' in {}", answer.problem());
        }
    }
    let mut deep = json!(1);
    (0..40).for_each(|_| deep = json!([deep]));
    for (name, value) in [
        ("data", json!({ "a": "x".repeat(70_000) })),
        ("data", deep),
        ("language", json!("x".repeat(300))),
        ("name", json!("x".repeat(300))),
    ] {
        let mut look = json!({ "body": sms("x") });
        look[name] = value;
        let answer = post(&client, PREVIEW, &look).await;
        assert_eq!((answer.status, field(&answer).as_str()), (400, name), "{}", answer.text());
    }
    node.stop().await;
}

#[tokio::test]
async fn templates_and_their_versions_come_in_pages() {
    let Some(place) = place().await else { return };
    let node = place.start(&Board::new()).await;
    let client = node.client();
    for version in 1..=13 {
        let saved = put(&client, TEMPLATE, &sms(&format!("version {version}"))).await;
        assert!(saved.is_success(), "{}", saved.text());
    }
    for n in 0..12 {
        put(&client, &format!("/api/notify/templates/t{n:02}"), &sms("x")).await;
    }
    let refused = client.get("/api/notify/templates?limit=51").await.unwrap();
    assert_eq!((refused.status, field(&refused).as_str()), (400, "limit"), "{}", refused.text());
    let pages = async |path: &str, name: &str, limit: usize| {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(&client, &format!("{path}limit={limit}{cursor}")).await;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit, "{page}");
            all.extend(items.iter().map(|item| item[name].to_string()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    };
    let down: Vec<String> = (1..=13).rev().map(|version: u32| version.to_string()).collect();
    let mut ids: Vec<String> = (0..12).map(|n| format!("\"t{n:02}\"")).collect();
    ids.splice(0..0, ["\"own\"".to_owned(), "\"shipment\"".to_owned()]);
    for limit in [4, 5, 6, 12, 50] {
        assert_eq!(pages("/api/notify/templates?versions_of=own&", "version", limit).await, down, "{limit}");
        assert_eq!(pages("/api/notify/templates?", "id", limit).await, ids, "{limit}");
    }
    node.stop().await;
}
