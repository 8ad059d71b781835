//! How far a mail was when something broke.

use super::script::{Do, Script};
use super::*;
use artel_wires::smtp::Limits;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(80);

#[tokio::test]
async fn a_lost_answer_to_the_dot_is_not_known_and_not_repeated() {
    let losing =
        |arrival: &Arrival| Behaviour { lose_reply: arrival.key == "2@shop.example", ..Behaviour::default() };
    let rig = Rig::judged(losing).await;
    let client = rig.client();
    assert_eq!(code(&client.send(&mail(1, "anna@example.org")).await), 250);
    assert_eq!(stage(&client.send(&mail(2, "anna@example.org")).await), Stage::After);
    assert_eq!(code(&client.send(&mail(3, "anna@example.org")).await), 250);
    let keys: Vec<_> = rig.arrivals().into_iter().map(|arrival| (arrival.key, arrival.answer)).collect();
    let wanted = [("1@shop.example", "250"), ("2@shop.example", "no answer"), ("3@shop.example", "250")];
    assert_eq!(keys, wanted.map(|(key, answer)| (key.to_owned(), answer.to_owned())));
    assert_eq!(rig.connections(), 2);
}

#[tokio::test]
async fn a_lost_connection_before_the_dot_is_known() {
    let rig = Rig::good().await;
    let client = rig.client();
    for at in ["connected", "shop@shop.example", "anna@example.org"] {
        rig.early(at, Early::HangUp);
        assert_eq!(stage(&client.send(&mail(1, "anna@example.org")).await), Stage::Before, "{at}");
    }
    assert_eq!(code(&client.send(&mail(1, "anna@example.org")).await), 250);
    assert_eq!(rig.taken(), 1);
}

/// `place` is where the script does not go on as it should.
async fn at(place: &'static str, done: fn() -> Do, content: &[u8], limits: Limits) -> Handed {
    let script = Script::start(move |_, line| {
        let here = if place.is_empty() { line.is_empty() } else { line.starts_with(place) };
        if here { done() } else { script::good(line) }
    })
    .await;
    let client = Client::new(Settings { limits, ..settings(script.address) }).unwrap();
    client.send(&with_content("anna@example.org", content)).await
}

#[tokio::test]
async fn each_step_has_its_time_limit() {
    let all = Limits::default();
    for (place, limits, wanted) in [
        ("", Limits { greeting: SOON, ..all.clone() }, Stage::Before),
        ("EHLO", Limits { command: SOON, ..all.clone() }, Stage::Before),
        ("MAIL", Limits { command: SOON, ..all.clone() }, Stage::Before),
        ("RCPT", Limits { command: SOON, ..all.clone() }, Stage::Before),
        ("DATA", Limits { data_start: SOON, ..all.clone() }, Stage::Before),
        (".", Limits { data_end: SOON, ..all.clone() }, Stage::After),
        // All of them before the mail itself have one together.
        ("", Limits { begin: SOON, ..all.clone() }, Stage::Before),
        ("DATA", Limits { begin: SOON, ..all.clone() }, Stage::Before),
    ] {
        assert_eq!(stage(&at(place, || Do::Silence, b"A: b\r\n\r\n", limits).await), wanted, "{place:?}");
    }
}

#[tokio::test]
async fn a_mail_that_the_server_stops_reading_is_known_not_to_be_there() {
    let large = b"A line of a mail that is too large for the buffers of the network.\r\n".repeat(400_000);
    let limits = Limits { data_block: SOON, ..Limits::default() };
    // It closes behind 354, or reads nothing more.
    let closed = at("DATA", || Do::Close("354 go on\r\n"), &large, Limits::default()).await;
    assert_eq!(stage(&closed), Stage::Before);
    let (listener, content) = (tokio::net::TcpListener::bind(free()).await.unwrap(), large);
    let settings = Settings { limits, ..settings(listener.local_addr().unwrap()) };
    let _held = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 a\r\n250-a\r\n250 PIPELINING\r\n250 a\r\n250 a\r\n354 a\r\n").await.unwrap();
        stream
    });
    let stuck = Client::new(settings).unwrap().send(&with_content("anna@example.org", &content)).await;
    assert_eq!(stage(&stuck), Stage::Before);
}

#[tokio::test]
async fn nonsense_is_no_answer() {
    for nonsense in
        ["HTTP/1.1 400 Bad Request\r\n\r\n", "250\x02\r\n", "99 a\r\n", "250-a\r\n251 b\r\n", "354 again\r\n"]
    {
        let said = move |place| async move {
            let script = Script::start(move |_, line| match line.starts_with(place) && !line.is_empty() {
                true => Do::Say(nonsense),
                false => script::good(line),
            })
            .await;
            stage(&client(script.address).send(&mail(1, "anna@example.org")).await)
        };
        assert_eq!(said("MAIL").await, Stage::Before, "{nonsense:?}");
        assert_eq!(said(".").await, Stage::After, "{nonsense:?}");
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_bounded() {
    const LONG: &str = concat!("250 ", "x");
    let long: &'static str = Box::leak(LONG.repeat(4_000).into_boxed_str());
    let lines: &'static str = Box::leak("250-x\r\n".repeat(2_000).into_boxed_str());
    for endless in [long, lines] {
        let script = Script::start(move |_, line| match line {
            "." => Do::Say(endless),
            line => script::good(line),
        })
        .await;
        assert_eq!(stage(&client(script.address).send(&mail(1, "anna@example.org")).await), Stage::After);
    }
}

#[tokio::test]
async fn who_waits_for_a_connection_waits_only_so_long() {
    let rig = Rig::judged(|_| Behaviour { delay: Duration::from_secs(600), ..Behaviour::default() }).await;
    let limits = Limits { turn: SOON, ..Limits::default() };
    let client = Client::new(Settings { connections: 1, limits, ..rig.settings() }).unwrap();
    let first = client.clone();
    let first = tokio::spawn(async move { first.send(&mail(1, "anna@example.org")).await });
    while rig.connections() == 0 {
        tokio::task::yield_now().await;
    }
    let said = client.send(&mail(2, "anna@example.org")).await.said;
    assert_eq!(said, Said::Busy { text: "no connection became free in time".into() });
    first.abort();
}
