//! Statuses: `GET /api/notify/deliveries/{id}` of a node that runs as a process of its own, at a fixed rate over kept connections, and how
//! long each answer took from the moment that its request was due, so that a stall shows in all that it holds up. The twin is an
//! axum route in a process of its own that gives the same bytes for an id out of a map, asked in the same way.
//!
//! The deliveries are there before, sent through an account that sends nothing, and are read once. The cache is in the node's memory
//! unless `--config` names a file of settings that says otherwise; PostgreSQL, Kafka and Redis come by it too. What the node's own answers say of their
//! source is counted: only those from the cache are in the first columns.

mod asking;
mod program;
mod twin;

use anyhow::{Context, Result, ensure};
use artel_frame::client::Client;
use asking::{Answered, Load};
use program::Program;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

pub use twin::serve;

struct Args {
    seconds: u32,
    rate: u32,
    deliveries: usize,
    connections: u32,
    artel: Option<PathBuf>,
    config: Option<PathBuf>,
}

const USAGE: &str =
    "status [SECONDS] [--rate 2000] [--deliveries 100] [--connections 32] [--artel PROGRAM] [--config FILE]";

fn args(args: &[String]) -> Result<Args> {
    let mut all =
        Args { seconds: 10, rate: 2_000, deliveries: 100, connections: 32, artel: None, config: None };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rate" => all.rate = args.next().context(USAGE)?.parse().context(USAGE)?,
            "--deliveries" => all.deliveries = args.next().context(USAGE)?.parse().context(USAGE)?,
            "--connections" => all.connections = args.next().context(USAGE)?.parse().context(USAGE)?,
            "--artel" => all.artel = Some(args.next().context(USAGE)?.into()),
            "--config" => all.config = Some(args.next().context(USAGE)?.into()),
            number => all.seconds = number.parse().with_context(|| format!("{number}: {USAGE}"))?,
        }
    }
    ensure!(all.seconds > 0 && all.rate > 0 && all.connections > 0, USAGE);
    ensure!((1..=1_000).contains(&all.deliveries), "--deliveries is 1 to 1000");
    Ok(all)
}

/// See [`USAGE`].
pub fn run(given: &[String]) -> Result<()> {
    let args = args(given)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(&args))
}

async fn measure(args: &Args) -> Result<()> {
    let Args { seconds, rate, deliveries, connections, .. } = args;
    println!(
        "statuses of {deliveries} deliveries, {rate}/s for {seconds} s over {connections} connections; milliseconds from the moment that \
         a request was due\n"
    );
    let node = Program::node(args.artel.as_deref(), args.config.as_deref())?;
    let client = Client::new(&node.url)?.with_token(node.token.clone());
    let paths = send(&client, *deliveries).await?;
    let sample = warm(&client, &paths).await?;
    let load = |url: &str, token: Option<String>| Load {
        url: url.trim_start_matches("http://").to_owned(),
        token,
        paths: paths.clone(),
        seconds: *seconds,
        rate: *rate,
        connections: *connections,
    };
    let token = node.token.as_ref().map(|token| token.expose().to_owned());
    let ours = asking::run(load(&node.url, token)).await?;
    let memory = node.resident()?;
    drop(node);
    let twin = Program::twin(&sample)?;
    let hand = asking::run(load(&twin.url, None)).await?;
    println!("| | from the cache | p50 | p99 | most | all: p99 | memory |\n|---|---|---|---|---|---|---|");
    let row = |name: &str, of: &Answered, memory: &str| {
        let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| Answered::at(&of.cached, share));
        let share = 100.0 * of.cached.len() as f64 / of.all.len() as f64;
        let all = Answered::at(&of.all, 0.99);
        println!("| {name} | {share:.1} % | {p50:.2} | {p99:.2} | {most:.2} | {all:.2} | {memory} |");
    };
    row("ours", &ours, &format!("{:.0} MB", memory as f64 / 1e6));
    row("axum by hand", &hand, "-");
    Ok(())
}

/// Sends to nobody, and gives where the statuses are once they are sent.
async fn send(client: &Client, deliveries: usize) -> Result<Vec<String>> {
    let recipients: Vec<Value> =
        (0..deliveries).map(|n| json!({ "phone": format!("+7916{n:07}") })).collect();
    let content = json!({
        "template": "shipment", "topic": "shipments", "channels": ["sms"],
        "data": { "shipment": "7", "state": "in_transit", "tracking_number": "RA123456789RU" },
    });
    let body = json!({ "recipients": recipients, "content": content });
    let answer = client.send_json(http::Method::POST, "/api/notify/deliveries", &body).await?;
    ensure!(answer.status == 202, "{}", answer.problem());
    let queued: Value = answer.json()?;
    let ids = queued["deliveries"].as_array().context("deliveries")?.iter();
    let paths: Vec<String> =
        ids.filter_map(|one| Some(format!("/api/notify/deliveries/{}", one["delivery"].as_str()?))).collect();
    ensure!(paths.len() == deliveries, "an answer without ids: {queued}");
    Ok(paths)
}

/// Waits until all are sent, and gives one of the answers.
async fn warm(client: &Client, paths: &[String]) -> Result<Vec<u8>> {
    let until = std::time::Instant::now() + Duration::from_secs(60);
    let mut sample = Vec::new();
    for path in paths {
        loop {
            let answer = client.get(path).await?;
            ensure!(answer.status == 200, "{}", answer.problem());
            if answer.json::<Value>()?["state"] == "sent" {
                sample = answer.body.to_vec();
                break;
            }
            ensure!(std::time::Instant::now() < until, "they are not sent within a minute");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(sample)
}
