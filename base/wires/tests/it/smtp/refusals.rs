//! Mails that are refused, at each moment where servers do so.

use super::script::{Do, Script};
use super::*;
use artel_wires::smtp::{Login, Secret};

#[tokio::test]
async fn each_moment_of_refusal_is_told_and_the_connection_goes_on() {
    for pipelining in [true, false] {
        let rig = Rig::with(Arc::new(judge), |settings| {
            settings.without = if pipelining { vec![] } else { vec!["PIPELINING"] };
        })
        .await;
        let client = rig.client();
        for round in 0..3 {
            rig.early("nobody@example.org", Early::Refuse(refusal(550, "5.1.1")));
            let handed = client.send(&mail(round, "nobody@example.org")).await;
            let (step, enhanced) = (Step::To, Some("5.1.1".into()));
            let said = Said::Smtp { step, code: 550, enhanced, text: "so it is".into() };
            assert_eq!(handed.said, said);
            rig.early("shop@shop.example", Early::Refuse(refusal(451, "")));
            assert_eq!(at(&client.send(&mail(round, "anna@example.org")).await), (451, Step::From));
            assert_eq!(at(&client.send(&mail(round, "full@example.org")).await), (552, Step::Data));
            assert_eq!(code(&client.send(&mail(round, "anna@example.org")).await), 250);
        }
        assert_eq!((rig.connections(), rig.taken()), (1, 3), "pipelining: {pipelining}");
        let answers: Vec<_> = rig.arrivals().into_iter().take(3).map(|arrival| arrival.answer).collect();
        assert_eq!(answers, ["550 5.1.1 so it is", "552 5.2.2 so it is", "250"]);
    }
}

fn judge(arrival: &Arrival) -> Behaviour {
    let full = arrival.to.starts_with("full");
    Behaviour { refusal: full.then(|| refusal(552, "5.2.2")), ..Behaviour::default() }
}

/// RFC 2920, section 3.1: the recipient is refused, and DATA is answered with 354 all the same.
#[tokio::test]
async fn a_server_that_wants_content_for_nobody_gets_a_dot_alone() {
    let script = Script::start(|_, line| match line {
        "RCPT TO:<nobody@example.org>" => Do::Say("550 5.1.1 none\r\n"),
        line => script::good(line),
    })
    .await;
    let client = client(script.address);
    assert_eq!(code(&client.send(&mail(1, "nobody@example.org")).await), 550);
    assert_eq!(code(&client.send(&mail(2, "anna@example.org")).await), 250);
    let heard = script.lines();
    let verbs: Vec<_> = heard.iter().map(|line| line.split([' ', ':']).next().unwrap()).collect();
    assert_eq!(verbs, ["EHLO", "MAIL", "RCPT", "DATA", ".", "RSET", "MAIL", "RCPT", "DATA", "."]);
}

#[tokio::test]
async fn goodbye_in_the_middle_is_told_and_the_next_mail_takes_another_connection() {
    let closing = |arrival: &Arrival| {
        let refused = arrival.to.starts_with("last").then(|| refusal(421, "4.7.0"));
        Behaviour { refusal: refused, ..Behaviour::default() }
    };
    let rig = Rig::judged(closing).await;
    let client = rig.client();
    assert_eq!(code(&client.send(&mail(1, "anna@example.org")).await), 250);
    rig.early("shop@shop.example", Early::Refuse(refusal(421, "4.7.0")));
    assert_eq!(code(&client.send(&mail(2, "anna@example.org")).await), 421);
    assert_eq!((code(&client.send(&mail(3, "anna@example.org")).await), rig.connections()), (250, 2));
    rig.early("anna@example.org", Early::Refuse(refusal(421, "4.7.0")));
    assert_eq!(code(&client.send(&mail(4, "anna@example.org")).await), 421);
    assert_eq!(code(&client.send(&mail(5, "last@example.org")).await), 421);
    assert_eq!((code(&client.send(&mail(6, "anna@example.org")).await), rig.connections()), (250, 4));
    assert_eq!(rig.taken(), 3);
}

#[tokio::test]
async fn what_the_server_said_that_it_can_not_take_is_not_begun() {
    let script = Script::start(|_, line| match line {
        line if line.starts_with("EHLO") => Do::Say("250-script\r\n250-SIZE 60\r\n250 PIPELINING\r\n"),
        line => script::good(line),
    })
    .await;
    let client = client(script.address);
    for (to, content, why) in [
        ("анна@example.org", "A: b\r\n\r\n", "SMTPUTF8"),
        ("anna@example.org", "A: б\r\n\r\n", "SMTPUTF8"),
        ("anna@example.org", "A: b\r\n\r\nб\r\n", "8BITMIME"),
        ("anna@example.org", &"long line\r\n".repeat(6), "larger than the server takes"),
    ] {
        // No answer about the recipient is made up.
        match client.send(&with_content(to, content.as_bytes())).await.said {
            Said::Unfit { reason } => assert!(reason.contains(why), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(script.count("MAIL"), 0);
    let handed = client.send(&with_content("anna@example.org", b"A: b\r\n\r\n")).await;
    assert_eq!((code(&handed), script.count("EHLO")), (250, 1));
    assert!(script.lines().contains(&"MAIL FROM:<shop@shop.example> SIZE=8".to_owned()));
}

#[tokio::test]
async fn a_refusal_before_any_mail_is_no_verdict_about_a_recipient() {
    let handed = async |greeting: &'static str| {
        let script = Script::start(move |_, _| Do::Close(greeting)).await;
        client(script.address).send(&mail(1, "anna@example.org")).await
    };
    assert_eq!(stage(&handed("554 5.7.1 not you\r\n").await), Stage::Before);
    assert_eq!(at(&handed("421 4.3.2 not now\r\n").await), (421, Step::Connection));
    let rig = Rig::good().await;
    let login = Login { user: "shop".into(), secret: Secret::new("open sesame") };
    let client = Client::new(Settings { login: Some(login), ..rig.settings() }).unwrap();
    rig.early("shop", Early::Refuse(refusal(535, "5.7.8")));
    let refused = client.send(&mail(1, "anna@example.org")).await;
    assert_eq!(code(&refused), 535);
    assert!(!format!("{refused:?}").contains("sesame"));
    assert_eq!(code(&client.send(&mail(1, "anna@example.org")).await), 250);
}
