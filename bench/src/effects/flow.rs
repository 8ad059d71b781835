//! The flow's side: a service whose effects wait behind a gate until all are queued.

use super::{How, Took};
use crate::cpu::Used;
use crate::node::Node;
use crate::place::Place;
use anyhow::{Context, Result, ensure};
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_flow::{Ctx, EffectDone, HandlerExt, Limits, Read, Runtime, Service, Tx};
use artel_message::{Command, Described, Effect, Fault, Query};
use artel_store::{Args, Migrations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::watch;

const CHUNK: u32 = 5_000;
const WIDTH: usize = 64;
/// Nothing here lasts that long.
const LONG: Duration = Duration::from_secs(600);

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "horn.queue")]
struct Queue {
    first: u32,
    count: u32,
}

#[derive(Serialize, Deserialize, JsonSchema, Effect)]
#[effect(name = "horn.blow", done = u32)]
struct Blow {
    n: u32,
}

/// How many of those from `from` on are told of.
#[derive(Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "horn.blown", reply = i64)]
struct Blown {
    from: u32,
}

/// How many have not left the timers.
#[derive(Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "horn.unqueued", reply = i64)]
struct Unqueued {}

const TABLES: Migrations = Migrations {
    component: "horn",
    files: &[("0001_horn.sql", "CREATE TABLE blown (n BIGINT PRIMARY KEY, said BIGINT NOT NULL);")],
};

type Call = Pin<Box<dyn Future<Output = Result<u32, Fault>> + Send>>;

fn service(how: How, gate: watch::Receiver<bool>) -> Service {
    let blow = move |_: &Ctx, blow: Blow| -> Call {
        if *gate.borrow() {
            return Box::pin(std::future::ready(Ok(blow.n)));
        }
        let mut gate = gate.clone();
        Box::pin(async move {
            gate.wait_for(|open| *open).await.map_err(|_| Fault::unavailable("the run is over"))?;
            Ok(blow.n)
        })
    };
    let service = Service::new("horn")
        .migrations(TABLES)
        .command(queue)
        .query(blown)
        .query(unqueued)
        .effect(blow.width(WIDTH));
    match how {
        How::One => service.done(told),
        How::Batch => service.done_batch(told_all),
    }
}

async fn queue(tx: &mut Tx, queue: Queue) -> Result<(), Fault> {
    for n in queue.first..queue.first + queue.count {
        tx.after(n.to_string(), Duration::ZERO, Blow { n });
    }
    Ok(())
}

async fn told(tx: &mut Tx, done: EffectDone<Blow>) -> Result<(), Fault> {
    let said = done.result?;
    tx.exec("INSERT INTO blown (n, said) VALUES ($1, $2)", (done.input.n, said)).await?;
    Ok(())
}

async fn told_all(tx: &mut Tx, all: Vec<EffectDone<Blow>>) -> Result<(), Fault> {
    let rows: Result<Vec<_>, Fault> =
        all.into_iter().map(|done| Ok((done.input.n, done.result?).values())).collect();
    tx.exec_rows("INSERT INTO blown (n, said) VALUES {rows}", (), rows?).await?;
    Ok(())
}

async fn blown(read: &Read, blown: Blown) -> Result<i64, Fault> {
    let (n,): (i64,) = read.one("SELECT count(*) FROM blown WHERE n >= $1", (blown.from,)).await?;
    Ok(n)
}

async fn unqueued(read: &Read, _: Unqueued) -> Result<i64, Fault> {
    let (n,): (i64,) = read.one("SELECT count(*) FROM flow_timer", ()).await?;
    Ok(n)
}

pub(super) async fn measure(effects: u32, how: How, postgres: Option<&str>) -> Result<Took> {
    let dir = TempDir::new()?;
    let place = Place::new(postgres, &dir).await?;
    let gate = watch::Sender::new(false);
    let runtime = start(&dir, &place.url, service(how, gate.subscribe())).await?;
    let ctx = runtime.ctx("horn").context("the service runs")?;

    let begun = Instant::now();
    for first in (0..effects).step_by(CHUNK as usize) {
        ctx.ask(Queue { first, count: CHUNK.min(effects - first) }).await?;
    }
    until(async || Ok(ctx.query(Unqueued {}).await? == 0)).await?;
    let queueing = begun.elapsed();

    let (begun, before) = (Instant::now(), Used::now());
    gate.send_replace(true);
    // Counting takes the database's time as well: only once the last ones are there.
    until(async || Ok(ctx.query(Blown { from: effects - 1 }).await? == 1)).await?;
    until(async || Ok(ctx.query(Blown { from: 0 }).await? == i64::from(effects))).await?;
    let took = Took { queueing, ending: begun.elapsed(), used: Used::now().since(before) };
    runtime.stop(Duration::from_secs(10)).await;
    place.close().await?;
    Ok(took)
}

async fn until(is_so: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !is_so().await? {
        ensure!(begun.elapsed() < LONG, "it does not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn start(dir: &TempDir, url: &str, service: Service) -> Result<Runtime> {
    let node = Node {
        services: vec![service],
        roles: vec!["horn"],
        catalogue: vec![
            Described::command::<Queue>(),
            Described::effect::<Blow>(),
            Described::query::<Blown>(),
            Described::query::<Unqueued>(),
        ],
        bus: Segments::open(dir.path().join("log"), SegmentsConfig::default())?,
        store: url.to_owned(),
        limits: Limits { effect_time: LONG, handler_time: LONG, ..Limits::default() },
    };
    node.start().await
}
