//! The flow's side: a service that sets timers and writes a row when one fires.

use super::{Late, Load, Measured, burst_of};
use crate::node::Node;
use crate::place::Place;
use anyhow::{Context, Result, bail, ensure};
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_flow::{Clock, Ctx, FlowMetrics, Limits, Msg, Read, Runtime, Service, Tx};
use artel_message::{Command, Described, Fault, Query, Time};
use artel_store::{Args, Migrations};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const CHUNK: u32 = 5_000;

/// Sets timers `first` to `first + count`; number n comes due at `from` + n * `step_us`.
#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "bell.set")]
struct Set {
    first: u32,
    count: u32,
    from: Time,
    step_us: f64,
    alone: bool,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "bell.ring")]
struct Ring {
    n: u32,
    due: Time,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "bell.chime")]
struct Chime {
    n: u32,
    due: Time,
}

#[derive(Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "bell.fired", reply = i64)]
struct Fired {}

#[derive(Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "bell.late", reply = Vec<i64>)]
struct AllLate {}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "bell.clear")]
struct Clear {}

const TABLES: Migrations = Migrations {
    component: "bell",
    files: &[("0001_bell.sql", "CREATE TABLE fired (n BIGINT PRIMARY KEY, late BIGINT NOT NULL);")],
};

const INSERT: &str = "INSERT INTO fired (n, late) VALUES {rows}";

fn service() -> Service {
    Service::new("bell")
        .migrations(TABLES)
        .command(set)
        .command(ring)
        .command_batch(chime)
        .command(clear)
        .query(fired)
        .query(all_late)
}

async fn set(tx: &mut Tx, set: Set) -> Result<(), Fault> {
    for n in set.first..set.first + set.count {
        let due = set.from + Duration::from_micros((f64::from(n) * set.step_us) as u64);
        let wait = due.since(tx.now());
        if set.alone {
            tx.after(n.to_string(), wait, Ring { n, due });
        } else {
            tx.after(n.to_string(), wait, Chime { n, due });
        }
    }
    Ok(())
}

fn late(now: Time, due: Time) -> i64 {
    i64::try_from(now.since(due).as_micros()).unwrap_or(i64::MAX)
}

async fn ring(tx: &mut Tx, ring: Ring) -> Result<(), Fault> {
    let late = late(tx.now(), ring.due);
    tx.exec("INSERT INTO fired (n, late) VALUES ($1, $2)", (ring.n, late)).await?;
    Ok(())
}

async fn chime(tx: &mut Tx, chimes: Vec<Msg<Chime>>) -> Result<(), Fault> {
    let now = tx.now();
    let rows = chimes.iter().map(|chime| (chime.n, late(now, chime.due)).values()).collect();
    tx.exec_rows(INSERT, (), rows).await?;
    Ok(())
}

async fn clear(tx: &mut Tx, _: Clear) -> Result<(), Fault> {
    tx.exec("DELETE FROM fired", ()).await?;
    Ok(())
}

async fn fired(read: &Read, _: Fired) -> Result<i64, Fault> {
    let (n,): (i64,) = read.one("SELECT count(*) FROM fired", ()).await?;
    Ok(n)
}

async fn all_late(read: &Read, _: AllLate) -> Result<Vec<i64>, Fault> {
    let rows: Vec<(i64,)> = read.all("SELECT late FROM fired", ()).await?;
    Ok(rows.into_iter().map(|(late,)| late).collect())
}

/// Both parts on a fresh node.
pub(super) async fn measure(load: &Load) -> Result<Measured> {
    let dir = TempDir::new()?;
    let place = Place::new(load.postgres.as_deref(), &dir).await?;
    let metrics = FlowMetrics::default();
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let runtime = start(&dir, &place.url, metrics).await?;
    let ctx = runtime.ctx("bell").context("the service runs")?;

    set_all(ctx, load, load.timers, load.over).await?;
    wait_for(ctx, load.timers, load.over + Duration::from_secs(120)).await?;
    if let Some(peak) = peak_memory() {
        println!("peak memory of the node so far: {peak}");
    }
    let late = ctx.query(AllLate {}).await?;
    ensure!(late.len() == load.timers as usize, "{} of {} timers fired", late.len(), load.timers);
    let late = Late::of(late, Some(buckets(&registry)?));

    ctx.ask(Clear {}).await?;
    let many = burst_of(load);
    let from = set_all(ctx, load, many, Duration::ZERO).await?;
    wait_for(ctx, many, Duration::from_secs(300)).await?;
    let took = Clock::system().now().since(from);
    runtime.stop(Duration::from_secs(10)).await;
    place.close().await?;
    Ok(Measured { late, burst: f64::from(many) / took.as_secs_f64() })
}

/// The most memory that this process has had, where the system says so.
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.trim_start_matches("VmHWM:").trim().to_owned())
}

/// Sets all timers before the first comes due, and returns when that is.
async fn set_all(ctx: &Ctx, load: &Load, timers: u32, over: Duration) -> Result<Time> {
    // Long enough to set them: 10,000 a second at the least.
    let ahead = Duration::from_secs(5 + u64::from(timers) / 10_000);
    let from = Clock::system().now() + ahead;
    let step_us = over.as_micros() as f64 / f64::from(timers);
    let begun = Instant::now();
    for first in (0..timers).step_by(CHUNK as usize) {
        let count = CHUNK.min(timers - first);
        ctx.ask(Set { first, count, from, step_us, alone: load.alone }).await?;
    }
    let took = begun.elapsed();
    println!(
        "{timers} timers set in {:.1} s, {:.0} a second",
        took.as_secs_f64(),
        f64::from(timers) / took.as_secs_f64()
    );
    if took > ahead {
        bail!("setting the timers took longer than the {ahead:?} that were left for it; take fewer");
    }
    Ok(from)
}

async fn wait_for(ctx: &Ctx, timers: u32, most: Duration) -> Result<()> {
    let begun = Instant::now();
    // Counting takes the database's time as well: seldom while many are missing.
    loop {
        let fired = ctx.query(Fired {}).await?;
        if fired >= i64::from(timers) {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < most + Duration::from_secs(120),
            "{fired} of {timers} timers fired in {most:?}"
        );
        let missing = i64::from(timers) - fired;
        let pause = if missing > 20_000 { Duration::from_millis(500) } else { Duration::from_millis(20) };
        tokio::time::sleep(pause).await;
    }
}

/// The shares of the flow's own histogram, which is told after the commit.
fn buckets(registry: &Registry) -> Result<String> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    let mut counts = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("artel_flow_timer_late_seconds_bucket")) {
        let le = line.split("le=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let count: f64 = line.rsplit(' ').next().unwrap_or("0").parse()?;
        counts.push((le.to_owned(), count));
    }
    let all = counts.last().map_or(1.0, |(_, n)| *n);
    let shares = counts
        .iter()
        .filter(|(le, _)| ["0.05", "0.1", "0.25", "0.5", "1.0"].contains(&le.as_str()))
        .map(|(le, n)| format!("{:.2} % within {le} s", 100.0 * n / all));
    Ok(format!("committed {}", shares.collect::<Vec<_>>().join(", ")))
}

async fn start(dir: &TempDir, url: &str, metrics: FlowMetrics) -> Result<Runtime> {
    let node = Node {
        services: vec![service()],
        roles: vec!["bell"],
        catalogue: vec![
            Described::command::<Set>(),
            Described::command::<Ring>(),
            Described::command::<Chime>(),
            Described::command::<Clear>(),
            Described::query::<Fired>(),
            Described::query::<AllLate>(),
        ],
        bus: Segments::open(dir.path().join("log"), SegmentsConfig::default())?,
        store: url.to_owned(),
        limits: Limits { handler_time: Duration::from_secs(300), ..Limits::default() },
    };
    node.measured(metrics).await
}
