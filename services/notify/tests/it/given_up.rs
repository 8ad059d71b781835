//! What is not tried any more: it ends, whatever bound came first, and is told where operators look for it.

use crate::board::{Board, Does, lost, smtp};
use crate::{ACCOUNTS, fresh, of, post, reaches, send, to};
use artel_contract::notify::DeliveryChanged;
use artel_contract::notify::dead::{EmailGivenUp, SmsGivenUp};
use artel_frame::{Sandbox, SandboxOptions};
use artel_message::Time;
use artel_notify::domain::state::{Found, Receipt};
use artel_notify::{TakeReceipts, Told};
use artel_wires::Said;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A whole minute: what looks for what is over comes at whole tens of seconds.
const MINUTE: &str = "2026-01-10T12:00:00Z";

fn minute() -> Time {
    MINUTE.parse().unwrap()
}

fn at(board: &Arc<Board>) -> SandboxOptions {
    of(board).file(ACCOUNTS).manual_clock(minute())
}

async fn later(node: &Sandbox, seconds: f64) {
    node.advance(Duration::from_secs_f64(seconds));
    node.settle().await;
}

fn with(recipient: Value, channels: &[&str], more: Value) -> Value {
    let mut body = to(recipient, channels);
    body["content"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn over(millis: u64) -> Value {
    json!(minute() + Duration::from_millis(millis))
}

/// An answer that names the moment at which it may be tried again.
fn not_before(seconds: u64) -> Does {
    let retry_after = Some(Duration::from_secs(seconds));
    Does::Says(Said::Http { status: 503, retry_after, body: Default::default(), host: String::new() })
}

fn phone() -> Value {
    json!({ "phone": "+79161234567" })
}

fn both(name: &str, number: &str) -> Value {
    json!({ "email": format!("{name}@example.com"), "phone": number })
}

fn arrived(board: &Board, account: &str) -> usize {
    board.all().iter().filter(|one| one.account == account).count()
}

/// States of the legs.
async fn legs(node: &Sandbox, id: &str) -> Vec<String> {
    let delivery = fresh(node, id).await;
    delivery["legs"].as_array().unwrap().iter().map(|leg| leg["state"].as_str().unwrap().to_owned()).collect()
}

/// Somebody's mail arrived.
async fn mail_arrives(node: &Sandbox, board: &Board, address: &str) {
    let key = board.all().into_iter().rev().find(|one| one.address == address).unwrap().key;
    let told = Told { reference: key, receipt: Receipt::Delivered };
    let take = TakeReceipts { account: "post".to_owned(), receipts: vec![told] };
    node.ctx("notify").ask(take).await.expect("taken");
    node.settle().await;
}

#[tokio::test]
async fn what_was_tried_as_often_as_it_may_be_has_failed_and_stays_so() {
    let Some(board) = super::board().await else { return };
    let node = at(&board).setting("notify.retry.age_hours", "720").setting("flow.effect_for", "60d");
    let node = node.start().await.expect("the node starts");
    board.answers("tower", std::iter::repeat_with(|| not_before(1)).take(49));
    // The provider never got the last one, so that another one would follow.
    board.answers("tower", [Does::Says(lost())]);
    board.finds(Found::Nothing);
    let id = send(&node, &to(phone(), &["sms"])).await;
    node.settle().await;
    for _ in 0..100 {
        if arrived(&board, "tower") == 50 {
            break;
        }
        later(&node, 4_000.0).await;
    }
    later(&node, 4_000.0).await;
    let failed = fresh(&node, &id).await;
    assert_eq!((&failed["state"], arrived(&board, "tower")), (&json!("failed"), 50), "{}", failed["legs"]);
    assert_eq!(failed["legs"][0]["reason"], "50 attempts were made");
    assert_eq!(node.published::<SmsGivenUp>().await.len(), 1);
    let again = json!({ "decision": "send_again" });
    let answer = post(&node.client(), &format!("/api/notify/deliveries/{id}/decisions"), &again).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.problem().contains("50 attempts were made"), "{}", answer.problem());
    node.stop().await;
}

#[tokio::test]
async fn what_the_flow_gives_up_has_failed_also_where_its_next_try_lies_ahead() {
    let Some(board) = super::board().await else { return };
    let node = at(&board).setting("flow.effect_for", "1m").start().await.expect("the node starts");
    board.answers("tower", [not_before(3_600)]);
    let id = send(&node, &to(phone(), &["sms"])).await;
    node.settle().await;
    assert_eq!(legs(&node, &id).await, ["scheduled"]);
    later(&node, 61.0).await;
    let failed = fresh(&node, &id).await;
    assert_eq!(failed["state"], "failed", "{failed}");
    let reason = failed["legs"][0]["reason"].as_str().unwrap();
    assert!(reason.ends_with("; it was tried for as long as it may be"), "{reason}");
    assert_eq!(node.published::<SmsGivenUp>().await.len(), 1);
    later(&node, 7_200.0).await;
    assert_eq!((arrived(&board, "tower"), legs(&node, &id).await), (1, vec!["failed".to_owned()]));
    node.stop().await;
}

#[tokio::test]
async fn of_what_was_cut_off_nobody_knows_the_end_also_where_its_time_is_over_by_then() {
    let Some(board) = super::board().await else { return };
    let node = at(&board).setting("flow.effect_for", "0s").setting("flow.effect_time", "2s");
    let node = node.start().await.expect("the node starts");
    board.closed.send_replace(true);
    let id = send(&node, &with(phone(), &["sms"], json!({ "expires_at": over(60_000) }))).await;
    board.has(1).await;
    node.advance(Duration::from_secs(70));
    let unknown = reaches(&node, &id, "unknown").await;
    assert_eq!((&unknown["legs"][0]["provider"], &unknown["legs"][0]["attempts"]), (&json!("tower"), &json!(1)));
    board.closed.send_replace(false);
    node.settle().await;
    let told = node.published::<DeliveryChanged>().await;
    let waits = told.iter().filter(|it| it.leg_state.is_some_and(|state| !state.is_final()));
    let waits: Vec<&str> = waits.filter_map(|it| Some(it.leg_state?.as_str())).collect();
    assert_eq!(waits, ["unknown"]);
    node.stop().await;
}

#[tokio::test]
async fn a_channel_that_failed_is_told_of_whichever_way_the_rest_of_it_ends() {
    let Some(board) = super::board().await else { return };
    let node = at(&board).start().await.expect("the node starts");
    // The other channel is suppressed when its turn comes, or goes out of date behind another message.
    let soon = json!({ "send_at": over(30_000) });
    let suppressed = send(&node, &with(both("ivan", "+79160000001"), &["email", "sms"], soon)).await;
    let listed = json!({ "kind": "phone", "address": "+79160000001", "reason": "by_hand" });
    assert!(post(&node.client(), "/api/notify/suppressions", &listed).await.is_success());
    board.answers("tower", [not_before(3_600)]);
    send(&node, &to(both("anna", "+79160000002"), &["sms"])).await;
    node.settle().await;
    board.answers("post", [Does::Says(smtp(550)), Does::Says(smtp(550))]);
    let valid = json!({ "expires_at": over(60_000) });
    let lapsed = send(&node, &with(both("anna", "+79160000002"), &["email", "sms"], valid)).await;
    later(&node, 31.0).await;
    assert_eq!(legs(&node, &suppressed).await, ["failed", "suppressed"]);
    assert_eq!(legs(&node, &lapsed).await, ["failed", "accepted"]);
    later(&node, 29.0).await;
    assert_eq!(legs(&node, &lapsed).await, ["failed", "expired"]);
    let given = node.published::<EmailGivenUp>().await;
    let of: BTreeSet<String> = given.iter().map(|it| it.delivery.to_string()).collect();
    assert_eq!((given.len(), of), (2, BTreeSet::from([suppressed.clone(), lapsed.clone()])));
    assert_eq!(node.published::<SmsGivenUp>().await.len(), 0);
    for id in [&suppressed, &lapsed] {
        assert_eq!(fresh(&node, id).await["state"], "failed");
    }
    node.stop().await;
}

#[tokio::test]
async fn what_was_replaced_while_it_was_under_way_is_not_tried_again() {
    let Some(board) = super::board().await else { return };
    let node = at(&board).start().await.expect("the node starts");
    let body = || with(phone(), &["sms"], json!({ "supersede_key": "shipment:1" }));
    board.closed.send_replace(true);
    board.answers("tower", [not_before(1)]);
    let first = send(&node, &body()).await;
    board.has(1).await;
    let second = send(&node, &body()).await;
    assert_eq!(legs(&node, &first).await, ["superseded"]);
    board.closed.send_replace(false);
    node.settle().await;
    later(&node, 10.0).await;
    later(&node, 60.0).await;
    let (first, second) = (fresh(&node, &first).await, fresh(&node, &second).await);
    assert_eq!((&first["state"], &second["state"]), (&json!("superseded"), &json!("sent")), "{first}");
    assert_eq!((&first["legs"][0]["attempts"], arrived(&board, "tower")), (&json!(1), 2));
    node.stop().await;
}

#[tokio::test]
async fn another_account_takes_what_would_mean_nothing_after_a_pause() {
    let Some(board) = super::board().await else { return };
    let node = at(&board).start().await.expect("the node starts");
    board.answers("post", [Does::Says(smtp(451))]);
    let soon = json!({ "expires_at": over(500) });
    let id = send(&node, &with(json!({ "email": "ivan@example.com" }), &["email"], soon)).await;
    node.settle().await;
    assert_eq!((legs(&node, &id).await, arrived(&board, "spare")), (vec!["sent".to_owned()], 1));
    node.stop().await;
}

#[tokio::test]
async fn a_channel_that_waits_ends_also_where_another_one_has_delivered() {
    let Some(board) = super::board().await else { return };
    let node = at(&board).start().await.expect("the node starts");
    let all = |more: Value| {
        let mut more = more;
        more["mode"] = json!("all");
        with(both("ivan", "+79161234567"), &["email", "sms"], more)
    };
    board.answers("tower", [not_before(3_600)]);
    let older = send(&node, &all(json!({ "supersede_key": "shipment:1" }))).await;
    node.settle().await;
    mail_arrives(&node, &board, "ivan@example.com").await;
    assert_eq!(legs(&node, &older).await, ["delivered", "scheduled"]);
    // It stands behind the other one's.
    let valid = send(&node, &all(json!({ "expires_at": over(60_000) }))).await;
    node.settle().await;
    mail_arrives(&node, &board, "ivan@example.com").await;
    assert_eq!(legs(&node, &valid).await, ["delivered", "accepted"]);
    later(&node, 60.0).await;
    assert_eq!(legs(&node, &valid).await, ["delivered", "expired"]);
    let newer = send(&node, &all(json!({ "supersede_key": "shipment:1" }))).await;
    assert_eq!(legs(&node, &older).await, ["delivered", "superseded"]);
    later(&node, 7_200.0).await;
    assert_eq!((legs(&node, &newer).await[1].as_str(), arrived(&board, "tower")), ("sent", 2));
    node.stop().await;
}
