//! Everything falls over while messages are under way: nodes, brokers, the database, the cache. Rounds of lines through the program,
//! killed at moments drawn from a seed; behind each round every line is accounted for, and the order of each key. One round here,
//! as many as somebody wants by `cargo xtask crash --minutes N`. The servers are its own. What runs is a node with the bridge and
//! a service that numbers what it reads (`keyed`), so that what is taken in twice or out of turn is seen by whom it happens to.

use crate::backends::Backends;
use crate::keyed::Counted;
use crate::nodes::Nodes;
use crate::process::{Process, Program};
use crate::scenarios::crashes::{agree_of, in_order, numbered_from, random, sending};
use crate::system::{System, consumed, messages, post, stats, stderr};
use crate::until::until;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const EVENTS: usize = 6;
/// Lines that are sent for each event: what is killed takes longer to come back than the others take for what was under way.
const PART: u64 = 4_000;
const LINES: u64 = EVENTS as u64 * PART;
/// Of so many kills one may find nothing under way.
const BUSY: usize = 6;
const SERVERS: [&str; 6] = ["node 1", "node 2", "broker 1", "broker 2", "database", "cache"];

struct Load {
    until: Instant,
    state: u64,
    /// Rounds that were begun.
    rounds: u64,
}

impl Load {
    fn given() -> Load {
        let of = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let minutes = of("ARTEL_CRASH_MINUTES").unwrap_or(0);
        let seed = of("ARTEL_TEST_SEED").unwrap_or(1).max(1);
        println!("seed {seed}; another by ARTEL_TEST_SEED");
        Load { until: Instant::now() + Duration::from_secs(minutes * 60), state: seed, rounds: 0 }
    }

    /// At how many consumed lines of its part each event happens, and what. Everything does in the first round.
    fn events(&mut self, kinds: &[&'static str]) -> Vec<(u64, &'static str)> {
        self.rounds += 1;
        let draw = |n: usize| {
            let moment = random(&mut self.state) % (PART / 2);
            let drawn = usize::try_from(random(&mut self.state) % kinds.len() as u64).unwrap();
            (moment, kinds[if self.rounds == 1 { n % kinds.len() } else { drawn }])
        };
        (0..EVENTS).map(draw).collect()
    }
}

async fn happen(event: &str, backends: &Backends, nodes: &mut Nodes) {
    match event {
        "node 1" => nodes.processes[0].crash().await,
        "node 2" => nodes.processes[1].crash().await,
        "broker 1" | "broker 2" => {
            let broker = event.replace("broker ", "kafka-");
            backends.kill(&broker);
            backends.up().await;
        }
        "database" | "cache" => {
            let server = if event == "database" { "postgres" } else { "redis" };
            backends.kill(server);
            backends.up().await;
        }
        other => panic!("no such event: {other}"),
    }
}

/// What was killed, and how many of the kills found nothing under way.
#[derive(Default)]
struct Kills {
    all: usize,
    idle: usize,
}

/// Waits until so many lines are consumed; says how many are under way then.
pub async fn under_way(system: &impl System, consumed: u64) -> u64 {
    until(&format!("{consumed} lines consumed"), async || {
        let now = system.client().get("/api/bridge/stats").await.ok()?.json::<Value>().ok()?;
        let (accepted, done) = (now["accepted"].as_u64()?, now["consumed"].as_u64()?);
        (done >= consumed).then(|| accepted.saturating_sub(done))
    })
    .await
}

/// Rounds until the time is over. `happens` lets one thing happen.
async fn rounds<S: System>(
    system: &mut S,
    kinds: &[&'static str],
    happens: impl AsyncFn(&mut S, &'static str),
) {
    let mut load = Load::given();
    let (mut round, mut kills) = (0, Kills::default());
    let folder = tempfile::tempdir().unwrap();
    let part = |n: u64| folder.path().join(format!("{n}.ndjson"));
    (0..EVENTS as u64).for_each(|n| numbered_from(&part(n), n * PART..(n + 1) * PART));
    while round == 0 || Instant::now() < load.until {
        round += 1;
        let (topic, began) = (format!("crash-{round}"), Instant::now());
        let followed = post(system, "/api/keyed/follow", &json!({ "topic": topic })).await;
        assert_eq!(followed.status, 200, "{}", followed.text());
        let (mut before, mut happened) = ((round - 1) * LINES, Vec::new());
        for ((moment, kind), n) in load.events(kinds).into_iter().zip(0..) {
            let producer = sending(system, &topic, &part(n));
            let lines = under_way(system, before + moment).await;
            happens(system, kind).await;
            kills.all += 1;
            kills.idle += usize::from(lines == 0);
            happened.push(format!("{kind} ({lines} under way)"));
            let sent =
                tokio::task::spawn_blocking(move || producer.wait_with_output().unwrap()).await.unwrap();
            assert!(sent.status.success(), "{}", stderr(&sent));
            before += PART;
        }
        consumed(system, round * LINES).await;
        agree_of(system, &topic, LINES, round * LINES).await;
        in_order(&messages(system, &topic).await);
        let counted = once_each(system, round * LINES).await;
        println!(
            "round {round}: {LINES} lines accepted, produced and consumed once each, every key in order, {:.1} s; killed: {}; {counted}",
            began.elapsed().as_secs_f64(),
            happened.join(", ")
        );
    }
    let Kills { all, idle } = kills;
    println!(
        "{} lines, {all} kills, {idle} of them of an idle system: nothing lost, nothing twice, nothing out of order",
        round * LINES
    );
    assert!(idle * BUSY <= all, "{idle} of {all} kills met nothing under way: they prove nothing");
}

/// The second service has numbered every line of each key once, in order, and has heard of every number once, in order. Says what
/// it counted, and how many repeats were recognised on the way there.
pub async fn once_each(system: &impl System, lines: u64) -> String {
    let lines = i64::try_from(lines).unwrap();
    let counted = until(&format!("{lines} numbers heard"), async || {
        let answer = system.client().get("/api/keyed/count").await.ok()?;
        answer.json::<Counted>().ok().filter(|counted| counted.heard + counted.missing >= lines)
    })
    .await;
    let published_again = counted.published_again;
    let right = Counted { read: lines, heard: lines, published_again, again: 0, late: 0, missing: 0 };
    assert_eq!(counted, right);
    let repeats = &stats(system).await["duplicates"];
    format!("{published_again} lines were published again, {repeats} repeats recognised by the bridge")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_of_one_process() {
    let mut process = Process::of(Program::Keyed, None).await;
    rounds(&mut process, &["the process"], async |process: &mut Process, _| process.crash().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_of_nodes_and_servers() {
    let which = ["kafka", "postgres", "redis"];
    let Some(backends) = Backends::start("crash", &which, &["--brokers", "3", "--durable"]) else {
        return;
    };
    let mut nodes = Nodes::keyed(backends.servers().await, 2).await;
    rounds(&mut nodes, &SERVERS, async |nodes: &mut Nodes, kind| happen(kind, &backends, nodes).await).await;
}
