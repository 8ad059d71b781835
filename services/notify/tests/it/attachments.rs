//! Files that go with mails.

use crate::edit::{field, put};
use crate::{ACCOUNTS, fresh, of, post, send, start, to};
use artel_frame::Sandbox;
use artel_message::Time;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::Duration;

/// A notification over mail and SMS with these files.
fn with(recipient: Value, files: Value) -> Value {
    let mut body = to(recipient, &["email", "sms"]);
    body["content"]["mode"] = json!("all");
    body["content"]["attachments"] = files;
    body
}

fn label() -> Value {
    json!({ "name": "Накладная.pdf", "media_type": "application/pdf", "base64": STANDARD.encode("%PDF-") })
}

/// Sets and their files that are stored.
async fn stored(node: &Sandbox) -> (i64, i64) {
    let read = node.ctx("notify").read().await.expect("a snapshot");
    let sql = "SELECT count(DISTINCT set_id), count(*) FROM attachment";
    read.one(sql, ()).await.expect("counts")
}

#[tokio::test]
async fn files_go_with_mails_alone_which_the_answer_says_and_stand_once_for_many() {
    let Some(board) = super::board().await else { return };
    let node = start(&board).await;
    let mut body = with(json!({}), json!([label(), label()]));
    body.as_object_mut().unwrap().remove("recipient");
    body["recipients"] = json!([
        { "email": "ivan@example.com", "phone": "+79161234567" },
        { "email": "anna@example.com" },
        { "phone": "+79161234568" },
    ]);
    let answer = post(&node.client(), "/api/notify/deliveries", &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let queued: Value = answer.json().unwrap();
    let without: Vec<&Value> =
        queued["deliveries"].as_array().unwrap().iter().map(|one| &one["without_attachments"]).collect();
    assert_eq!(without, [&json!(["sms"]), &Value::Null, &json!(["sms"])], "{queued}");
    assert_eq!(stored(&node).await, (1, 2));
    node.settle().await;
    for one in board.all() {
        let wanted: &[&str] =
            if one.account == "post" { &["Накладная.pdf", "Накладная.pdf"] } else { &[] };
        assert_eq!(one.attachments, wanted, "{one:?}");
    }
    assert_eq!(board.all().len(), 4);
    let seen = fresh(&node, queued["deliveries"][1]["delivery"].as_str().unwrap()).await;
    let file = json!({ "name": "Накладная.pdf", "media_type": "application/pdf", "bytes": 5 });
    assert_eq!(seen["attachments"], json!([file, file]));
    // Nobody gets a mail: nothing is stored.
    send(&node, &with(json!({ "phone": "+79161234567" }), json!([label()]))).await;
    assert_eq!(stored(&node).await, (1, 2));
    node.stop().await;
}

#[tokio::test]
async fn files_go_with_the_last_delivery_that_carries_them() {
    let Some(board) = super::board().await else { return };
    let start = Time::from_millis(1_780_000_000_000);
    let node = of(&board).file(ACCOUNTS).manual_clock(start).start().await.expect("the node starts");
    let client = node.client();
    for (id, email) in [("ivan", "ivan@example.com"), ("anna", "anna@example.com")] {
        let profile = json!({ "addresses": [{ "kind": "email", "address": email }] });
        assert!(put(&client, &format!("/api/notify/subscribers/{id}"), &profile).await.is_success());
    }
    let mut body = with(json!({}), json!([label()]));
    body.as_object_mut().unwrap().remove("recipient");
    body["recipients"] = json!([{ "subscriber": "ivan" }, { "subscriber": "anna" }]);
    let answer = post(&client, "/api/notify/deliveries", &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    node.settle().await;
    for (id, left) in [("ivan", (1, 1)), ("anna", (0, 0))] {
        assert!(client.delete(&format!("/api/notify/subscribers/{id}")).await.unwrap().is_success());
        assert_eq!(stored(&node).await, left, "{id}");
    }
    // And where nobody forgets anybody, when the delivery is not kept any more.
    let id = send(&node, &with(json!({ "email": "ivan@example.com" }), json!([label()]))).await;
    node.settle().await;
    node.advance(Duration::from_secs(89 * 86_400));
    node.settle().await;
    assert_eq!(stored(&node).await, (1, 1));
    assert_eq!(fresh(&node, &id).await["state"], "sent");
    node.advance(Duration::from_secs(2 * 86_400));
    node.settle().await;
    assert_eq!(stored(&node).await, (0, 0));
    node.stop().await;
}

#[tokio::test]
async fn what_can_t_be_attached_is_refused_and_the_field_is_named() {
    let Some(board) = super::board().await else { return };
    let node = start(&board).await;
    let file = |name: &str, media_type: &str, base64: &str| json!({ "name": name, "media_type": media_type, "base64": base64 });
    let large = "A".repeat(2_400_000);
    for (files, status, at) in [
        (json!([label(), file("../a", "application/pdf", "")]), 400, "content.attachments[1].name"),
        (json!([file("a", "pdf", "")]), 400, "content.attachments[0].media_type"),
        (json!([file("a", "a/b", "JV*E")]), 400, "content.attachments[0].base64"),
        (json!([{ "name": "a", "media_type": "a/b" }]), 400, "content.attachments[0].base64"),
        (json!([{ "name": "a", "media_type": "a/b", "blob": "x" }]), 400, "content.attachments[0].blob"),
        (json!(vec![label(); 11]), 400, "content.attachments"),
        // More than http.body_limit takes.
        (json!([file("a", "a/b", &large), file("b", "a/b", &large)]), 413, ""),
    ] {
        let answer =
            post(&node.client(), "/api/notify/deliveries", &with(json!({ "email": "a@example.com" }), files))
                .await;
        assert_eq!((answer.status, field(&answer).as_str()), (status, at), "{}", answer.text());
    }
    assert_eq!(stored(&node).await, (0, 0));
    node.stop().await;
}
