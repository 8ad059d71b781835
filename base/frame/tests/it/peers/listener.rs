//! The listener for other nodes, asked by hand: the token is made here again, from its description.

use super::{SECRET, Sum, catalogue, services};
use artel_frame::Sandbox;
use artel_frame::client::{Answer, Client, Outgoing};
use artel_message::{Code, Fault, Time};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use hyper::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;
use uuid::Uuid;

async fn node() -> Sandbox {
    Sandbox::of(services, catalogue)
        .setting("peers.listen", "127.0.0.1:0")
        .setting("peers.secret", SECRET)
        .setting("peers.body_limit", "1KiB")
        .manual_clock(Time::from_micros(1_767_225_600_000_000))
        .start()
        .await
        .unwrap()
}

fn client(node: &Sandbox) -> Client {
    Client::new(&format!("http://{}", node.node().peer_address().unwrap())).unwrap()
}

const PUT: &str = "/peers/command/depot.put";
const TEA: &str = r#"{"what":"tea","count":3}"#;

fn claims(node: &Sandbox, method: &str, path: &str, body: &str) -> Value {
    json!({
        "method": method, "path": path, "node": Uuid::from_u128(7), "caller": "front", "key": Uuid::now_v7().to_string(),
        "body": BASE64.encode(Sha256::digest(body)), "at": node.now(), "nonce": Uuid::now_v7(),
    })
}

fn signed(secret: &str, claims: &Value) -> String {
    let text = BASE64.encode(claims.to_string());
    let mut mac = Hmac::<Sha256>::new_from_slice(&Sha256::digest(secret)).unwrap();
    mac.update(b"artel peer request 1\n");
    mac.update(text.as_bytes());
    format!("Artel-Peer {text}.{}", BASE64.encode(mac.finalize().into_bytes()))
}

async fn post(client: &Client, path: &str, body: &str, token: &str) -> Answer {
    let request = Outgoing::new(Method::POST, path).body("application/json", body.to_owned());
    let request = if token.is_empty() { request } else { request.header("authorization", token) };
    client.send(request).await.unwrap()
}

#[tokio::test]
async fn a_signed_request_is_answered_with_the_reply_or_the_fault_as_it_is() {
    let node = node().await;
    let client = client(&node);
    let ask = async |path: &str, body: &str| {
        let token = signed(SECRET, &claims(&node, "POST", path, body));
        post(&client, path, body, &token).await
    };
    let answer = ask(PUT, TEA).await;
    assert_eq!((answer.status, answer.header("artel-answer"), &*answer.text()), (200, "reply", "3"));
    let answer = ask("/peers/query/depot.sum", "{}").await;
    assert_eq!((answer.status, &*answer.text()), (200, "3"));
    for (path, body, status, code) in [
        (PUT, r#"{"what":"poison","count":1}"#, 403, Code::Forbidden),
        (PUT, r#"{"what":"","count":1}"#, 400, Code::Invalid),
        (PUT, r#"{"what":"x"}"#, 400, Code::Invalid),
        (PUT, "no json", 400, Code::Invalid),
        (PUT, r#"{"what":"panic","count":1}"#, 500, Code::Internal),
        ("/peers/command/depot.burn", "{}", 503, Code::Unavailable),
        ("/peers/command/depot.sum", "{}", 503, Code::Unavailable),
        ("/peers/query/else.where", "{}", 503, Code::Unavailable),
    ] {
        let answer = ask(path, body).await;
        let fault: Fault = answer.json().unwrap();
        let found = (answer.status, answer.header("artel-answer"), fault.code);
        assert_eq!(found, (status, "fault", code), "{path} {body}: {fault}");
    }
    let poison: Fault = ask(PUT, r#"{"what":"poison","count":1}"#).await.json().unwrap();
    assert_eq!(poison, Fault::forbidden("not in this depot").with(json!({ "law": 7 })));
    assert_eq!(node.ctx("depot").query(Sum {}).await, Ok(3));
    node.stop().await;
}

#[tokio::test]
async fn what_is_not_signed_as_it_should_be_is_refused_and_nothing_runs() {
    let node = node().await;
    let client = client(&node);
    let right = || claims(&node, "POST", PUT, TEA);
    let with = |field: &str, value: Value| {
        let mut claims = right();
        claims[field] = value;
        signed(SECRET, &claims)
    };
    let minute = Duration::from_secs(31);
    let (before, after, now) = (node.now() - minute, node.now() + minute, node.now());
    let expired = |at: Time| format!("made at {at} by the caller's clock, and here it is {now}");
    for (token, body, said) in [
        (String::new(), TEA, "no token".to_owned()),
        (format!("Bearer {}", node.node().operator_token().expose()), TEA, "no token".to_owned()),
        ("Artel-Peer x".to_owned(), TEA, "can't be read".to_owned()),
        (signed("another secret that is as long as it", &right()), TEA, "another secret".to_owned()),
        (with("at", json!(before)), TEA, expired(before)),
        (with("at", json!(after)), TEA, expired(after)),
        (
            with("path", json!("/peers/command/depot.get")),
            TEA,
            "made for POST /peers/command/depot.get".to_owned(),
        ),
        (with("method", json!("GET")), TEA, "made for GET".to_owned()),
        (signed(SECRET, &right()), r#"{"what":"tea","count":4}"#, "not the one that was signed".to_owned()),
    ] {
        let answer = post(&client, PUT, body, &token).await;
        let fault: Fault = answer.json().unwrap();
        let found = (answer.status, answer.header("artel-answer"), fault.code);
        assert_eq!(found, (401, "refused", Code::Unauthenticated), "{said}: {fault}");
        assert!(fault.reason.contains(&said), "{said}: {fault}");
    }
    let large = format!(r#"{{"what":"{}","count":1}}"#, "x".repeat(2000));
    let token = signed(SECRET, &claims(&node, "POST", PUT, &large));
    let answer = post(&client, PUT, &large, &token).await;
    assert!(answer.status == 400 && answer.text().contains("peers.body_limit"), "{}", answer.text());
    assert_eq!(node.ctx("depot").query(Sum {}).await, Ok(0));
    node.stop().await;
}

#[tokio::test]
async fn a_token_is_good_for_one_request_and_a_repeated_key_for_one_effect() {
    let node = node().await;
    let client = client(&node);
    let claims = claims(&node, "POST", PUT, TEA);
    let token = signed(SECRET, &claims);
    assert_eq!(post(&client, PUT, TEA, &token).await.text(), "3");
    let again = post(&client, PUT, TEA, &token).await;
    assert!(again.status == 401 && again.text().contains("used before"), "{}", again.text());
    // The same command under the same key with a token of its own: the first reply.
    let mut fresh = claims;
    fresh["nonce"] = json!(Uuid::now_v7());
    assert_eq!(post(&client, PUT, TEA, &signed(SECRET, &fresh)).await.text(), "3");
    assert_eq!(node.ctx("depot").query(Sum {}).await, Ok(3));
    node.stop().await;
}

#[tokio::test]
async fn the_two_listeners_have_nothing_in_common() {
    let node = node().await;
    let public = Client::new(&node.url()).unwrap();
    let token = signed(SECRET, &claims(&node, "POST", PUT, TEA));
    assert_eq!(post(&public, PUT, TEA, &token).await.status, 404);
    let inside = client(&node);
    for path in ["/livez", "/metrics", "/api/openapi.json", "/api/admin/status", "/"] {
        let answer = inside.get(path).await.unwrap();
        assert_eq!(answer.status, 401, "{path}");
        let token = signed(SECRET, &claims(&node, "GET", path, ""));
        let answer =
            inside.send(Outgoing::new(Method::GET, path).header("authorization", token)).await.unwrap();
        assert_eq!(answer.status, 404, "{path}");
    }
    node.stop().await;
}
