//! Judges that we did not write: jsmpp's centre, and both sides on npm's smpp.
//!
//! ARTEL_TEST_FOREIGN names the folder that `cargo xtask backends install` fills. Without it the tests say that they are skipped;
//! on CI they fail.

use super::{PATIENCE, board, bound, gsm, long, sms};
use artel_wires::Said;
use artel_wires::simulators::smpp::{SmppSimulator, SmppSimulatorSettings};
use artel_wires::simulators::{Arrival, Behaviour, Receipt as Told, Refusal, Wanted};
use artel_wires::smpp::{Client, Delivery, Ids, Incoming, Receipt, Reference, Settings, sender};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// The folder, or a reason said aloud.
fn folder(test: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("ARTEL_TEST_FOREIGN") {
        return Some(PathBuf::from(folder));
    }
    assert!(
        std::env::var("CI").map_or(true, |ci| ci != "true"),
        "ARTEL_TEST_FOREIGN is not set; `cargo xtask backends install` fetches what it names"
    );
    println!(
        "skipped: smpp::foreign::{test}: ARTEL_TEST_FOREIGN is not set (others' programs, from ./test tools)"
    );
    None
}

/// A program that talks in lines of JSON; it ends with the test.
struct Program {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn node(folder: &Path, script: &str, argument: &str) -> Program {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/node").join(script);
        let mut node = Command::new("node");
        node.arg(script).arg(argument).env("NODE_PATH", folder.join("node_modules"));
        let mut child = node.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Program { _child: child, lines }
    }

    /// The next line that says this, in which other things may stand too.
    async fn says(&mut self, key: &str) -> Value {
        let line = async {
            loop {
                let line =
                    self.lines.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended before {key}"));
                let said: Value = serde_json::from_str(&line).unwrap();
                assert!(said.get("error").is_none(), "{line}");
                if said.get(key).is_some() {
                    return said;
                }
            }
        };
        timeout(PATIENCE, line).await.unwrap()
    }
}

fn of(port: u16, name: &str, password: &str) -> Settings {
    Settings {
        host: "127.0.0.1".into(),
        port,
        system_id: name.into(),
        password: password.into(),
        source: sender("Parcels").unwrap(),
        least_pause: Duration::from_millis(50),
        ..Settings::default()
    }
}

async fn receipts(incoming: &mut Receiver<Delivery>, count: usize) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    while receipts.len() < count {
        let delivery = timeout(PATIENCE, incoming.recv()).await.unwrap().unwrap();
        let Incoming::Receipt(receipt) = delivery.incoming.clone() else {
            panic!("no receipt: {delivery:?}")
        };
        delivery.stored().await;
        receipts.push(receipt);
    }
    receipts
}

#[tokio::test]
async fn the_client_at_a_centre_of_npm() {
    let Some(folder) = folder("the_client_at_a_centre_of_npm") else { return };
    let mut node = Program::node(&folder, "smsc.js", "");
    let port = u16::try_from(node.says("port").await["port"].as_u64().unwrap()).unwrap();
    let enquire_link = Duration::from_millis(300);
    let (client, mut incoming) = Client::start(Settings { enquire_link, ..of(port, "shop", "secret") });
    assert_eq!(node.says("bind").await, json!({"bind": "shop", "version": 0x34}));

    let sent = client.send(&sms("a parcel").user_reference(4711).validity(Duration::from_secs(90))).await;
    let seen = node.says("id").await;
    assert_eq!(Some(seen["id"].as_str().unwrap()), sent.handed.reference.as_deref());
    assert_eq!(
        (&seen["to"], &seen["from"], &seen["text"]),
        (&json!("79161234567"), &json!("Parcels"), &json!("a parcel"))
    );
    assert!(seen["validity"].is_string(), "a time of day that it can read: {seen}");
    let receipt = receipts(&mut incoming, 1).await.remove(0);
    assert_eq!((Some(receipt.reference), receipt.state), (sent.handed.reference, 2));
    assert_eq!((receipt.user_reference, receipt.error.as_deref()), (Some(4711), Some("000")));
    assert_eq!(node.says("receipt").await["answered"], 0);

    // It puts the parts together itself.
    let text: String = ('а'..='я').cycle().take(150).chain("😀".chars()).collect();
    for reference in [Reference::Eight(9), Reference::Sixteen(40_000)] {
        let sent = client.send(&long(&text, 64, reference)).await;
        assert_eq!((&sent.handed.said, sent.taken.len()), (&Said::Smpp { status: 0 }, 3));
        for expected in [Value::Null, Value::Null, json!(text)] {
            assert_eq!(node.says("text").await["text"], expected, "{reference:?}");
        }
        let told: Vec<_> =
            receipts(&mut incoming, 3).await.into_iter().map(|receipt| receipt.reference).collect();
        assert_eq!(told, sent.taken);
        let state = client.query(&sent.taken[2], None).await.state.unwrap();
        assert_eq!((state.message_id, state.state), (sent.taken[2].clone(), 2));
    }
    assert_eq!(client.send(&sms("throttle")).await.handed.said, Said::Smpp { status: 0x58 });
    assert_eq!(client.query("unknown", None).await.said, Said::Smpp { status: 0x67 });
    assert_eq!(node.says("enquired").await["enquired"], true);
    client.close().await;
    assert_eq!(node.says("unbound").await["unbound"], true);
    let (stranger, _incoming) = Client::start(of(port, "shop", "wrong"));
    assert_eq!(stranger.send(&sms("a")).await.handed.said, Said::Smpp { status: 0x0E });
}

#[tokio::test]
async fn a_client_of_npm_at_the_centre() {
    let Some(folder) = folder("a_client_of_npm_at_the_centre") else { return };
    let board = board();
    let judge = Arc::new(|arrival: &Arrival| match arrival.text.as_str() {
        "refuse" => Behaviour { refusal: Some(Refusal::Smpp { status: 0x0B }), ..Behaviour::default() },
        _ => {
            Behaviour { receipts: vec![(Duration::from_millis(1), Told::Delivered)], ..Behaviour::default() }
        }
    });
    let accounts = vec![("shop".to_owned(), "secret".to_owned())];
    let repeat = Duration::from_millis(20);
    let settings = SmppSimulatorSettings { accounts, repeat, ..SmppSimulatorSettings::new(gsm) };
    let smsc = SmppSimulator::start(settings, board.clone(), judge).await.unwrap();
    let mut node = Program::node(&folder, "esme.js", &smsc.address().port().to_string());
    let seen = node.says("bound").await;
    for (what, expected) in [
        ("bound", json!(0)),
        ("plain", json!(0)),
        ("long", json!(0)),
        ("payload", json!(0)),
        ("refused", json!(0x0B)),
        ("unknown", json!(0x67)),
        ("enquired", json!(0)),
        ("strange", json!("generic_nack")),
        ("unbound", json!(0)),
    ] {
        assert_eq!(seen[what], expected, "{what}: {seen}");
    }
    assert_eq!(seen["state"][0], 0);
    let ids = seen["ids"].as_array().unwrap();
    assert_eq!(ids.len(), 4);
    for receipt in seen["receipts"].as_array().unwrap() {
        assert!(ids.contains(&receipt[0]), "{receipt}");
        assert_eq!((&receipt[1], &receipt[2], &receipt[3]), (&json!(2), &json!(4), &json!(true)));
    }
    let mut arrivals = board.list(&Wanted::default());
    arrivals.reverse();
    let texts: Vec<_> =
        arrivals.iter().map(|arrival| (arrival.text.as_str(), arrival.key.as_str(), arrival.taken)).collect();
    let payload = "p".repeat(500);
    let expected = [
        ("a parcel @ the door", "12", true),
        ("Посылка у двери 😀", "77", true),
        (&payload, "", true),
        ("refuse", "", false),
    ];
    assert_eq!(texts, expected);
}

/// One below those that the system gives to connections: a client that knocks at such a port may meet itself.
fn free_port() -> u16 {
    let start = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    (start..32_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

#[tokio::test]
async fn the_client_at_the_centre_of_jsmpp() {
    let Some(folder) = folder("the_client_at_the_centre_of_jsmpp") else { return };
    let port = free_port();
    let mut java = Command::new("java");
    java.args(["-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]).arg(folder.join("java/*"));
    java.arg(format!("-Djsmpp.simulator.port={port}")).arg("org.jsmpp.examples.SMPPServerSimulator");
    let _child = java.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    // Its answers are hexadecimal, its receipts decimal.
    let ids = Ids::HexAnswers { digits: 0, upper: false };
    let (client, mut incoming) = Client::start(Settings { ids, ..of(port, "j", "jpwd") });
    // Once Java has started.
    bound(&client, 1).await;
    // It greets everybody.
    let greeting = timeout(PATIENCE, incoming.recv()).await.unwrap().unwrap();
    let Incoming::Message(message) = greeting.incoming.clone() else { panic!("no message: {greeting:?}") };
    assert_eq!((message.from.digits.as_str(), message.octets.as_ref()), ("555", &b"Hello World"[..]));
    greeting.stored().await;
    let sent = client.send(&sms("a parcel")).await;
    assert_eq!(sent.handed.said, Said::Smpp { status: 0 });
    let receipt = receipts(&mut incoming, 1).await.remove(0);
    assert_eq!((Some(receipt.reference), receipt.state), (sent.handed.reference, 2));
    let text: String = ('а'..='я').cycle().take(150).collect();
    let sent = client.send(&long(&text, 66, Reference::Sixteen(7))).await;
    assert_eq!((&sent.handed.said, sent.taken.len()), (&Said::Smpp { status: 0 }, 3));
    let told: Vec<_> =
        receipts(&mut incoming, 3).await.into_iter().map(|receipt| receipt.reference).collect();
    assert!(sent.taken.iter().all(|taken| told.contains(taken)), "{told:?} {:?}", sent.taken);
    // It can't be asked, and says so.
    let said = client.query(&sent.taken[0], None).await.said;
    assert!(matches!(said, Said::Smpp { status } if status != 0), "{said:?}");
    client.close().await;
    let (stranger, _incoming) = Client::start(of(port, "j", "wrong"));
    assert_eq!(stranger.send(&sms("a")).await.handed.said, Said::Smpp { status: 0x0E });
}
