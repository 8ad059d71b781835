//! The life of a message, as the README shows it.

use crate::system::{System, consumed, get, messages, post, post_with_key, stats};
use crate::until::until;
use serde_json::{Value, json};

const MESSAGES: &str = "/api/bridge/messages";

fn hello() -> Value {
    json!({ "topic": "greetings", "key": "ann", "value": { "text": "hello" } })
}

/// Waits until the message is consumed, and returns it.
async fn end_of(system: &impl System, id: &str) -> Value {
    until("the message to be consumed", async || {
        let message = get(system, &format!("{MESSAGES}/{id}")).await;
        let status = message["status"].as_str().unwrap().to_owned();
        assert!(["accepted", "produced", "consumed"].contains(&status.as_str()), "{message}");
        (status == "consumed" && message["produced_at"].is_string()).then_some(message)
    })
    .await
}

pub async fn a_message_is_followed_from_accepted_to_consumed(system: &mut impl System) {
    let answer = post(system, MESSAGES, &hello()).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let accepted: Value = answer.json().unwrap();
    assert_eq!((&accepted["topic"], &accepted["status"]), (&json!("greetings"), &json!("accepted")));
    let id = accepted["id"].as_str().unwrap();
    let message = end_of(system, id).await;
    assert_eq!((&message["key"], &message["value"]), (&json!("ann"), &json!({ "text": "hello" })));
    assert!(message["partition"].is_number() && message["offset"] == json!(0), "{message}");
    let (produced, done) =
        (message["produced_at"].as_str().unwrap(), message["consumed_at"].as_str().unwrap());
    assert!(message["accepted_at"].as_str().unwrap() <= produced.min(done), "{message}");
    let listed = messages(system, "greetings").await;
    assert_eq!((listed.len(), listed[0]["id"].as_str()), (1, Some(id)));
    assert_eq!(
        consumed(system, 1).await,
        json!({ "accepted": 1, "produced": 1, "consumed": 1, "failed": 0, "duplicates": 0, "again": 0 })
    );
}

pub async fn the_story_of_a_message_is_told(system: &mut impl System) {
    for n in 0..20 {
        let other = json!({ "topic": "greetings", "key": format!("other {n}"), "value": n });
        assert_eq!(post(system, MESSAGES, &other).await.status, 202);
    }
    let accepted: Value = post(system, MESSAGES, &hello()).await.json().unwrap();
    let id = accepted["id"].as_str().unwrap();
    let known = end_of(system, id).await;
    let story = get(system, &format!("/api/admin/why/{id}")).await;
    let message = &story["message"];
    assert_eq!(
        (&message["id"], &message["source"], &message["key"]),
        (&json!(id), &json!("artel/bridge"), &json!("ann"))
    );
    let place = &message["places"][0];
    assert_eq!((&place["partition"], &place["offset"]), (&known["partition"], &known["offset"]), "{story}");
    let fates: Vec<&Value> =
        message["groups"].as_array().unwrap().iter().map(|group| &group["fate"]).collect();
    assert!(!fates.is_empty() && fates.iter().all(|fate| *fate == "taken-in"), "{story}");
    assert_eq!((&story["looked"]["open"], &message["value"]), (&json!([]), &Value::Null), "{story}");
    let narrow = get(system, &format!("/api/admin/why/{id}?topic=greetings&key=ann&payload=true")).await;
    assert_eq!(narrow["message"]["value"], json!({ "text": "hello" }), "{narrow}");
}

pub async fn a_repeat_is_answered_alike_and_another_body_refused(system: &mut impl System) {
    let first: Value = post_with_key(system, MESSAGES, "key 1", &hello()).await.json().unwrap();
    let again = post_with_key(system, MESSAGES, "key 1", &hello()).await;
    assert_eq!((again.status, again.json::<Value>().unwrap()["id"].clone()), (202, first["id"].clone()));
    let other = json!({ "topic": "greetings", "value": 1 });
    assert_eq!(post_with_key(system, MESSAGES, "key 1", &other).await.status, 409);
    assert_eq!(consumed(system, 1).await["accepted"], 1);
}

pub async fn consumers_and_totals_stay_over_a_restart(system: &mut impl System) {
    for _ in 0..3 {
        assert_eq!(post(system, MESSAGES, &hello()).await.status, 202);
    }
    let before = until("three messages through", async || {
        let now = stats(system).await;
        (now["consumed"] == 3 && now["produced"] == 3).then_some(now)
    })
    .await;
    let consumers = get(system, "/api/bridge/consumers").await;
    assert!(!consumers.as_array().unwrap().is_empty(), "{consumers}");
    system.restart().await;
    assert_eq!(stats(system).await, before);
    let after = get(system, "/api/bridge/consumers").await;
    let ids = |list: &Value| -> Vec<Value> {
        list.as_array().unwrap().iter().map(|consumer| consumer["id"].clone()).collect()
    };
    assert_eq!(ids(&after), ids(&consumers));
    assert_eq!(post(system, MESSAGES, &hello()).await.status, 202);
    consumed(system, 4).await;
}
