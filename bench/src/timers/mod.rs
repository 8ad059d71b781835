//! Timers: NUMBER of them that come due evenly over SECONDS, then a fifth as many that come due all at once. Each writes a row
//! when it fires. The twin is a plain loop of sqlx on the same table: it takes out what is due and writes the same rows in one
//! transaction, as many at once as the flow does; nobody sets, cancels, fails or hands over there.

mod flow;
mod twin;

use anyhow::{Context, Result, bail, ensure};
use std::time::Duration;

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    timers: u32,
    over: Duration,
    /// A handler for each timer in place of one for many.
    alone: bool,
    postgres: Option<String>,
}

/// How late timers were.
pub(crate) struct Late {
    /// In microseconds, ascending.
    sorted: Vec<i64>,
    /// How late the latest commit was, where the rest is about the transaction's beginning.
    committed: Option<String>,
}

impl Late {
    fn of(mut late: Vec<i64>, committed: Option<String>) -> Late {
        late.sort_unstable();
        Late { sorted: late, committed }
    }

    fn at(&self, share: f64) -> f64 {
        let index = ((self.sorted.len() as f64 * share) as usize).min(self.sorted.len().saturating_sub(1));
        self.sorted.get(index).map_or(0.0, |late| *late as f64 / 1000.0)
    }

    fn print(&self, who: &str) {
        println!(
            "{who}: late p50 {:.0} ms, p99 {:.0} ms, p99.9 {:.0} ms, most {:.0} ms ({} timers){}",
            self.at(0.5),
            self.at(0.99),
            self.at(0.999),
            self.at(1.0),
            self.sorted.len(),
            self.committed.as_deref().map(|text| format!("; {text}")).unwrap_or_default()
        );
    }
}

fn load(args: &[String]) -> Result<Load> {
    const USAGE: &str = "timers NUMBER SECONDS [--alone] [--postgres URL]";
    let mut load = Load { timers: 0, over: Duration::ZERO, alone: false, postgres: None };
    let mut numbers = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--alone" => load.alone = true,
            "--postgres" => load.postgres = Some(args.next().context("--postgres needs a URL")?.clone()),
            number => numbers.push(number.parse::<u32>().with_context(|| format!("{number}: {USAGE}"))?),
        }
    }
    let [timers, seconds] = numbers[..] else { bail!(USAGE) };
    ensure!(timers > 0 && seconds > 0, "{USAGE}: both are at least 1");
    (load.timers, load.over) = (timers, Duration::from_secs(u64::from(seconds)));
    Ok(load)
}

/// `timers NUMBER SECONDS [--alone] [--postgres URL]`
pub fn run(args: &[String]) -> Result<()> {
    let load = load(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let rate = f64::from(load.timers) / load.over.as_secs_f64();
        println!("{} timers over {:?}, {rate:.0} a second", load.timers, load.over);
        let ours = flow::measure(&load).await?;
        ours.late.print("flow");
        let twin = twin::measure(&load).await?;
        twin.late.print("plain loop");
        println!(
            "all due at once: flow {:.0} timers/s, plain loop {:.0}: {:.0} %",
            ours.burst,
            twin.burst,
            100.0 * ours.burst / twin.burst
        );
        Ok(())
    })
}

/// What came out.
pub(crate) struct Measured {
    late: Late,
    /// Timers a second where all were due at once.
    burst: f64,
}

/// How many are due at once in the second part.
fn burst_of(load: &Load) -> u32 {
    (load.timers / 5).max(1)
}
