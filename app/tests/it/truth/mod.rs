//! Notifications under way while everything falls over: nodes killed with SIGKILL, the broker, the database and the cache started anew,
//! the cache emptied. Behind it each id that was accepted is accounted for, against what arrived at providers that nobody killed:
//! none is lost, none arrives twice but where its history says that nobody knew, and each recipient gets what was accepted in the
//! order in which it was. A few seconds here; twenty thousand and ten kills by `cargo xtask crash --notify`.

mod ledger;
mod load;

use crate::backends::Backends;
use crate::nodes::Nodes;
use crate::process::{Process, Program};
use crate::providers::Providers;
use crate::scenarios::crashes::random;
use crate::system::System;
use crate::until::until;
use artel_frame::client::Client;
use ledger::Ledger;
use load::{CHUNK, Load};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// On their way to an account of a node, and the accounts that are sent to: so many may be unknown after each kill.
const AT_ONCE: usize = 40;
const ACCOUNTS: usize = 3;

/// Kills of nodes, and as many notifications that were accepted and had not arrived at each of them.
#[derive(Clone, Copy)]
struct Size {
    notifications: u64,
    kills: u64,
    under_way: u64,
}

impl Size {
    fn given() -> Size {
        let wanted = std::env::var("ARTEL_CRASH_NOTIFY").ok().and_then(|text| text.parse().ok());
        match wanted {
            Some(notifications) => Size { notifications, kills: 10, under_way: notifications / 40 },
            None => Size { notifications: 3_000, kills: 3, under_way: 100 },
        }
    }
}

/// Each answers after a moment, so that some are on the wire at every kill; of the mails some are refused for now, and tried again.
fn plan(seed: u64) -> Value {
    let latency = json!({ "percent": 100, "least_ms": 30, "most_ms": 90 });
    let busy = json!({ "smtp": { "code": 451, "enhanced": "4.3.0", "text": "try again later" } });
    json!({ "seed": seed, "providers": {
        "smtp": { "latency": latency, "refusals": [{ "percent": 1, "answer": busy }] },
        "smpp": { "latency": latency },
        "fcm": { "latency": latency },
    } })
}

/// Accounts with these providers. What is on its way to one when its node dies is what nobody knows the end of: few at once keep that
/// small.
fn settings(providers: &Providers) -> String {
    let accounts = std::fs::read_to_string(&providers.config).unwrap();
    let bounded = accounts.replace("]]\nname = ", &format!("]]\nat_once = {AT_ONCE}\nname = "));
    assert!(bounded.len() > accounts.len(), "{accounts}");
    format!("{bounded}\n[notify]\nask_after_seconds = 1\n[notify.retry]\npause_seconds = 1\n")
}

/// What happens, and when: so many have arrived by then.
fn events(size: Size, servers: &[&'static str], state: &mut u64) -> Vec<(u64, &'static str)> {
    let mut kinds = vec!["node"; usize::try_from(size.kills).unwrap()];
    for (server, at) in servers.iter().zip(1..) {
        let place = (at * kinds.len() / (servers.len() + 1)).clamp(1, kinds.len());
        kinds.insert(place, server);
    }
    // Behind the last one is as much as before each: something is under way however late the moment is seen.
    let part = size.notifications / (kinds.len() as u64 + 1);
    kinds.into_iter().zip(0..).map(|(kind, n)| (n * part + random(state) % (part / 2), kind)).collect()
}

/// What a run has seen happen.
#[derive(Default)]
struct Happened {
    kills: u64,
    /// Of a server, started again.
    servers: Vec<String>,
    /// Accepted and not arrived, at each kill of a node.
    under_way: Vec<u64>,
}

async fn run<S: System>(
    system: &mut S,
    clients: Vec<Client>,
    providers: &Providers,
    servers: &[&'static str],
    happen: impl AsyncFn(&mut S, &'static str, &Ledger),
) {
    let (size, seed) = (Size::given(), seed());
    providers.behave(&plan(seed)).await;
    let (nodes, load) = (clients.len(), Load::prepare(&clients).await);
    let ledger = Arc::new(Ledger::default());
    let began = Instant::now();
    let (chunks, runtime, allowed) = (size.notifications / CHUNK, Handle::current(), watch::Sender::new(0));
    let accepting = tokio::task::spawn_blocking({
        let (ledger, allowed) = (ledger.clone(), allowed.subscribe());
        // Beside everything below, which holds its thread while servers start.
        move || runtime.block_on(load.accept(chunks, allowed, ledger))
    });
    let (mut happened, mut state) = (Happened::default(), seed);
    let events = events(size, servers, &mut state);
    let part = size.notifications / (events.len() as u64 + 1);
    for ((moment, kind), n) in events.into_iter().zip(1..) {
        // What was under way at the event before may have arrived while a server started: there is more for each.
        allowed.send_replace(n * part + 3 * size.under_way);
        let taken = until(&format!("{moment} of them to arrive"), async || {
            let stuck = accepting.is_finished() && ledger.accepted() < size.notifications;
            assert!(!stuck, "nobody accepts any more");
            let (accepted, taken) = (ledger.accepted(), providers.taken().await);
            let ahead = accepted == size.notifications || accepted >= taken + size.under_way;
            (ahead && taken >= moment).then_some(taken)
        })
        .await;
        let under_way = ledger.accepted().saturating_sub(taken);
        happen(system, kind, &ledger).await;
        match kind {
            "node" => {
                happened.kills += 1;
                happened.under_way.push(under_way);
            }
            server => happened.servers.push(format!("{server} ({under_way} under way)")),
        }
    }
    allowed.send_replace(u64::MAX);
    accepting.await.unwrap();
    let report = ledger.account(system, providers).await;
    let Happened { kills, servers, under_way } = happened;
    println!(
        "seed {seed}: {} accepted; {kills} kills of nodes with {under_way:?} under way{}; all accounted for after {:.1} s\n{report}",
        ledger.accepted(),
        servers.iter().map(|server| format!(", then {server}")).collect::<String>(),
        began.elapsed().as_secs_f64()
    );
    // A database that falls over leaves both nodes in doubt of what they were storing; what comes behind a commit that has not
    // returned is begun already.
    let most = ACCOUNTS * AT_ONCE * (usize::try_from(kills).unwrap() + 2 * servers.len()) * nodes;
    assert!(report.unknown() <= most, "{} are unknown, where {most} may be", report.unknown());
    assert_eq!((ledger.accepted(), kills), (size.notifications, size.kills), "too little happened");
    let idle: Vec<&u64> = under_way.iter().filter(|count| **count < size.under_way).collect();
    assert!(idle.is_empty(), "kills with fewer than {} under way prove nothing: {idle:?}", size.under_way);
}

fn seed() -> u64 {
    let given = std::env::var("ARTEL_TEST_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(1).max(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_notification_is_accounted_for_when_one_process_is_killed() {
    let providers = Providers::start();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("artel.toml");
    std::fs::write(&config, settings(&providers)).unwrap();
    let mut process = Process::with(None, &["--config", config.to_str().unwrap()]).await;
    // Its operator has another token after each start; this one asks as anybody may.
    let clients = vec![Client::new(&process.url()).unwrap()];
    run(&mut process, clients, &providers, &[], async |process: &mut Process, _, _| process.crash().await)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_notification_is_accounted_for_when_nodes_and_servers_are_killed() {
    let which = ["kafka", "postgres", "redis"];
    let Some(backends) = Backends::start("truth", &which, &["--durable"]) else { return };
    let providers = Providers::start();
    let more = settings(&providers);
    let mut nodes = Nodes::running(backends.servers().await, 2, &Program::Artel, &more).await;
    let clients = (0..2).map(|node| nodes.client_of(node)).collect();
    let servers = ["broker", "database", "cache"];
    run(&mut nodes, clients, &providers, &servers, async |nodes: &mut Nodes, kind, ledger: &Ledger| {
        let server = match kind {
            "broker" => "kafka-1",
            "database" => "postgres",
            "cache" => {
                empty_cache(nodes, &backends.given("ARTEL_TEST_REDIS"), ledger).await;
                "redis"
            }
            _ => return nodes.crash().await,
        };
        backends.kill(server);
        backends.up().await;
    })
    .await;
}

/// A status that the cache has is told from the database when the cache is empty, and is the same.
async fn empty_cache(nodes: &Nodes, redis: &str, ledger: &Ledger) {
    let path = format!("/api/notify/deliveries/{}", ledger.first());
    let status = async || {
        let answer = nodes.client_of(0).get(&path).await.ok().filter(|answer| answer.status == 200)?;
        answer.json::<Value>().ok()
    };
    let before = until("a status from the cache", async || {
        status().await.filter(|status| status["source"] == "cache")
    })
    .await;
    let mut redis = TcpStream::connect(redis.trim_start_matches("redis://")).await.unwrap();
    redis.write_all(b"FLUSHALL\r\n").await.unwrap();
    let mut answer = [0; 5];
    redis.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"+OK\r\n");
    let after = until("a status without the cache", status).await;
    assert_eq!(after["source"], "database", "{after}");
    assert_eq!(after["legs"], before["legs"]);
}
