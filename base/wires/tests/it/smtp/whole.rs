//! Mails that are taken: what arrives is what was sent.

use super::*;
use artel_wires::smtp::{Login, Secret};
use proptest::prelude::*;
use std::time::Duration;

#[tokio::test]
async fn a_mail_arrives_as_it_was_sent() {
    let rig = Rig::good().await;
    let handed = rig.client().send(&mail(1, "anna@example.org")).await;
    assert_eq!(
        handed,
        Handed {
            said: Said::Smtp {
                step: Step::Data,
                code: 250,
                enhanced: Some("2.0.0".into()),
                text: "queued as sim-1".into(),
            },
            reference: Some("sim-1".into()),
            parts: Vec::new(),
            by: format!("127.0.0.1:{}", rig.server.address().port()),
        }
    );
    let arrival = rig.board.one(1).unwrap();
    let shown = (arrival.to.as_str(), arrival.key.as_str(), arrival.title.as_str(), arrival.text.trim_end());
    assert_eq!(shown, ("anna@example.org", "1@shop.example", "Parcel 1", "It is here."));
    assert!(arrival.taken && arrival.answer == "250" && arrival.reference == "sim-1");
}

#[tokio::test]
async fn many_mails_go_over_one_connection() {
    let rig = Rig::good().await;
    let client = rig.client();
    for n in 0..100 {
        assert_eq!(code(&client.send(&mail(n, "anna@example.org")).await), 250);
    }
    assert_eq!((rig.connections(), rig.taken()), (1, 100));
}

#[tokio::test]
async fn there_are_no_more_connections_than_allowed_and_none_carries_more_mails() {
    let rig = Rig::good().await;
    let settings = rig.settings();
    let client = Client::new(Settings { connections: 3, mails_per_connection: 10, ..settings }).unwrap();
    let sends = (0..60).map(|n| {
        let client = client.clone();
        tokio::spawn(async move { code(&client.send(&mail(n, "anna@example.org")).await) })
    });
    for send in sends.collect::<Vec<_>>() {
        assert_eq!(send.await.unwrap(), 250);
    }
    assert_eq!(rig.taken(), 60);
    assert!((6..=8).contains(&rig.connections()), "{}", rig.connections());
    let most = Rig::with(all_good(), |settings| settings.connections = 3).await;
    let client = Client::new(Settings { connections: 3, ..most.settings() }).unwrap();
    let sends = (0..60).map(|n| {
        let client = client.clone();
        tokio::spawn(async move { code(&client.send(&mail(n, "anna@example.org")).await) })
    });
    for send in sends.collect::<Vec<_>>() {
        assert_eq!(send.await.unwrap(), 250);
    }
}

#[tokio::test]
async fn a_server_of_few_abilities_gets_the_same_mail() {
    let all = vec!["PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE", "ENHANCEDSTATUSCODES"];
    for without in [vec!["PIPELINING"], all.clone(), [vec!["EHLO"], all].concat()] {
        let rig = Rig::with(all_good(), |settings| settings.without = without.clone()).await;
        let client = rig.client();
        for n in 0..3 {
            assert_eq!(code(&client.send(&mail(n, "anna@example.org")).await), 250, "{without:?}");
        }
        assert_eq!((rig.connections(), rig.taken()), (1, 3));
    }
}

#[tokio::test]
async fn letters_outside_of_ascii_arrive_where_the_server_takes_them() {
    let rig = Rig::good().await;
    let content = "Message-ID: <1@a>\r\nSubject: Посылка\r\n\r\nОна здесь.\r\n";
    let handed = rig.client().send(&with_content("анна@пример.рф", content.as_bytes())).await;
    assert_eq!(code(&handed), 250);
    let arrival = rig.board.one(1).unwrap();
    assert_eq!((arrival.to.as_str(), arrival.title.as_str()), ("анна@xn--e1afmkfd.xn--p1ai", "Посылка"));
    assert_eq!(arrival.raw, content);
}

#[tokio::test]
async fn both_ways_to_log_in_lead_in() {
    for without in [vec![], vec!["AUTH"]] {
        let rig = Rig::with(all_good(), |settings| settings.without = without.clone()).await;
        let login = Login { user: "shop".into(), secret: Secret::new("open sesame") };
        let client = Client::new(Settings { login: Some(login), ..rig.settings() }).unwrap();
        let handed = client.send(&mail(1, "anna@example.org")).await;
        if without.is_empty() {
            assert_eq!((code(&handed), rig.board.one(1).unwrap().account.as_str()), (250, "shop"));
            assert!(handed.by.ends_with(" as shop"), "{}", handed.by);
        } else {
            assert_eq!(stage(&handed), Stage::Before);
        }
    }
    let login = Login { user: "shop".into(), secret: Secret::new("open sesame") };
    let script = script::Script::start(|_, line| match line {
        line if line.starts_with("EHLO") => script::Do::Say("250-script\r\n250 AUTH=LOGIN\r\n"),
        "AUTH LOGIN" => script::Do::Say("334 VXNlcm5hbWU6\r\n"),
        "c2hvcA==" => script::Do::Say("334 UGFzc3dvcmQ6\r\n"),
        "b3BlbiBzZXNhbWU=" => script::Do::Say("235 in\r\n"),
        line => script::good(line),
    })
    .await;
    let client = Client::new(Settings { login: Some(login), ..settings(script.address) }).unwrap();
    assert_eq!(code(&client.send(&mail(1, "anna@example.org")).await), 250);
}

#[tokio::test]
async fn closing_says_goodbye_and_sends_nothing_more() {
    let script = script::Script::start(|_, line| script::good(line)).await;
    let client = client(script.address);
    assert_eq!(client.send(&mail(1, "anna@example.org")).await.reference.as_deref(), Some("4XyZ"));
    client.close().await;
    assert_eq!(script.lines().last().map(String::as_str), Some("QUIT"));
    assert_eq!(stage(&client.send(&mail(2, "anna@example.org")).await), Stage::Before);
    assert_eq!(script.count("EHLO"), 1);
}

#[tokio::test]
async fn what_is_not_needed_is_closed_after_a_while() {
    let mut script = script::Script::start(|_, line| script::good(line)).await;
    let idle = Duration::from_millis(50);
    let client = Client::new(Settings { idle, ..settings(script.address) }).unwrap();
    assert_eq!(code(&client.send(&mail(1, "anna@example.org")).await), 250);
    script.closed().await;
    assert_eq!(script.lines().last().map(String::as_str), Some("QUIT"));
}

/// Lines with many dots, blanks and letters of all kinds.
fn contents() -> impl Strategy<Value = Vec<String>> {
    let line = prop_oneof![
        Just(String::new()),
        Just(".".to_owned()),
        "\\.{0,4}[ .a-z]{0,8}",
        "[а-я \t.=]{0,30}",
        "[a-z .]{900,998}",
    ];
    proptest::collection::vec(line, 0..20)
}

#[test]
fn whatever_is_sent_arrives_byte_for_byte() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rig = runtime.block_on(Rig::good());
    let client = rig.client();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) };
    let ran = std::cell::Cell::new(0);
    let held = proptest::test_runner::TestRunner::new(config).run(&contents(), |lines| {
        let content = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>();
        // What has no whole lines arrives with whole ones.
        for sent in [content.clone(), content.replace("\r\n", "\n")] {
            let handed = runtime.block_on(client.send(&with_content("anna@example.org", sent.as_bytes())));
            prop_assert_eq!(code(&handed), 250);
            prop_assert_eq!(&rig.arrivals().pop().unwrap().raw, &content);
            rig.board.clear();
            ran.set(ran.get() + 1);
        }
        Ok(())
    });
    held.unwrap();
    assert!(ran.get() >= 600 && rig.connections() == 1);
}
