//! Effects: NUMBER of them, which wait when the time begins, with a call that does nothing and a done handler that writes a row, told
//! one by one (`one`) or many at once (`batch`), 64 calls at a time. `queued` is the time before: how many a second are set, fired and
//! queued, with one command for 5,000. The twin is a plain loop of sqlx on one connection, on the same table and indexes: it claims 500
//! in a transaction, and deletes them and writes the same rows in another, row by row or all at once; nobody fails, renews or
//! gives up there.

mod flow;
mod twin;

use crate::cpu::Used;
use crate::node::median;
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// How what came of effects is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    One,
    Batch,
}

impl How {
    fn name(self) -> &'static str {
        match self {
            How::One => "a row each, told one by one",
            How::Batch => "a row each, told many at once",
        }
    }
}

/// What is measured.
struct Load {
    effects: u32,
    postgres: Option<String>,
    hows: Vec<How>,
    runs: usize,
}

/// How long one side took.
pub(crate) struct Took {
    queueing: Duration,
    ending: Duration,
    used: Used,
}

impl Took {
    fn rate(&self, effects: u32) -> f64 {
        f64::from(effects) / self.ending.as_secs_f64()
    }
}

fn load(args: &[String]) -> Result<Load> {
    const USAGE: &str = "effects NUMBER [--postgres URL] [--only one|batch] [--runs N]";
    let mut load = Load { effects: 0, postgres: None, hows: vec![How::One, How::Batch], runs: 1 };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--postgres" => load.postgres = Some(args.next().context(USAGE)?.clone()),
            "--runs" => load.runs = args.next().context(USAGE)?.parse().context(USAGE)?,
            "--only" => {
                let name = args.next().context(USAGE)?.to_lowercase();
                load.hows.retain(|how| format!("{how:?}").to_lowercase() == name);
            }
            number => load.effects = number.parse().with_context(|| format!("{number}: {USAGE}"))?,
        }
    }
    ensure!(load.effects > 0 && load.runs > 0 && !load.hows.is_empty(), USAGE);
    Ok(load)
}

/// `effects NUMBER [--postgres URL] [--only one|batch] [--runs N]`
pub fn run(args: &[String]) -> Result<()> {
    let Load { effects, postgres, hows, runs } = load(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("{effects} effects; effects/s, medians of {runs} runs; processor time of the last run\n");
    println!("| | flow | by hand | ratio | queued | flow's time | by hand |\n|---|---|---|---|---|---|---|");
    for how in hows {
        let (mut ours, mut hands, mut queued) = (Vec::new(), Vec::new(), Vec::new());
        let mut used = (Used::default(), Used::default());
        for _ in 0..runs {
            let flow = runtime.block_on(flow::measure(effects, how, postgres.as_deref()))?;
            let hand = runtime.block_on(twin::measure(effects, how, postgres.as_deref()))?;
            ours.push(flow.rate(effects));
            hands.push(hand.rate(effects));
            queued.push(f64::from(effects) / flow.queueing.as_secs_f64());
            used = (flow.used, hand.used);
        }
        let (ours, hands, queued) = (median(ours), median(hands), median(queued));
        println!(
            "| {} | {ours:.0} | {hands:.0} | {:.0} % | {queued:.0} | {} | {} |",
            how.name(),
            100.0 * ours / hands,
            used.0,
            used.1
        );
    }
    Ok(())
}
