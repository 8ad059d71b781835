//! The bridge's whole pipeline on a running node: HTTP batch, outbox, log, consumer, state. `pipeline URL [MESSAGES]` sends
//! batches as fast as they are answered and waits until every message is consumed; then it sends small batches at a fixed
//! rate and reads from the bridge itself how long each message took from accepted to consumed.

use anyhow::{Context, Result, ensure};
use artel_frame::client::{Client, Outgoing};
use http::Method;
use serde::Deserialize;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

const CHUNK: usize = 1_000;
/// Batches under way at once.
const SENDERS: usize = 2;
const RATE: u32 = 1_000;
const RATE_SECONDS: u32 = 10;

#[derive(Deserialize)]
struct Stats {
    consumed: u64,
}

#[derive(Deserialize)]
struct State {
    latency_us: Option<i64>,
}

pub fn run(args: &[String]) -> Result<()> {
    let url =
        args.first().context("pipeline URL [MESSAGES]: where the node is, such as http://127.0.0.1:8080")?;
    let messages = args.get(1).map_or(Ok(100_000), |n| n.parse::<usize>()).context("MESSAGES is a number")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::new(url)?;
        throughput(&client, messages).await?;
        latency(&client).await
    })
}

async fn consumed(client: &Client) -> Result<u64> {
    let answer = client.get("/api/bridge/stats").await?;
    Ok(answer.json::<Stats>()?.consumed)
}

fn line(topic: &str, i: usize) -> String {
    format!(r#"{{"topic":"{topic}","key":"k{}","value":{{"n":{i},"text":"{}"}}}}"#, i % 1000, "x".repeat(220))
}

async fn throughput(client: &Client, messages: usize) -> Result<()> {
    let before = consumed(client).await?;
    let started = Instant::now();
    let mut sending = JoinSet::new();
    for first in (0..messages).step_by(CHUNK) {
        if sending.len() >= SENDERS {
            sending.join_next().await.context("a batch is under way")???;
        }
        let client = client.clone();
        sending.spawn(async move {
            let body: Vec<String> = (first..messages.min(first + CHUNK)).map(|i| line("bench", i)).collect();
            let request = Outgoing::new(Method::POST, "/api/bridge/messages:batch")
                .body("application/x-ndjson", body.join("\n"));
            let answer = client.send(request).await?;
            ensure!(answer.is_success(), "{}", answer.problem());
            Ok(())
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent??;
    }
    let accepted = started.elapsed();
    let wanted = before + messages as u64;
    while consumed(client).await? < wanted {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = started.elapsed();
    let rate = |time: Duration| messages as f64 / time.as_secs_f64();
    println!("{messages} messages of about 256 bytes, batches of {CHUNK}, {SENDERS} at once");
    println!(
        "accepted: {:.0} messages/s; accepted to consumed, all of them: {:.0} messages/s",
        rate(accepted),
        rate(took)
    );
    Ok(())
}

/// Ten messages each ten milliseconds, whatever the answers do, so that a stall shows in the times.
async fn latency(client: &Client) -> Result<()> {
    const BATCH: usize = 10;
    let topic = format!("latency-{}", std::process::id());
    // A new topic is made and given out among nodes first, which is measured on its own.
    let first = Outgoing::new(Method::POST, "/api/bridge/messages:batch")
        .body("application/x-ndjson", line(&topic, 0));
    let answer = client.send(first).await?;
    ensure!(answer.is_success(), "{}", answer.problem());
    let first = consumed_times(client, &topic, 1).await?;
    println!("first message of a new topic: {:.0} ms from accepted to consumed", first[0] as f64 / 1e3);
    let mut tick = tokio::time::interval(Duration::from_millis(1_000 * BATCH as u64 / u64::from(RATE)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sending = JoinSet::new();
    for i in 0..(RATE * RATE_SECONDS) as usize / BATCH {
        tick.tick().await;
        let (client, due) = (client.clone(), Instant::now());
        let body: Vec<String> = (0..BATCH).map(|j| line(&topic, i * BATCH + j)).collect();
        sending.spawn(async move {
            let request = Outgoing::new(Method::POST, "/api/bridge/messages:batch")
                .body("application/x-ndjson", body.join("\n"));
            let answer = client.send(request).await?;
            ensure!(answer.is_success(), "{}", answer.problem());
            Ok::<_, anyhow::Error>(due.elapsed())
        });
    }
    let mut answered = Vec::new();
    while let Some(sent) = sending.join_next().await {
        answered.push(sent??.as_micros() as i64);
    }
    let mut through = consumed_times(client, &topic, (RATE * RATE_SECONDS) as usize + 1).await?;
    through.sort_unstable();
    if let Some(first) = through.iter().position(|time| *time == first[0]) {
        through.remove(first);
    }
    println!("at {RATE} messages/s for {RATE_SECONDS} s, in batches of {BATCH}");
    print_quantiles("request answered (committed)", &mut answered);
    print_quantiles("accepted to consumed", &mut through);
    Ok(())
}

/// What the bridge itself noted from accepted to consumed, once all of a topic is consumed.
async fn consumed_times(client: &Client, topic: &str, count: usize) -> Result<Vec<i64>> {
    loop {
        let (mut times, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/bridge/messages?topic={topic}&limit=500{cursor}");
            let page: artel_message::Page<State> = client.get(&path).await?.json()?;
            times.extend(page.items.iter().filter_map(|state| state.latency_us));
            match page.next {
                Some(next) => cursor = format!("&cursor={}", next.0),
                None => break,
            }
        }
        if times.len() >= count {
            return Ok(times);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn print_quantiles(what: &str, micros: &mut [i64]) {
    micros.sort_unstable();
    let at = |q: f64| micros[((micros.len() - 1) as f64 * q) as usize] as f64 / 1000.0;
    println!("{what}: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", at(0.5), at(0.99), at(1.0));
}
