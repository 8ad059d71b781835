//! FCM's client against its simulator.

use super::{Mind, board, http, stage, status};
use artel_wires::fcm::{Fcm, FcmPush, FcmSettings, Priority, ServiceAccount};
use artel_wires::http::HttpSettings;
use artel_wires::simulators::fcm::{FcmSimulator, FcmSimulatorSettings};
use artel_wires::simulators::{Behaviour, Board, Wanted};
use artel_wires::{BadPush, Said, Stage};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

pub struct Pair {
    pub client: Arc<Fcm>,
    pub simulator: FcmSimulator,
    pub board: Board,
    pub mind: Mind,
}

pub async fn pair(settings: FcmSimulatorSettings, http: HttpSettings) -> Pair {
    let (board, mind) = (board(), Mind::new());
    let simulator = FcmSimulator::start(settings, board.clone(), mind.judge()).await.unwrap();
    let account = ServiceAccount::parse(&simulator.service_account().await.unwrap()).unwrap();
    let settings = FcmSettings { base: simulator.served().url(), http, ..FcmSettings::default() };
    Pair { client: Arc::new(Fcm::new(account, settings).unwrap()), simulator, board, mind }
}

pub fn push() -> FcmPush {
    FcmPush {
        token: format!("token-{}", "x".repeat(140)),
        title: "Посылка в пути".into(),
        body: "Прибудет завтра".into(),
        data: [("shipment".to_owned(), "17".to_owned())].into(),
        priority: Priority::High,
        ..FcmPush::default()
    }
}

#[tokio::test]
async fn a_message_arrives_and_is_named() {
    let pair = pair(FcmSimulatorSettings::default(), http()).await;
    let handed = pair.client.send(&push()).await.unwrap();
    assert_eq!(status(&handed), 200);
    assert!(handed.by.ends_with("@artel-simulator.iam.gserviceaccount.com"));
    let arrival = pair.board.one(1).unwrap();
    assert_eq!(handed.reference.as_deref(), Some(arrival.reference.as_str()));
    assert!(arrival.reference.starts_with("projects/artel-simulator/messages/"));
    assert_eq!((arrival.title.as_str(), arrival.text.as_str()), ("Посылка в пути", "Прибудет завтра"));
    assert_eq!((arrival.to, arrival.taken, arrival.answer.as_str()), (push().token, true, "200"));
    let raw: Value = serde_json::from_str(&arrival.raw).unwrap();
    assert_eq!(raw["message"]["data"]["shipment"], "17");
}

#[tokio::test]
async fn many_at_once_ask_for_one_token_and_keep_it() {
    let pair = pair(FcmSimulatorSettings::default(), http()).await;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let client = Arc::clone(&pair.client);
        all.spawn(async move { status(&client.send(&push()).await.unwrap()) });
    }
    while let Some(status) = all.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!((pair.simulator.granted(), pair.board.counts().taken["fcm"]), (1, 200));
}

#[tokio::test]
async fn a_token_is_not_used_in_its_last_minute() {
    for (life, granted) in [(60, 3), (3_600, 1)] {
        let settings =
            FcmSimulatorSettings { token_life: Duration::from_secs(life), ..FcmSimulatorSettings::default() };
        let pair = pair(settings, http()).await;
        for _ in 0..3 {
            assert_eq!(status(&pair.client.send(&push()).await.unwrap()), 200);
        }
        assert_eq!(pair.simulator.granted(), granted, "a life of {life} s");
    }
}

#[tokio::test]
async fn a_withdrawn_token_is_asked_for_anew_once() {
    let pair = pair(FcmSimulatorSettings::default(), http()).await;
    pair.client.send(&push()).await.unwrap();
    pair.simulator.withdraw_tokens();
    assert_eq!(status(&pair.client.send(&push()).await.unwrap()), 200);
    assert_eq!((pair.simulator.granted(), pair.board.counts().sent["fcm"]), (2, 2));
    // What is refused again is the answer; a key of Apple's that is wrong costs no token.
    pair.mind.refuse(401, "", None);
    assert_eq!(status(&pair.client.send(&push()).await.unwrap()), 401);
    assert_eq!((pair.simulator.granted(), pair.board.counts().sent["fcm"]), (3, 4));
    pair.mind.refuse(401, "THIRD_PARTY_AUTH_ERROR", None);
    assert_eq!(status(&pair.client.send(&push()).await.unwrap()), 401);
    assert_eq!((pair.simulator.granted(), pair.board.counts().sent["fcm"]), (3, 5));
}

#[tokio::test]
async fn each_error_comes_through_as_it_is_worded() {
    let pair = pair(FcmSimulatorSettings::default(), http()).await;
    let cases = [
        (404, "UNREGISTERED", None, "NOT_FOUND"),
        (403, "SENDER_ID_MISMATCH", None, "PERMISSION_DENIED"),
        (429, "QUOTA_EXCEEDED", Some(60), "RESOURCE_EXHAUSTED"),
        (503, "UNAVAILABLE", Some(5), "UNAVAILABLE"),
        (500, "INTERNAL", None, "INTERNAL"),
    ];
    for (expected, code, retry, grpc) in cases {
        pair.mind.refuse(expected, code, retry);
        let handed = pair.client.send(&push()).await.unwrap();
        let Said::Http { status, retry_after, body, host } = &handed.said else { panic!("{handed:?}") };
        assert_eq!(
            (*status, *retry_after, &handed.reference),
            (expected, retry.map(Duration::from_secs), &None)
        );
        assert_eq!(*host, pair.simulator.served().address().to_string());
        let error = &serde_json::from_slice::<Value>(body).unwrap()["error"];
        assert_eq!((&error["status"], &error["details"][0]["errorCode"]), (&grpc.into(), &code.into()));
        assert!(error["details"][0]["@type"].as_str().unwrap().ends_with("google.firebase.fcm.v1.FcmError"));
    }
    let arrival = pair.board.list(&Wanted { limit: 1, ..Wanted::default() }).remove(0);
    assert_eq!((arrival.answer.as_str(), arrival.taken), ("500 INTERNAL", false));
}

#[tokio::test]
async fn an_invalid_argument_is_about_the_token_or_about_the_message() {
    let pair = pair(FcmSimulatorSettings::default(), http()).await;
    let detail = |handed: &artel_wires::Handed| {
        let Said::Http { status: 400, body, .. } = &handed.said else { panic!("{handed:?}") };
        serde_json::from_slice::<Value>(body).unwrap()["error"]["details"][0].clone()
    };
    for (code, kind) in [("INVALID_ARGUMENT token", "FcmError"), ("INVALID_ARGUMENT message", "BadRequest")] {
        pair.mind.refuse(400, code, None);
        let detail = detail(&pair.client.send(&push()).await.unwrap());
        assert!(detail["@type"].as_str().unwrap().ends_with(kind), "{detail}");
    }
    // And by itself, for what is no token.
    let sent = pair.board.counts().sent["fcm"];
    let handed = pair.client.send(&FcmPush { token: "short".into(), ..push() }).await.unwrap();
    assert_eq!(detail(&handed)["errorCode"], "INVALID_ARGUMENT");
    assert_eq!(pair.board.counts().sent["fcm"], sent, "what is no message is not listed");
}

#[tokio::test]
async fn what_is_too_big_is_not_sent() {
    let pair = pair(FcmSimulatorSettings::default(), http()).await;
    let error = pair.client.send(&FcmPush { body: "x".repeat(5_000), ..push() }).await.unwrap_err();
    let BadPush::TooBig { field, bytes, most } = error else { panic!("{error}") };
    assert_eq!((field.as_str(), most, bytes > 5_000), ("body", 4_096, true));
    assert_eq!((pair.simulator.granted(), pair.board.counts().sent.len()), (0, 0));
}

#[tokio::test]
async fn a_lost_answer_leaves_it_open_whether_the_message_was_taken() {
    let pair = pair(FcmSimulatorSettings::default(), http()).await;
    pair.mind.set(Behaviour { lose_reply: true, ..Behaviour::good() });
    let handed = pair.client.send(&push()).await.unwrap();
    assert_eq!(stage(&handed).0, Stage::After);
    let arrival = pair.board.one(1).unwrap();
    assert!(arrival.taken && arrival.answer == "no answer (200)");
}

#[tokio::test]
async fn an_answer_that_does_not_come_within_the_time_is_waited_for_no_longer() {
    let pair =
        pair(FcmSimulatorSettings::default(), HttpSettings { whole: Duration::from_secs(2), ..http() }).await;
    pair.client.send(&push()).await.unwrap();
    pair.mind.set(Behaviour { delay: Duration::from_secs(600), ..Behaviour::good() });
    let handed = pair.client.send(&push()).await.unwrap();
    assert_eq!((stage(&handed).0, stage(&handed).1.contains("within the time")), (Stage::After, true));
    assert!(pair.board.one(2).unwrap().taken, "it was");
}

#[tokio::test]
async fn without_a_server_nothing_was_sent() {
    let pair = pair(FcmSimulatorSettings::default(), http()).await;
    pair.client.send(&push()).await.unwrap();
    drop(pair.simulator);
    // Until the port is closed, connections of before may still be open.
    let handed = loop {
        let handed = pair.client.send(&push()).await.unwrap();
        if !matches!(handed.said, Said::Http { .. }) && stage(&handed).0 == Stage::Before {
            break handed;
        }
    };
    assert!(stage(&handed).1.contains("127.0.0.1"), "{handed:?}");
}
