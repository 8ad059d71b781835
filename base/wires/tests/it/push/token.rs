//! When there is no access token, the message was not sent: there is never any doubt about it.

use super::answers::{Answers, answer};
use super::{board, http, stage};
use artel_wires::fcm::{Fcm, FcmSettings, ServiceAccount};
use artel_wires::http::HttpSettings;
use artel_wires::simulators::all_good;
use artel_wires::simulators::fcm::{FcmSimulator, FcmSimulatorSettings};
use artel_wires::{Handed, Said, Stage};
use http::Response;
use http_body_util::Full;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

pub async fn key_file() -> Value {
    let simulator = FcmSimulator::start(FcmSimulatorSettings::default(), board(), all_good()).await.unwrap();
    serde_json::from_str(&simulator.service_account().await.unwrap()).unwrap()
}

/// A client that asks `tokens` for its token, and `tokens` for all else.
pub async fn client(tokens: &Answers, http: HttpSettings) -> Fcm {
    let account = ServiceAccount::parse(&key_file().await.to_string()).unwrap();
    let settings = FcmSettings {
        base: tokens.url(),
        token_uri: Some(format!("{}/token", tokens.url())),
        http,
        ..FcmSettings::default()
    };
    Fcm::new(account, settings).unwrap()
}

async fn send(tokens: &Answers, http: HttpSettings) -> Handed {
    client(tokens, http).await.send(&super::fcm::push()).await.unwrap()
}

#[tokio::test]
async fn a_refusal_of_the_token_is_the_answer() {
    let tokens = Answers::start(|_, _| answer(400, r#"{"error":"invalid_grant"}"#)).await;
    let handed = send(&tokens, http()).await;
    let Said::Http { status: 400, body, host, .. } = &handed.said else { panic!("{handed:?}") };
    assert_eq!((&body[..], host), (&br#"{"error":"invalid_grant"}"#[..], &tokens.address.to_string()));
    let busy = Answers::start(|_, _| {
        Some(Response::builder().status(503).header("retry-after", "7").body(Full::default()).unwrap())
    });
    let handed = send(&busy.await, http()).await;
    assert!(
        matches!(handed.said, Said::Http { status: 503, retry_after: Some(wait), .. } if wait.as_secs() == 7)
    );
}

#[tokio::test]
async fn a_token_that_did_not_come_leaves_no_doubt() {
    let short = || HttpSettings { whole: Duration::from_secs(1), ..http() };
    let closes = Answers::start(|_, _| None).await;
    assert_eq!(stage(&send(&closes, http()).await).0, Stage::Before);
    let odd = Answers::start(|_, _| answer(200, "<html>")).await;
    assert_eq!(stage(&send(&odd, http()).await).0, Stage::Before);
    let line = Answers::start(|_, _| answer(200, r#"{"access_token":"a\nb","expires_in":1}"#)).await;
    assert_eq!(stage(&send(&line, http()).await).0, Stage::Before);
    // Listens and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let account = ServiceAccount::parse(&key_file().await.to_string()).unwrap();
    let settings = FcmSettings {
        token_uri: Some(format!("http://{}/", silent.local_addr().unwrap())),
        http: short(),
        ..FcmSettings::default()
    };
    let handed = Fcm::new(account, settings).unwrap().send(&super::fcm::push()).await.unwrap();
    assert_eq!(stage(&handed).0, Stage::Before);
}

#[tokio::test]
async fn those_who_wait_for_one_request_share_its_failure() {
    let tokens = Answers::start(|_, _| answer(500, "")).await;
    let client = Arc::new(client(&tokens, http()).await);
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let client = Arc::clone(&client);
        all.spawn(async move { client.send(&super::fcm::push()).await.unwrap() });
    }
    while let Some(handed) = all.join_next().await {
        assert!(matches!(handed.unwrap().said, Said::Http { status: 500, .. }));
    }
    let asked = tokens.asked().len();
    assert!(asked < 5, "{asked} requests");
}

#[tokio::test]
async fn a_key_file_is_checked_field_by_field() {
    let good = key_file().await;
    assert!(ServiceAccount::parse(&good.to_string()).is_ok());
    let cases = [
        ("type", "authorized_user"),
        ("project_id", "a/../b"),
        ("private_key_id", ""),
        ("private_key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        ("private_key", "secret"),
        ("client_email", "nobody"),
        ("token_uri", "http://oauth2.example.com/token"),
    ];
    for (field, bad) in cases {
        let mut file = good.clone();
        file[field] = bad.into();
        let error = ServiceAccount::parse(&file.to_string()).unwrap_err();
        assert_eq!(error.field, field);
        assert!(!error.to_string().contains("secret"));
        file.as_object_mut().unwrap().remove(field);
        assert_eq!(ServiceAccount::parse(&file.to_string()).unwrap_err().field, field);
    }
    let cut = &good.to_string()[..600];
    let error = ServiceAccount::parse(cut).unwrap_err();
    assert!(error.field == "file" && !error.to_string().contains("BEGIN"));
}
