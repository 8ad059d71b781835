//! From a commit to the handler of another service: the time between the return of the call that committed a message and the
//! beginning of its handler. At 8 and 100 messages/s each is committed by itself, at 1,000/s ten at a time.
//!
//! The twin is an outbox by hand: a row is committed, a task that is woken then publishes it (to a plain file with
//! fdatasync; on Kafka with one producer, acks=all, without lingering), and the reader (woken in process; on Kafka by
//! its own poll) notes the time. It keeps no offset and deletes nothing.

#[cfg(feature = "kafka")]
pub(crate) mod kafka;
mod twin;

use crate::node::Node;
use anyhow::{Context, Result, bail, ensure};
use artel_bus::Bus;
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_flow::{Ctx, Limits, Read, Service, Tx};
use artel_message::{Command, Described, Event, Fault, Query};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::time::MissedTickBehavior;

/// Messages/s, and how many are committed at once.
pub(crate) const RATES: [(u32, u32); 3] = [(8, 1), (100, 1), (1_000, 10)];

#[derive(Debug, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "till.sold", topic = "till.sale", key = sku)]
struct Sold {
    n: u32,
    sku: String,
    text: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "till.sell")]
pub(crate) struct Sell {
    pub first: u32,
    pub count: u32,
}

/// Whether anything waits in the outbox.
#[derive(Debug, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "till.any", reply = bool)]
pub(crate) struct Any {}

#[derive(Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "hear.nothing")]
struct Nothing {}

/// When each message's commit had returned, and when its handler began.
#[derive(Default)]
pub(crate) struct Moments {
    committed: HashMap<u32, Instant>,
    handled: HashMap<u32, Instant>,
}

pub(crate) type Shared = Arc<Mutex<Moments>>;

pub(crate) fn note(moments: &Shared, n: u32, committed: bool) {
    let mut moments = moments.lock().unwrap_or_else(PoisonError::into_inner);
    let map = if committed { &mut moments.committed } else { &mut moments.handled };
    map.entry(n).or_insert_with(Instant::now);
}

async fn sell(tx: &mut Tx, sell: Sell) -> Result<(), Fault> {
    for n in sell.first..sell.first + sell.count {
        tx.publish(Sold { n, sku: format!("sku-{}", n % 1000), text: "x".repeat(210) });
    }
    Ok(())
}

type Heard = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>;

/// A handler that notes when it began.
fn hear(moments: &Shared) -> impl Fn(&mut Tx, Sold) -> Heard + Clone + Send + Sync + 'static {
    let moments = moments.clone();
    move |_: &mut Tx, sold: Sold| {
        note(&moments, sold.n, false);
        Box::pin(std::future::ready(Ok(())))
    }
}

async fn nothing(_: &mut Tx, _: Nothing) -> Result<(), Fault> {
    Ok(())
}

async fn any(read: &Read, _: Any) -> Result<bool, Fault> {
    let row: Option<(i64,)> = read.opt("SELECT id FROM flow_outbox LIMIT 1", ()).await?;
    Ok(row.is_some())
}

pub(crate) fn services(moments: &Shared) -> Vec<Service> {
    vec![
        Service::new("till").command(sell).query(any),
        Service::new("hear").command(nothing).on(hear(moments)),
    ]
}

pub(crate) fn catalogue() -> Vec<Described> {
    vec![
        Described::event::<Sold>(),
        Described::command::<Sell>(),
        Described::command::<Nothing>(),
        Described::query::<Any>(),
    ]
}

/// `latency [SECONDS] [--kafka BROKERS --postgres URL]`
pub fn run(args: &[String]) -> Result<()> {
    const USAGE: &str = "latency [SECONDS] [--kafka BROKERS --postgres URL]";
    let (mut seconds, mut brokers, mut postgres) = (20, None, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--kafka" => brokers = Some(args.next().context(USAGE)?.clone()),
            "--postgres" => postgres = Some(args.next().context(USAGE)?.clone()),
            number => seconds = number.parse().with_context(|| format!("{number}: {USAGE}"))?,
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("commit to handler, {seconds} s each\n");
    println!(
        "| messages/s | flow p50 ms | p99 ms | most ms | by hand p50 ms | p99 ms | most ms |\n|---|---|---|---|---|---|---|"
    );
    runtime.block_on(async {
        match (brokers, postgres) {
            (None, None) => embedded(seconds).await,
            #[cfg(feature = "kafka")]
            (Some(brokers), Some(postgres)) => kafka::on_servers(&brokers, &postgres, seconds).await,
            #[cfg(not(feature = "kafka"))]
            (Some(_), Some(_)) => bail!("build it with --features kafka"),
            _ => bail!("{USAGE}: Kafka and PostgreSQL go together"),
        }
    })
}

async fn embedded(seconds: u32) -> Result<()> {
    for (rate, at_once) in RATES {
        let dir = TempDir::new()?;
        let bus: Arc<dyn Bus> = Segments::open(dir.path().join("log"), SegmentsConfig::default())?;
        let store = format!("sqlite:{}", dir.path().join("db").display());
        let ours = flow(bus, &store, rate, at_once, seconds).await?;
        let hand = twin::embedded(dir.path(), rate, at_once, seconds).await?;
        print(rate, &ours, &hand);
    }
    Ok(())
}

pub(crate) fn print(rate: u32, ours: &[f64], hand: &[f64]) {
    let at = |all: &[f64], share: f64| {
        let index = ((all.len() as f64 * share) as usize).min(all.len().saturating_sub(1));
        all.get(index).copied().unwrap_or_default()
    };
    let row = |all: &[f64]| format!("{:.1} | {:.1} | {:.1}", at(all, 0.5), at(all, 0.99), at(all, 1.0));
    println!("| {rate} | {} | {} |", row(ours), row(hand));
}

/// Calls `commit` at the rate, with the first number and how many, and notes when it has returned; then waits until all have
/// been handled. Milliseconds, ascending; the first second is left out.
pub(crate) async fn drive<F: Future<Output = Result<()>>>(
    moments: &Shared,
    (rate, at_once, seconds): (u32, u32, u32),
    mut commit: impl FnMut(u32, u32) -> F,
) -> Result<Vec<f64>> {
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(f64::from(at_once) / f64::from(rate)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let total = rate * (seconds + 1);
    for first in (0..total).step_by(at_once as usize) {
        ticks.tick().await;
        commit(first, at_once).await?;
        (first..first + at_once).for_each(|n| note(moments, n, true));
    }
    let until = Instant::now() + Duration::from_secs(60);
    while moments.lock().unwrap_or_else(PoisonError::into_inner).handled.len() < total as usize {
        ensure!(Instant::now() < until, "not all messages were handled within a minute");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let moments = moments.lock().unwrap_or_else(PoisonError::into_inner);
    let mut took: Vec<f64> = (rate..total)
        .filter_map(|n| {
            let (committed, handled) = (moments.committed.get(&n)?, moments.handled.get(&n)?);
            Some(handled.saturating_duration_since(*committed).as_secs_f64() * 1e3)
        })
        .collect();
    took.sort_by(f64::total_cmp);
    Ok(took)
}

pub(crate) async fn flow(
    bus: Arc<dyn Bus>,
    store: &str,
    rate: u32,
    at_once: u32,
    seconds: u32,
) -> Result<Vec<f64>> {
    let moments = Shared::default();
    let node = Node {
        services: services(&moments),
        roles: vec!["till", "hear"],
        catalogue: catalogue(),
        bus,
        store: store.to_owned(),
        limits: Limits::default(),
    };
    let runtime = node.start().await?;
    let ctx: Ctx = runtime.ctx("till").context("the service runs")?.clone();
    let commit = |first, count| {
        let ctx = ctx.clone();
        async move { Ok(ctx.ask(Sell { first, count }).await?) }
    };
    let took = drive(&moments, (rate, at_once, seconds), commit).await?;
    runtime.stop(Duration::from_secs(10)).await;
    Ok(took)
}
