//! How long deliveries, and copies of them, are kept.

use crate::board::{Board, Does, lost};
use crate::edit::{field, put};
use crate::{ACCOUNTS, fresh, get, of, post, send, to};
use artel_frame::Sandbox;
use artel_message::Time;
use artel_notify::domain::state::Receipt;
use artel_notify::{TakeReceipts, Told};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::Duration;

const DAY: u64 = 86_400;

fn start() -> Time {
    Time::from_millis(1_780_000_000_000)
}

async fn later(node: &Sandbox, days: u64) {
    node.advance(Duration::from_secs(days * DAY));
    node.settle().await;
}

/// Rows of deliveries, of what is in them, and of their files.
async fn rows(node: &Sandbox) -> (i64, i64, i64) {
    let read = node.ctx("notify").read().await.expect("a snapshot");
    let sql = "SELECT (SELECT count(*) FROM delivery), (SELECT count(*) FROM delivery_content),
        (SELECT count(*) FROM attachment)";
    read.one(sql, ()).await.expect("counts")
}

fn mail(to_whom: &str, more: Value) -> Value {
    let mut body = to(json!({ "email": to_whom }), &["email"]);
    body["content"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn what_is_still_to_be_sent_is_kept_however_old_it_is() {
    let Some(board) = super::board().await else { return };
    let node = of(&board).file(ACCOUNTS).manual_clock(start()).start().await.expect("the node starts");
    let file = json!({ "name": "a.pdf", "media_type": "application/pdf", "base64": STANDARD.encode("%PDF-") });
    let in_days = |days: u64| start() + Duration::from_secs(days * DAY);
    let far = json!({ "send_at": in_days(200), "attachments": [file] });
    let waits = send(&node, &mail("ivan@example.com", far)).await;
    board.answers("post", [Does::Says(lost())]);
    let unknown = send(&node, &mail("anna@example.com", json!({}))).await;
    node.settle().await;
    let sent = send(&node, &mail("olga@example.com", json!({ "attachments": [file] }))).await;
    node.settle().await;
    assert_eq!(fresh(&node, &unknown).await["state"], "unknown");
    assert_eq!(fresh(&node, &sent).await["state"], "sent");
    assert_eq!(rows(&node).await, (3, 3, 2));
    later(&node, 91).await;
    assert_eq!(rows(&node).await, (1, 1, 1));
    assert_eq!(fresh(&node, &waits).await["state"], "scheduled");
    later(&node, 109).await;
    let arrived = board.all().pop().unwrap();
    assert_eq!((arrived.address.as_str(), arrived.attachments.len()), ("ivan@example.com", 1));
    later(&node, 1).await;
    assert_eq!(rows(&node).await, (0, 0, 0));

    let year = json!({ "send_at": node.now() + Duration::from_secs(367 * DAY) });
    let answer = post(&node.client(), "/api/notify/deliveries", &mail("ivan@example.com", year)).await;
    assert_eq!((answer.status, field(&answer).as_str()), (400, "content.send_at"), "{}", answer.text());
    node.stop().await;
}

#[tokio::test]
async fn a_purge_goes_on_behind_what_stays() {
    let Some(board) = super::board().await else { return };
    let node = of(&board).file(ACCOUNTS).manual_clock(start()).start().await.expect("the node starts");
    let many = |count: usize, more: Value| {
        let recipients: Vec<Value> =
            (0..count).map(|n| json!({ "email": format!("nobody-{n}@example.com") })).collect();
        let mut body = mail("", more);
        body.as_object_mut().unwrap().remove("recipient");
        body["recipients"] = json!(recipients);
        body
    };
    let client = node.client();
    let far = json!({ "send_at": start() + Duration::from_secs(200 * DAY) });
    for body in [many(20, far.clone()), many(1_000, json!({})), many(20, far), many(1_000, json!({}))] {
        assert_eq!(post(&client, "/api/notify/deliveries", &body).await.status, 202);
    }
    assert_eq!(post(&client, "/api/notify/deliveries", &many(500, json!({}))).await.status, 202);
    node.settle().await;
    later(&node, 91).await;
    // The second part is a timer, which waits a little.
    node.advance(Duration::from_secs(1));
    node.settle().await;
    assert_eq!(rows(&node).await, (40, 40, 0));
    node.stop().await;
}

/// How long copies of statuses stay in the cache.
async fn copies(node: &Sandbox) -> Vec<Duration> {
    let page = node.ctx("notify").cache().scan("notify:delivery:", None, 100).await.expect("keys");
    page.keys.into_iter().map(|key| key.ttl).collect()
}

async fn arrives(node: &Sandbox, board: &Board, account: &str) {
    let key = board.all().into_iter().find(|one| one.account == account).unwrap().key;
    let told = Told { reference: key, receipt: Receipt::Delivered };
    let take = TakeReceipts { account: account.to_owned(), receipts: vec![told] };
    node.ctx("notify").ask(take).await.expect("taken");
    node.settle().await;
}

#[tokio::test]
async fn a_copy_of_a_status_stays_no_longer_than_it_holds_and_goes_with_its_person() {
    let Some(board) = super::board().await else { return };
    let node = of(&board).file(ACCOUNTS).manual_clock(start()).setting("notify.cache_ms", "10000");
    let node = node.start().await.expect("the node starts");
    let addresses = json!([
        { "kind": "email", "address": "ivan@example.com" }, { "kind": "phone", "address": "+79161234567" },
    ]);
    let saved = put(&node.client(), "/api/notify/subscribers/ivan", &json!({ "addresses": addresses })).await;
    assert!(saved.is_success(), "{}", saved.text());
    let mut body = to(json!({ "subscriber": "ivan" }), &["email", "sms"]);
    body["content"]["mode"] = json!("all");
    let id = send(&node, &body).await;
    node.settle().await;
    let path = format!("/api/notify/deliveries/{id}");
    let short = Duration::from_secs(10);
    arrives(&node, &board, "post").await;
    assert_eq!(get(&node.client(), &path).await["state"], "delivered");
    assert!(copies(&node).await.iter().all(|ttl| *ttl <= short), "a channel may still tell of itself");
    assert_eq!(copies(&node).await.len(), 1);
    node.advance(short);
    arrives(&node, &board, "tower").await;
    assert_eq!(get(&node.client(), &path).await["legs"][1]["state"], "delivered");
    assert!(copies(&node).await.iter().all(|ttl| *ttl > short));
    assert_eq!(copies(&node).await.len(), 1);
    assert_eq!(node.client().delete("/api/notify/subscribers/ivan").await.unwrap().status, 200);
    node.settle().await;
    assert_eq!(copies(&node).await.len(), 0);
    let forgotten = get(&node.client(), &path).await;
    assert_eq!((&forgotten["source"], &forgotten["subscriber"]), (&json!("database"), &Value::Null));
    node.stop().await;
}
