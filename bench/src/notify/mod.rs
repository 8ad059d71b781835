//! Notifications: NUMBER of them, accepted and queued beforehand, are sent through a provider that takes everything and does nothing, one
//! message to a call. Each attempt is written down before its call, and each delivery's state, audit trail and event after it; the
//! time ends when the last one is stored. `accepted` is the time before: commands for 1,000 recipients each. Without `--bulk` the
//! messages are ordered by recipient, each to another one. The twin is a plain loop of sqlx on one connection over the same rows: it
//! reads 500 that wait, stores them as sent with an event each, and deletes the events in another transaction; nobody orders, retries, or
//! writes down what begins.

mod flow;
mod twin;

use crate::cpu::Used;
use crate::node::median;
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// What is measured.
struct Load {
    messages: u32,
    bulk: bool,
    postgres: Option<String>,
    runs: usize,
}

/// How long one side took.
pub(crate) struct Took {
    accepting: Duration,
    sending: Duration,
    used: Used,
}

fn load(args: &[String]) -> Result<Load> {
    const USAGE: &str = "notify NUMBER [--postgres URL] [--bulk] [--runs N]";
    let mut load = Load { messages: 0, bulk: false, postgres: None, runs: 1 };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--postgres" => load.postgres = Some(args.next().context(USAGE)?.clone()),
            "--runs" => load.runs = args.next().context(USAGE)?.parse().context(USAGE)?,
            "--bulk" => load.bulk = true,
            number => load.messages = number.parse().with_context(|| format!("{number}: {USAGE}"))?,
        }
    }
    ensure!(load.messages > 0 && load.runs > 0, USAGE);
    Ok(load)
}

/// `notify NUMBER [--postgres URL] [--bulk] [--runs N]`
pub fn run(args: &[String]) -> Result<()> {
    let Load { messages, bulk, postgres, runs } = load(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!(
        "{messages} notifications; messages/s, medians of {runs} runs; processor time of the last run\n"
    );
    println!("| sent | by hand | ratio | accepted | time of ours | by hand |\n|---|---|---|---|---|---|");
    let (mut ours, mut hands, mut accepted) = (Vec::new(), Vec::new(), Vec::new());
    let mut used = (Used::default(), Used::default());
    let rate = |took: Duration| f64::from(messages) / took.as_secs_f64();
    for _ in 0..runs {
        let flow = runtime.block_on(flow::measure(messages, bulk, postgres.as_deref()))?;
        let hand = runtime.block_on(twin::measure(messages, postgres.as_deref()))?;
        ours.push(rate(flow.sending));
        hands.push(rate(hand.sending));
        accepted.push(rate(flow.accepting));
        used = (flow.used, hand.used);
    }
    let (ours, hands, accepted) = (median(ours), median(hands), median(accepted));
    let ratio = 100.0 * ours / hands;
    println!("| {ours:.0} | {hands:.0} | {ratio:.0} % | {accepted:.0} | {} | {} |", used.0, used.1);
    Ok(())
}
