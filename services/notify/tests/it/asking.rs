//! Attempts that nobody knows the end of: the provider is asked, and nothing is sent again before it, or a person, says so.

use crate::board::{Board, Does, lost};
use crate::{ACCOUNTS, fresh, of, post, reaches, send, to};
use artel_contract::notify::dead::SmsGivenUp;
use artel_frame::Sandbox;
use artel_message::Time;
use artel_notify::channels::Candidate;
use artel_notify::domain::state::{Cause, Found, Receipt};
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

fn clock() -> Time {
    Time::from_system(SystemTime::now())
}

/// Sends a message whose answer is lost.
async fn lose(node: &Sandbox, board: &Arc<Board>) -> String {
    board.answers("tower", [Does::Says(lost())]);
    let id = send(node, &to(json!({ "phone": "+79161234567" }), &["sms"])).await;
    node.settle().await;
    id
}

async fn what(node: &Sandbox, id: &str) -> (String, Vec<String>) {
    let delivery = fresh(node, id).await;
    let lines = delivery["timeline"].as_array().unwrap().iter();
    let what = lines.map(|line| line["what"].as_str().unwrap().to_owned()).collect();
    (delivery["state"].as_str().unwrap().to_owned(), what)
}

#[tokio::test]
async fn what_the_provider_found_is_what_became_of_it() {
    let Some(board) = super::board().await else { return };
    let node = of(&board).file(ACCOUNTS).manual_clock(clock()).start().await.expect("the node starts");
    let reason = || "state 5".to_owned();
    let again = Some(node.now() + Duration::from_secs(30));
    for (found, state) in [
        (Receipt::OnItsWay, "sent"),
        (Receipt::Delivered, "delivered"),
        (Receipt::Undelivered { again: None, cause: Cause::Permanent, reason: reason() }, "failed"),
        (Receipt::Unclear { reason: reason() }, "unknown"),
        (Receipt::Undelivered { again, cause: Cause::Temporary, reason: reason() }, "scheduled"),
    ] {
        let before = board.all().len();
        board.finds(Found::Known(found));
        let id = lose(&node, &board).await;
        let (now, lines) = what(&node, &id).await;
        assert_eq!((now.as_str(), board.all().len()), (state, before + 1), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("asked")) || state == "unknown", "{lines:?}");
        // The question names the attempt as it was named when it was handed over.
        assert_eq!(board.asked.borrow().last().unwrap().key, board.all()[before].key);
    }
    assert_eq!(node.published::<SmsGivenUp>().await.len(), 1);
    // The last one may be made again, at its moment.
    let before = board.all().len();
    node.advance(Duration::from_secs(31));
    node.settle().await;
    assert_eq!(board.all().len(), before + 1);
    node.stop().await;
}

#[tokio::test]
async fn what_the_provider_never_got_is_sent_again_by_itself_and_once() {
    let Some(board) = super::board().await else { return };
    let node = of(&board).file(ACCOUNTS).manual_clock(clock()).start().await.expect("the node starts");
    board.finds(Found::Nothing);
    let id = lose(&node, &board).await;
    assert_eq!(what(&node, &id).await.0, "sent");
    let keys: Vec<String> = board.all().into_iter().map(|one| one.key).collect();
    let own = id.replace('-', "");
    assert_eq!(keys, [format!("{own}-0-1"), format!("{own}-0-2")]);
    node.advance(Duration::from_secs(86_400));
    node.settle().await;
    assert_eq!(board.all().len(), 2);
    node.stop().await;
}

#[tokio::test]
async fn what_nobody_can_say_waits_for_a_person() {
    let Some(board) = super::board().await else { return };
    let node = of(&board).file(ACCOUNTS).manual_clock(clock()).start().await.expect("the node starts");
    for (decision, state, sent) in
        [("send_again", "sent", 2), ("arrived", "delivered", 1), ("give_up", "failed", 1)]
    {
        let before = board.all().len();
        board.finds(Found::CantSay);
        let id = lose(&node, &board).await;
        node.advance(Duration::from_secs(86_400));
        node.settle().await;
        assert_eq!((what(&node, &id).await.0.as_str(), board.all().len()), ("unknown", before + 1));
        let path = format!("/api/notify/deliveries/{id}/decisions");
        let answer = post(&node.client(), &path, &json!({ "decision": decision })).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        node.settle().await;
        let (now, lines) = what(&node, &id).await;
        assert_eq!((now.as_str(), board.all().len()), (state, before + sent), "{lines:?}");
        assert!(lines.contains(&"decided by operator".to_owned()), "{lines:?}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_provider_that_does_not_answer_the_question_is_asked_again() {
    let Some(board) = super::board().await else { return };
    let node = of(&board).file(ACCOUNTS).setting("notify.call_seconds", "1");
    let node = node.start().await.expect("the node starts");
    board.silent.send_replace(true);
    board.finds(Found::Known(Receipt::Delivered));
    board.answers("tower", [Does::Says(lost())]);
    let id = send(&node, &to(json!({ "phone": "+79161234567" }), &["sms"])).await;
    let mut asked = board.asked.subscribe();
    asked.wait_for(|asked| asked.len() >= 2).await.unwrap();
    assert_eq!(fresh(&node, &id).await["state"], "unknown");
    board.silent.send_replace(false);
    reaches(&node, &id, "delivered").await;
    assert_eq!(board.all().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn an_account_that_is_gone_can_t_be_asked() {
    let Some(board) = super::board().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("artel.toml");
    let account = |name: &str| {
        let text = format!(
            "[notify]\nask_after_seconds = 60\n[[notify.sms.accounts]]\nname = \"{name}\"\nnone = {{}}\n"
        );
        fs::write(&file, text).unwrap();
    };
    account("tower");
    let mut node = of(&board).file(&file).manual_clock(clock()).start().await.expect("the node starts");
    let id = lose(&node, &board).await;
    account("mast");
    node.restart().await.expect("it starts again");
    node.advance(Duration::from_secs(61));
    node.settle().await;
    let delivery = fresh(&node, &id).await;
    assert_eq!((delivery["state"].as_str(), board.asked.borrow().len()), (Some("unknown"), 0));
    let path = format!("/api/notify/deliveries/{id}/decisions");
    let answer = post(&node.client(), &path, &json!({ "decision": "send_again" })).await;
    assert_eq!(answer.json::<Value>().unwrap()["state"], "scheduled", "{}", answer.text());
    node.settle().await;
    assert_eq!(fresh(&node, &id).await["legs"][0]["provider"], "mast");
    node.stop().await;
}

/// A message to the number about this parcel, whose answer is lost. Its provider is asked, and does not answer yet.
async fn lose_one_of(node: &Sandbox, board: &Arc<Board>, parcel: &str) -> String {
    let asked = board.asked.borrow().len();
    board.answers("tower", [Does::Says(lost())]);
    let mut body = to(json!({ "phone": "+79161234567" }), &["sms"]);
    body["content"]["data"]["tracking_number"] = json!(parcel);
    let id = send(node, &body).await;
    let mut questions = board.asked.subscribe();
    questions.wait_for(|all| all.len() > asked).await.unwrap();
    id
}

fn candidate(name: &str, text: &str) -> Candidate {
    Candidate { name: name.to_owned(), text: text.to_owned(), receipt: Receipt::OnItsWay }
}

#[tokio::test]
async fn of_two_lost_messages_to_one_number_the_provider_s_one_is_the_one_that_says_the_same() {
    let Some(board) = super::board().await else { return };
    let node = of(&board).file(ACCOUNTS).manual_clock(clock()).start().await.expect("the node starts");
    board.silent.send_replace(true);
    let never = lose_one_of(&node, &board, "RA111").await;
    let taken = lose_one_of(&node, &board, "RA222").await;
    let text = board.all()[1].sms.clone();
    assert!(text.contains("RA222"), "{text}");
    board.lists(vec![candidate("SM1", &text)]);
    board.silent.send_replace(false);
    node.settle().await;
    for (id, attempts) in [(&taken, 1), (&never, 2)] {
        let delivery = fresh(&node, id).await;
        assert_eq!((&delivery["state"], &delivery["legs"][0]["attempts"]), (&json!("sent"), &json!(attempts)));
    }
    let sent: Vec<bool> = board.all().iter().map(|one| one.sms.contains("RA111")).collect();
    assert_eq!(sent, [true, false, true]);
    node.stop().await;
}

#[tokio::test]
async fn which_of_two_lost_messages_that_say_the_same_is_there_nobody_says() {
    let Some(board) = super::board().await else { return };
    let node = of(&board).file(ACCOUNTS).manual_clock(clock()).start().await.expect("the node starts");
    board.silent.send_replace(true);
    let both = [lose_one_of(&node, &board, "RA111").await, lose_one_of(&node, &board, "RA111").await];
    board.lists(vec![candidate("SM1", &board.all()[0].sms)]);
    board.silent.send_replace(false);
    node.settle().await;
    for id in &both {
        assert_eq!(what(&node, id).await.0, "unknown");
    }
    assert_eq!(board.all().len(), 2);
    node.stop().await;
}

#[tokio::test]
async fn a_text_that_is_nobody_s_is_not_proof_of_anything() {
    let Some(board) = super::board().await else { return };
    let node = of(&board).file(ACCOUNTS).manual_clock(clock()).start().await.expect("the node starts");
    board.lists(vec![candidate("SM1", "something else")]);
    let id = lose(&node, &board).await;
    assert_eq!((what(&node, &id).await.0.as_str(), board.all().len()), ("unknown", 1));
    node.stop().await;
}

#[tokio::test]
async fn a_message_at_the_provider_is_one_attempt_s_only() {
    let Some(board) = super::board().await else { return };
    let node = of(&board).file(ACCOUNTS).manual_clock(clock()).start().await.expect("the node starts");
    board.silent.send_replace(true);
    let first = lose_one_of(&node, &board, "RA111").await;
    // Too far apart to be looked at as one.
    node.advance(Duration::from_secs(1_200));
    let second = lose_one_of(&node, &board, "RA111").await;
    board.lists(vec![candidate("SM1", &board.all()[0].sms)]);
    board.silent.send_replace(false);
    node.settle().await;
    let states = [what(&node, &first).await.0, what(&node, &second).await.0];
    assert_eq!(states.iter().filter(|state| *state == "sent").count(), 1, "{states:?}");
    assert!(board.all().len() <= 3, "{states:?}");
    node.stop().await;
}
