//! The real protocols: providers are simulators that speak them.

use super::place;
use crate::edit::put;
use crate::place::Place;
use crate::{fresh, reaches, send, to};
use artel_frame::Sandbox;
use artel_frame::client::Client;
use artel_notify::domain::sms_text::decode_gsm;
use artel_wires::simulators::smpp::SmppSimulatorSettings;
use artel_wires::simulators::{self, Arrival, Running, Wanted};
use artel_wires::web_push::VapidKey;
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;

/// Providers of all kinds, and a node whose accounts are with them.
struct Providers {
    /// They listen until this is dropped.
    running: Running,
    _folder: TempDir,
    node: Sandbox,
}

async fn start(place: &Place) -> Providers {
    let settings = simulators::Settings {
        smpp: Some(SmppSimulatorSettings::new(decode_gsm)),
        ..simulators::Settings::default()
    };
    let running = simulators::start(settings).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let fcm = format!("http://{}", running.address("fcm").unwrap());
    let account = Client::new(&fcm).unwrap().get("/service-account.json").await.unwrap();
    let text = format!(
        "[notify]\nask_after_seconds = 0\n[notify.retry]\npause_seconds = 1\n\
         [[notify.email.accounts]]\nname = \"post\"\n[notify.email.accounts.smtp]\n\
         host = \"127.0.0.1\"\nport = {}\nsecurity = \"none\"\nfrom = \"parcels@example.com\"\nfrom_name = \"Посылки\"\n\
         [[notify.sms.accounts]]\nname = \"tower\"\n[notify.sms.accounts.smpp]\n\
         host = \"127.0.0.1\"\nport = {}\nsystem_id = \"artel\"\nsecret_file = '{}'\nfrom = \"Parcels\"\n\
         [[notify.push.accounts]]\nname = \"apps\"\n[notify.push.accounts.fcm]\naccount_file = '{}'\nbase = \"{fcm}\"\n\
         [[notify.push.accounts]]\nname = \"browsers\"\n[notify.push.accounts.web_push]\n\
         contact = \"mailto:parcels@example.com\"\nkey_file = '{}'\nallow_loopback = true\n",
        running.address("smtp").unwrap().port(),
        running.address("smpp").unwrap().port(),
        file("smpp", "secret\n"),
        file("fcm.json", &account.text()),
        file("vapid", &VapidKey::generate().unwrap().private()),
    );
    let node = place.with(artel_notify::service).file(file("artel.toml", &text));
    let node = node.start().await.expect("the node starts");
    Providers { running, _folder: folder, node }
}

impl Providers {
    /// What arrived, the oldest first.
    fn arrived(&self, provider: &str) -> Vec<Arrival> {
        let wanted = Wanted { provider: Some(provider.to_owned()), ..Wanted::default() };
        let mut all = self.running.board.list(&wanted);
        all.reverse();
        all
    }

    /// Somebody with an app and a browser.
    async fn subscriber(&self, id: &str, token: &str) {
        let push = format!("http://{}", self.running.address("web_push").unwrap());
        let made = crate::post(&Client::new(&push).unwrap(), "/subscriptions", &json!({})).await;
        let browser: Value = made.json().unwrap();
        let addresses = json!([
            { "kind": "fcm", "address": token },
            { "kind": "web_push", "address": browser["endpoint"], "keys": browser["keys"] },
        ]);
        let path = format!("/api/notify/subscribers/{id}");
        let answer =
            put(&self.node.client(), &path, &json!({ "language": "en", "addresses": addresses })).await;
        assert!(answer.is_success(), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_mail_goes_over_smtp_and_is_the_same_at_each_repeat() {
    let Some(place) = place().await else { return };
    let providers = start(&place).await;
    let node = &providers.node;
    let id = send(node, &to(json!({ "email": "retry-451@example.com", "language": "ru" }), &["email"])).await;
    let sent = reaches(node, &id, "sent").await;
    assert_eq!((&sent["legs"][0]["provider"], &sent["legs"][0]["attempts"]), (&json!("post"), &json!(3)));
    let arrived = providers.arrived("smtp");
    let seen: Vec<(&str, bool)> = arrived.iter().map(|one| (one.answer.as_str(), one.taken)).collect();
    assert_eq!(seen.iter().map(|one| one.1).collect::<Vec<_>>(), [false, false, true], "{seen:?}");
    assert!(arrived.iter().all(|one| one.key == arrived[0].key && !one.key.is_empty()), "{seen:?}");
    assert!(arrived[2].text.contains("RA123"), "{}", arrived[2].text);

    let id = send(node, &to(json!({ "email": "fail-550-5.1.1@example.com" }), &["email"])).await;
    let failed = reaches(node, &id, "failed").await;
    assert_eq!(failed["legs"][0]["attempts"], 1, "{failed}");
    providers.node.stop().await;
}

#[tokio::test]
async fn a_lost_answer_to_a_mail_is_never_a_second_mail() {
    let Some(place) = place().await else { return };
    let providers = start(&place).await;
    let node = &providers.node;
    let id = send(node, &to(json!({ "email": "lost-reply@example.com" }), &["email"])).await;
    let unknown = reaches(node, &id, "unknown").await;
    assert_eq!(unknown["legs"][0]["attempts"], 1, "{unknown}");
    node.settle().await;
    assert_eq!(fresh(node, &id).await["state"], "unknown");
    assert_eq!(providers.arrived("smtp").len(), 1);
    providers.node.stop().await;
}

#[tokio::test]
async fn a_short_message_goes_over_smpp_and_its_receipt_moves_it_on() {
    let Some(place) = place().await else { return };
    let providers = start(&place).await;
    let node = &providers.node;
    // Russian takes several parts: the centre shows one text.
    let id = send(node, &to(json!({ "phone": "+79161234567", "language": "ru" }), &["sms"])).await;
    let delivered = reaches(node, &id, "delivered").await;
    let what: Vec<&Value> =
        delivered["timeline"].as_array().unwrap().iter().map(|line| &line["what"]).collect();
    assert!(what.contains(&&json!("receipt")), "{delivered}");
    let arrived = providers.arrived("smpp");
    let taken: Vec<&Arrival> = arrived.iter().filter(|one| one.taken).collect();
    assert!(taken.iter().any(|one| one.text.contains("RA123")), "{arrived:?}");

    // Throttled twice, then taken: no try is used up by it.
    let id = send(node, &to(json!({ "phone": "+79161230088", "language": "en" }), &["sms"])).await;
    reaches(node, &id, "delivered").await;
    // An address that the centre refuses is a failure at once.
    let id = send(node, &to(json!({ "phone": "+79161230011", "language": "en" }), &["sms"])).await;
    assert_eq!(reaches(node, &id, "failed").await["legs"][0]["attempts"], 1);
    providers.node.stop().await;
}

#[tokio::test]
async fn push_messages_go_to_apps_and_browsers_each_over_its_own_account() {
    let Some(place) = place().await else { return };
    let providers = start(&place).await;
    providers.subscriber("anna", "token-of-annas-telephone-0123456789-0123456789").await;
    let mut body = to(json!({ "subscriber": "anna" }), &["push"]);
    body["content"]["mode"] = json!("all");
    let id = send(&providers.node, &body).await;
    let sent = reaches(&providers.node, &id, "sent").await;
    providers.node.settle().await;
    let sent = fresh(&providers.node, sent["id"].as_str().unwrap()).await;
    let legs: Vec<(&Value, &Value)> =
        sent["legs"].as_array().unwrap().iter().map(|leg| (&leg["provider"], &leg["state"])).collect();
    let (apps, browsers, is_sent) = (json!("apps"), json!("browsers"), json!("sent"));
    assert_eq!(legs, [(&apps, &is_sent), (&browsers, &is_sent)], "{sent}");
    assert_eq!((providers.arrived("fcm").len(), providers.arrived("web_push").len()), (1, 1));
    let shown = &providers.arrived("web_push")[0];
    assert!(!shown.title.is_empty() && shown.text.contains("RA123"), "{shown:?}");
    providers.node.stop().await;
}

#[tokio::test]
async fn an_account_that_can_t_work_ends_the_start_and_names_the_field() {
    let Some(place) = place().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("artel.toml");
    for (account, says) in [
        (
            "[[notify.email.accounts]]\nname = \"a\"\n",
            "email.accounts[0]: name one kind of provider: one of none, smtp",
        ),
        (
            "[[notify.sms.accounts]]\nname = \"a\"\n[notify.sms.accounts.smtp]\nhost = \"x\"\nfrom = \"a@b.c\"\n",
            "sms.accounts[0]: smtp sends no sms; use one of none, smpp",
        ),
        (
            "[[notify.email.accounts]]\nname = \"a\"\n[notify.email.accounts.smtp]\nhost = \"mx\"\nfrom = \"nobody\"\n",
            "email.accounts[0]: smtp.from: ",
        ),
        (
            "[[notify.email.accounts]]\nname = \"a\"\n[notify.email.accounts.smtp]\nhost = \"mx\"\nfrom = \"a@b.c\"\nuser = \"u\"\n",
            "smtp.secret_file: a user needs one",
        ),
        (
            "[[notify.push.accounts]]\nname = \"a\"\n[notify.push.accounts.fcm]\naccount_file = \"/nowhere.json\"\n",
            "fcm.account_file: /nowhere.json: ",
        ),
    ] {
        fs::write(&file, account).unwrap();
        let node = place.with(artel_notify::service).file(&file);
        let failure = node.start().await.map(drop).expect_err(account).to_string();
        assert!(failure.contains(says), "{account}: {failure}");
    }
}
