//! Twilio: its simulator, what it posts to us, and what it is asked.

use crate::{catalogue, fresh, reaches, send, to};
use artel_frame::Sandbox;
use artel_frame::client::{Answer, Outgoing};
use artel_wires::simulators::twilio::{TwilioSimulator, TwilioSimulatorSettings};
use artel_wires::simulators::{Arrival, Behaviour, Board, Judge, Receipt, Refusal, Wanted};
use artel_wires::twilio::callback::{Form, SIGNATURE};
use http::Method;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener as Port;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const TOKEN: &str = "artel-simulator";
const PHONE: &str = "+79161234567";

/// A node with an account, and where it is told of messages.
struct Rig {
    node: Sandbox,
    callback: String,
    _folder: TempDir,
}

/// The simulator, and a node whose account is there.
struct Simulated {
    rig: Rig,
    board: Board,
    simulator: TwilioSimulator,
}

/// `base` is the provider's.
async fn node(base: &str, more: &str) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let address = Port::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let callback = format!("http://{address}/api/notify/callbacks/twilio/second");
    let (secret, file) = (folder.path().join("token"), folder.path().join("artel.toml"));
    fs::write(&secret, format!("{TOKEN}\n")).unwrap();
    let text = format!(
        "[notify]\nask_after_seconds = 0\ncache_ms = 50\n[notify.retry]\npause_seconds = 1\n\
         [[notify.sms.accounts]]\nname = \"second\"\n[notify.sms.accounts.twilio]\n\
         account_sid = \"AC00000000000000000000000000000000\"\nsecret_file = '{}'\nfrom = \"+15005550006\"\n\
         status_callback = \"{callback}\"\nbase = \"{base}\"\nsettles_seconds = 0\n{more}",
        secret.display(),
    );
    fs::write(&file, text).unwrap();
    let options = Sandbox::of(|| vec![artel_notify::service()], catalogue).file(&file);
    let options = options.setting("http.listen", address.to_string());
    Rig { node: options.start().await.expect("the node starts"), callback, _folder: folder }
}

async fn simulated(judge: Judge) -> Simulated {
    let board = Board::new(16 << 20, Arc::new(|| 0));
    let settings = TwilioSimulatorSettings {
        repeat: Duration::from_millis(50),
        most_repeats: 1_000,
        ..TwilioSimulatorSettings::default()
    };
    let simulator = TwilioSimulator::start(settings, board.clone(), judge).await.unwrap();
    let rig = node(&simulator.served().url(), "").await;
    Simulated { rig, board, simulator }
}

/// What the n-th message meets; those behind the last one are like it.
fn each(all: Vec<Behaviour>) -> Judge {
    let count = AtomicUsize::new(0);
    Arc::new(move |_: &Arrival| all[count.fetch_add(1, Ordering::Relaxed).min(all.len() - 1)].clone())
}

fn telling(receipts: &[Receipt]) -> Behaviour {
    let receipts = receipts.iter().map(|receipt| (Duration::from_millis(1), *receipt)).collect();
    Behaviour { receipts, ..Behaviour::default() }
}

impl Simulated {
    async fn send(&self) -> String {
        send(&self.rig.node, &to(json!({ "phone": PHONE, "language": "en" }), &["sms"])).await
    }

    /// Returns when so many reports were taken.
    async fn reported(&self, reports: u64) {
        let wait = async {
            while self.simulator.reports().1 < reports {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), wait).await.expect("reports are taken");
    }

    /// The oldest first.
    fn arrived(&self) -> Vec<Arrival> {
        let mut all = self.board.list(&Wanted::default());
        all.reverse();
        all
    }
}

impl Rig {
    /// Posts a report of the message with this key, signed by whoever has the token.
    async fn report(&self, key: &str, status: &str, token: &str) -> Answer {
        let form = format!("AccountSid=AC1&MessageSid=SM1&MessageStatus={status}&To=%2B79161234567");
        let url = format!("{}?reference={key}", self.callback);
        let signature = Form::read(form.as_bytes()).unwrap().sign(token, &url);
        self.post(&url, &signature, form).await
    }

    async fn post(&self, url: &str, signature: &str, form: String) -> Answer {
        let path = url.split_once("/api").map(|(_, rest)| format!("/api{rest}")).unwrap();
        let request = Outgoing::new(Method::POST, path)
            .header(SIGNATURE, signature)
            .body("application/x-www-form-urlencoded", form);
        let client = artel_frame::client::Client::new(&self.node.url()).unwrap();
        client.send(request).await.unwrap()
    }
}

fn told(delivery: &Value) -> usize {
    let lines = delivery["timeline"].as_array().unwrap().iter();
    lines.filter(|line| line["what"].as_str().unwrap().starts_with("receipt")).count()
}

#[tokio::test]
async fn reports_move_a_message_on() {
    let simulated =
        simulated(each(vec![telling(&[Receipt::OnItsWay, Receipt::Delivered, Receipt::Delivered])])).await;
    let id = simulated.send().await;
    let delivered = reaches(&simulated.rig.node, &id, "delivered").await;
    assert_eq!(delivered["legs"][0]["provider"], "second");
    let arrived = simulated.arrived();
    assert_eq!((arrived.len(), arrived[0].to.as_str()), (1, PHONE));
    assert!(arrived[0].text.contains("RA123") && arrived[0].key.ends_with("-0-1"), "{arrived:?}");
    simulated.rig.node.stop().await;
}

#[tokio::test]
async fn only_the_provider_is_listened_to_and_repeats_change_nothing() {
    let simulated = simulated(each(vec![Behaviour::default()])).await;
    let (rig, id) = (&simulated.rig, simulated.send().await);
    reaches(&rig.node, &id, "sent").await;
    let key = simulated.arrived()[0].key.clone();
    assert_eq!(rig.report(&key, "delivered", "another").await.status, 403);
    let elsewhere = format!("{}x?reference={key}", rig.callback);
    let form = "MessageSid=SM1&MessageStatus=delivered".to_owned();
    let signature = Form::read(form.as_bytes()).unwrap().sign(TOKEN, &elsewhere);
    assert_eq!(rig.post(&elsewhere, &signature, form.clone()).await.status, 403);
    // Signed for another message, not signed at all, and too long to be looked at.
    let url = format!("{}?reference={key}", rig.callback);
    assert_eq!(rig.post(&url, &signature, form.clone()).await.status, 403);
    assert_eq!(rig.post(&url, "", form).await.status, 403);
    assert_eq!(rig.post(&url, "", "a".repeat((64 << 10) + 1)).await.status, 413);
    assert_eq!(fresh(&rig.node, &id).await["state"], "sent");

    for status in ["sent", "delivered", "delivered", "sent"] {
        assert_eq!(rig.report(&key, status, TOKEN).await.status, 204, "{status}");
    }
    let delivered = reaches(&rig.node, &id, "delivered").await;
    assert_eq!(told(&delivered), 1, "{delivered}");
    // Of a message that nobody knows, and of none.
    assert_eq!(rig.report("0190f5a0000070008000000000000001-0-1", "delivered", TOKEN).await.status, 204);
    assert_eq!(rig.report("", "received", TOKEN).await.status, 204);
    simulated.rig.node.stop().await;
}

/// A provider that takes a message and answers when it is told to; the message's key.
async fn reads(listener: &TcpListener) -> (tokio::net::TcpStream, String) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut read = Vec::new();
    loop {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0);
        let text = String::from_utf8_lossy(&read);
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let form = Form::read(body.as_bytes()).unwrap();
        // The last parameter may still be half.
        let callback = form.get("StatusCallback").filter(|url| url.ends_with("-0-1"));
        if let Some((_, key)) = callback.and_then(|url| url.split_once("reference=")) {
            return (stream, key.to_owned());
        }
    }
}

#[tokio::test]
async fn a_report_may_be_quicker_than_the_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = node(&format!("http://{}", listener.local_addr().unwrap()), "").await;
    let id = send(&rig.node, &to(json!({ "phone": PHONE }), &["sms"])).await;
    let (mut stream, key) = reads(&listener).await;
    assert_eq!(rig.report(&key, "delivered", TOKEN).await.status, 204);
    assert_eq!(rig.report(&key, "sent", TOKEN).await.status, 204);
    assert_eq!(told(&fresh(&rig.node, &id).await), 0, "the attempt is not stored yet");
    let answer = "{\"sid\":\"SM1\",\"status\":\"queued\"}";
    let answer = format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    reaches(&rig.node, &id, "delivered").await;
    rig.node.stop().await;
}

#[tokio::test]
async fn a_report_that_was_quicker_than_a_failure_is_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = node(&format!("http://{}", listener.local_addr().unwrap()), "").await;
    let id = send(&rig.node, &to(json!({ "phone": PHONE }), &["sms"])).await;
    let (mut stream, key) = reads(&listener).await;
    assert_eq!(rig.report(&key, "delivered", TOKEN).await.status, 204);
    let answer = "{\"code\":20503,\"status\":503}";
    let answer =
        format!("HTTP/1.1 503 Service Unavailable\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    // It would be sent again otherwise.
    assert_eq!(reaches(&rig.node, &id, "delivered").await["legs"][0]["attempts"], 1);
    rig.node.stop().await;
}

#[tokio::test]
async fn an_error_that_is_not_the_provider_s_own_is_asked_about() {
    let gateway = Refusal::Http { status: 502, code: String::new(), retry_after: None };
    let away = Behaviour { refusal: Some(gateway), ..Behaviour::default() };
    let simulated = simulated(each(vec![away, telling(&[Receipt::Delivered])])).await;
    let id = simulated.send().await;
    let delivered = reaches(&simulated.rig.node, &id, "delivered").await;
    assert!(delivered["timeline"].to_string().contains("asked: the provider never got it"), "{delivered}");
    simulated.rig.node.stop().await;
}

#[tokio::test]
async fn a_report_of_a_message_whose_answer_was_lost_says_what_became_of_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = node(&format!("http://{}", listener.local_addr().unwrap()), "").await;
    let id = send(&rig.node, &to(json!({ "phone": PHONE }), &["sms"])).await;
    let (stream, key) = reads(&listener).await;
    // Nobody is there to be asked either.
    drop((stream, listener));
    reaches(&rig.node, &id, "unknown").await;
    assert_eq!(rig.report(&key, "delivered", TOKEN).await.status, 204);
    assert_eq!(reaches(&rig.node, &id, "delivered").await["legs"][0]["attempts"], 1);
    rig.node.stop().await;
}

#[tokio::test]
async fn a_message_whose_answer_was_lost_is_looked_for() {
    let lost = || Behaviour { lose_reply: true, ..Behaviour::default() };
    let never = Behaviour {
        refusal: Some(Refusal::Http { status: 500, code: String::new(), retry_after: None }),
        ..lost()
    };
    let simulated = simulated(each(vec![lost(), lost(), never, telling(&[Receipt::Delivered])])).await;
    let node = &simulated.rig.node;
    // The second one is not taken for the first one, which is known by then.
    for _ in 0..2 {
        let id = simulated.send().await;
        assert_eq!(reaches(node, &id, "sent").await["legs"][0]["attempts"], 1);
        node.settle().await;
    }
    assert_eq!(simulated.arrived().len(), 2);
    // The third one never got there, so that it is sent again.
    let id = simulated.send().await;
    assert_eq!(reaches(node, &id, "delivered").await["legs"][0]["attempts"], 2);
    assert_eq!(simulated.arrived().iter().filter(|one| one.taken).count(), 3);
    simulated.rig.node.stop().await;
}

#[tokio::test]
async fn what_a_report_s_code_means_is_looked_up() {
    let simulated = simulated(each(vec![
        telling(&[Receipt::Undelivered(30_003); 2]),
        telling(&[Receipt::Undelivered(30_006)]),
    ]))
    .await;
    let (node, id) = (&simulated.rig.node, simulated.send().await);
    // Not reachable: again, in a quarter of an hour.
    let waits = reaches(node, &id, "scheduled").await;
    simulated.reported(2).await;
    assert_eq!(fresh(node, &id).await["legs"][0]["next_at"], waits["legs"][0]["next_at"], "told twice");
    assert!(waits["legs"][0]["reason"].as_str().unwrap().starts_with("30003: "), "{waits}");
    // A landline: never again, neither this message nor another one.
    let phone = json!({ "phone": "+79160000001" });
    let id = send(node, &to(phone.clone(), &["sms"])).await;
    let failed = reaches(node, &id, "failed").await;
    assert!(failed["legs"][0]["reason"].as_str().unwrap().contains("30006"), "{failed}");
    let why = crate::get(&node.client(), &format!("/api/notify/deliveries/{id}/why")).await;
    assert!(why.to_string().contains("twilio answered 30006"), "{why}");
    let id = send(node, &to(phone, &["sms"])).await;
    reaches(node, &id, "suppressed").await;
    simulated.rig.node.stop().await;
}

#[tokio::test]
async fn an_account_that_can_t_work_names_the_field() {
    let folder = tempfile::tempdir().unwrap();
    let (file, secret) = (folder.path().join("artel.toml"), folder.path().join("token"));
    fs::write(&secret, TOKEN).unwrap();
    let good = format!("account_sid = \"AC1\"\nsecret_file = '{}'\n", secret.display());
    for (account, says) in [
        (good.clone(), "sms.accounts[0]: twilio.from: name who"),
        (format!("{good}from = \"+1\"\nservice = \"MG1\"\n"), "twilio.from: name who"),
        (
            format!("{good}from = \"+1\"\nstatus_callback = \"parcels\"\n"),
            "twilio.status_callback: not an absolute URL",
        ),
        (format!("{good}from = \"+1\"\nbase = \"http://api.example.com\"\n"), "twilio.base: not https"),
        (
            "account_sid = \"AC/1\"\nsecret_file = \"/nowhere\"\nfrom = \"+1\"\n".to_owned(),
            "twilio.secret_file: /nowhere",
        ),
    ] {
        let text = format!("[[notify.sms.accounts]]\nname = \"a\"\n[notify.sms.accounts.twilio]\n{account}");
        fs::write(&file, text).unwrap();
        let node = Sandbox::of(|| vec![artel_notify::service()], catalogue).file(&file);
        let failure = node.start().await.map(drop).expect_err(&account).to_string();
        assert!(failure.contains(says), "{account}: {failure}");
    }
}
