//! What answers say of addresses, and what that does to the next message.

use crate::board::{Board, Does, smtp};
use crate::edit::put;
use crate::{ACCOUNTS, fresh, get, of, post, send, shipment, to};
use artel_frame::Sandbox;
use artel_message::Time;
use artel_wires::{Said, Step};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A node whose clock stands still.
async fn start(board: &Arc<Board>) -> Sandbox {
    let start = Time::from_system(SystemTime::now());
    of(board).file(ACCOUNTS).manual_clock(start).start().await.expect("the node starts")
}

/// Sends somebody a mail, and gives what became of it.
async fn mail(node: &Sandbox, lane: &str) -> Value {
    let mut body = to(json!({ "email": "ivan@example.com" }), &["email"]);
    body["content"]["lane"] = json!(lane);
    let id = send(node, &body).await;
    node.settle().await;
    fresh(node, &id).await
}

async fn listed(node: &Sandbox) -> Value {
    get(&node.client(), "/api/notify/suppressions?address=ivan@example.com").await["items"][0].clone()
}

fn refused(step: Step, code: u16, enhanced: &str) -> Does {
    Does::Says(Said::Smtp { step, code, enhanced: Some(enhanced.to_owned()), text: String::new() })
}

fn no_mailbox() -> Does {
    refused(Step::To, 550, "5.1.1")
}

#[tokio::test]
async fn a_mailbox_that_is_not_there_is_not_written_to_again() {
    let Some(board) = super::board().await else { return };
    let node = start(&board).await;
    board.answers("post", [no_mailbox()]);
    assert_eq!(mail(&node, "transactional").await["state"], "failed");
    let entry = listed(&node).await;
    assert_eq!((&entry["reason"], &entry["by"]), (&json!("hard_bounce"), &json!("post")));
    assert_eq!(entry["address"], "i***@example.com");
    let next = mail(&node, "transactional").await;
    assert_eq!((&next["state"], board.all().len()), (&json!("suppressed"), 1));
    assert_eq!(next["legs"][0]["reason"], "the address is suppressed: hard_bounce");
    assert_eq!(mail(&node, "critical").await["state"], "sent");
    // A person takes it off the list.
    let path = format!("/api/notify/suppressions/{}", entry["id"].as_str().unwrap());
    assert_eq!(node.client().delete(&path).await.unwrap().status, 204);
    assert_eq!(mail(&node, "transactional").await["state"], "sent");
    // A mailbox may be given to somebody else one day.
    board.answers("post", [no_mailbox()]);
    assert_eq!(mail(&node, "transactional").await["state"], "failed");
    node.advance(Duration::from_secs(366 * 86_400));
    assert_eq!(mail(&node, "transactional").await["state"], "sent");
    node.stop().await;
}

#[tokio::test]
async fn what_is_said_of_us_is_not_held_against_the_recipient() {
    let Some(board) = super::board().await else { return };
    let node = start(&board).await;
    // Who sends, on both accounts; then they are left alone for a while, and the mail waits.
    for (code, enhanced) in [(553, "5.1.3"), (550, "5.1.1"), (551, "5.1.6")] {
        for account in ["post", "spare"] {
            board.answers(account, [refused(Step::From, code, enhanced)]);
        }
        assert_eq!(mail(&node, "transactional").await["state"], "scheduled", "{code}");
        assert_eq!(listed(&node).await, Value::Null, "{code}");
        node.advance(Duration::from_secs(3_600));
        node.settle().await;
    }
    // The mail itself: for good, and no mailbox is the worse for it.
    for _ in 0..3 {
        for (code, enhanced) in [(552, "5.3.4"), (552, "5.2.3"), (553, "5.6.7")] {
            board.answers("post", [refused(Step::Data, code, enhanced)]);
            let failed = mail(&node, "transactional").await;
            assert_eq!((&failed["state"], &failed["legs"][0]["attempts"]), (&json!("failed"), &json!(1)));
            assert_eq!(listed(&node).await, Value::Null, "{code} {enhanced}");
        }
        node.advance(Duration::from_secs(86_400));
    }
    board.answers("post", [Does::Says(Said::Unfit { reason: "to: no SMTPUTF8".to_owned() })]);
    assert_eq!(mail(&node, "transactional").await["state"], "failed");
    assert_eq!(mail(&node, "transactional").await["state"], "sent");
    node.stop().await;
}

#[tokio::test]
async fn refusals_in_a_row_make_an_address_a_bad_one_and_a_mail_that_arrives_ends_the_row() {
    let Some(board) = super::board().await else { return };
    let node = start(&board).await;
    let day = Duration::from_secs(86_400);
    for _ in 0..2 {
        // Four in two days, and then one that is taken.
        for _ in 0..4 {
            board.answers("post", [Does::Says(smtp(550))]);
            assert_eq!(mail(&node, "transactional").await["state"], "failed");
            node.advance(day / 2);
        }
        assert_eq!(mail(&node, "transactional").await["state"], "sent");
        node.advance(3 * day);
    }
    for n in 1..=5 {
        assert_eq!(listed(&node).await, Value::Null, "after {n}");
        board.answers("post", [Does::Says(smtp(550))]);
        assert_eq!(mail(&node, "transactional").await["state"], "failed");
        node.advance(day);
    }
    assert_eq!(listed(&node).await["reason"], "soft_bounces");
    assert_eq!(mail(&node, "transactional").await["state"], "suppressed");
    // It holds for two weeks.
    node.advance(14 * day);
    assert_eq!(mail(&node, "transactional").await["state"], "sent");
    node.stop().await;
}

fn device(name: &str) -> Value {
    json!({ "kind": "fcm", "address": format!("{name}:{}", "x".repeat(60)) })
}

/// FCM's answer for an app that was taken off a telephone.
fn gone() -> Does {
    let body = json!({ "error": { "status": "NOT_FOUND", "details": [
        { "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED" },
    ] } });
    let body = body.to_string().into_bytes().into();
    Does::Says(Said::Http { status: 404, retry_after: None, body, host: String::new() })
}

async fn devices(node: &Sandbox, who: &str) -> usize {
    let read = get(&node.client(), &format!("/api/notify/subscribers/{who}")).await;
    read["profile"]["addresses"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn a_device_that_is_gone_is_taken_from_its_owner_and_the_others_stay() {
    let Some(board) = super::board().await else { return };
    let node = start(&board).await;
    let profile = json!({ "addresses": [device("old"), device("new")] });
    put(&node.client(), "/api/notify/subscribers/ivan", &profile).await;
    board.answers("app", [gone()]);
    for (total, left) in [(2, 1), (3, 1)] {
        let id = send(&node, &to(json!({ "subscriber": "ivan" }), &["push"])).await;
        node.settle().await;
        assert_eq!(fresh(&node, &id).await["state"], "sent");
        assert_eq!((board.all().len(), devices(&node, "ivan").await), (total, left));
    }
    // The list is about addresses that may be given again; a token is not.
    assert_eq!(get(&node.client(), "/api/notify/suppressions").await["items"], json!([]));
    node.stop().await;
}

/// Sends a message to each of these people, and gives how many have a device afterwards.
async fn to_all(node: &Sandbox, from: usize, count: usize) -> usize {
    let names: Vec<String> = (from..from + count).map(|n| format!("s{n}")).collect();
    for name in &names {
        let made = put(
            &node.client(),
            &format!("/api/notify/subscribers/{name}"),
            &json!({ "addresses": [device(name)] }),
        )
        .await;
        assert!(made.is_success(), "{}", made.text());
    }
    let recipients: Vec<Value> = names.iter().map(|name| json!({ "subscriber": name })).collect();
    let content = json!({ "template": "shipment", "topic": "t", "data": shipment(), "channels": ["push"] });
    let body = json!({ "recipients": recipients, "content": content });
    assert_eq!(post(&node.client(), "/api/notify/deliveries", &body).await.status, 202);
    node.settle().await;
    let mut left = 0;
    for name in &names {
        left += devices(node, name).await;
    }
    left
}

#[tokio::test]
async fn many_tokens_refused_at_once_stay_until_answers_are_healthy_again() {
    let Some(board) = super::board().await else { return };
    let node = start(&board).await;
    // A key of the wrong environment: all are refused. What was removed before it was noticed is little.
    board.answers("app", (0..30).map(|_| gone()));
    assert_eq!(to_all(&node, 0, 30).await, 11);
    // An hour later nothing has changed, and nothing more is lost.
    node.advance(Duration::from_secs(3_600));
    board.answers("app", (0..5).map(|_| gone()));
    assert_eq!(to_all(&node, 100, 5).await, 5);
    // The key was put right.
    assert_eq!(to_all(&node, 200, 60).await, 60);
    board.answers("app", [gone()]);
    assert_eq!(to_all(&node, 300, 1).await, 0);
    node.stop().await;
}
