//! The flow's side: a service that listens to another's events.

use super::{How, PARTITIONS, TOPIC};
use crate::cpu::Used;
use crate::node::Node;
use anyhow::{Context, Result};
use artel_bus::Bus;
use artel_flow::{Limits, Msg, Read, Runtime, Service, Tx};
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

async fn ring(tx: &mut Tx, ring: Ring) -> Result<(), Fault> {
    tx.exec("INSERT INTO rung (n) VALUES ($1)", (ring.n,)).await?;
    Ok(())
}

async fn sell(_: &mut Tx, _: Sell) -> Result<(), Fault> {
    Ok(())
}

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
    ]
}

fn sink(how: How) -> Service {
    let sink = Service::new("sink").migrations(TABLES).query(rows).query(waiting).command(ring);
    match how {
        How::One => sink.on(one),
        How::Batch => sink.on_batch(many),
        How::Decode => sink.on(decode),
    }
}

/// From the start of the node to the commit of the last message.
pub(super) async fn measure(
    bus: Arc<dyn Bus>,
    store: &str,
    how: How,
    messages: u32,
    batch: usize,
) -> Result<Duration> {
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
    let (started, used) = (Instant::now(), Used::now());
    let runtime = node.start().await?;
    let ctx = runtime.ctx("sink").context("the service runs")?;
    while !is_done(&runtime, messages).await {
        // Each look asks the log for the ends of all partitions: on Kafka two hundred of them a second were half of the broker's work.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = started.elapsed();
    println!("<!-- {how:?}: {:.2} s; processors: {} -->", took.as_secs_f64(), Used::now().since(used));
    let behind = ctx.query(Waiting {}).await?;
    while ctx.query(Waiting {}).await? > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if how != How::Decode {
        println!(
            "<!-- {how:?}: {behind} rows of the outbox left when all was taken in; all published {:.2} s later -->",
            (started.elapsed() - took).as_secs_f64()
        );
    }
    runtime.stop(Duration::from_secs(10)).await;
    Ok(took)
}

/// Whether the group's places, as committed, stand behind the last message.
async fn is_done(runtime: &Runtime, messages: u32) -> bool {
    let lags = runtime.lags().await;
    let next: i64 = lags.iter().filter(|lag| lag.topic == TOPIC).map(|lag| lag.next).sum();
    next >= i64::from(messages)
}
