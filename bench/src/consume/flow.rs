//! The flow's side: a service that listens to another's events.

use super::pace::{Pace, Taken};
use super::{How, PARTITIONS, TOPIC};
use crate::node::Node;
use anyhow::{Context, Result};
use artel_bus::Bus;
use artel_flow::{Limits, Msg, Read, Service, Tx};
use artel_message::{Command, Described, Event, Fault, Query};
use artel_store::{Args, Migrations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "shop.sold", topic = "shop.sale", key = sku)]
pub(crate) struct Sold {
    n: u32,
    sku: String,
    text: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "sink.noted", topic = "sink.note", key = sku)]
struct Noted {
    n: u32,
    sku: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "shop.sell")]
struct Sell {}

/// What comes over HTTP beside the events.
#[derive(Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "sink.ring")]
pub(crate) struct Ring {
    pub n: u32,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "sink.rows", reply = i64)]
pub(crate) struct Rows {}

#[derive(Debug, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "sink.waiting", reply = i64)]
struct Waiting {}

const TABLES: Migrations = Migrations {
    component: "sink",
    files: &[(
        "0001_sink.sql",
        "CREATE TABLE sale (n BIGINT PRIMARY KEY, sku TEXT NOT NULL, text TEXT NOT NULL);
         CREATE TABLE rung (n BIGINT PRIMARY KEY);",
    )],
};
const INSERT: &str = "INSERT INTO sale (n, sku, text) VALUES ($1, $2, $3)";
const INSERT_ROWS: &str = "INSERT INTO sale (n, sku, text) VALUES {rows}";

async fn one(tx: &mut Tx, sold: Sold) -> Result<(), Fault> {
    tx.exec(INSERT, (sold.n, sold.sku.as_str(), sold.text.as_str())).await?;
    tx.publish(Noted { n: sold.n, sku: sold.sku });
    Ok(())
}

async fn many(tx: &mut Tx, sold: Vec<Msg<Sold>>) -> Result<(), Fault> {
    let rows = sold.iter().map(|s| (s.n, s.sku.as_str(), s.text.as_str()).values()).collect();
    tx.exec_rows(INSERT_ROWS, (), rows).await?;
    for sold in sold {
        let Sold { n, sku, .. } = sold.into_inner();
        tx.publish(Noted { n, sku });
    }
    Ok(())
}

async fn decode(_: &mut Tx, sold: Sold) -> Result<(), Fault> {
    std::hint::black_box(&sold);
    Ok(())
}

async fn rows(read: &Read, _: Rows) -> Result<i64, Fault> {
    let (n,): (i64,) = read.one("SELECT count(*) FROM sale", ()).await?;
    Ok(n)
}

async fn waiting(read: &Read, _: Waiting) -> Result<i64, Fault> {
    let (n,): (i64,) = read.one("SELECT count(*) FROM flow_outbox", ()).await?;
    Ok(n)
}

/// How many the group has taken in, by its places as they are committed.
async fn taken(read: &Read, _: TakenIn) -> Result<i64, Fault> {
    const TAKEN: &str = "SELECT CAST(COALESCE(SUM(next), 0) AS BIGINT) FROM flow_offset WHERE topic = $1";
    let (n,): (i64,) = read.one(TAKEN, (TOPIC,)).await?;
    Ok(n)
}

async fn ring(tx: &mut Tx, ring: Ring) -> Result<(), Fault> {
    tx.exec("INSERT INTO rung (n) VALUES ($1)", (ring.n,)).await?;
    Ok(())
}

async fn sell(_: &mut Tx, _: Sell) -> Result<(), Fault> {
    Ok(())
}

#[derive(Debug, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "sink.taken", reply = i64)]
struct TakenIn {}

/// The two services, of which the first is only known.
pub(crate) fn services(how: How) -> [Service; 2] {
    [Service::new("shop").command(sell), sink(how)]
}

pub(crate) fn catalogue() -> Vec<Described> {
    vec![
        Described::event::<Sold>(),
        Described::event::<Noted>(),
        Described::command::<Sell>(),
        Described::command::<Ring>(),
        Described::query::<Rows>(),
        Described::query::<Waiting>(),
        Described::query::<TakenIn>(),
    ]
}

fn sink(how: How) -> Service {
    let sink = Service::new("sink").migrations(TABLES).query(rows).query(waiting).query(taken).command(ring);
    match how {
        How::One => sink.on(one),
        How::Batch => sink.on_batch(many),
        How::Decode => sink.on(decode),
    }
}

/// From the start of the node, and from its first tenth on, to the commit of the last message.
pub(super) async fn measure(
    bus: Arc<dyn Bus>,
    store: &str,
    how: How,
    messages: u32,
    batch: usize,
) -> Result<Taken> {
    let node = Node {
        services: services(how).into(),
        roles: vec!["sink"],
        catalogue: catalogue(),
        bus,
        store: store.to_owned(),
        // The relay is slower than the group; nobody is to wait for it here.
        limits: Limits {
            partitions: PARTITIONS,
            outbox_rows: u64::MAX,
            batch_records: batch,
            ..Limits::default()
        },
    };
    let mut pace = Pace::begin(messages);
    let runtime = node.start().await?;
    let ctx = runtime.ctx("sink").context("the service runs")?;
    while !pace.saw(u32::try_from(ctx.query(TakenIn {}).await?)?) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let taken = pace.end(&format!("{how:?}"));
    let (behind, all) = (ctx.query(Waiting {}).await?, Instant::now());
    while ctx.query(Waiting {}).await? > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if how != How::Decode {
        println!(
            "<!-- {how:?}: {behind} rows of the outbox left when all was taken in; all published {:.2} s later -->",
            all.elapsed().as_secs_f64()
        );
    }
    runtime.stop(Duration::from_secs(10)).await;
    Ok(taken)
}
