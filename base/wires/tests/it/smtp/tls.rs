//! Under TLS, and not without it where it is asked for.

use super::script::{Do, Script};
use super::*;
use artel_wires::simulators::smtp::Tls;
use artel_wires::smtp::{Login, Secret};
use rcgen::{CertifiedKey, generate_simple_self_signed};

fn certificate(name: &str) -> (String, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

async fn rig(security: Security, name: &str) -> (Rig, String) {
    let (certificate, key) = certificate(name);
    let root = certificate.clone();
    let tls = match security {
        Security::Tls => Tls::Implicit { certificate, key },
        _ => Tls::StartTls { certificate, key },
    };
    (Rig::with(all_good(), |settings| settings.tls = tls).await, root)
}

fn over(rig: &Rig, security: Security, root: Option<String>) -> Client {
    let login = Some(Login { user: "shop".into(), secret: Secret::new("open sesame") });
    let settings =
        Settings { host: "localhost".into(), security, extra_roots: root, login, ..rig.settings() };
    Client::new(settings).unwrap()
}

#[tokio::test]
async fn mails_go_under_tls() {
    for security in [Security::StartTls, Security::Tls] {
        let (rig, root) = rig(security, "localhost").await;
        let client = over(&rig, security, Some(root));
        for n in 0..20 {
            assert_eq!(code(&client.send(&mail(n, "anna@example.org")).await), 250, "{security:?}");
        }
        let large = "A line like any other.\r\n".repeat(50_000);
        assert_eq!(code(&client.send(&with_content("anna@example.org", large.as_bytes())).await), 250);
        assert_eq!((rig.taken(), rig.connections()), (21, 1));
        assert_eq!(rig.board.one(1).unwrap().account, "shop");
        client.close().await;
    }
}

#[tokio::test]
async fn a_kept_connection_under_tls_that_ended_is_replaced() {
    let (certificate, key) = certificate("localhost");
    let tls = Tls::Implicit { certificate: certificate.clone(), key };
    let rig = Rig::with(all_good(), |settings| settings.tls = tls.clone()).await;
    let client = over(&rig, Security::Tls, Some(certificate));
    assert_eq!(code(&client.send(&mail(1, "anna@example.org")).await), 250);
    let again = ServerSettings { tls, ..ServerSettings::on(rig.server.address()) };
    rig.server.stop().await;
    let _server = Simulator::start(again, rig.board.clone(), all_good()).await.unwrap();
    assert_eq!(code(&client.send(&mail(2, "anna@example.org")).await), 250);
    assert_eq!(rig.board.counts().taken["smtp"], 2);
}

#[tokio::test]
async fn whoever_is_not_who_they_should_be_gets_nothing() {
    for security in [Security::StartTls, Security::Tls] {
        // Signed by nobody known; signed, but for another name.
        let (stranger, _) = rig(security, "localhost").await;
        let (other, other_root) = rig(security, "mail.example.org").await;
        for (rig, root) in [(&stranger, certificate("localhost").0), (&other, other_root)] {
            let handed = over(rig, security, Some(root)).send(&mail(1, "anna@example.org")).await;
            assert_eq!(stage(&handed), Stage::Before);
            let Said::Broken { text, .. } = handed.said else { panic!() };
            assert!(text.contains("no TLS") && text.contains("certificate"), "{text}");
            assert_eq!(rig.board.counts().sent.len(), 0);
        }
    }
}

/// Somebody on the way takes STARTTLS out of the answer, or puts answers behind it that are read under TLS then.
#[tokio::test]
async fn tls_can_not_be_talked_away() {
    let without = Script::start(|_, line| script::good(line)).await;
    let injected = Script::start(|_, line| match line {
        line if line.starts_with("EHLO") => Do::Say("250-script\r\n250 STARTTLS\r\n"),
        "STARTTLS" => Do::Say("220 go on\r\n250 AUTH PLAIN\r\n"),
        line => script::good(line),
    })
    .await;
    let refused = Script::start(|_, line| match line {
        line if line.starts_with("EHLO") => Do::Say("250-script\r\n250 STARTTLS\r\n"),
        "STARTTLS" => Do::Say("454 4.7.0 not now\r\n"),
        line => script::good(line),
    })
    .await;
    for script in [&without, &injected, &refused] {
        let login = Some(Login { user: "shop".into(), secret: Secret::new("open sesame") });
        let settings = Settings { security: Security::StartTls, login, ..settings(script.address) };
        let root = Some(certificate("127.0.0.1").0);
        let client = Client::new(Settings { extra_roots: root, ..settings }).unwrap();
        let handed = client.send(&mail(1, "anna@example.org")).await;
        let own =
            matches!(handed.said, Said::Broken { stage: Stage::Before, .. } | Said::Smtp { code: 454, .. });
        assert!(own, "{handed:?}");
        assert_eq!((script.count("AUTH"), script.count("MAIL")), (0, 0));
    }
}

#[tokio::test]
async fn a_lost_answer_under_tls_is_not_known() {
    let (certificate, key) = certificate("localhost");
    let root = certificate.clone();
    let judge: Judge = Arc::new(|_| Behaviour { lose_reply: true, ..Behaviour::default() });
    let rig = Rig::with(judge, |settings| settings.tls = Tls::Implicit { certificate, key }).await;
    let handed = over(&rig, Security::Tls, Some(root)).send(&mail(1, "anna@example.org")).await;
    assert_eq!(stage(&handed), Stage::After);
    assert_eq!(rig.taken(), 1);
}
