//! The list of what arrived, over HTTP, with all simulators together.

use super::answers::ask;
use super::fcm::push;
use super::{http, status};
use artel_wires::fcm::{Fcm, FcmPush, FcmSettings, ServiceAccount};
use artel_wires::simulators::{Arrival, Running, Settings, start};
use serde_json::{Value, json};
use std::time::Duration;

async fn client(running: &Running) -> Fcm {
    let base = format!("http://{}", running.address("fcm").unwrap());
    // As a user gets it.
    let mut answer = tokio::net::TcpStream::connect(running.address("fcm").unwrap()).await.unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let host = running.address("fcm").unwrap();
    let request = format!("GET /service-account.json HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    answer.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    answer.read_to_string(&mut text).await.unwrap();
    let account = ServiceAccount::parse(text.split_once("\r\n\r\n").unwrap().1).unwrap();
    Fcm::new(account, FcmSettings { base, http: http(), ..FcmSettings::default() }).unwrap()
}

async fn get(running: &Running, path: &str) -> Value {
    let (status, _, body) = ask(running.front().unwrap(), "GET", path, "", "").await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn what_arrived_is_listed_shown_counted_and_forgotten() {
    let running = start(Settings::default()).await.unwrap();
    let client = client(&running).await;
    for title in ["first", "second"] {
        let body = "<b>я</b>".repeat(300);
        client.send(&FcmPush { title: title.into(), body, ..push() }).await.unwrap();
    }
    let list = get(&running, "/api/arrivals?limit=5&provider=fcm&to=token-x").await;
    assert_eq!((list[0]["n"].clone(), list[1]["title"].clone()), (json!(2), json!("first")));
    assert_eq!((list[0]["cut"].clone(), list[0].get("raw")), (json!(true), None));
    assert_eq!(list[0]["text"].as_str().unwrap().chars().count(), 1_000);
    assert_eq!(get(&running, "/api/arrivals?after=1").await.as_array().unwrap().len(), 1);
    assert_eq!(get(&running, "/api/arrivals?before=2").await[0]["title"], "first");
    assert_eq!(get(&running, "/api/arrivals?to=nobody&provider=").await, json!([]));
    let whole = get(&running, "/api/arrivals/2").await;
    assert!(whole["raw"].as_str().unwrap().contains("<b>я</b>") && whole["account"] == "artel-simulator");
    assert_eq!(get(&running, "/api/counts").await["taken"], json!({"fcm": 2}));
    let names = get(&running, "/api/simulators").await;
    let names = names.as_array().unwrap();
    let at = |name: &str| json!(running.address(name).unwrap().to_string());
    assert!(names.iter().any(|one| one["address"] == at("fcm")), "{names:?}");
    assert!(names.iter().any(|one| one["address"] == at("smtp")), "{names:?}");
    let front = running.front().unwrap();
    assert_eq!(ask(front, "DELETE", "/api/arrivals", "", "").await.0, 204);
    assert_eq!(get(&running, "/api/arrivals").await, json!([]));
    assert_eq!(ask(front, "GET", "/api/arrivals/2", "", "").await.0, 404);
    for (method, path, code) in
        [("GET", "/api/arrivals?limit=x", 400), ("GET", "/api/arrivals?limits=1", 400), ("POST", "/", 404)]
    {
        let (status, _, body) = ask(front, method, path, "", "").await;
        assert!(status == code && body.contains("error"), "{method} {path}: {body}");
    }
}

#[tokio::test]
async fn who_waits_gets_it_as_it_arrives() {
    let running = start(Settings::default()).await.unwrap();
    let client = client(&running).await;
    let waits = get(&running, "/api/arrivals?after=0&wait=20");
    let sends = async {
        tokio::task::yield_now().await;
        client.send(&push()).await.unwrap()
    };
    let (list, _) =
        tokio::time::timeout(Duration::from_secs(15), async { tokio::join!(waits, sends) }).await.unwrap();
    assert_eq!(list[0]["n"], 1);
}

#[tokio::test]
async fn faults_are_set_and_come_out() {
    let running = start(Settings::default()).await.unwrap();
    let (client, front) = (client(&running).await, running.front().unwrap());
    let mut plan = get(&running, "/api/faults").await;
    assert!(!plan["addresses"].as_array().unwrap().is_empty());
    plan["providers"]["fcm"] = json!({
        "refusals": [{"percent": 100, "answer": {"http": {"status": 429, "code": "QUOTA_EXCEEDED", "retry_after_s": 9}}}]
    });
    let json = "content-type: application/json\r\n";
    let (code, ..) = ask(front, "PUT", "/api/faults", json, &plan.to_string()).await;
    assert_eq!(code, 200);
    assert_eq!(status(&client.send(&push()).await.unwrap()), 429);
    // By address: twice, then it goes through to the shares.
    let token = format!("retry-unavailable-{}", "x".repeat(100));
    for expected in [503, 503, 429] {
        let handed = client.send(&FcmPush { token: token.clone(), ..push() }).await.unwrap();
        assert_eq!(status(&handed), expected);
    }
    for (bad, kind, code) in [
        (r#"{"providers":{"fcm":{"lost_replies":200}}}"#, json, 400),
        (r#"{"sed":1}"#, json, 400),
        (r#"{}"#, "content-type: text/plain\r\n", 415),
    ] {
        let (status, _, body) = ask(front, "PUT", "/api/faults", kind, bad).await;
        assert!(status == code && body.contains("error"), "{bad}: {body}");
    }
    assert_eq!(status(&client.send(&push()).await.unwrap()), 429, "the plan of before is in force");
    assert_eq!(ask(front, "PUT", "/api/faults", json, "{}").await.0, 200);
    assert_eq!(status(&client.send(&push()).await.unwrap()), 200);
}

#[tokio::test]
async fn a_mail_is_seen_as_its_reader_sees_it_and_may_do_nothing() {
    let running = start(Settings::default()).await.unwrap();
    let front = running.front().unwrap();
    let mail = |kind: &str| {
        let raw =
            format!("Content-Type: text/{kind}; charset=utf-8\r\n\r\n<p>Привет<script>1</script></p>\r\n");
        running.board.put(Arrival { provider: "smtp", raw, ..Arrival::default() })
    };
    let (html, plain) = (mail("html"), mail("plain"));
    let (code, head, body) = ask(front, "GET", &format!("/api/arrivals/{html}/html"), "", "").await;
    assert_eq!((code, body.trim_end()), (200, "<p>Привет<script>1</script></p>"));
    for part in ["content-security-policy: sandbox; default-src 'none';", "frame-ancestors 'self'"] {
        assert!(head.to_lowercase().contains(part), "{part}: {head}");
    }
    for none in [plain, 99] {
        assert_eq!(ask(front, "GET", &format!("/api/arrivals/{none}/html"), "", "").await.0, 404);
    }
}

#[tokio::test]
async fn the_page_may_do_nothing_but_its_own() {
    let running = start(Settings::default()).await.unwrap();
    let front = running.front().unwrap();
    let (code, head, body) = ask(front, "GET", "/", "", "").await;
    let head = head.to_lowercase();
    assert!(code == 200 && body.starts_with("<!doctype html>"));
    for part in [
        "content-type: text/html",
        "default-src 'none'",
        "script-src 'sha256-",
        "frame-ancestors 'none'",
        "nosniff",
    ] {
        assert!(head.contains(part), "{part}: {head}");
    }
    assert!(!head.contains("unsafe-inline"));
    assert_eq!(ask(front, "GET", "/api/arrivals", "host: evil.example\r\n", "").await.0, 421);
    assert_eq!(ask(front, "GET", "/api/arrivals", "host: localhost:1\r\n", "").await.0, 200);
    assert!(front.address().ip().is_loopback());
}
