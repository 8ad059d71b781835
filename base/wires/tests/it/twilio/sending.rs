//! Sending, and asking what became of it.

use super::{PATIENCE, both, settings, text};
use artel_wires::http::system_clock;
use artel_wires::simulators::{Behaviour, Judge, Refusal, Wanted};
use artel_wires::twilio::{From, Settings, Text, Twilio};
use artel_wires::{Said, Stage};
use bytes::BytesMut;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn quiet() -> Judge {
    Arc::new(|_| Behaviour::default())
}

/// Status, the provider's code, and how long it wants us to wait.
fn http(said: &Said) -> (u16, u64, Option<Duration>) {
    let Said::Http { status, body, retry_after, .. } = said else { panic!("{said:?}") };
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    (*status, body["code"].as_u64().unwrap_or(0), *retry_after)
}

fn stage(said: &Said) -> Option<Stage> {
    if let Said::Broken { stage, .. } = said { Some(*stage) } else { None }
}

#[tokio::test]
async fn a_message_is_taken_and_can_be_asked_for() {
    let both = both(quiet(), |settings| settings.callback = "https://shop.example/reports?a=1".into()).await;
    let message = Text {
        from: Some(From::Service("MG1".into())),
        reference: Some("order 7/ё".into()),
        validity: Some(Duration::from_secs(90)),
        ..text("Посылка & письмо = 5 + 5 😀")
    };
    let handed = both.client.send(&message).await;
    assert_eq!(http(&handed.said).0, 201);
    assert!(handed.by.starts_with("AC00000000000000000000000000000000@127.0.0.1:"), "{}", handed.by);
    let arrival = both.board.list(&Wanted::default()).remove(0);
    assert_eq!((arrival.to.as_str(), arrival.text.as_str()), ("+79161234567", message.body.as_str()));
    assert_eq!((arrival.key.as_str(), arrival.title.as_str(), arrival.taken), ("order 7/ё", "MG1", true));
    assert!(arrival.raw.contains("ValidityPeriod=90"), "{}", arrival.raw);
    assert_eq!(Some(&arrival.reference), handed.reference.as_ref());
    let fetched = both.client.fetch(&arrival.reference).await.message.unwrap();
    assert_eq!((fetched.status.as_str(), fetched.body, fetched.error_code), ("queued", message.body, None));
    let unknown = both.client.fetch("SM1").await;
    assert_eq!((http(&unknown.said), unknown.message), ((404, 20_404, None), None));
    assert_eq!(stage(&both.client.fetch("../x").await.said), Some(Stage::Before));
}

#[tokio::test]
async fn refusals_are_told_as_they_are() {
    let judge: Judge = Arc::new(|arrival| {
        let (status, code, wait) = match arrival.text.as_str() {
            "slow" => (429, "20429", Some(Duration::from_secs(7))),
            "down" => (500, "", None),
            "away" => (503, "", None),
            _ => (400, "21610", None),
        };
        let refusal = Refusal::Http { status, code: code.into(), retry_after: wait };
        Behaviour { refusal: Some(refusal), ..Behaviour::default() }
    });
    let both = both(judge, |_| {}).await;
    for (message, expected) in [
        (text("slow"), (429, 20_429, Some(Duration::from_secs(7)))),
        (text("down"), (500, 20_500, None)),
        // A gateway has no code of the provider's.
        (text("away"), (503, 0, None)),
        (text("gone"), (400, 21_610, None)),
        // What the provider sees by itself.
        (Text { to: "8916".into(), ..text("a") }, (400, 21_211, None)),
        (text(""), (400, 21_602, None)),
        (text(&"a".repeat(1_601)), (400, 21_617, None)),
    ] {
        let handed = both.client.send(&message).await;
        assert_eq!((http(&handed.said), handed.reference), (expected, None));
    }
    assert_eq!((both.board.counts().sent["twilio"], both.board.counts().taken.get("twilio")), (7, None));
    let mut wrong = settings(&both.simulator.served().url());
    wrong.secret = "wrong".into();
    let client = Twilio::new(wrong, system_clock()).unwrap();
    assert_eq!(http(&client.send(&text("a")).await.said), (401, 20_003, None));
    assert_eq!(http(&client.sent_to("+7", 0).await.said).0, 401);
}

#[tokio::test]
async fn a_lost_answer_is_after_and_the_message_is_found_in_the_list() {
    let both = both(Arc::new(|_| Behaviour { lose_reply: true, ..Behaviour::default() }), |_| {}).await;
    let handed = both.client.send(&text("lost")).await;
    assert_eq!((stage(&handed.said), handed.reference), (Some(Stage::After), None));
    let found = both.client.sent_to("+79161234567", 1_700_000_000).await;
    assert_eq!((found.whole, found.messages.len(), found.messages[0].body.as_str()), (true, 1, "lost"));
    assert_eq!(found.messages[0].sid, both.board.one(1).unwrap().reference);
    assert!(both.client.sent_to("+79160000000", 0).await.messages.is_empty());
    let tomorrow = i64::try_from(system_clock()() / 1_000).unwrap() + 86_400;
    assert!(both.client.sent_to("+79161234567", tomorrow).await.messages.is_empty());
}

#[tokio::test]
async fn a_list_is_read_page_by_page_and_says_when_it_is_not_whole() {
    let both = both(quiet(), |settings| settings.most_pages = 3).await;
    for n in 0..140 {
        both.client.send(&text(&n.to_string())).await;
    }
    let found = both.client.sent_to("+79161234567", 0).await;
    let bodies: Vec<_> = found.messages.iter().map(|message| message.body.parse::<u32>().unwrap()).collect();
    assert_eq!((found.whole, bodies), (true, (0..140).rev().collect()));
    for n in 0..20 {
        both.client.send(&text(&n.to_string())).await;
    }
    let found = both.client.sent_to("+79161234567", 0).await;
    assert_eq!((found.whole, found.messages.len()), (false, 150));
}

#[tokio::test]
async fn what_has_not_left_is_before_and_what_has_is_after() {
    let quick = |settings: &mut Settings| settings.http.whole = Duration::from_millis(200);
    let client = |base: String| {
        let mut settings = settings(&base);
        quick(&mut settings);
        Twilio::new(settings, system_clock()).unwrap()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    // Taken and never answered.
    let silent = client(base.clone());
    let held = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = BytesMut::new();
        while !read.ends_with(b"Body=a&From=%2B15005550006") {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0);
        }
        // A status without the whole of its body is an answer.
        let (mut second, _) = listener.accept().await.unwrap();
        assert!(second.read_buf(&mut read).await.unwrap() > 0);
        second.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 99\r\n\r\n{\"sid\"").await.unwrap();
        drop(second);
        (stream, listener)
    });
    assert_eq!(stage(&silent.send(&text("a")).await.said), Some(Stage::After));
    let half = silent.send(&text("b")).await;
    assert!(
        matches!(&half.said, Said::Http { status: 201, body, .. } if body.as_ref() == b"{\"sid\""),
        "{half:?}"
    );
    assert_eq!(half.reference, None);
    drop(tokio::time::timeout(PATIENCE, held).await.unwrap().unwrap());
    // Nobody listens.
    assert_eq!(stage(&client(base).send(&text("c")).await.said), Some(Stage::Before));
}

#[test]
fn settings_that_can_not_be_meant_are_refused() {
    let reason = |change: &dyn Fn(&mut Settings)| {
        let mut settings = settings("https://api.twilio.com");
        change(&mut settings);
        Twilio::new(settings, system_clock()).err().map(|error| error.to_string())
    };
    assert_eq!(reason(&|_| {}), None);
    for (change, expected) in [
        (
            &(|settings: &mut Settings| settings.base = "http://api.twilio.com".into())
                as &dyn Fn(&mut Settings),
            "base: not https; plain http is for this machine only",
        ),
        (
            &|settings| settings.base = "https://api.twilio.com/x".into(),
            "base: has a path; write https://HOST",
        ),
        (
            &|settings| settings.account = "AC/../x".into(),
            "account: not an id; letters and digits, as a rule AC and 32 digits",
        ),
        (&|settings| settings.user = "a:b".into(), "user: has a colon in it"),
        (
            &|settings| settings.callback = "shop".into(),
            "callback: not an absolute URL; write https://HOST/PATH",
        ),
    ] {
        assert_eq!(reason(change).as_deref(), Some(expected));
    }
    assert!(!format!("{:?} {:?}", settings("https://a"), text("private")).contains("private"));
    assert!(!format!("{:?}", settings("https://a")).contains(super::TOKEN));
}
