//! What was accepted and goes later: by then it may be night, the time may be over, and the address may be nobody's.

use crate::board::{Board, Does, smtp};
use crate::edit::put;
use crate::{ACCOUNTS, fresh, get, of, post, send, to};
use artel_contract::notify::{DeliveryChanged, State};
use artel_frame::Sandbox;
use artel_message::Time;
use artel_wires::Said;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The evening before Berlin's clocks go forward, half a second before ten.
const EVENING: &str = "2026-03-28T20:59:59.5Z";

/// A node whose clock stands still.
async fn at(board: &Arc<Board>, moment: &str) -> Sandbox {
    let start: Time = moment.parse().unwrap();
    of(board).file(ACCOUNTS).manual_clock(start).start().await.expect("the node starts")
}

async fn later(node: &Sandbox, seconds: f64) {
    node.advance(Duration::from_secs_f64(seconds));
    node.settle().await;
}

fn with(recipient: Value, channels: &[&str], more: &[(&str, Value)]) -> Value {
    let mut body = to(recipient, channels);
    more.iter().for_each(|(name, value)| body["content"][name] = value.clone());
    body
}

fn centre(status: u32) -> Does {
    Does::Says(Said::Smpp { status })
}

/// An answer that names the moment at which it may be tried again.
fn not_before(seconds: u64) -> Does {
    let retry_after = Some(Duration::from_secs(seconds));
    Does::Says(Said::Http { status: 503, retry_after, body: Default::default(), host: String::new() })
}

/// Somebody who sleeps from ten to eight, by the clocks of Berlin.
async fn sleeper(node: &Sandbox) -> Value {
    let profile = json!({
        "language": "en", "zone": "Europe/Berlin", "quiet_hours": [{ "from": "22:00", "to": "08:00" }],
        "addresses": [
            { "kind": "email", "address": "anna@example.com" }, { "kind": "phone", "address": "+79161234567" },
        ],
    });
    let made = put(&node.client(), "/api/notify/subscribers/anna", &profile).await;
    assert!(made.is_success(), "{}", made.text());
    json!({ "subscriber": "anna" })
}

fn arrived(board: &Board, account: &str) -> usize {
    board.all().iter().filter(|one| one.account == account).count()
}

#[tokio::test]
async fn a_channel_that_begins_at_night_waits_for_the_morning() {
    let Some(board) = super::board().await else { return };
    let node = at(&board, EVENING).await;
    // The mail fails for now, and seconds later, when it is quiet, for good.
    board.answers("post", [Does::Says(smtp(451)), Does::Says(smtp(550))]);
    board.answers("spare", [Does::Says(smtp(451))]);
    let id = send(&node, &to(sleeper(&node).await, &["email", "sms"])).await;
    node.settle().await;
    later(&node, 3.0).await;
    let waits = fresh(&node, &id).await;
    assert_eq!(
        (&waits["legs"][0]["state"], &waits["legs"][1]["state"]),
        (&json!("failed"), &json!("scheduled"))
    );
    // Eight o'clock of summer time.
    assert_eq!(waits["legs"][1]["next_at"], "2026-03-29T06:00:00.000000Z", "{waits}");
    let morning: Time = "2026-03-29T06:00:00Z".parse().unwrap();
    later(&node, morning.since(node.now()).as_secs_f64() - 0.001).await;
    assert_eq!(arrived(&board, "tower"), 0);
    later(&node, 0.002).await;
    assert_eq!((arrived(&board, "tower"), &fresh(&node, &id).await["state"]), (1, &json!("sent")));
    node.stop().await;
}

#[tokio::test]
async fn a_repeat_waits_for_the_morning_and_what_is_critical_does_not() {
    let Some(board) = super::board().await else { return };
    let node = at(&board, EVENING).await;
    let anna = sleeper(&node).await;
    board.answers("tower", [centre(0x08), centre(0x08)]);
    let waits = send(&node, &to(anna.clone(), &["sms"])).await;
    node.settle().await;
    later(&node, 2.0).await;
    assert_eq!(fresh(&node, &waits).await["legs"][0]["next_at"], "2026-03-29T06:00:00.000000Z");
    // Two hours later, in the middle of the night.
    later(&node, 7_200.0).await;
    let critical = send(&node, &with(anna.clone(), &["sms"], &[("lane", json!("critical"))])).await;
    node.settle().await;
    later(&node, 3.0).await;
    assert_eq!(fresh(&node, &critical).await["legs"][0]["attempts"], 2);
    assert_eq!(fresh(&node, &critical).await["state"], "sent");
    // A moment that somebody named is no reason to wake anybody.
    let named = with(anna, &["sms"], &[("send_at", json!("2026-03-28T23:30:00Z"))]);
    let named = send(&node, &named).await;
    later(&node, 3_600.0).await;
    for id in [&waits, &named] {
        assert_eq!(fresh(&node, id).await["state"], "scheduled");
    }
    later(&node, 7.0 * 3_600.0).await;
    for id in [&waits, &named] {
        assert_eq!(fresh(&node, id).await["state"], "sent");
    }
    node.stop().await;
}

/// A whole minute: what looks for what is over comes at whole tens of seconds.
const MINUTE: &str = "2026-01-10T12:00:00Z";

fn over(seconds: i64) -> (&'static str, Value) {
    let start: Time = MINUTE.parse().unwrap();
    ("expires_at", json!(Time::from_micros(start.micros() + seconds * 1_000_000)))
}

async fn is(node: &Sandbox, id: &str, state: &str) {
    let delivery = fresh(node, id).await;
    assert_eq!(delivery["state"], state, "{delivery}");
}

#[tokio::test]
async fn what_goes_out_of_date_behind_another_message_ends_in_time() {
    let Some(board) = super::board().await else { return };
    let node = at(&board, MINUTE).await;
    let phone = || json!({ "phone": "+79161234567" });
    board.answers("tower", [not_before(3_600)]);
    let first = send(&node, &to(phone(), &["sms"])).await;
    node.settle().await;
    let second = send(&node, &with(phone(), &["sms"], &[over(60)])).await;
    node.settle().await;
    later(&node, 59.0).await;
    is(&node, &second, "accepted").await;
    later(&node, 1.0).await;
    is(&node, &second, "expired").await;
    let told = node.published::<DeliveryChanged>().await;
    assert!(told.iter().any(|it| it.delivery.to_string() == second && it.state == State::Expired));
    // The first one goes all the same, and then nothing of the second.
    later(&node, 4_000.0).await;
    is(&node, &first, "sent").await;
    is(&node, &second, "expired").await;
    assert_eq!(arrived(&board, "tower"), 2);
    node.stop().await;
}

#[tokio::test]
async fn what_goes_out_of_date_while_it_is_put_off_ends_at_its_moment() {
    let Some(board) = super::board().await else { return };
    let node = at(&board, MINUTE).await;
    // The only account goes out of use for a minute.
    board.answers("tower", [centre(0x0E)]);
    send(&node, &to(json!({ "phone": "+79160000000" }), &["sms"])).await;
    node.settle().await;
    let broken = send(&node, &with(json!({ "phone": "+79161234567" }), &["sms"], &[over(25)])).await;
    let napper = json!({
        "zone": "Etc/UTC", "quiet_hours": [{ "from": "11:30", "to": "20:00" }], "quiet_channels": ["email"],
        "addresses": [{ "kind": "email", "address": "ivan@example.com" }, { "kind": "phone", "address": "+79161234567" }],
    });
    put(&node.client(), "/api/notify/subscribers/ivan", &napper).await;
    let ivan = || json!({ "subscriber": "ivan" });
    let quiet = send(&node, &with(ivan(), &["email"], &[over(25)])).await;
    node.settle().await;
    is(&node, &broken, "scheduled").await;
    later(&node, 24.999).await;
    for id in [&broken, &quiet] {
        is(&node, id, "scheduled").await;
    }
    later(&node, 0.001).await;
    for id in [&broken, &quiet] {
        is(&node, id, "expired").await;
    }
    // With a channel that is not begun: all of it ends.
    let both = send(&node, &with(ivan(), &["email", "sms"], &[over(60)])).await;
    later(&node, 40.0).await;
    let ended = fresh(&node, &both).await;
    assert_eq!(
        (&ended["legs"][0]["state"], &ended["legs"][1]["state"]),
        (&json!("expired"), &json!("expired"))
    );
    later(&node, 7_200.0).await;
    assert_eq!(
        (arrived(&board, "post"), board.all().iter().filter(|one| one.address == "+79161234567").count()),
        (0, 0)
    );
    node.stop().await;
}

#[tokio::test]
async fn an_address_that_was_suppressed_meanwhile_is_not_written_to() {
    let Some(board) = super::board().await else { return };
    let node = at(&board, MINUTE).await;
    let client = node.client();
    let soon = ("send_at", json!("2026-01-10T12:01:00Z"));
    let both = json!({ "email": "ivan@example.com", "phone": "+79161234567" });
    let next = send(&node, &with(both, &["email", "sms"], std::slice::from_ref(&soon))).await;
    let gone = json!({ "email": "olga@example.com" });
    let alone = send(&node, &with(gone.clone(), &["email"], std::slice::from_ref(&soon))).await;
    let critical = send(&node, &with(gone, &["email"], &[soon, ("lane", json!("critical"))])).await;
    for (address, reason) in [("ivan@example.com", "by_hand"), ("olga@example.com", "hard_bounce")] {
        let listed = json!({ "kind": "email", "address": address, "reason": reason });
        assert!(post(&client, "/api/notify/suppressions", &listed).await.is_success());
    }
    later(&node, 61.0).await;
    // The other channel takes over.
    let next = fresh(&node, &next).await;
    let reason = "the address is suppressed: by_hand";
    assert_eq!((&next["state"], &next["legs"][0]["state"]), (&json!("sent"), &json!("suppressed")), "{next}");
    assert_eq!((&next["legs"][0]["reason"], &next["legs"][1]["state"]), (&json!(reason), &json!("sent")));
    is(&node, &alone, "suppressed").await;
    // What is critical goes to an address that has failed before.
    is(&node, &critical, "sent").await;
    assert_eq!((arrived(&board, "post"), arrived(&board, "tower")), (1, 1));
    let told = node.published::<DeliveryChanged>().await;
    let told = told.iter().find(|it| it.delivery.to_string() == alone && it.state == State::Suppressed);
    assert_eq!(told.and_then(|it| it.reason.as_deref()), Some("the address is suppressed: hard_bounce"));
    node.stop().await;
}

#[tokio::test]
async fn nothing_goes_to_somebody_who_was_forgotten_nor_to_another_one_s_device() {
    let Some(board) = super::board().await else { return };
    let node = at(&board, MINUTE).await;
    let client = node.client();
    let device = |name: &str| json!({ "kind": "fcm", "address": format!("{name}:{}", "x".repeat(60)) });
    for (who, what) in [("ivan", "one"), ("olga", "two"), ("anna", "three"), ("petr", "four")] {
        let profile = json!({ "addresses": [device(what)] });
        put(&client, &format!("/api/notify/subscribers/{who}"), &profile).await;
    }
    let mut ids = Vec::new();
    for who in ["ivan", "olga", "anna", "petr"] {
        let soon = [("send_at", json!("2026-01-10T12:01:00Z"))];
        ids.push(send(&node, &with(json!({ "subscriber": who }), &["push"], &soon)).await);
    }
    // Maria is called by nobody any more.
    let maria = json!({ "addresses": [device("five")] });
    put(&client, "/api/notify/subscribers/maria", &maria).await;
    let soon = [("send_at", json!("2026-01-10T12:01:00Z"))];
    ids.push(send(&node, &with(json!({ "subscriber": "maria" }), &["push"], &soon)).await);
    let listed = json!({ "kind": "fcm", "address": device("five")["address"] });
    assert!(post(&client, "/api/notify/suppressions", &listed).await.is_success());
    // Ivan is forgotten, Olga has signed out, and Anna's telephone is Petr's by now.
    assert_eq!(client.delete("/api/notify/subscribers/ivan").await.unwrap().status, 200);
    let path = format!(
        "/api/notify/subscribers/olga/addresses?kind=fcm&address={}",
        device("two")["address"].as_str().unwrap()
    );
    assert_eq!(client.delete(&path).await.unwrap().status, 204);
    assert!(post(&client, "/api/notify/subscribers/petr/addresses", &device("three")).await.is_success());
    later(&node, 61.0).await;
    let reasons = [
        Some("there is no address"),
        Some("the device is not the recipient's any more"),
        Some("the device is not the recipient's any more"),
        None,
        Some("the address is suppressed: by_hand"),
    ];
    for (id, reason) in ids.iter().zip(reasons) {
        let delivery = fresh(&node, id).await;
        let state = if reason.is_some() { "suppressed" } else { "sent" };
        assert_eq!(
            (delivery["state"].as_str(), delivery["legs"][0]["reason"].as_str()),
            (Some(state), reason),
            "{delivery}"
        );
    }
    let addresses: Vec<String> = board.all().into_iter().map(|one| one.address).collect();
    assert_eq!(addresses, [device("four")["address"].as_str().unwrap()]);
    assert_eq!(
        get(&client, "/api/notify/deliveries?state=suppressed").await["items"].as_array().unwrap().len(),
        4
    );
    node.stop().await;
}
