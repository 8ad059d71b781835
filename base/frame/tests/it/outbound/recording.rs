//! Answers from a file in place of the other side's.

use super::server::Server;
use super::{clock, parts, settings};
use artel_flow::Call;
use artel_message::{Code, Fault};
use serde_json::json;

fn charge(url: &str, amount: u32) -> Call {
    let call = Call::post(format!("{url}/charges?api_key=hush-1&currency=EUR"));
    call.json(&json!({"amount": amount, "card": "hush-2"})).bearer("hush-3").header("x-signature", "hush-4")
}

#[tokio::test]
async fn what_was_recorded_is_answered_again_without_the_other_side() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("provider.json");
    let url = server.url("");
    let hidden = || vec!["hush-2".to_owned()];
    server.answer(200, &[("set-cookie", "hush-5"), ("content-type", "application/json")], "{\"id\":1}");
    server.answer(402, &[], "too little, hush-2");
    server.answer(200, &[], "second");
    let out = parts(settings(), &clock()).record(&file, hidden()).unwrap();
    let first = out.send(charge(&url, 5)).await.unwrap();
    let refused = out.send(charge(&url, 7)).await.unwrap();
    out.send(charge(&url, 5)).await.unwrap();
    drop(server);

    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("hush"), "{text}");
    assert!(text.contains("currency=EUR") && text.contains("\"amount\": 5"), "{text}");

    let out = parts(settings(), &clock()).replay(&file, hidden()).unwrap();
    let again = out.send(charge(&url, 5)).await.unwrap();
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.headers["content-type"], "application/json");
    assert_eq!(out.send(charge(&url, 5)).await.unwrap().body, "second", "equal requests in their order");
    assert_eq!(out.send(charge(&url, 7)).await.unwrap().status, refused.status);
    let fault = Fault::from(out.send(charge(&url, 7)).await.unwrap_err());
    assert!(fault.code == Code::Internal && fault.reason.contains("nothing in it is left"), "{fault}");
}

#[tokio::test]
async fn an_unknown_request_names_the_nearest() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("provider.json");
    let url = server.url("");
    let out = parts(settings(), &clock()).record(&file, Vec::new()).unwrap();
    out.send(Call::get(format!("{url}/players/17"))).await.unwrap();
    out.send(charge(&url, 5)).await.unwrap();
    let out = parts(settings(), &clock()).replay(&file, Vec::new()).unwrap();
    let fault = Fault::from(out.send(charge(&url, 6)).await.unwrap_err());
    assert_eq!(fault.code, Code::Internal);
    let nearest = fault.reason.split("the nearest that is left is").nth(1).unwrap();
    assert!(nearest.contains("POST") && nearest.contains("\"amount\":5"), "{fault}");
    assert!(!fault.reason.contains("hush-1") && !fault.reason.contains("hush-3"), "{fault}");
}

#[tokio::test]
async fn a_file_that_is_no_recording_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.json");
    for text in [None, Some("{}")] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let refused = parts(settings(), &clock()).replay(&file, Vec::new()).err().unwrap().to_string();
        assert!(refused.contains("none.json"), "{refused}");
    }
}
