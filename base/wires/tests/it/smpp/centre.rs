//! A centre that is written by hand here, octet by octet where it has to be, and does what a good one never does.

use super::{PATIENCE, sms};
use artel_wires::smpp::codec::{MOST_PDU, decode, encode, take};
use artel_wires::smpp::pdu::{Body, Pdu, RESPONSE};
use artel_wires::smpp::tlv::Tlvs;
use artel_wires::smpp::{Client, Delivery, Mode, Settings};
use artel_wires::{Said, Stage};
use bytes::BytesMut;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

struct Hand {
    stream: TcpStream,
    read: BytesMut,
}

/// Waits for a link, and admits it.
async fn bound(listener: &TcpListener) -> Hand {
    let (stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut hand = Hand { stream, read: BytesMut::new() };
    let Pdu { sequence, body: Body::Bind(bind), .. } = hand.next().await.unwrap() else { panic!("no bind") };
    assert_eq!(
        (bind.system_id.as_str(), bind.interface_version, bind.mode),
        ("shop", 0x34, Mode::Transceiver)
    );
    let (mode, system_id) = (bind.mode, Some("hand".into()));
    hand.say(Body::BindResp { mode, system_id, tlvs: Tlvs::default() }.with(sequence)).await;
    hand
}

impl Hand {
    async fn next(&mut self) -> Option<Pdu> {
        let read = async {
            loop {
                if let Some(frame) = take(&mut self.read, MOST_PDU).unwrap() {
                    return Some(decode(frame).unwrap());
                }
                if self.stream.read_buf(&mut self.read).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
        };
        timeout(PATIENCE, read).await.unwrap()
    }

    /// The sequence number of the next message.
    async fn submitted(&mut self) -> u32 {
        let pdu = self.next().await.unwrap();
        assert!(matches!(pdu.body, Body::SubmitSm(_)), "{pdu:?}");
        pdu.sequence
    }

    async fn say(&mut self, pdu: Pdu) {
        let mut octets = BytesMut::new();
        encode(&pdu, &mut octets).unwrap();
        self.stream.write_all(&octets).await.unwrap();
    }

    async fn taken(&mut self, sequence: u32, id: &str) {
        self.say(Body::SubmitSmResp { message_id: Some(id.into()) }.with(sequence)).await;
    }
}

async fn start(of_client: impl FnOnce(&mut Settings)) -> (TcpListener, Client, mpsc::Receiver<Delivery>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = Settings {
        host: "127.0.0.1".into(),
        port: listener.local_addr().unwrap().port(),
        system_id: "shop".into(),
        least_pause: Duration::from_millis(5),
        ..Settings::default()
    };
    of_client(&mut settings);
    let (client, incoming) = Client::start(settings);
    (listener, client, incoming)
}

fn broken(stage: Stage, text: &str) -> Said {
    Said::Broken { stage, text: text.into() }
}

#[tokio::test]
async fn answers_find_their_messages_in_any_order() {
    let (listener, client, _incoming) = start(|_| {}).await;
    let (a, b) = (sms("a"), sms("b"));
    let centre = async {
        let mut hand = bound(&listener).await;
        let (first, second) = (hand.submitted().await, hand.submitted().await);
        assert_ne!(first, second);
        // Of another kind, of a number that nobody has: not theirs.
        hand.say(Body::EnquireLinkResp.with(first)).await;
        hand.taken(second + 100, "nobody").await;
        hand.taken(second, "second").await;
        hand.taken(first, "first").await;
        hand
    };
    let (a, b, _hand) = tokio::join!(client.send(&a), client.send(&b), centre);
    assert_eq!((a.taken, b.taken), (vec!["first".to_owned()], vec!["second".to_owned()]));
}

#[tokio::test]
async fn a_nack_is_a_refusal() {
    let (listener, client, _incoming) = start(|_| {}).await;
    let centre = async {
        let mut hand = bound(&listener).await;
        for status in [3, 0] {
            let sequence = hand.submitted().await;
            hand.say(Pdu { status, sequence, body: Body::GenericNack }).await;
        }
        hand
    };
    let message = sms("a");
    let sends = async { (client.send(&message).await, client.send(&message).await) };
    let ((a, b), _hand) = tokio::join!(sends, centre);
    assert_eq!((a.handed.said, b.handed.said), (Said::Smpp { status: 3 }, Said::Smpp { status: 0xFF }));
}

#[tokio::test]
async fn requests_of_the_centre_are_answered_also_those_that_nobody_understands() {
    let (listener, _client, _incoming) = start(|_| {}).await;
    let mut hand = bound(&listener).await;
    hand.say(Body::EnquireLink.with(7)).await;
    assert_eq!(hand.next().await, Some(Body::EnquireLinkResp.with(7)));
    hand.say(Body::Other { command: 0x0103, body: vec![1, 2].into() }.with(8)).await;
    assert_eq!(hand.next().await, Some(Pdu { status: 3, sequence: 8, body: Body::GenericNack }));
    // deliver_sm that ends in its middle.
    hand.say(Body::Other { command: 5, body: vec![0, 0].into() }.with(9)).await;
    assert_eq!(hand.next().await, Some(Pdu { status: 2, sequence: 9, body: Body::GenericNack }));
    // alert_notification has no answer.
    hand.say(Body::Other { command: 0x0102, body: vec![].into() }.with(10)).await;
    hand.say(Body::Unbind.with(11)).await;
    assert_eq!(hand.next().await, Some(Body::UnbindResp.with(11)));
    drop(hand);
    bound(&listener).await;
}

#[tokio::test]
async fn a_link_that_ends_says_of_each_message_how_far_it_was() {
    let (listener, client, _incoming) = start(|settings| settings.window = 1).await;
    let (a, b) = (sms("a"), sms("b"));
    let centre = async {
        let mut hand = bound(&listener).await;
        hand.submitted().await;
        // The second one waits for the only place meanwhile.
        drop(hand);
        let mut hand = bound(&listener).await;
        let sequence = hand.submitted().await;
        hand.taken(sequence, "again").await;
        hand
    };
    let (a, b, _hand) = tokio::join!(client.send(&a), client.send(&b), centre);
    assert!(matches!(a.handed.said, Said::Broken { stage: Stage::After, .. }), "{a:?}");
    assert_eq!(b.taken, ["again"]);
}

#[tokio::test]
async fn a_silent_link_is_asked_and_given_up() {
    let quick = |settings: &mut Settings| {
        settings.enquire_link = Duration::from_millis(20);
        settings.answer_limit = Duration::from_millis(100);
    };
    let (listener, _client, _incoming) = start(quick).await;
    let mut hand = bound(&listener).await;
    for _ in 0..2 {
        let Some(Pdu { sequence, body: Body::EnquireLink, .. }) = hand.next().await else {
            panic!("not asked")
        };
        hand.say(Body::EnquireLinkResp.with(sequence)).await;
    }
    assert!(matches!(hand.next().await, Some(Pdu { body: Body::EnquireLink, .. })));
    // No answer: a new link, while this one is closed.
    let again = bound(&listener);
    let (_again, end) = tokio::join!(again, hand.next());
    assert_eq!(end, None);
}

#[tokio::test]
async fn a_length_that_can_not_be_ends_the_link() {
    let (listener, client, _incoming) = start(|_| {}).await;
    let message = sms("a");
    let centre = async {
        let mut hand = bound(&listener).await;
        hand.submitted().await;
        hand.stream.write_all(&[0x7F, 0, 0, 0, 0x80, 0, 0, 4, 0, 0, 0, 0]).await.unwrap();
        hand
    };
    let (sent, _hand) = tokio::join!(client.send(&message), centre);
    assert_eq!(
        sent.handed.said,
        broken(Stage::After, "a PDU of 2130706432 octets; from 16 to 67584 are read")
    );
    // So does a nack of something without a number: the centre has lost its place.
    let centre = async {
        let mut hand = bound(&listener).await;
        hand.submitted().await;
        hand.say(Pdu { status: 2, sequence: 0, body: Body::GenericNack }).await;
        hand
    };
    let (sent, _hand) = tokio::join!(client.send(&message), centre);
    assert_eq!(sent.handed.said, broken(Stage::After, "the centre has lost its place"));
}

#[tokio::test]
async fn a_bind_that_is_not_answered_or_answered_strangely_is_before() {
    let quick = |settings: &mut Settings| settings.bind_limit = Duration::from_millis(50);
    let (listener, client, _incoming) = start(quick).await;
    let message = sms("a");
    let centre = async {
        let (stream, _) = listener.accept().await.unwrap();
        stream
    };
    let (sent, _stream) = tokio::join!(client.send(&message), centre);
    assert_eq!(sent.handed.said, broken(Stage::Before, "no answer to the bind in time"));
    for (answer, said) in [
        (Some((0x0D, RESPONSE | 9)), Said::Smpp { status: 0x0D }),
        (Some((0, RESPONSE)), Said::Smpp { status: 0x0D }),
        (None, broken(Stage::Before, "bind: closed by the centre")),
    ] {
        let (listener, client, _incoming) = start(|_| {}).await;
        let centre = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut hand = Hand { stream, read: BytesMut::new() };
            let sequence = hand.next().await.unwrap().sequence;
            if let Some((status, command)) = answer {
                hand.say(Pdu { status, sequence, body: Body::Other { command, body: vec![].into() } }).await;
                hand.next().await;
            }
        };
        let (sent, ()) = tokio::join!(client.send(&message), centre);
        assert_eq!(sent.handed.said, said);
    }
}
