//! Commands over HTTP beside a group that takes in as fast as it can, both on the same SQLite file. Each command is a request
//! of its own whose handler writes a row; two clients send one every 20 ms each. The twin: two tasks by hand on one file,
//! each with a connection of its own, one that writes rows in transactions of 500, one that writes one row at a time.

use crate::consume::flow::{Ring, Rows, catalogue, services};
use crate::consume::{How, fill};
use crate::sqlite;
use anyhow::{Context, Result, ensure};
use artel_bus::Bus;
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_flow::Ctx;
use artel_flow::http::Routes as Mounted;
use artel_frame::client::{Client, Outgoing};
use artel_frame::config::{Config, Sources};
use artel_frame::edge::{Json, Needs, Problem, Produce, Routes};
use artel_frame::{Node, Overrides};
use axum::extract::State;
use axum::http::StatusCode;
use http::Method;
use sqlx::{ConnectOptions, Connection, QueryBuilder};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::time::MissedTickBehavior;

const CLIENTS: u32 = 2;
const EVERY: Duration = Duration::from_millis(20);

fn routes(ctx: &Ctx) -> Mounted {
    Routes::new()
        .post("/api/sink/rings", ring, |op| op.summary("Ring").answers_empty(204, "rung"))
        .with_state(ctx.clone())
}

async fn ring(
    State(ctx): State<Ctx>,
    _: Needs<Produce>,
    Json(ring): Json<Ring>,
) -> Result<StatusCode, Problem> {
    ctx.ask(ring).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `beside [MESSAGES]`
pub fn run(args: &[String]) -> Result<()> {
    let messages = args.first().map_or(Ok(300_000), |n| n.parse()).context("MESSAGES is a number")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("{messages} messages taken in; commands: {CLIENTS} clients, one each {EVERY:?}\n");
    println!("| handler | messages/s | commands | p50 ms | p99 ms | most ms |\n|---|---|---|---|---|---|");
    for how in [How::One, How::Batch] {
        let (rate, took) = runtime.block_on(measure(how, messages))?;
        print(&format!("{how:?}").to_lowercase(), rate, took);
    }
    let (rate, took) = runtime.block_on(twin(messages))?;
    print("by hand", rate, took);
    Ok(())
}

fn print(who: &str, rate: f64, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |share: f64| {
        let index = ((took.len() as f64 * share) as usize).min(took.len().saturating_sub(1));
        took.get(index).map_or(0.0, |t| t.as_secs_f64() * 1e3)
    };
    println!("| {who} | {rate:.0} | {} | {:.1} | {:.1} | {:.1} |", took.len(), at(0.5), at(0.99), at(1.0));
}

async fn measure(how: How, messages: u32) -> Result<(f64, Vec<Duration>)> {
    let dir = TempDir::new()?;
    let bus: Arc<dyn Bus> = Segments::open(dir.path().join("filled"), SegmentsConfig::default())?;
    fill(bus.as_ref(), messages).await?;
    let sources = Sources::new()
        .set("data", "node.data_dir", dir.path().join("node").display().to_string())
        .set("listen", "http.listen", "127.0.0.1:0");
    let config = Config::load(sources).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let overrides = Overrides { bus: Some(bus), ..Overrides::default() };
    let [shop, sink] = services(how);
    let started = Instant::now();
    let node = Node::start(config, vec![shop, sink.routes(routes)], catalogue(), overrides).await?;
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> =
        (0..CLIENTS).map(|client| tokio::spawn(ask(node.url(), client, over.clone()))).collect();
    let ctx = node.ctx("sink").context("the service runs")?;
    while ctx.query(Rows {}).await? < i64::from(messages) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rate = f64::from(messages) / started.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.await??);
    }
    node.stop().await;
    Ok((rate, took))
}

async fn ask(url: String, client: u32, over: Arc<AtomicBool>) -> Result<Vec<Duration>> {
    let http = Client::new(&url)?;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut took = Vec::new();
    let mut n = client;
    while !over.load(Ordering::Relaxed) {
        ticks.tick().await;
        let begun = Instant::now();
        let request = Outgoing::new(Method::POST, "/api/sink/rings")
            .body("application/json", serde_json::to_vec(&Ring { n })?);
        let answer = http.send(request).await?;
        ensure!(answer.is_success(), "{}", answer.problem());
        took.push(begun.elapsed());
        n += CLIENTS;
    }
    Ok(took)
}

async fn twin(messages: u32) -> Result<(f64, Vec<Duration>)> {
    let dir = TempDir::new()?;
    let mut on = sqlite::twin(dir.path()).connect().await?;
    sqlx::raw_sql(
        "CREATE TABLE sale (n BIGINT PRIMARY KEY, sku TEXT NOT NULL, text TEXT NOT NULL);
         CREATE TABLE rung (n BIGINT PRIMARY KEY);",
    )
    .execute(&mut on)
    .await?;
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(insert(dir.path().to_owned(), client, over.clone())))
        .collect();
    let started = Instant::now();
    for first in (0..messages).step_by(500) {
        let mut tx = on.begin_with("BEGIN IMMEDIATE").await?;
        let mut insert = QueryBuilder::new("INSERT INTO sale (n, sku, text) ");
        insert.push_values(first..messages.min(first + 500), |mut row, n| {
            row.push_bind(n).push_bind(format!("sku-{}", n % 1000)).push_bind("x".repeat(210));
        });
        insert.build().execute(&mut *tx).await?;
        tx.commit().await?;
    }
    let rate = f64::from(messages) / started.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.await??);
    }
    on.close().await?;
    Ok((rate, took))
}

async fn insert(dir: std::path::PathBuf, client: u32, over: Arc<AtomicBool>) -> Result<Vec<Duration>> {
    let mut on = sqlite::twin(&dir).connect().await?;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut took = Vec::new();
    let mut n = client;
    while !over.load(Ordering::Relaxed) {
        ticks.tick().await;
        let begun = Instant::now();
        sqlx::query("INSERT INTO rung (n) VALUES ($1)").bind(n).execute(&mut on).await?;
        took.push(begun.elapsed());
        n += CLIENTS;
    }
    Ok(took)
}
