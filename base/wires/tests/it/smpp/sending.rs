//! Sending, and what is said of it.

use super::{PATIENCE, both, bound, gsm, long, quiet, settings, sms};
use artel_wires::simulators::smpp::{SmppSimulator, SmppSimulatorSettings};
use artel_wires::simulators::{Arrival, Behaviour, Judge, Refusal};
use artel_wires::smpp::{Client, Mode, Reference, Settings, Tls};
use artel_wires::{Said, Stage};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;

const OK: Said = Said::Smpp { status: 0 };

fn refuse(status: u32) -> Behaviour {
    Behaviour { refusal: Some(Refusal::Smpp { status }), ..Behaviour::default() }
}

fn stage(said: &Said) -> Option<Stage> {
    if let Said::Broken { stage, .. } = said { Some(*stage) } else { None }
}

/// Treats the message that comes as number `which`, from 0, so; the others well.
fn only(which: usize, so: Behaviour) -> Judge {
    let count = AtomicUsize::new(0);
    Arc::new(
        move |_: &Arrival| {
            if count.fetch_add(1, Ordering::Relaxed) == which { so.clone() } else { Behaviour::default() }
        },
    )
}

#[tokio::test]
async fn a_message_is_taken_and_can_be_asked_for() {
    let both = both(quiet(), |_| {}, |_| {}).await;
    let sent = both.client.send(&sms("your parcel @ 5").user_reference(4711)).await;
    assert_eq!((&sent.handed.said, sent.taken.len(), sent.parts, &sent.stopped), (&OK, 1, 1, &None));
    let address = both.smsc.address();
    assert_eq!(sent.handed.by, format!("shop@{}:{}", address.ip(), address.port()));
    let arrival = both.arrived(1).await.remove(0);
    let seen = (arrival.to.as_str(), arrival.title.as_str(), arrival.text.as_str(), arrival.key.as_str());
    assert_eq!(seen, ("+79161234567", "Parcels", "your parcel @ 5", "4711"));
    assert_eq!((arrival.account.as_str(), arrival.answer.as_str(), arrival.taken), ("shop", "0x00", true));
    assert_eq!(Some(&arrival.reference), sent.handed.reference.as_ref());
    let queried = both.client.query(&arrival.reference, None).await;
    assert_eq!((queried.said, queried.state.map(|state| state.state)), (OK, Some(1)));
    let unknown = both.client.query("4", None).await;
    assert_eq!((unknown.said, unknown.state), (Said::Smpp { status: 0x67 }, None));
}

#[tokio::test]
async fn a_long_message_is_one_again() {
    let text: String = ('а'..='я').cycle().take(150).chain("😀".chars()).collect();
    for (reference, key) in [
        (Reference::Eight(200), "200"),
        (Reference::Sixteen(51_000), "51000"),
        (Reference::Sar(51_001), "51001"),
    ] {
        let both = both(quiet(), |_| {}, |_| {}).await;
        let sent = both.client.send(&long(&text, 65, reference)).await;
        assert_eq!((&sent.handed.said, sent.taken.len()), (&OK, 3));
        let arrivals = both.arrived(1).await;
        assert_eq!(
            (arrivals.len(), arrivals[0].text.as_str(), arrivals[0].key.as_str()),
            (1, text.as_str(), key)
        );
        assert_eq!(arrivals[0].reference, sent.taken.join(" "));
        assert_eq!((both.smsc.counts().parts, both.board.counts().taken["smpp"]), (3, 1));
    }
}

#[tokio::test]
async fn a_refusal_is_told_as_it_is() {
    let both =
        both(Arc::new(|arrival| refuse(u32::from_str_radix(&arrival.text, 16).unwrap())), |_| {}, |_| {})
            .await;
    for status in [0x58, 0x14, 0x0B, 0x45, 0x402, u32::MAX] {
        let sent = both.client.send(&sms(&format!("{status:x}"))).await;
        assert_eq!(sent.handed.said, Said::Smpp { status });
        assert_eq!((sent.handed.reference, sent.taken.len()), (None, 0));
    }
    assert!(both.arrived(6).await.iter().all(|arrival| !arrival.taken && arrival.reference.is_empty()));
}

#[tokio::test]
async fn a_message_that_stops_on_its_way_is_neither_taken_nor_not() {
    let both = both(only(1, refuse(0x58)), |_| {}, |_| {}).await;
    let message = long(&"ю".repeat(150), 67, Reference::Eight(3));
    let sent = both.client.send(&message).await;
    let text = "1 of 3 parts were taken".to_owned();
    assert_eq!(sent.handed.said, Said::Broken { stage: Stage::After, text });
    assert_eq!((sent.taken.len(), sent.parts, &sent.stopped), (1, 3, &Some(Said::Smpp { status: 0x58 })));
    assert_eq!(sent.handed.reference, Some(sent.taken[0].clone()));
    // It goes on where it stopped, and is whole.
    let rest = both.client.send(&message.after(sent.taken.len())).await;
    assert_eq!((rest.handed.said, rest.taken.len(), rest.parts), (OK, 2, 2));
    let taken: Vec<_> = both.arrived(2).await.into_iter().filter(|arrival| arrival.taken).collect();
    assert_eq!((taken.len(), taken[0].text.chars().count()), (1, 150));
}

#[tokio::test]
async fn what_was_begun_and_never_ended_stands_on_the_board_with_its_gaps() {
    let both = both(only(1, refuse(0x08)), |_| {}, |_| {}).await;
    both.client.send(&long(&"ю".repeat(70), 35, Reference::Eight(3))).await;
    let board = both.board.clone();
    both.smsc.stop().await;
    let text = format!("{}[part 2 of 2 is missing]", "ю".repeat(35));
    assert_eq!(board.one(2).map(|arrival| arrival.text), Some(text));
}

#[tokio::test]
async fn a_lost_answer_is_after_and_the_link_is_made_again() {
    let both = both(only(0, Behaviour { lose_reply: true, ..Behaviour::default() }), |_| {}, |_| {}).await;
    let sent = both.client.send(&sms("first")).await;
    assert_eq!((stage(&sent.handed.said), sent.handed.reference), (Some(Stage::After), None));
    assert_eq!(both.client.send(&sms("second")).await.handed.said, OK);
    let arrivals = both.arrived(2).await;
    assert_eq!(
        (arrivals[0].answer.as_str(), arrivals[0].taken, arrivals[1].taken),
        ("no answer", true, true)
    );
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_after() {
    let slow = Behaviour { delay: PATIENCE, ..Behaviour::default() };
    let both =
        both(only(0, slow), |_| {}, |settings| settings.answer_limit = Duration::from_millis(50)).await;
    let sent = both.client.send(&sms("slow")).await;
    let text = "no answer in time".to_owned();
    assert_eq!(sent.handed.said, Said::Broken { stage: Stage::After, text });
    // The link goes on.
    assert_eq!(both.client.send(&sms("next")).await.handed.said, OK);
    assert_eq!(both.client.bound(), 1);
}

#[tokio::test]
async fn a_link_that_can_not_be_made_is_before_and_a_refused_bind_is_told() {
    let both = both(quiet(), |_| {}, |settings| settings.password = "wrong".into()).await;
    assert_eq!(both.client.send(&sms("a")).await.handed.said, Said::Smpp { status: 0x0E });
    let stranger = Settings { system_id: "stranger".into(), ..settings(&both.smsc) };
    let (client, _incoming) = Client::start(stranger);
    assert_eq!(client.send(&sms("a")).await.handed.said, Said::Smpp { status: 0x0F });
    assert_eq!(client.query("1", None).await.said, Said::Smpp { status: 0x0F });
    // A port that nobody listens on.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = Settings { port: listener.local_addr().unwrap().port(), ..settings(&both.smsc) };
    drop(listener);
    let (client, _incoming) = Client::start(nobody);
    let said = client.send(&sms("a")).await.handed.said;
    assert_eq!(said, Said::Broken { stage: Stage::Before, text: "no connection: connection refused".into() });
    assert!(both.board.counts().sent.is_empty());
}

#[tokio::test]
async fn no_more_are_on_their_way_than_the_window_has_places() {
    let slow: Judge = Arc::new(|_| Behaviour { delay: Duration::from_millis(20), ..Behaviour::default() });
    let both = both(slow, |_| {}, |settings| settings.window = 4).await;
    let client = Arc::new(both.client);
    let sends: Vec<_> = (0..40)
        .map(|n| {
            let client = Arc::clone(&client);
            tokio::spawn(async move { client.send(&sms(&n.to_string())).await.handed.said })
        })
        .collect();
    for send in sends {
        assert_eq!(send.await.unwrap(), OK);
    }
    assert_eq!(both.smsc.counts().most_waiting, 4);
}

#[tokio::test]
async fn a_place_that_does_not_come_is_our_own_matter() {
    let slow: Judge = Arc::new(|_| Behaviour { delay: PATIENCE, ..Behaviour::default() });
    let limits = |settings: &mut Settings| {
        settings.window = 1;
        settings.place_limit = Duration::from_millis(50);
        settings.answer_limit = PATIENCE;
    };
    let both = both(slow, |_| {}, limits).await;
    let (first, second) = (sms("first"), sms("second"));
    tokio::select! {
        sent = both.client.send(&first) => panic!("an answer: {sent:?}"),
        sent = async {
            both.arrived(1).await;
            both.client.send(&second).await
        } => assert_eq!(
            sent.handed.said,
            Said::Busy { text: "no place in the window in time".into() },
        ),
    }
    assert_eq!(both.smsc.counts().parts, 1);
}

#[tokio::test]
async fn a_centre_with_a_smaller_window_throttles() {
    let slow: Judge = Arc::new(|_| Behaviour { delay: Duration::from_millis(100), ..Behaviour::default() });
    let both = both(slow, |centre| centre.window = 2, |settings| settings.window = 3).await;
    let messages = [sms("1"), sms("2"), sms("3")];
    let [a, b, c] = &messages;
    let (a, b, c) = tokio::join!(both.client.send(a), both.client.send(b), both.client.send(c));
    let throttled =
        [a, b, c].into_iter().filter(|sent| sent.handed.said == Said::Smpp { status: 0x58 }).count();
    assert_eq!(throttled, 1);
}

#[tokio::test]
async fn several_links_share_the_work_and_receivers_do_not_send() {
    let binds = vec![Mode::Transmitter, Mode::Receiver, Mode::Transmitter];
    let slow: Judge = Arc::new(|_| Behaviour { delay: Duration::from_millis(50), ..Behaviour::default() });
    let limits = |settings: &mut Settings| (settings.window, settings.binds) = (1, binds);
    let both = both(slow, |_| {}, limits).await;
    bound(&both.client, 3).await;
    let messages = [sms("1"), sms("2"), sms("3"), sms("4")];
    let [a, b, c, d] = &messages;
    let client = &both.client;
    let sent = tokio::join!(client.send(a), client.send(b), client.send(c), client.send(d));
    let sent = [sent.0, sent.1, sent.2, sent.3];
    assert!(sent.iter().all(|sent| sent.handed.said == OK));
    assert_eq!((both.smsc.counts().most_waiting, both.smsc.bound()), (1, 3));
}

#[tokio::test]
async fn closing_waits_for_answers_and_unbinds() {
    let slow: Judge = Arc::new(|_| Behaviour { delay: Duration::from_millis(100), ..Behaviour::default() });
    let both = both(slow, |_| {}, |_| {}).await;
    let message = sms("last");
    let closing = async {
        both.arrived(1).await;
        both.client.close().await;
    };
    let (sent, ()) = tokio::join!(both.client.send(&message), closing);
    assert_eq!(sent.handed.said, OK);
    let late = both.client.send(&sms("late")).await.handed.said;
    assert_eq!(late, Said::Broken { stage: Stage::Before, text: "closed by us".into() });
    assert_eq!(both.client.bound(), 0);
}

#[tokio::test]
async fn a_centre_that_goes_away_is_found_again() {
    let both = both(quiet(), |_| {}, |_| {}).await;
    assert_eq!(both.client.send(&sms("a")).await.handed.said, OK);
    let listen = both.smsc.address();
    both.smsc.stop().await;
    let gone = both.client.send(&sms("b")).await.handed.said;
    assert_eq!(stage(&gone), Some(Stage::Before), "{gone:?}");
    let again = SmppSimulator::start(
        SmppSimulatorSettings { listen, ..SmppSimulatorSettings::new(gsm) },
        both.board.clone(),
        quiet(),
    )
    .await
    .unwrap();
    bound(&both.client, 1).await;
    assert_eq!(both.client.send(&sms("c")).await.handed.said, OK);
    assert_eq!(again.counts().parts, 1);
}

#[tokio::test]
async fn a_link_is_encrypted_from_its_first_octet() {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let certificate = issued.cert.der().clone();
    let provider = || Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], issued.signing_key.serialize_der().try_into().unwrap())
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let trust = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = Tls::With(Arc::new(trust));
    let secure = |settings: &mut Settings| (settings.host, settings.tls) = ("localhost".into(), tls);
    let both = both(quiet(), |centre| centre.tls = Some(Arc::new(server)), secure).await;
    assert_eq!(both.client.send(&sms("secret")).await.handed.said, OK);
    // Whom the machine does not know is not trusted.
    let (client, _incoming) =
        Client::start(Settings { tls: Tls::Implicit, host: "localhost".into(), ..settings(&both.smsc) });
    let said = client.send(&sms("a")).await.handed.said;
    assert_eq!(stage(&said), Some(Stage::Before), "{said:?}");
    assert_eq!(both.smsc.counts().parts, 1);
}
