//! Keys that fail. `poison`: one of a thousand keys fails for ever, beside the same run where none does; what the others keep of
//! their rate is the figure. `parked`: very many messages behind parked keys, with the memory that it takes, and how long it
//! takes until they are through once their cause has gone.

use crate::node::Node;
use anyhow::{Context, Result};
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{Log, Record, Topics};
use artel_flow::{By, Ctx, HandlerExt, Limits, Read, Runtime, Service, Tx};
use artel_message::{Code, Command, Described, Event, Fault, Query, Time};
use artel_store::Migrations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const KEYS: u32 = 1_000;
const AT_ONCE: u32 = 1_000;
/// Pairs of runs of `poison`.
const PAIRS: usize = 3;

#[derive(Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "load.said", topic = "load.talk", key = key)]
struct Said {
    key: String,
    number: u32,
    /// It can't be heard while the gate is closed.
    gated: bool,
    filling: String,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "load.open")]
struct Open {}

#[derive(Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "load.heard", reply = i64)]
struct Heard {}

const TABLES: Migrations = Migrations {
    component: "load",
    files: &[(
        "0001_load.sql",
        "CREATE TABLE heard (key TEXT NOT NULL, number BIGINT NOT NULL, PRIMARY KEY (key, number));
         CREATE TABLE gate (open BIGINT NOT NULL);",
    )],
};

async fn said(tx: &mut Tx, said: Said) -> Result<(), Fault> {
    if said.gated && tx.opt::<(i64,)>("SELECT open FROM gate LIMIT 1", ()).await?.is_none() {
        return Err(Fault::new(Code::Unavailable, "the gate is closed"));
    }
    tx.exec("INSERT INTO heard (key, number) VALUES ($1, $2)", (said.key, said.number)).await?;
    Ok(())
}

async fn open(tx: &mut Tx, _: Open) -> Result<(), Fault> {
    tx.exec("INSERT INTO gate (open) VALUES (1)", ()).await?;
    Ok(())
}

async fn heard(read: &Read, _: Heard) -> Result<i64, Fault> {
    let (n,): (i64,) = read.one("SELECT count(*) FROM heard", ()).await?;
    Ok(n)
}

fn service() -> Service {
    let patient = said.retry_for(Duration::from_secs(7 * 86_400)).attempts(u32::MAX);
    Service::new("load").migrations(TABLES).on(patient).command(open).query(heard)
}

async fn start(dir: &Path, limits: Limits) -> Result<(Runtime, Arc<Segments>)> {
    let log = Segments::open(dir.join("log"), SegmentsConfig::default())?;
    let node = Node {
        services: vec![service()],
        roles: vec!["load"],
        catalogue: vec![
            Described::event::<Said>(),
            Described::command::<Open>(),
            Described::query::<Heard>(),
        ],
        bus: log.clone(),
        store: format!("sqlite:{}", dir.join("db").display()),
        limits,
    };
    let runtime = node.start().await?;
    Ok((runtime, log))
}

/// Writes messages as another program would, so that it is about taking in alone; every one of a key that is gated is.
async fn fill(log: &Segments, messages: u32, keys: u32, gated: impl Fn(u32) -> bool) -> Result<()> {
    let partitions = log.describe("load.talk").await?.partitions;
    let filling = "x".repeat(200);
    let time = Time::from_micros(1_700_000_000_000_000);
    let headers: [(&str, Option<&[u8]>); 5] = [
        ("ce_id", Some(b"0198f2a0-1111-7000-8000-000000000001")),
        ("ce_type", Some(b"load.said")),
        ("ce_source", Some(b"elsewhere")),
        ("ce_time", Some(b"2026-01-31T09:30:00Z")),
        ("ce_specversion", Some(b"1.0")),
    ];
    for first in (0..messages).step_by(AT_ONCE as usize) {
        let mut batches: BTreeMap<u32, Vec<(String, Vec<u8>)>> = BTreeMap::new();
        for i in first..messages.min(first + AT_ONCE) {
            let key = format!("k{}", i % keys);
            let said =
                Said { key: key.clone(), number: i / keys, gated: gated(i % keys), filling: filling.clone() };
            let partition = artel_bus::partition::of_key(key.as_bytes(), partitions);
            batches.entry(partition).or_default().push((key, serde_json::to_vec(&said)?));
        }
        for (partition, batch) in batches {
            let records: Vec<Record<'_>> = batch
                .iter()
                .map(|(key, value)| Record {
                    key: Some(key.as_bytes()),
                    value: Some(value),
                    headers: &headers,
                    time,
                })
                .collect();
            log.append("load.talk", partition, &records).await?;
        }
    }
    Ok(())
}

async fn until_heard(ctx: &Ctx, count: u32) -> Result<()> {
    while ctx.query(Heard {}).await? < i64::from(count) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn messages_of(args: &[String], unless_said: u32) -> Result<u32> {
    let messages: u32 =
        args.first().map_or(Ok(unless_said), |n| n.parse()).context("MESSAGES is a number")?;
    Ok(messages.max(KEYS) / KEYS * KEYS)
}

/// `poison [MESSAGES]`
pub fn poison(args: &[String]) -> Result<()> {
    let messages = messages_of(args, 100_000)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut kept = Vec::new();
        for _ in 0..PAIRS {
            let well = others(messages, false).await?;
            let ill = others(messages, true).await?;
            println!(
                "{well:.0} messages/s of 999 keys, {ill:.0} with the thousandth failing: {:.0} %",
                100.0 * ill / well
            );
            kept.push(100.0 * ill / well);
        }
        kept.sort_by(f64::total_cmp);
        println!("the others keep {:.0} % of their rate (median of {PAIRS})", kept[PAIRS / 2]);
        Ok(())
    })
}

/// The rate at which the keys but the first are taken in.
async fn others(messages: u32, poisoned: bool) -> Result<f64> {
    let dir = TempDir::new()?;
    // The topic is there before anybody reads it.
    let (runtime, log) = start(dir.path(), Limits::default()).await?;
    runtime.stop(Duration::from_secs(10)).await;
    drop((runtime, log));
    let log = Segments::open(dir.path().join("log"), SegmentsConfig::default())?;
    fill(&log, messages, KEYS, |key| poisoned && key == 0).await?;
    log.close().await;
    drop(log);
    let (runtime, _) = start(dir.path(), Limits::default()).await?;
    let ctx = runtime.ctx("load").context("the service runs")?;
    let before = ctx.query(Heard {}).await?;
    let began = Instant::now();
    let expected = if poisoned { messages - messages / KEYS } else { messages };
    until_heard(ctx, expected).await?;
    let rate = (f64::from(expected) - before as f64) / began.elapsed().as_secs_f64();
    runtime.stop(Duration::from_secs(10)).await;
    Ok(rate)
}

/// `parked [MESSAGES [KEYS]]`
pub fn parked(args: &[String]) -> Result<()> {
    let messages = messages_of(args, 1_000_000)?;
    let keys = args.get(1).map_or(Ok(KEYS), |n| n.parse()).context("KEYS is a number")?;
    let limits = Limits {
        parked_per_key: u64::from(messages),
        parked_messages: u64::from(messages) * 2,
        parked_bytes: 1 << 40,
        tries: 1,
        failing_window: 0,
        ..Limits::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let dir = TempDir::new()?;
        let (runtime, log) = start(dir.path(), limits).await?;
        let ctx = runtime.ctx("load").context("the service runs")?;
        println!("{} MB resident at the start", resident()?);
        let began = Instant::now();
        fill(&log, messages, keys, |_| true).await?;
        println!("{} MB with {messages} messages written, after {:.0} s", resident()?, seconds(began));
        while waiting(ctx).await? < i64::from(messages) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!(
            "{} MB with all of them parked behind {keys} keys, after {:.0} s",
            resident()?,
            seconds(began)
        );
        let opened = Instant::now();
        ctx.ask(Open {}).await?;
        for key in ctx.parked_keys().list(None, None, keys).await? {
            // Some come due by themselves, and are done by then.
            let _ = ctx.parked_keys().retry(key.id, &By::who("bench")).await;
        }
        until_heard(ctx, messages).await?;
        println!(
            "{} MB with all of them through, {:.0} s after their cause had gone",
            resident()?,
            seconds(opened)
        );
        println!("{} MB at most", most_resident()?);
        runtime.stop(Duration::from_secs(10)).await;
        Ok(())
    })
}

async fn waiting(ctx: &Ctx) -> Result<i64> {
    Ok(ctx.read().await?.counted("parked-now").await?)
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

fn resident() -> Result<u64> {
    memory("VmRSS:")
}

fn most_resident() -> Result<u64> {
    memory("VmHWM:")
}

fn memory(field: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("the memory in use")?;
    let kilobytes: u64 = line.split_whitespace().next().context("a number")?.parse()?;
    Ok(kilobytes / 1024)
}
