//! The flow without HTTP: a command that saves and produces a thousand messages, the relay, the log, a group whose handler
//! sends a command for each message, and the command's handler that writes state. The twin runs the same statements of state
//! in bare transactions of the same size: what is on top is the price of the flow.

use crate::node::Node;
use anyhow::{Context, Result};
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_flow::{Clock, Ctx, Ids, Limits, Msg, Produce, Raw, Read, Service, Tx};
use artel_message::{Command, Described, Fault, Query};
use artel_store::{Args, Lane, Migrations, Store, StoreSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What is measured.
struct Arguments {
    messages: u32,
    /// Of each message.
    bytes: usize,
}

const CHUNK: u32 = 1_000;

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "load.make")]
struct Make {
    first: u32,
    count: u32,
    bytes: usize,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "load.mark", key = key)]
struct Mark {
    id: artel_message::Id<Message>,
    key: String,
}

enum Message {}
impl artel_message::Tag for Message {
    const NAME: &'static str = "Message";
}

#[derive(Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "load.done", reply = i64)]
struct Done {}

const TABLES: Migrations = Migrations {
    component: "load",
    files: &[(
        "0001_load.sql",
        "CREATE TABLE message (id UUID PRIMARY KEY, key TEXT NOT NULL, value TEXT NOT NULL, state TEXT NOT NULL);
         CREATE TABLE total (id BIGINT PRIMARY KEY, n BIGINT NOT NULL);
         INSERT INTO total (id, n) VALUES (1, 0);",
    )],
};

const INSERT: &str = "INSERT INTO message (id, key, value, state) VALUES {rows}";
const MARK: &str = "UPDATE message SET state = 'done' WHERE state = 'new' AND id IN (VALUES {rows})";
const COUNT: &str = "UPDATE total SET n = n + $1 WHERE id = 1";

fn service() -> Service {
    Service::new("load").migrations(TABLES).command(make).command_batch(mark).query(done).on_raw(seen)
}

async fn make(tx: &mut Tx, make: Make) -> Result<(), Fault> {
    let value = "x".repeat(make.bytes);
    let mut rows = Vec::new();
    for i in make.first..make.first + make.count {
        let (id, key) = (tx.new_id(), format!("k{}", i % 1000));
        rows.push((id, key.clone(), value.clone(), "new").values());
        let value = Some(format!("\"{value}\"").into());
        let to = Produce {
            topic: "load".into(),
            key: Some(key.into()),
            value,
            id: Some(id),
            ..Produce::default()
        };
        tx.produce("load.message", to);
    }
    tx.exec_rows(INSERT, (), rows).await?;
    tx.adopt_topic("load").await?;
    tx.start_group("load", "load", artel_bus::From::Earliest).await?;
    Ok(())
}

async fn seen(tx: &mut Tx, raw: Raw) -> Result<(), Fault> {
    let key = String::from_utf8_lossy(raw.key.as_deref().unwrap_or_default()).into_owned();
    tx.send(Mark { id: raw.id.into(), key });
    Ok(())
}

async fn mark(tx: &mut Tx, marks: Vec<Msg<Mark>>) -> Result<(), Fault> {
    let ids = marks.iter().map(|mark| (mark.id,).values()).collect();
    let n = tx.exec_rows(MARK, (), ids).await?;
    tx.exec(COUNT, (i64::try_from(n).unwrap_or(0),)).await?;
    Ok(())
}

async fn done(read: &Read, _: Done) -> Result<i64, Fault> {
    let (n,): (i64,) = read.one("SELECT n FROM total WHERE id = 1", ()).await?;
    Ok(n)
}

/// `flow [MESSAGES]`
pub fn run(args: &[String]) -> Result<()> {
    let messages = args.first().map_or(Ok(50_000), |n| n.parse()).context("MESSAGES is a number")?;
    let arguments = &Arguments { messages, bytes: 256 };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let dir = TempDir::new()?;
    runtime.block_on(async {
        let flow = flow(&dir.path().join("flow"), arguments).await?;
        let raw = twin(&dir.path().join("twin"), arguments).await?;
        let n = f64::from(arguments.messages);
        println!("flow, embedded: {:.0} messages/s of {} bytes", n / flow.as_secs_f64(), arguments.bytes);
        println!("the same state in bare transactions of {CHUNK}: {:.0} messages/s", n / raw.as_secs_f64());
        println!("flow / bare: {:.0} %", 100.0 * raw.as_secs_f64() / flow.as_secs_f64());
        Ok(())
    })
}

async fn flow(dir: &Path, arguments: &Arguments) -> Result<Duration> {
    let node = Node {
        services: vec![service()],
        roles: vec!["load"],
        catalogue: vec![
            Described::command::<Make>(),
            Described::command::<Mark>(),
            Described::query::<Done>(),
        ],
        bus: Segments::open(dir.join("log"), SegmentsConfig::default())?,
        store: format!("sqlite:{}", dir.join("db").display()),
        limits: Limits::default(),
    };
    let runtime = node.start().await?;
    let ctx: &Ctx = runtime.ctx("load").context("the service runs")?;
    ctx.topics().ensure("load").await?;
    let started = Instant::now();
    for first in (0..arguments.messages).step_by(CHUNK as usize) {
        let count = CHUNK.min(arguments.messages - first);
        ctx.ask(Make { first, count, bytes: arguments.bytes }).await?;
    }
    println!("accepted after {:.2} s", started.elapsed().as_secs_f64());
    while ctx.query(Done {}).await? < i64::from(arguments.messages) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = started.elapsed();
    runtime.stop(Duration::from_secs(10)).await;
    Ok(took)
}

async fn twin(dir: &Path, arguments: &Arguments) -> Result<Duration> {
    let store = Store::open(&format!("sqlite:{}", dir.display()), StoreSettings::default()).await?;
    let db = store.db("twin").await?;
    db.migrate(&[TABLES]).await?;
    let value = "x".repeat(arguments.bytes);
    let ids = Ids::system();
    let started = Instant::now();
    for first in (0..arguments.messages).step_by(CHUNK as usize) {
        let made: Vec<_> = (first..arguments.messages.min(first + CHUNK))
            .map(|i| (ids.fresh(Clock::system().now()), format!("k{}", i % 1000)))
            .collect();
        let mut write = db.begin(Lane::Interactive).await?;
        let rows = made.iter().map(|(id, key)| (*id, key.clone(), value.clone(), "new").values()).collect();
        write.exec_rows(INSERT, (), rows).await?;
        write.commit().await?;
        let mut write = db.begin(Lane::Background).await?;
        let n = write.exec_rows(MARK, (), made.iter().map(|(id, _)| (*id,).values()).collect()).await?;
        write.exec(COUNT, (i64::try_from(n).unwrap_or(0),)).await?;
        write.commit().await?;
    }
    let took = started.elapsed();
    store.close().await;
    Ok(took)
}
