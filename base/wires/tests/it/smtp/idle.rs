//! Connections that have died while they were kept, and sends that were given up.

use super::script::{Do, Script};
use super::*;
use std::time::Duration;

#[tokio::test]
async fn a_server_that_was_started_again_is_not_noticed() {
    let rig = Rig::good().await;
    let client = rig.client();
    let address = rig.server.address();
    let sends = (0..5).map(|n| {
        let client = client.clone();
        tokio::spawn(async move { code(&client.send(&mail(n, "anna@example.org")).await) })
    });
    for send in sends.collect::<Vec<_>>() {
        assert_eq!(send.await.unwrap(), 250);
    }
    rig.server.stop().await;
    let again = ServerSettings::on(address);
    let server = Simulator::start(again, rig.board.clone(), all_good()).await.unwrap();
    for n in 5..10 {
        assert_eq!(code(&client.send(&mail(n, "anna@example.org")).await), 250);
    }
    assert_eq!(rig.board.counts().taken["smtp"], 10);
    server.stop().await;
    // Nobody is there now: that is known at once, and nothing went out.
    assert_eq!(stage(&client.send(&mail(10, "anna@example.org")).await), Stage::Before);
}

/// Also with a goodbye that nobody asked for, as servers say it after a while.
#[tokio::test]
async fn a_connection_that_ended_is_replaced_and_nothing_is_said_twice() {
    for end in ["250 ok\r\n", "250 ok\r\n421 4.4.2 too long idle\r\n"] {
        let mut script = Script::start(move |n, line| match (n, line) {
            (0, ".") => Do::Close(end),
            (_, line) => script::good(line),
        })
        .await;
        let client = client(script.address);
        assert_eq!(code(&client.send(&mail(1, "anna@example.org")).await), 250);
        script.closed().await;
        assert_eq!(code(&client.send(&mail(2, "anna@example.org")).await), 250);
        assert_eq!((script.count("EHLO"), script.count(".")), (2, 2));
    }
}

#[tokio::test]
async fn a_kept_connection_that_falls_silent_after_commands_is_replaced_before_any_content() {
    let script = Script::start(|n, line| match (n, line) {
        (0, line) if line.starts_with("MAIL FROM:<second") => Do::Close(""),
        (_, line) => script::good(line),
    })
    .await;
    let client = client(script.address);
    assert_eq!(code(&client.send(&mail(1, "anna@example.org")).await), 250);
    let from = Some(Address::parse("second@shop.example").unwrap());
    let envelope = Envelope { from, to: Address::parse("anna@example.org").unwrap() };
    let second = Mail::new(envelope, b"Subject: a\r\n\r\nb\r\n").unwrap();
    assert_eq!(code(&client.send(&second).await), 250);
    assert_eq!((script.count("EHLO"), script.count("MAIL FROM:<second"), script.count(".")), (2, 2, 2));
}

#[tokio::test]
async fn a_send_that_is_given_up_leaves_no_half_used_connection() {
    let arrived = Arc::new(tokio::sync::Notify::new());
    let seen = arrived.clone();
    let rig = Rig::judged(move |arrival: &Arrival| {
        let slow = arrival.to.starts_with("slow");
        if slow {
            seen.notify_one();
        }
        let delay = if slow { Duration::from_secs(600) } else { Duration::ZERO };
        Behaviour { delay, ..Behaviour::default() }
    })
    .await;
    let client = Client::new(Settings { connections: 1, ..rig.settings() }).unwrap();
    for n in 0..3 {
        assert_eq!(code(&client.send(&mail(n, "anna@example.org")).await), 250);
        let slow = mail(n, "slow@example.org");
        tokio::select! {
            handed = client.send(&slow) => panic!("{handed:?}"),
            () = arrived.notified() => {}
        }
    }
    assert_eq!(code(&client.send(&mail(9, "anna@example.org")).await), 250);
    assert_eq!((rig.taken(), rig.connections()), (4, 4));
}
