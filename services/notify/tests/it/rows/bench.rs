//! A node whose accounts are with simulators, two for each kind: what the first one does not take, the second one may.

use super::samples::Sample;
use super::senders::Senders;
use crate::edit::put;
use crate::{catalogue, fresh, get, shipment};
use artel_frame::Sandbox;
use artel_message::Time;
use artel_notify::domain::classes::Provider;
use artel_notify::domain::sms_text::decode_gsm;
use artel_wires::Said;
use artel_wires::simulators::fcm::{FcmSimulator, FcmSimulatorSettings};
use artel_wires::simulators::smpp::{SmppSimulator, SmppSimulatorSettings};
use artel_wires::simulators::twilio::{TwilioSimulator, TwilioSimulatorSettings};
use artel_wires::simulators::web_push::{WebPushSimulator, WebPushSimulatorSettings};
use artel_wires::simulators::{
    AddressRule, Answered, Arrival, Board, FaultPlan, Faults, Listen, ReceiptShares, Share, Shares, Wanted,
    smtp,
};
use artel_wires::web_push::{Subscription, VapidKey, WebPush, WebPushMessage, WebPushSettings};
use serde_json::{Value, json};
use std::any::Any;
use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Tries of a message, by the settings.
pub const TRIES: u32 = 6;
/// The first pause, by the settings.
pub const PAUSE: u64 = 10;

/// Somebody whom one message, or several, go to.
pub struct Person {
    recipient: Value,
    /// As the simulator's list has it.
    pub to: String,
}

/// How many answers are refusals.
#[derive(Clone, Copy)]
pub enum Whom {
    /// The first account's.
    First,
    /// So many; with two accounts the first half of them each.
    Times(u32),
    All,
}

impl Whom {
    fn times(self) -> Option<u32> {
        match self {
            Whom::First => Some(1),
            Whom::Times(times) => Some(times),
            Whom::All => None,
        }
    }
}

pub struct Bench {
    pub provider: Provider,
    pub node: Sandbox,
    pub board: Board,
    pub faults: Faults,
    fcm: Vec<FcmSimulator>,
    web_push: Option<WebPushSimulator>,
    senders: Senders,
    /// They listen until this is dropped.
    _held: Vec<Box<dyn Any>>,
    _folder: TempDir,
    people: Cell<u32>,
    /// What was given up, by delivery, and the code that has to stand in the reason.
    pub given_up: Vec<(String, String)>,
}

/// What a channel's accounts are set up from.
struct Setup {
    folder: TempDir,
    board: Board,
    faults: Faults,
    held: Vec<Box<dyn Any>>,
    fcm: Vec<FcmSimulator>,
    web_push: Option<WebPushSimulator>,
    senders: Senders,
}

impl Setup {
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// The table of one account, without its name.
    async fn account(&mut self, provider: Provider, name: &str) -> String {
        let (board, judge) = (self.board.clone(), self.faults.judge());
        match provider {
            Provider::Smtp => {
                let gate = self.senders.gate(name);
                let own =
                    smtp::Settings { gate: Some(gate), ..smtp::Settings::on(Listen::loopback(0).address) };
                let server = smtp::Simulator::start(own, board, judge).await.unwrap();
                let port = server.address().port();
                self.held.push(Box::new(server));
                format!(
                    "smtp]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"none\"\nfrom = \"parcels@example.com\"\n\
                     user = \"{name}\"\nsecret_file = '{}'\n",
                    self.file(name, "secret")
                )
            }
            Provider::Smpp => {
                let own = SmppSimulatorSettings::new(decode_gsm);
                let server = SmppSimulator::start(own, board, judge).await.unwrap();
                let port = server.address().port();
                self.held.push(Box::new(server));
                format!(
                    "smpp]\nhost = \"127.0.0.1\"\nport = {port}\nsystem_id = \"{name}\"\nsecret_file = '{}'\nfrom = \"Parcels\"\n",
                    self.file(name, "secret")
                )
            }
            Provider::Fcm => {
                let own =
                    FcmSimulatorSettings { project: name.to_owned(), ..FcmSimulatorSettings::default() };
                let server = FcmSimulator::start(own, board, judge).await.unwrap();
                let file = self.file(name, &server.service_account().await.unwrap());
                let table = format!("fcm]\naccount_file = '{file}'\nbase = \"{}\"\n", server.served().url());
                self.fcm.push(server);
                table
            }
            Provider::WebPush => {
                if self.web_push.is_none() {
                    let own = WebPushSimulatorSettings::default();
                    self.web_push = Some(WebPushSimulator::start(own, board, judge).await.unwrap());
                }
                let key = self.file(name, &VapidKey::generate().unwrap().private());
                format!(
                    "web_push]\ncontact = \"mailto:{name}@example.com\"\nkey_file = '{key}'\nallow_loopback = true\n"
                )
            }
            Provider::Twilio => {
                let own = TwilioSimulatorSettings {
                    account: format!("AC{name}"),
                    ..TwilioSimulatorSettings::default()
                };
                let (account, token) = (own.account.clone(), own.token.clone());
                let server = TwilioSimulator::start(own, board, judge).await.unwrap();
                let base = server.served().url();
                self.held.push(Box::new(server));
                format!(
                    "twilio]\naccount_sid = \"{account}\"\nsecret_file = '{}'\nfrom = \"+15005550006\"\n\
                     base = \"{base}\"\nsettles_seconds = 0\n",
                    self.file(name, &token)
                )
            }
            other => panic!("{} has no carrier", other.as_str()),
        }
    }
}

/// The accounts `one` and `two` of a provider, on a node whose clock stands still.
pub async fn start(provider: Provider) -> Bench {
    let board = Board::new(64 << 20, Arc::new(|| 0));
    let faults = Faults::new(FaultPlan::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut setup = Setup {
        folder,
        board,
        faults,
        held: Vec::new(),
        fcm: Vec::new(),
        web_push: None,
        senders: Senders::default(),
    };
    let channel = match provider {
        Provider::Smtp => "email",
        Provider::Fcm | Provider::WebPush => "push",
        _ => "sms",
    };
    let mut text = format!(
        "[notify]\nhold_ms = 0\nask_after_seconds = 0\nkeep_days = 36500\n\
         [notify.retry]\npause_seconds = {PAUSE}\ntries = {TRIES}\nage_hours = 720\n"
    );
    for name in ["one", "two"] {
        let table = setup.account(provider, name).await;
        text +=
            &format!("[[notify.{channel}.accounts]]\nname = \"{name}\"\n[notify.{channel}.accounts.{table}");
    }
    let file = PathBuf::from(setup.file("artel.toml", &text));
    let node = Sandbox::of(|| vec![artel_notify::service()], catalogue).file(file);
    let node = node.manual_clock(Time::from_system(SystemTime::now())).setting("flow.effect_for", "60d");
    let node = node.start().await.expect("the node starts");
    let Setup { folder, board, faults, held, fcm, web_push, senders } = setup;
    let bench = Bench {
        provider,
        node,
        board,
        faults,
        fcm,
        web_push,
        senders,
        _held: held,
        _folder: folder,
        people: Cell::new(0),
        given_up: Vec::new(),
    };
    // No receipts, from the first message on.
    bench.plan(Vec::new());
    bench
}

impl Bench {
    /// Somebody whom nothing was sent to before.
    pub async fn person(&self) -> Person {
        let n = self.people.replace(self.people.get() + 1);
        match self.provider {
            Provider::Smtp => {
                let to = format!("row-{n:04}@example.com");
                Person { recipient: json!({ "email": to, "language": "en" }), to }
            }
            Provider::Fcm => {
                let to = format!("row-{n:04}-{}", "0123456789".repeat(4));
                self.subscriber(n, json!({ "kind": "fcm", "address": to }), to).await
            }
            Provider::WebPush => {
                let given = self.web_push.as_ref().unwrap().subscribe(None).unwrap();
                let given: Value = serde_json::from_str(&given).unwrap();
                let to = given["endpoint"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
                let address =
                    json!({ "kind": "web_push", "address": given["endpoint"], "keys": given["keys"] });
                self.subscriber(n, address, to).await
            }
            _ => {
                let to = format!("+7916{n:07}");
                Person { recipient: json!({ "phone": to, "language": "en" }), to }
            }
        }
    }

    async fn subscriber(&self, n: u32, address: Value, to: String) -> Person {
        let path = format!("/api/notify/subscribers/s{n}");
        let profile = json!({ "language": "en", "addresses": [address] });
        let made = put(&self.node.client(), &path, &profile).await;
        assert!(made.is_success(), "{}", made.text());
        Person { recipient: json!({ "subscriber": format!("s{n}") }), to }
    }

    /// What is answered to somebody's next messages; what comes behind them, and what goes to others, is taken.
    pub fn refuse(&self, person: &Person, sample: &Sample, whom: Whom) {
        let rule = AddressRule { times: whom.times(), ..AddressRule::default() };
        self.senders.refuse(None);
        let addresses = match sample {
            Sample::Good => Vec::new(),
            Sample::Refuses(answered) => {
                vec![AddressRule { begins: person.to.clone(), refusal: Some(answered.clone()), ..rule }]
            }
            Sample::NoSender(answered) => {
                self.senders.refuse(Some((answered.clone(), whom.times(), person.to.clone())));
                Vec::new()
            }
            Sample::NoToken(answered) => {
                let (accounts, ends) = match whom {
                    Whom::First => (1, "@one.iam.gserviceaccount.com"),
                    Whom::Times(_) | Whom::All => (2, ".iam.gserviceaccount.com"),
                };
                self.fcm[..accounts].iter().for_each(FcmSimulator::withdraw_tokens);
                // Counted by account, each of which asks for its own.
                let times = rule.times.map(|times| times.div_ceil(2));
                let (provider, refusal) = (Some("fcm_token".to_owned()), Some(answered.clone()));
                vec![AddressRule { provider, ends: ends.to_owned(), times, refusal, ..rule }]
            }
        };
        self.plan(addresses);
    }

    pub fn plan(&self, addresses: Vec<AddressRule>) {
        let receipts = ReceiptShares { missing: 100.0, ..ReceiptShares::default() };
        let shares = Shares { receipts, ..Shares::default() };
        let providers = [("smpp".to_owned(), shares.clone()), ("twilio".to_owned(), shares)].into();
        self.faults.set(FaultPlan { seed: 1, providers, addresses }).unwrap();
    }

    /// Sends somebody a message, and gives its id once nothing is under way.
    pub async fn send(&self, person: &Person) -> String {
        let content = json!({ "template": "shipment", "topic": "shipments", "data": shipment(), "channels": [self.channel()] });
        let id = crate::send(&self.node, &json!({ "recipient": person.recipient, "content": content })).await;
        self.node.settle().await;
        id
    }

    pub fn channel(&self) -> &'static str {
        match self.provider {
            Provider::Smtp => "email",
            Provider::Fcm | Provider::WebPush => "push",
            _ => "sms",
        }
    }

    /// The accounts over which messages for somebody came, in order.
    pub fn seen(&self, person: &Person) -> Vec<&'static str> {
        let wanted = Wanted { to: Some(person.to.clone()), limit: 1_000, ..Wanted::default() };
        let mut all = self.board.list(&wanted);
        all.reverse();
        let name = |one: &Arrival| if one.account.contains("two") { "two" } else { "one" };
        let mut seen = self.senders.seen(&person.to);
        seen.extend(all.iter().map(name));
        seen
    }

    /// What is known of a message's only leg: its state, and when it is tried again.
    pub async fn leg(&self, id: &str) -> (String, Option<Time>, Value) {
        let delivery = fresh(&self.node, id).await;
        let leg = delivery["legs"][0].clone();
        let next = leg["next_at"].as_str().map(|at| at.parse().unwrap());
        (leg["state"].as_str().unwrap().to_owned(), next, leg)
    }

    pub async fn later(&self, by: Duration) {
        self.node.advance(by);
        self.node.settle().await;
    }

    /// Goes on to the moment at which a message is tried again; it is not tried before. How long that took.
    pub async fn next_try(&self, person: &Person, id: &str) -> Duration {
        let (state, next, leg) = self.leg(id).await;
        assert_eq!(state, "scheduled", "{leg}");
        let (before, wait) = (self.seen(person).len(), next.expect("it waits").since(self.node.now()));
        let short = Duration::from_millis(1);
        if wait > short {
            self.later(wait - short).await;
            assert_eq!(self.seen(person).len(), before, "before its moment: {leg}");
        }
        // The pause of the effect itself, which grows with its calls, may be a longer one.
        for more in [2, 30_000, 300_000] {
            self.later(Duration::from_millis(more)).await;
            let (state, then, _) = self.leg(id).await;
            if self.seen(person).len() > before || state != "scheduled" || then != next {
                return wait;
            }
        }
        panic!("it is not tried again: {leg}");
    }

    /// Why nothing is sent to somebody any more; for push, that nothing is known of a device.
    pub async fn suppressed(&self, person: &Person) -> Option<String> {
        match self.channel() {
            "push" => {
                let path =
                    format!("/api/notify/subscribers/{}", person.recipient["subscriber"].as_str().unwrap());
                let read = get(&self.node.client(), &path).await;
                read["profile"]["addresses"].is_null().then(|| "removed".to_owned())
            }
            _ => {
                let address = person.to.replace('+', "%2B");
                let path = format!("/api/notify/suppressions?address={address}");
                let found = get(&self.node.client(), &path).await;
                found["items"][0]["reason"].as_str().map(str::to_owned)
            }
        }
    }

    /// Both accounts work again, as after an hour in which what was wrong was put right.
    pub async fn heal(&self) {
        self.plan(Vec::new());
        self.senders.refuse(None);
        self.later(Duration::from_secs(3_600)).await;
        let passes = Sample::Refuses(match self.provider {
            Provider::Smtp => Answered::Smtp { code: 451, enhanced: String::new(), text: String::new() },
            Provider::Smpp => Answered::Smpp { status: 0x08 },
            _ => Answered::Http { status: 500, code: String::new(), retry_after_s: None },
        });
        // A few successes in a row close a circuit: those of the first account, then those of the second.
        for second in [false, false, false, true, false, true, false] {
            let person = self.person().await;
            if second {
                self.refuse(&person, &passes, Whom::First);
            }
            self.send(&person).await;
            let by: &[&str] = if second { &["one", "two"] } else { &["one"] };
            assert_eq!(self.seen(&person), by, "both accounts are in use again");
        }
    }
}

/// What the wire says of a push message that is answered so.
pub async fn wire_of_web_push(answered: &Answered) -> Said {
    let faults = Faults::new(FaultPlan::default()).unwrap();
    let board = Board::new(1 << 20, Arc::new(|| 0));
    let server =
        WebPushSimulator::start(WebPushSimulatorSettings::default(), board, faults.judge()).await.unwrap();
    let to = Subscription::parse(&server.subscribe(None).unwrap()).unwrap();
    let share = Share { percent: 100.0, answer: answered.clone() };
    let shares = Shares { refusals: vec![share], ..Shares::default() };
    let providers = [("web_push".to_owned(), shares)].into();
    faults.set(FaultPlan { seed: 1, providers, addresses: Vec::new() }).unwrap();
    let settings = WebPushSettings {
        contact: "mailto:parcels@example.com".to_owned(),
        allow_loopback: true,
        ..WebPushSettings::default()
    };
    let client = WebPush::new(VapidKey::generate().unwrap(), settings).unwrap();
    client.send(&to, &WebPushMessage::default()).await.unwrap().said
}

/// A port that nobody listens on.
pub async fn closed_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}
