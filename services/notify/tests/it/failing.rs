//! Providers that fail, and nodes that die.

use super::place;
use crate::board::{Board, Does, lost, smtp};
use crate::place::PACED;
use crate::{fresh, get, post, reaches, send, shipment, to};
use artel_notify::domain::state::{Found, Receipt};
use serde_json::{Value, json};
use artel_frame::Sandbox;
use artel_message::Time;
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime};

#[tokio::test]
async fn the_next_account_takes_what_the_first_one_does_not() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    board.answers("post", [Does::Says(smtp(451))]);
    let id = send(&node, &to(json!({ "email": "ivan@example.com" }), &["email"])).await;
    node.settle().await;
    let sent = fresh(&node, &id).await;
    assert_eq!((&sent["state"], &sent["legs"][0]["attempts"]), (&json!("sent"), &json!(2)), "{sent}");
    let accounts: Vec<String> = board.all().into_iter().map(|one| one.account).collect();
    assert_eq!(accounts, ["post", "spare"]);
    node.stop().await;
}

#[tokio::test]
async fn a_failure_is_tried_again_and_given_up_in_the_end() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    let busy = || Does::Says(artel_wires::Said::Smpp { status: 0x14 });
    board.answers("tower", [busy(), busy(), busy(), busy()]);
    let id = send(&node, &to(json!({ "phone": "+79161234567" }), &["sms"])).await;
    let failed = reaches(&node, &id, "failed").await;
    assert_eq!(failed["legs"][0]["attempts"], 3);
    assert!(failed["legs"][0]["reason"].as_str().unwrap().contains("its tries are used up"), "{failed}");
    let lines = failed["timeline"].as_array().unwrap();
    let answered = |line: &&Value| line["what"].as_str().unwrap().starts_with("answered");
    let states: Vec<&Value> = lines.iter().filter(answered).map(|line| &line["state"]).collect();
    assert_eq!(states, ["scheduled", "scheduled", "failed"], "{failed}");
    node.stop().await;
}

#[tokio::test]
async fn a_lost_answer_is_asked_about_and_never_repeated_silently() {
    for (found, state, arrivals) in [
        (Found::Known(Receipt::Delivered), "delivered", 1),
        (Found::Nothing, "sent", 2),
        (Found::CantSay, "unknown", 1),
    ] {
        let Some(place) = place().await else { return };
        let board = Board::new();
        let node = place.start(&board).await;
        board.answers("tower", [Does::Says(lost())]);
        board.finds(found);
        let id = send(&node, &to(json!({ "phone": "+79161234567" }), &["sms"])).await;
        board.asked.subscribe().wait_for(|asked| !asked.is_empty()).await.unwrap();
        node.settle().await;
        reaches(&node, &id, state).await;
        assert_eq!(board.all().len(), arrivals, "{state}");
        node.stop().await;
    }
}

#[tokio::test]
async fn a_person_decides_about_what_nobody_knows() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.start(&board).await;
    board.answers("post", [Does::Says(lost())]);
    let id = send(&node, &to(json!({ "email": "ivan@example.com" }), &["email"])).await;
    node.settle().await;
    assert_eq!(fresh(&node, &id).await["state"], "unknown");
    let path = format!("/api/notify/deliveries/{id}/decisions");
    let answer = post(&node.client(), &path, &json!({ "decision": "arrived" })).await;
    let decided: Value = answer.json().expect("JSON");
    assert_eq!(decided["state"], "delivered");
    let last = decided["timeline"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["what"], "decided by operator");
    node.stop().await;
}

#[tokio::test]
async fn a_node_that_dies_loses_nothing_and_sends_nothing_twice_in_silence() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let mut node = place.start(&board).await;
    board.closed.send_replace(true);
    let recipients: Vec<Value> =
        (0..600).map(|n| json!({ "phone": format!("+7916{:07}", 1_000_000 + n) })).collect();
    let content = json!({ "template": "shipment", "topic": "t", "data": shipment(), "channels": ["sms"] });
    let answer = post(
        &node.client(),
        "/api/notify/deliveries",
        &json!({ "recipients": recipients, "content": content }),
    )
    .await;
    let queued: Value = answer.json().expect("JSON");
    board.has(100).await;
    node.kill().await;
    let before = board.all().len();
    board.closed.send_replace(false);
    node.begin().await.expect("it starts again");
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for one in queued["deliveries"].as_array().unwrap() {
        let id = one["delivery"].as_str().unwrap();
        let state = loop {
            let delivery = fresh(&node, id).await;
            let state = delivery["state"].as_str().unwrap().to_owned();
            if state == "sent" || state == "unknown" {
                break state;
            }
            tokio::task::yield_now().await;
        };
        *states.entry(state).or_default() += 1;
    }
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for one in board.all() {
        *times.entry(one.address).or_default() += 1;
    }
    assert_eq!(times.len(), 600 - unsent(&states, before), "{states:?}");
    assert!(times.values().all(|times| *times == 1), "{states:?}");
    node.stop().await;
}

/// Of those that were written down as begun when the node died some had not reached the provider.
fn unsent(states: &BTreeMap<String, usize>, arrived: usize) -> usize {
    states.get("unknown").copied().unwrap_or(0).saturating_sub(arrived)
}

#[tokio::test]
async fn an_account_at_its_pace_puts_messages_off_and_all_of_them_go() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.of(&board).file(PACED).start().await.expect("the node starts");
    let recipients: Vec<Value> =
        (0..60).map(|n| json!({ "phone": format!("+7916{:07}", 1_000_000 + n) })).collect();
    let content = json!({ "template": "shipment", "topic": "t", "data": shipment(), "channels": ["sms"] });
    post(&node.client(), "/api/notify/deliveries", &json!({ "recipients": recipients, "content": content }))
        .await;
    board.has(60).await;
    node.settle().await;
    let page = get(&node.client(), "/api/notify/deliveries?state=sent&limit=500").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 60);
    node.stop().await;
}

#[tokio::test]
async fn who_waits_for_a_place_is_not_cut_off_on_the_wire() {
    let Some(place) = place().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("artel.toml");
    // One at a time, and more of them than an effect's time has room for.
    let text = "[flow]\neffect_time = \"1500ms\"\n[notify]\ncall_seconds = 1\nask_after_seconds = 86400\n\
                [[notify.sms.accounts]]\nname = \"tower\"\nat_once = 1\nnone = { delay_ms = 300 }\n";
    fs::write(&file, text).unwrap();
    let node = place.with(artel_notify::service).file(&file).start().await.expect("the node starts");
    let recipients: Vec<Value> =
        (0..8).map(|n| json!({ "phone": format!("+7916{:07}", 1_000_000 + n) })).collect();
    let content = json!({ "template": "shipment", "topic": "t", "data": shipment(), "channels": ["sms"] });
    let body = json!({ "recipients": recipients, "content": content });
    let queued: Value = post(&node.client(), "/api/notify/deliveries", &body).await.json().unwrap();
    for one in queued["deliveries"].as_array().unwrap() {
        let sent = reaches(&node, one["delivery"].as_str().unwrap(), "sent").await;
        assert_eq!(sent["legs"][0]["attempts"], 1, "{sent}");
    }
    node.stop().await;
}

/// A node with one account for each of these, of which the first sends one at a time.
async fn narrow(board: &std::sync::Arc<Board>, channel: &str, accounts: &[(&str, &str)]) -> Sandbox {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("artel.toml");
    let mut text = "[notify]\nhold_ms = 0\nask_after_seconds = 86400\n".to_owned();
    for (name, more) in accounts {
        text += &format!("[[notify.{channel}.accounts]]\nname = \"{name}\"\nnone = {{}}\n{more}\n");
    }
    fs::write(&file, text).unwrap();
    let clock = Time::from_system(SystemTime::now());
    board.place.of(board).file(&file).manual_clock(clock).start().await.expect("the node starts")
}

/// Returns when what was sent before has come as far as it does.
async fn queued(node: &Sandbox, recipient: Value, channel: &str) {
    for _ in 0..2 {
        let id = send(node, &to(recipient.clone(), &[channel])).await;
        reaches(node, &id, "suppressed").await;
    }
}

#[tokio::test]
async fn who_waited_for_a_place_goes_elsewhere_when_the_account_is_out_of_use_by_then() {
    let Some(board) = super::board().await else { return };
    let node = narrow(&board, "email", &[("post", "at_once = 1"), ("spare", "")]).await;
    board.closed.send_replace(true);
    board.answers("post", [Does::Says(smtp(535))]);
    for n in 0..6 {
        send(&node, &to(json!({ "email": format!("n{n}@example.com") }), &["email"])).await;
    }
    board.has(1).await;
    queued(&node, json!({ "phone": "+79161234567" }), "sms").await;
    board.closed.send_replace(false);
    node.settle().await;
    let accounts: Vec<String> = board.all().into_iter().map(|one| one.account).collect();
    assert_eq!((accounts.len(), accounts.iter().filter(|one| *one == "post").count()), (7, 1), "{accounts:?}");
    node.stop().await;
}

#[tokio::test]
async fn who_waited_for_a_place_keeps_to_the_pace() {
    let Some(board) = super::board().await else { return };
    let node = narrow(&board, "sms", &[("tower", "at_once = 1\nper_second = 1\nburst = 1")]).await;
    board.closed.send_replace(true);
    for n in 0..4 {
        send(&node, &to(json!({ "phone": format!("+7916000000{n}") }), &["sms"])).await;
    }
    board.has(1).await;
    for _ in 0..3 {
        queued(&node, json!({ "email": "ivan@example.com" }), "email").await;
        node.advance(Duration::from_secs(1));
    }
    queued(&node, json!({ "email": "ivan@example.com" }), "email").await;
    board.closed.send_replace(false);
    node.settle().await;
    assert_eq!(board.all().len(), 2, "a second holds one of them");
    for sent in 3..=4 {
        node.advance(Duration::from_secs(1));
        node.settle().await;
        assert_eq!(board.all().len(), sent);
    }
    node.stop().await;
}

#[tokio::test]
async fn a_channel_without_accounts_says_so() {
    let Some(place) = place().await else { return };
    let board = Board::new();
    let node = place.of(&board).start().await.expect("the node starts");
    let id = send(&node, &to(json!({ "phone": "+79161234567" }), &["sms"])).await;
    node.settle().await;
    let delivery = fresh(&node, &id).await;
    assert_eq!(delivery["state"], "suppressed");
    assert!(delivery["legs"][0]["reason"].as_str().unwrap().contains("notify.sms.accounts"), "{delivery}");
    node.stop().await;
}
