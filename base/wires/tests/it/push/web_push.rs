//! Web Push's client against its simulator.

use super::{Mind, board, http, stage, status};
use artel_wires::http::{Addresses, HttpSettings};
use artel_wires::simulators::web_push::{WebPushSimulator, WebPushSimulatorSettings};
use artel_wires::simulators::{Behaviour, Board, Wanted};
use artel_wires::web_push::{
    MOST_PLAIN, Padding, Subscription, Urgency, VapidKey, WebPush, WebPushMessage, WebPushSettings, topic_of,
};
use artel_wires::{BadPush, Said, Stage};
use bytes::Bytes;
use std::time::Duration;

struct Pair {
    client: WebPush,
    public: String,
    simulator: WebPushSimulator,
    board: Board,
    mind: Mind,
}

fn settings() -> WebPushSettings {
    WebPushSettings {
        contact: "mailto:ops@artel.example".into(),
        allow_loopback: true,
        http: HttpSettings { addresses: Addresses::only(|_| false), ..http() },
        ..WebPushSettings::default()
    }
}

async fn pair_with(simulated: WebPushSimulatorSettings, settings: WebPushSettings) -> Pair {
    let (board, mind) = (board(), Mind::new());
    let simulator = WebPushSimulator::start(simulated, board.clone(), mind.judge()).await.unwrap();
    let key = VapidKey::generate().unwrap();
    let public = key.public().to_owned();
    Pair { client: WebPush::new(key, settings).unwrap(), public, simulator, board, mind }
}

async fn pair() -> Pair {
    pair_with(WebPushSimulatorSettings::default(), settings()).await
}

impl Pair {
    fn subscription(&self) -> Subscription {
        Subscription::parse(&self.simulator.subscribe(Some(&self.public)).unwrap()).unwrap()
    }
}

fn message(payload: impl Into<Bytes>) -> WebPushMessage {
    WebPushMessage { payload: payload.into(), ttl: Duration::from_secs(3_600), ..WebPushMessage::default() }
}

#[tokio::test]
async fn a_message_arrives_decrypted_with_its_headers() {
    let pair = pair().await;
    let message = WebPushMessage {
        urgency: Urgency::High,
        topic: Some(topic_of("shipment/17")),
        ..message(r#"{"title":"Посылка в пути","body":"Прибудет завтра"}"#)
    };
    let handed = pair.client.send(&pair.subscription(), &message).await.unwrap();
    assert_eq!(status(&handed), 201);
    let arrival = pair.board.one(1).unwrap();
    assert_eq!(handed.reference.as_deref(), Some(arrival.reference.as_str()));
    assert_eq!(handed.by, format!("vapid:{}", pair.public));
    assert_eq!((arrival.title.as_str(), arrival.text.as_str()), ("Посылка в пути", "Прибудет завтра"));
    assert_eq!((arrival.account.as_str(), arrival.answer.as_str()), ("mailto:ops@artel.example", "201"));
    let topic = format!("ttl: 3600\nurgency: high\ntopic: {}\n\n{{\"title\"", topic_of("shipment/17"));
    assert!(arrival.taken && arrival.raw.starts_with(&topic), "{}", arrival.raw);
}

#[tokio::test]
async fn every_length_arrives_under_every_padding() {
    for padding in [Padding::None, Padding::Block(128), Padding::Block(0), Padding::Full] {
        let pair =
            pair_with(WebPushSimulatorSettings::default(), WebPushSettings { padding, ..settings() }).await;
        let to = pair.subscription();
        for length in [0, 1, 127, 128, 129, 3_000, MOST_PLAIN - 1, MOST_PLAIN] {
            let text = "я".repeat(length / 2) + &"x".repeat(length % 2);
            let handed = pair.client.send(&to, &message(text.clone())).await.unwrap();
            assert_eq!(status(&handed), 201, "{length} bytes, {padding:?}");
            let arrival = pair.board.list(&Wanted { limit: 1, ..Wanted::default() }).remove(0);
            assert!(arrival.text == text && arrival.taken, "{length} bytes, {padding:?}");
        }
    }
}

#[tokio::test]
async fn what_is_too_big_is_not_sent() {
    let pair = pair().await;
    let error = pair.client.send(&pair.subscription(), &message(vec![0; MOST_PLAIN + 1])).await.unwrap_err();
    assert_eq!(error, BadPush::TooBig { field: "payload".into(), bytes: 3_994, most: 3_993 });
    let own = WebPushSettings { most_payload: 100, padding: Padding::Full, ..settings() };
    let pair = pair_with(WebPushSimulatorSettings { most_body: 203, ..Default::default() }, own).await;
    assert!(pair.client.send(&pair.subscription(), &message(vec![0; 101])).await.is_err());
    let handed = pair.client.send(&pair.subscription(), &message(vec![0; 10])).await.unwrap();
    assert_eq!(status(&handed), 201, "padding goes to our own limit");
    let small = WebPushSimulatorSettings { most_body: 202, ..Default::default() };
    let pair =
        pair_with(small, WebPushSettings { most_payload: 100, padding: Padding::Full, ..settings() }).await;
    let handed = pair.client.send(&pair.subscription(), &message(vec![0; 10])).await.unwrap();
    assert_eq!((status(&handed), pair.board.counts().sent.len()), (413, 0));
}

#[tokio::test]
async fn a_subscription_ends_and_belongs_to_one_sender() {
    let pair = pair().await;
    let json = pair.simulator.subscribe(Some(&pair.public)).unwrap();
    let to = Subscription::parse(&json).unwrap();
    let other = WebPush::new(VapidKey::generate().unwrap(), settings()).unwrap();
    assert_eq!(status(&other.send(&to, &message("x")).await.unwrap()), 403);
    let open = Subscription::parse(&pair.simulator.subscribe(None).unwrap()).unwrap();
    assert_eq!(status(&other.send(&open, &message("x")).await.unwrap()), 201);
    let path = json.split('/').next_back().unwrap().split('"').next().unwrap();
    let path = format!("/subscriptions/{path}");
    let end = || super::answers::ask(pair.simulator.served(), "DELETE", &path, "", "");
    assert_eq!(end().await.0, 204);
    assert_eq!(status(&pair.client.send(&to, &message("x")).await.unwrap()), 410);
    assert_eq!(end().await.0, 404);
    let unknown = json.replace("/push/", "/push/x");
    let handed = pair.client.send(&Subscription::parse(&unknown).unwrap(), &message("x")).await.unwrap();
    assert_eq!(status(&handed), 404);
}

#[tokio::test]
async fn a_subscription_over_http_is_good_after_a_restart() {
    let first = pair().await;
    let body = format!(r#"{{"applicationServerKey":"{}"}}"#, first.public);
    let (code, _, json) =
        super::answers::ask(first.simulator.served(), "POST", "/subscriptions", "", &body).await;
    assert_eq!(code, 201);
    let port = first.simulator.served().address().port().to_string();
    drop(first.simulator);
    let again = pair().await;
    let moved = json.replace(&port, &again.simulator.served().address().port().to_string());
    let to = Subscription::parse(&moved).unwrap();
    assert_eq!(status(&first.client.send(&to, &message("still here")).await.unwrap()), 201);
    assert_eq!(again.board.one(1).unwrap().text, "still here");
    let (code, ..) = super::answers::ask(
        again.simulator.served(),
        "POST",
        "/subscriptions",
        "",
        r#"{"applicationServerKey":"x"}"#,
    )
    .await;
    assert_eq!(code, 400);
}

#[tokio::test]
async fn refusals_and_lost_answers_come_through() {
    let pair = pair().await;
    let to = pair.subscription();
    for (code, retry) in
        [(404, None), (410, None), (413, None), (429, Some(60)), (406, Some(30)), (500, None)]
    {
        pair.mind.refuse(code, "", retry);
        let handed = pair.client.send(&to, &message("x")).await.unwrap();
        let Said::Http { status, retry_after, .. } = handed.said else { panic!("{handed:?}") };
        assert_eq!((status, retry_after, handed.reference), (code, retry.map(Duration::from_secs), None));
    }
    pair.mind.set(Behaviour { lose_reply: true, ..Behaviour::good() });
    let handed = pair.client.send(&to, &message("x")).await.unwrap();
    assert_eq!(stage(&handed).0, Stage::After);
}

#[tokio::test]
async fn an_endpoint_leads_only_where_it_may() {
    let pair = pair().await;
    let json = pair.simulator.subscribe(None).unwrap();
    let strict = || {
        WebPush::new(VapidKey::generate().unwrap(), WebPushSettings { allow_loopback: false, ..settings() })
    };
    let strict = strict().unwrap();
    let error = strict.send(&Subscription::parse(&json).unwrap(), &message("x")).await.unwrap_err();
    assert_eq!(error.to_string(), "endpoint: not https");
    let port = pair.simulator.served().address().port();
    for host in ["127.0.0.1", "[::1]", "localhost", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]"] {
        let json = json.replace("http://127.0.0.1", &format!("https://{host}"));
        let handed = strict.send(&Subscription::parse(&json).unwrap(), &message("x")).await.unwrap();
        let (stage, text) = stage(&handed);
        assert_eq!(stage, Stage::Before, "{host}");
        // A number alone is no name that a certificate could be for.
        let refused = ["must not be connected to", "invalid dns name"];
        assert!(refused.iter().any(|reason| text.contains(reason)), "{host}: {text}");
        assert!(text.contains(&port.to_string()));
    }
    assert!(pair.board.counts().sent.is_empty());
}

#[tokio::test]
async fn a_push_service_looks_at_what_it_is_sent() {
    let pair = pair().await;
    let json = pair.simulator.subscribe(None).unwrap();
    let path = format!("/push/{}", json.split("/push/").nth(1).unwrap().split('"').next().unwrap());
    let post =
        |headers: &'static str| super::answers::ask(pair.simulator.served(), "POST", &path, headers, "");
    let (code, _, body) = post("ttl: 1\r\n").await;
    assert!(code == 401 && body.contains("no Authorization"), "{body}");
    assert_eq!(post("ttl: 1\r\nauthorization: vapid t=a.b.c, k=d\r\n").await.0, 401);
    assert_eq!(post("ttl: 1\r\nauthorization: Bearer x\r\n").await.0, 401);
    assert_eq!(post("host: evil.example\r\nttl: 1\r\n").await.0, 421);
}
