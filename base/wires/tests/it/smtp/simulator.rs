//! The simulator as any other client meets it.

use super::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Says all at once and reads to the end: what was said must end the session.
async fn session(rig: &Rig, said: &str) -> String {
    let mut stream = TcpStream::connect(rig.server.address()).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    let mut answers = String::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut answers))
        .await
        .unwrap()
        .unwrap();
    answers
}

fn codes(answers: &str) -> Vec<&str> {
    answers.lines().filter(|line| line.as_bytes().get(3) != Some(&b'-')).map(|line| &line[..3]).collect()
}

#[tokio::test]
async fn commands_out_of_order_or_with_nonsense_are_refused() {
    let rig = Rig::good().await;
    let said = "MAIL FROM:<a@b>\r\nEHLO\r\nEHLO me\r\nRCPT TO:<a@b>\r\nDATA\r\nMAIL FROM:a@b\r\nMAIL FROM:<a@b> COLOUR=red\r\n\
                MAIL FROM:<a@b> SIZE=99999999999\r\nMAIL FROM:<>\r\nMAIL FROM:<a@b>\r\nDATA\r\nRCPT TO:<>\r\nRCPT TO:<б@b>\r\n\
                RCPT TO:<a@b>\r\nRSET\r\nRCPT TO:<a@b>\r\nBDAT 5\r\nSTARTTLS\r\nVRFY a\r\nNOOP\r\nQUIT\r\n";
    let answers = session(&rig, said).await;
    let wanted = "220 503 501 250 503 503 501 555 552 250 503 554 553 553 250 250 503 500 500 252 250 221";
    assert_eq!(codes(&answers).join(" "), wanted);
    assert_eq!(rig.board.counts().sent.len(), 0);
}

#[tokio::test]
async fn a_mail_to_several_has_one_answer_and_an_arrival_each() {
    let rig = Rig::judged(|arrival: &Arrival| {
        let refused = arrival.to.starts_with("no").then(|| refusal(550, "5.7.1"));
        Behaviour { refusal: refused, ..Behaviour::default() }
    })
    .await;
    let mail = |to: [&str; 2]| {
        format!(
            "MAIL FROM:<s@h>\r\nRCPT TO:<{}>\r\nRCPT TO:<{}>\r\nDATA\r\nSubject: x\r\n\r\ny\r\n.\r\n",
            to[0], to[1]
        )
    };
    let both = format!("HELO me\r\n{}{}QUIT\r\n", mail(["a@b", "b@b"]), mail(["c@b", "no@b"]));
    let answers = session(&rig, &both).await;
    assert_eq!(codes(&answers).join(" "), "220 250 250 250 250 354 250 250 250 250 354 550 221");
    let seen: Vec<_> = rig.arrivals().into_iter().map(|one| (one.to, one.taken)).collect();
    let wanted = [("a@b", true), ("b@b", true), ("c@b", false), ("no@b", false)];
    assert_eq!(seen, wanted.map(|(to, taken)| (to.to_owned(), taken)));
}

#[tokio::test]
async fn everything_has_a_bound() {
    let rig = Rig::with(all_good(), |settings| {
        (settings.mail, settings.recipients) = (100, 2);
    })
    .await;
    let large =
        format!("HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n{}.\r\nQUIT\r\n", "line\r\n".repeat(20));
    assert_eq!(codes(&session(&rig, &large).await).join(" "), "220 250 250 250 354 552 221");
    let many = format!("HELO me\r\nMAIL FROM:<>\r\n{}QUIT\r\n", "RCPT TO:<a@b>\r\n".repeat(3));
    assert_eq!(codes(&session(&rig, &many).await).join(" "), "220 250 250 250 250 452 221");
    assert_eq!(codes(&session(&rig, &"what\r\n".repeat(21)).await).last(), Some(&"421"));
    assert_eq!(codes(&session(&rig, &format!("{}\r\n", "x".repeat(13_000))).await).join(" "), "220 500");
    let idle = Rig::with(all_good(), |settings| settings.idle = Duration::from_millis(100)).await;
    assert_eq!(codes(&session(&idle, "").await).join(" "), "220 421");
    assert_eq!(rig.board.counts().sent.len(), 0);
    let held = Rig::with(all_good(), |settings| settings.connections = 1).await;
    let mut first = TcpStream::connect(held.server.address()).await.unwrap();
    let mut greeting = [0; 3];
    first.read_exact(&mut greeting).await.unwrap();
    assert_eq!(codes(&session(&held, "").await).join(" "), "421");
}

#[tokio::test]
async fn stopping_ends_every_connection() {
    let rig = Rig::good().await;
    let address = rig.server.address();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut greeting = [0; 3];
    stream.read_exact(&mut greeting).await.unwrap();
    rig.server.stop().await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(TcpStream::connect(address).await.is_err());
}
