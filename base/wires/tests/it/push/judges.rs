//! Judges that are not ours: Python's http_ece, PyJWT, cryptography and google-auth, from the folder that ARTEL_TEST_FOREIGN names.

use super::answers::{Answers, answer};
use super::{http, status, token};
use artel_wires::simulators::{Settings, start};
use artel_wires::web_push::{Subscription, VapidKey, WebPush, WebPushMessage, WebPushSettings};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const SCRIPT: &str = include_str!("judge.py");

fn python(test: &str) -> Option<PathBuf> {
    let found =
        std::env::var_os("ARTEL_TEST_FOREIGN").map(|folder| PathBuf::from(folder).join("python/bin/python"));
    if found.as_ref().is_some_and(|python| python.exists()) {
        return found;
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "ARTEL_TEST_FOREIGN is not set, or has no python/bin/python; `cargo xtask backends install` fetches it"
    );
    println!(
        "skipped: push::judges::{test}: ARTEL_TEST_FOREIGN is not set (Python packages, from cargo xtask backends install)"
    );
    None
}

/// Runs one part of the script; it is given and gives JSON.
async fn judge(python: &PathBuf, part: &str, given: Value) -> Value {
    let mut child = Command::new(python)
        .args(["-c", SCRIPT, part])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).await.unwrap();
    let output =
        tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{part}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn http_ece_reads_what_is_encrypted_and_pyjwt_who_sent_it() {
    let Some(python) = python("http_ece_reads_what_is_encrypted_and_pyjwt_who_sent_it") else { return };
    let service = Answers::start(|_, _| answer(201, "")).await;
    let browser = judge(&python, "browser", json!({})).await;
    let subscription = json!({"endpoint": format!("{}/push/1", service.url()), "keys": browser["keys"]});
    let to = Subscription::parse(&subscription.to_string()).unwrap();
    let settings = WebPushSettings {
        contact: "mailto:ops@artel.example".into(),
        allow_loopback: true,
        http: http(),
        ..WebPushSettings::default()
    };
    let client = WebPush::new(VapidKey::generate().unwrap(), settings).unwrap();
    for text in ["", "Посылка в пути", &"x".repeat(3_993)] {
        let message = WebPushMessage { payload: text.to_owned().into(), ..WebPushMessage::default() };
        assert_eq!(status(&client.send(&to, &message).await.unwrap()), 201);
        let asked = service.asked().pop().unwrap();
        let header = |name: &str| asked.headers()[name].to_str().unwrap().to_owned();
        let read = judge(
            &python,
            "receive",
            json!({
                "private": browser["private"],
                "auth": browser["keys"]["auth"],
                "body": STANDARD.encode(asked.body()),
                "authorization": header("authorization"),
                "audience": service.url(),
            }),
        )
        .await;
        assert_eq!(
            (&read["text"], &read["claims"]["sub"]),
            (&json!(text), &json!("mailto:ops@artel.example"))
        );
        assert_eq!((header("content-encoding"), header("ttl")), ("aes128gcm".to_owned(), "0".to_owned()));
    }
}

#[tokio::test]
async fn pyjwt_verifies_the_request_for_a_token() {
    let Some(python) = python("pyjwt_verifies_the_request_for_a_token") else { return };
    let tokens = Answers::start(|_, _| answer(200, r#"{"access_token":"t","expires_in":3600}"#)).await;
    let client = token::client(&tokens, http()).await;
    client.send(&super::fcm::push()).await.unwrap();
    let body = {
        let asked = tokens.asked();
        assert_eq!(asked[1].headers()["authorization"], "Bearer t");
        String::from_utf8(asked[0].body().to_vec()).unwrap()
    };
    let file = token::key_file().await;
    let mut given =
        json!({"body": body, "private_key": file["private_key"], "key_id": file["private_key_id"]});
    // The audience is the one of the file, wherever the request goes.
    let claims: Value = {
        let assertion = body.split("assertion=").nth(1).unwrap();
        let claims = assertion.split('.').nth(1).unwrap();
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    assert!(claims["aud"].as_str().unwrap().ends_with("/token"));
    given["audience"] = claims["aud"].clone();
    let read = judge(&python, "assertion", given).await;
    assert_eq!(read["claims"]["iss"], file["client_email"]);
    assert_eq!(read["claims"]["scope"], "https://www.googleapis.com/auth/firebase.messaging");
    let life = read["claims"]["exp"].as_u64().unwrap() - read["claims"]["iat"].as_u64().unwrap();
    assert_eq!((life, read["bits"].as_u64()), (3_600, Some(2_048)));
}

#[tokio::test]
async fn others_clients_are_understood_by_the_simulators() {
    let Some(python) = python("others_clients_are_understood_by_the_simulators") else { return };
    let running = start(Settings::default()).await.unwrap();
    let url = |name: &str| format!("http://{}", running.address(name).unwrap());
    let sent = judge(&python, "send", json!({"web_push": url("web_push"), "fcm": url("fcm")})).await;
    assert_eq!(sent, json!({"web_push": 201, "fcm": 200}));
    let arrived = running.board.list(&Default::default());
    let shown: Vec<_> = arrived.iter().map(|own| (own.provider, own.text.as_str(), own.taken)).collect();
    assert_eq!(shown, [("fcm", "из Python", true), ("web_push", "из Python", true)]);
}
