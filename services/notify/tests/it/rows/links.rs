//! Connections that fail: before the message was out another account takes it, afterwards nobody does.

use super::bench::closed_port;
use super::log::Log;
use crate::edit::put;
use crate::{catalogue, fresh, get, send, to};
use artel_frame::Sandbox;
use artel_message::Time;
use artel_notify::domain::sms_text::decode_gsm;
use artel_wires::simulators::fcm::{FcmSimulator, FcmSimulatorSettings};
use artel_wires::simulators::smpp::{SmppSimulator, SmppSimulatorSettings};
use artel_wires::simulators::smtp::{Early, Gate, Moment};
use artel_wires::simulators::web_push::{WebPushSimulator, WebPushSimulatorSettings};
use artel_wires::simulators::{AddressRule, Board, FaultPlan, Faults, Listen, Wanted, smtp};
use artel_wires::web_push::VapidKey;
use serde_json::{Value, json};
use std::any::Any;
use std::fs;
use std::sync::Arc;
use std::time::SystemTime;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Providers whose first accounts can't be reached, each in another way.
struct Links {
    node: Sandbox,
    board: Board,
    push: WebPushSimulator,
    _held: Vec<Box<dyn Any + Send>>,
    _folder: TempDir,
}

/// What goes wrong at the good accounts, by address.
fn faults() -> Faults {
    let rule = |provider: &str, begins: &str| AddressRule {
        provider: Some(provider.to_owned()),
        begins: begins.to_owned(),
        ..AddressRule::default()
    };
    let lost = |provider: &str, begins: &str| AddressRule { lose_reply: true, ..rule(provider, begins) };
    let late = |provider: &str, begins: &str| AddressRule { delay_ms: 600_000, ..rule(provider, begins) };
    let addresses = vec![
        lost("smtp", "lost@"),
        late("smtp", "late@"),
        lost("smpp", "+79160000001"),
        late("smpp", "+79160000002"),
        lost("fcm", "lost-"),
        late("fcm", "late-"),
        late("fcm_token", "firebase-adminsdk-artel@slow."),
    ];
    Faults::new(FaultPlan { seed: 1, addresses, ..FaultPlan::default() }).unwrap()
}

/// Accounts as they are set up, the unreachable ones of each channel first.
struct Setup {
    board: Board,
    faults: Faults,
    folder: TempDir,
    held: Vec<Box<dyn Any + Send>>,
    /// A port that nobody listens on.
    closed: u16,
    text: String,
}

async fn start() -> Links {
    let mut setup = Setup {
        board: Board::new(1 << 20, Arc::new(|| 0)),
        faults: faults(),
        folder: tempfile::tempdir().unwrap(),
        held: Vec::new(),
        closed: closed_port().await,
        text: "[notify]\ncall_seconds = 3\nask_after_seconds = 0\n".to_owned(),
    };
    setup.mail().await;
    setup.centres().await;
    setup.apps().await;
    let push = setup.browsers().await;
    let file = setup.file("artel.toml", &setup.text);
    let Setup { board, folder, held, .. } = setup;
    let node = Sandbox::of(|| vec![artel_notify::service()], catalogue).file(file);
    let node = node.manual_clock(Time::from_system(SystemTime::now()));
    let node = node.start().await.expect("the node starts");
    Links { node, board, push, _held: held, _folder: folder }
}

impl Setup {
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn hold(&mut self, server: impl Any + Send) {
        self.held.push(Box::new(server));
    }

    async fn mail_server(&mut self, gate: Option<Gate>) -> u16 {
        let own = smtp::Settings { gate, ..smtp::Settings::on(Listen::loopback(0).address) };
        let server = smtp::Simulator::start(own, self.board.clone(), self.faults.judge()).await.unwrap();
        let port = server.address().port();
        self.hold(server);
        port
    }

    async fn mail(&mut self) {
        // It takes connections and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent_port = silent.local_addr().unwrap().port();
        self.hold(silent);
        let cuts: Gate = Arc::new(|moment| match moment {
            Moment::To(to) if to.starts_with("cut@") => Some(Early::HangUp),
            _ => None,
        });
        let (first, second) = (self.mail_server(Some(cuts)).await, self.mail_server(None).await);
        for (name, port, security) in [
            ("closed", self.closed, "none"),
            ("no-tls", second, "tls"),
            ("no-starttls", second, "starttls"),
            ("silent", silent_port, "none"),
            ("one", first, "none"),
            ("two", second, "none"),
        ] {
            self.text += &format!(
                "[[notify.email.accounts]]\nname = \"{name}\"\n[notify.email.accounts.smtp]\nhost = \"127.0.0.1\"\n\
                 port = {port}\nsecurity = \"{security}\"\nfrom = \"parcels@example.com\"\n"
            );
        }
    }

    async fn centre(&mut self, accounts: Vec<(String, String)>) -> u16 {
        let own = SmppSimulatorSettings { accounts, ..SmppSimulatorSettings::new(decode_gsm) };
        let centre = SmppSimulator::start(own, self.board.clone(), self.faults.judge()).await.unwrap();
        let port = centre.address().port();
        self.hold(centre);
        port
    }

    async fn centres(&mut self) {
        let secret = self.file("secret", "secret");
        let strict = self.centre(vec![("stranger".to_owned(), "another".to_owned())]).await;
        let open = self.centre(Vec::new()).await;
        for (name, port, tls) in [
            ("closed", self.closed, false),
            ("no-tls", open, true),
            ("stranger", strict, false),
            ("one", open, false),
            ("two", open, false),
        ] {
            self.text += &format!(
                "[[notify.sms.accounts]]\nname = \"{name}\"\n[notify.sms.accounts.smpp]\nhost = \"127.0.0.1\"\n\
                 port = {port}\ntls = {tls}\nsystem_id = \"{name}\"\nsecret_file = '{secret}'\nfrom = \"Parcels\"\n"
            );
        }
    }

    async fn apps(&mut self) {
        for name in ["closed", "no-tls", "slow", "one", "two"] {
            let own = FcmSimulatorSettings { project: name.to_owned(), ..FcmSimulatorSettings::default() };
            let server = FcmSimulator::start(own, self.board.clone(), self.faults.judge()).await.unwrap();
            let account = self.file(name, &server.service_account().await.unwrap());
            let base = match name {
                "closed" => format!("http://127.0.0.1:{}", self.closed),
                "no-tls" => format!("https://{}", server.served().address()),
                _ => server.served().url(),
            };
            self.text += &format!(
                "[[notify.push.accounts]]\nname = \"{name}\"\n[notify.push.accounts.fcm]\n\
                 account_file = '{account}'\nbase = \"{base}\"\n"
            );
            self.hold(server);
        }
    }

    async fn browsers(&mut self) -> WebPushSimulator {
        let key = self.file("vapid", &VapidKey::generate().unwrap().private());
        self.text += &format!(
            "[[notify.push.accounts]]\nname = \"browsers\"\n[notify.push.accounts.web_push]\n\
             contact = \"mailto:parcels@example.com\"\nkey_file = '{key}'\nallow_loopback = true\n"
        );
        let own = WebPushSimulatorSettings::default();
        WebPushSimulator::start(own, self.board.clone(), self.faults.judge()).await.unwrap()
    }
}

impl Links {
    /// The accounts that a message was tried over, each with the reason, and what became of it.
    async fn tried(&self, recipient: Value, channel: &str) -> (Vec<(String, String)>, String) {
        let id = send(&self.node, &to(recipient, &[channel])).await;
        self.node.settle().await;
        let why = get(&self.node.client(), &format!("/api/notify/deliveries/{id}/why")).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let attempts = why["legs"][0]["attempts"].as_array().unwrap();
        let tried = attempts.iter().map(|one| (text(&one["account"]), text(&one["why"]))).collect();
        (tried, text(&fresh(&self.node, &id).await["state"]))
    }

    /// Somebody with a device.
    async fn device(&self, id: &str, address: Value) -> Value {
        let path = format!("/api/notify/subscribers/{id}");
        let made =
            put(&self.node.client(), &path, &json!({ "language": "en", "addresses": [address] })).await;
        assert!(made.is_success(), "{}", made.text());
        json!({ "subscriber": id })
    }

    fn arrived(&self, to: &str) -> usize {
        self.board.list(&Wanted { to: Some(to.to_owned()), ..Wanted::default() }).len()
    }
}

/// The accounts that were tried, and that all but the last were not reached.
fn unreached(tried: &[(String, String)]) -> Vec<&str> {
    for (account, why) in &tried[..tried.len() - 1] {
        assert!(why.contains("no connection") && why.contains("tried again"), "{account}: {why}");
    }
    tried.iter().map(|(account, _)| account.as_str()).collect()
}

#[tokio::test]
async fn what_was_not_out_goes_over_another_account_and_what_may_have_been_is_left_alone() {
    let log = Log::listen();
    let links = start().await;
    mails(&links, &log).await;
    short_messages(&links, &log).await;
    apps(&links).await;
    browsers(&links).await;
    links.node.stop().await;
}

async fn mails(links: &Links, log: &Log) {
    let mail = |to: &str| json!({ "email": format!("{to}@example.com"), "language": "en" });
    let (tried, state) = links.tried(mail("anna"), "email").await;
    assert_eq!(
        (unreached(&tried), state.as_str()),
        (vec!["closed", "no-tls", "no-starttls", "silent", "one"], "sent")
    );
    // Five failures in a row take an account out of use, and that is said once for each.
    let more = ["b", "c", "d", "e"].map(|to| links.tried(mail(to), "email"));
    futures::future::join_all(more).await;
    for account in ["closed", "no-tls", "no-starttls", "silent"] {
        let lines = log.with(&["WARN", "out of use", "email", account]);
        assert_eq!(
            lines.iter().filter(|line| line.contains(&format!("account=\"{account}\""))).count(),
            1,
            "{lines:?}"
        );
    }
    let (tried, state) = links.tried(mail("cut"), "email").await;
    assert_eq!((unreached(&tried), state.as_str()), (vec!["one", "two"], "sent"));
    for to in ["lost", "late"] {
        let (tried, state) = links.tried(mail(to), "email").await;
        assert_eq!((tried.len(), tried[0].0.as_str(), state.as_str()), (1, "one", "unknown"), "{tried:?}");
        assert!(tried[0].1.contains("no answer"), "{tried:?}");
    }
    assert_eq!(links.arrived("lost@example.com"), 1);
}

async fn short_messages(links: &Links, log: &Log) {
    let phone = |to: &str| json!({ "phone": to, "language": "en" });
    let (tried, state) = links.tried(phone("+79160000000"), "sms").await;
    let accounts: Vec<&str> = tried.iter().map(|(account, _)| account.as_str()).collect();
    assert_eq!(accounts, ["closed", "no-tls", "stranger", "one"]);
    assert!(["sent", "delivered"].contains(&state.as_str()), "{state}");
    unreached(&tried[..2]);
    // A wrong password is no matter of the message: somebody has to put it right.
    assert!(tried[2].1.contains("out of use"), "{tried:?}");
    assert_eq!(log.with(&["WARN", "out of use", "stranger", "0x0e", "wrong password"]).len(), 1);
    for to in ["+79160000001", "+79160000002"] {
        let (tried, state) = links.tried(phone(to), "sms").await;
        assert_eq!((tried.last().unwrap().0.as_str(), state.as_str()), ("one", "unknown"), "{tried:?}");
        assert_eq!(links.arrived(to), 1);
    }
}

async fn apps(links: &Links) {
    let token =
        |name: &str| json!({ "kind": "fcm", "address": format!("{name}-{}", "0123456789".repeat(4)) });
    let good = links.device("good", token("good")).await;
    let (tried, state) = links.tried(good, "push").await;
    assert_eq!((unreached(&tried), state.as_str()), (vec!["closed", "no-tls", "slow", "one"], "sent"));
    for name in ["lost", "late"] {
        let (tried, state) = links.tried(links.device(name, token(name)).await, "push").await;
        assert_eq!((tried.last().unwrap().0.as_str(), state.as_str()), ("one", "unknown"), "{tried:?}");
        assert_eq!(links.arrived(&format!("{name}-")), 1);
    }
}

async fn browsers(links: &Links) {
    let given: Value = serde_json::from_str(&links.push.subscribe(None).unwrap()).unwrap();
    let there = given["endpoint"].as_str().unwrap().to_owned();
    let port = closed_port().await;
    let nowhere = there.replace(&links.push.served().address().port().to_string(), &port.to_string());
    let address = json!({ "kind": "web_push", "address": nowhere, "keys": given["keys"] });
    let (tried, state) = links.tried(links.device("off", address).await, "push").await;
    assert_eq!((tried.len(), state.as_str()), (1, "scheduled"), "{tried:?}");
    assert!(tried[0].1.contains("no connection"), "{tried:?}");
}
