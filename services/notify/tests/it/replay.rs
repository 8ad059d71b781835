//! Many that were given up, sent again.

use crate::board::{Board, Does, lost, smtp};
use crate::edit::field;
use crate::{fresh, get, post, reaches, send, shipment, start, to};
use artel_frame::Sandbox;
use serde_json::{Value, json};
use std::time::Duration;

const SINCE: &str = "2026-01-01T00:00:00Z";

/// A filter over all of this test's time.
fn filter(node: &Sandbox, more: Value) -> Value {
    let since = artel_message::Time::from_micros(node.now().micros() - 86_400_000_000);
    let mut all = json!({ "since": since });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

async fn dry(node: &Sandbox, more: Value) -> Value {
    let body = json!({ "filter": filter(node, more), "dry_run": true });
    let answer = post(&node.client(), "/api/notify/deliveries/replay", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().unwrap()
}

/// Starts one, and gives it when it is over.
async fn replayed(node: &Sandbox, more: Value, per_second: u32) -> Value {
    let body =
        json!({ "filter": filter(node, more), "per_second": per_second, "why": "the server is repaired" });
    let answer = post(&node.client(), "/api/notify/deliveries/replay", &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let begun: Value = answer.json().unwrap();
    assert_eq!(begun["state"], "running");
    let path = format!("/api/notify/replays/{}", begun["id"].as_str().unwrap());
    let wait = async {
        loop {
            let now = get(&node.client(), &path).await;
            if now["state"] != "running" {
                return now;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), wait).await.expect("it ends")
}

/// Sends to so many over a channel, none of whom the account takes.
async fn failed(node: &Sandbox, board: &Board, account: &str, count: usize, template: Value) {
    let refusal =
        || Does::Says(if account == "post" { smtp(554) } else { artel_wires::Said::Smpp { status: 0x45 } });
    board.answers(account, std::iter::repeat_with(refusal).take(count));
    let channel = if account == "post" { "email" } else { "sms" };
    let recipients: Vec<Value> = (0..count)
        .map(|n| match channel {
            "email" => json!({ "email": format!("nobody-{n}@example.com") }),
            _ => json!({ "phone": format!("+7916{:07}", 1_000_000 + n) }),
        })
        .collect();
    let mut content =
        json!({ "template": "shipment", "topic": "shipments", "data": shipment(), "channels": [channel] });
    content.as_object_mut().unwrap().extend(template.as_object().unwrap().clone());
    let answer = post(
        &node.client(),
        "/api/notify/deliveries",
        &json!({ "recipients": recipients, "content": content }),
    )
    .await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    node.settle().await;
}

#[tokio::test]
async fn what_fits_is_counted_shown_and_sent_again_at_a_rate_once() {
    let Some(board) = super::board().await else { return };
    let node = start(&board).await;
    failed(&node, &board, "post", 700, json!({})).await;
    failed(&node, &board, "tower", 20, json!({ "topic": "news" })).await;
    let before = board.all().len();
    for (more, again) in [
        (json!({}), 720),
        (json!({ "channel": "email" }), 700),
        (json!({ "channel": "push" }), 0),
        (json!({ "account": "tower" }), 20),
        (json!({ "account": "spare" }), 0),
        (json!({ "topic": "news" }), 20),
        (json!({ "template": "shipment" }), 720),
        (json!({ "template": "nonsense" }), 0),
        (json!({ "reason": "554" }), 700),
        (json!({ "class": "suppress" }), 0),
        (json!({ "class": "permanent" }), 720),
        (json!({ "until": SINCE, "since": "2025-12-30T00:00:00Z" }), 0),
    ] {
        let tried = dry(&node, more.clone()).await;
        assert_eq!((&tried["again"], &tried["complete"]), (&json!(again), &json!(true)), "{more}");
    }
    let tried = dry(&node, json!({ "channel": "email" })).await;
    let example = &tried["examples"][0];
    assert_eq!(tried["examples"].as_array().unwrap().len(), 10, "{tried}");
    assert_eq!((&example["address"], &example["account"]), (&json!("n***@example.com"), &json!("post")));
    assert!(example["reason"].as_str().unwrap().starts_with("554"), "{example}");
    assert_eq!(board.all().len(), before);

    let ended = replayed(&node, json!({ "channel": "email" }), 2_000).await;
    assert_eq!((&ended["state"], &ended["again"]), (&json!("ended"), &json!(700)), "{ended}");
    node.settle().await;
    let delivery = example["delivery"].as_str().unwrap();
    reaches(&node, delivery, "sent").await;
    assert_eq!(board.all().len(), before + 700);
    let path = format!("/api/notify/deliveries/{delivery}/why");
    for (language, says) in
        [("en", "sent again by operator: the server is repaired (replay "), ("ru", "отправлено ещё раз")]
    {
        let why = get(&node.client(), &format!("{path}?language={language}")).await;
        let decided = why["decisions"].as_array().unwrap();
        assert_eq!((decided.len(), &decided[0]["by"]), (1, &json!("operator")), "{why}");
        assert!(decided[0]["what"].as_str().unwrap().starts_with(says), "{why}");
    }
    // What was sent is not sent again by the next one.
    let ended = replayed(&node, json!({ "channel": "email" }), 2_000).await;
    assert_eq!(ended["again"], 0);
    node.settle().await;
    assert_eq!(board.all().len(), before + 700);
    let listed = get(&node.client(), "/api/notify/replays?limit=1").await;
    assert_eq!((&listed["items"][0]["id"], listed["next"].is_string()), (&ended["id"], true));
    node.stop().await;
}

#[tokio::test]
async fn what_means_nothing_any_more_is_refused_for_each_and_what_nobody_knows_waits_to_be_named() {
    let Some(board) = super::board().await else { return };
    let start_at = artel_message::Time::from_millis(1_780_000_000_000);
    let node = crate::of(&board)
        .file(crate::ACCOUNTS)
        .manual_clock(start_at)
        .start()
        .await
        .expect("the node starts");
    failed(&node, &board, "post", 3, json!({ "expires_at": "2026-05-29T00:00:00Z" })).await;
    board.answers("tower", [Does::Says(lost())]);
    let unknown = send(&node, &to(json!({ "phone": "+79161234567" }), &["sms"])).await;
    node.settle().await;
    assert_eq!(fresh(&node, &unknown).await["state"], "unknown");
    node.advance(Duration::from_secs(86_400));

    let window = json!({ "since": "2026-05-28T00:00:00Z" });
    let tried = dry(&node, window.clone()).await;
    assert_eq!((&tried["again"], &tried["refused"]), (&json!(0), &json!({ "expired": 3 })), "{tried}");
    let ended = replayed(&node, window.clone(), 100).await;
    assert_eq!((&ended["again"], &ended["refused"]), (&json!(0), &json!({ "expired": 3 })), "{ended}");
    let delivery = tried["examples"][0]["delivery"].as_str().unwrap();
    let why = get(&node.client(), &format!("/api/notify/deliveries/{delivery}/why")).await;
    let said = why["decisions"][0]["what"].as_str().unwrap();
    assert!(
        said.starts_with(
            "not sent again by operator: its time was over at 2026-05-29T00:00:00.000000Z (replay "
        ),
        "{said}"
    );
    assert_eq!(why["state"], "failed");

    let mut named = window;
    named["unknown"] = json!(true);
    assert_eq!(dry(&node, named.clone()).await["again"], 1);
    assert_eq!(replayed(&node, named, 100).await["again"], 1);
    node.settle().await;
    assert_eq!(fresh(&node, &unknown).await["state"], "sent");
    node.stop().await;
}

#[tokio::test]
async fn one_of_all_channels_is_sent_again_and_a_message_has_tries_of_its_own() {
    let Some(board) = super::board().await else { return };
    let node = start(&board).await;
    let busy = || Does::Says(artel_wires::Said::Smpp { status: 0x14 });
    board.answers("tower", [busy(), busy(), busy()]);
    let mut body = to(json!({ "email": "ivan@example.com", "phone": "+79161234567" }), &["email", "sms"]);
    body["content"]["mode"] = json!("all");
    let id = send(&node, &body).await;
    let is = async |state: &str| {
        loop {
            let now = fresh(&node, &id).await;
            if now["legs"][1]["state"] == state {
                return now;
            }
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(120);
    let now = tokio::time::timeout(limit, is("failed")).await.expect("it is given up");
    assert_eq!(now["state"], "sent", "{now}");
    board.answers("tower", [busy()]);
    assert_eq!(replayed(&node, json!({ "class": "retry" }), 100).await["again"], 1);
    // The first try after it fails as well, and is not the last one.
    let now = tokio::time::timeout(limit, is("sent")).await.expect("it is sent");
    assert_eq!((&now["legs"][0]["attempts"], &now["legs"][1]["attempts"]), (&json!(1), &json!(5)), "{now}");
    node.stop().await;
}

#[tokio::test]
async fn a_replay_is_stopped_and_one_that_can_t_be_is_refused_by_field() {
    let Some(board) = super::board().await else { return };
    let node = start(&board).await;
    failed(&node, &board, "tower", 40, json!({})).await;
    let client = node.client();
    let body = json!({ "filter": filter(&node, json!({})), "per_second": 1, "why": "a mistake" });
    let begun: Value = post(&client, "/api/notify/deliveries/replay", &body).await.json().unwrap();
    let path = format!("/api/notify/replays/{}/stop", begun["id"].as_str().unwrap());
    let stopped: Value = post(&client, &path, &json!({})).await.json().unwrap();
    assert_eq!(stopped["state"], "stopped");
    node.settle().await;
    assert!(dry(&node, json!({})).await["again"].as_u64().unwrap() >= 30);
    let none = "/api/notify/replays/0190f5a0-0000-7000-8000-000000000001/stop";
    assert_eq!(post(&client, none, &json!({})).await.status, 404);

    let good = || filter(&node, json!({}));
    for (body, at) in [
        (json!({ "filter": good() }), "why"),
        (json!({ "filter": good(), "why": "x", "per_second": 0 }), "per_second"),
        (json!({ "filter": {}, "why": "x" }), "filter"),
        (json!({ "filter": { "since": SINCE }, "why": "x" }), "filter.since"),
        (json!({ "filter": { "since": "2999-01-01T00:00:00Z" }, "dry_run": true }), "filter.since"),
        (json!({ "filter": filter(&node, json!({ "class": "odd" })), "dry_run": true }), "filter.class"),
        (json!({ "filter": filter(&node, json!({ "channel": "fax" })), "dry_run": true }), "filter.channel"),
        (json!({ "filter": filter(&node, json!({ "colour": "red" })), "dry_run": true }), "filter.colour"),
    ] {
        let answer = post(&client, "/api/notify/deliveries/replay", &body).await;
        assert_eq!((answer.status, field(&answer).as_str()), (400, at), "{body}: {}", answer.text());
    }
    node.stop().await;
}
