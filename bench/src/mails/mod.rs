//! Mails: NUMBER of them, accepted and queued beforehand, go to a server of another process over a few connections that are kept. Each
//! is written from its template when it is sent, 3 KB of text; each attempt is written down before its mail, and each delivery's
//! state, audit trail and event after it; the time ends when the last one is stored. The server is Postfix's `smtp-sink`, which counts
//! and forgets, and the twin its `smtp-source`: the same bytes of content over as many connections, composed once, nothing stored. Both
//! lie below the folder that `--foreign` names, as `cargo xtask backends install` puts them there; without it the server is our own
//! simulator, in another process, and there is no twin.
//!
//! Memory is that of this process at the end, which is a node without its HTTP; the sink is not in it.

mod flow;
mod sink;

use crate::cpu::Used;
use crate::node::median;
use anyhow::{Context, Result, ensure};
use sink::{Sink, Tools};
use std::path::PathBuf;
use std::time::Duration;

/// Bytes of a mail's text.
const TEXT: usize = 3_000;

/// What is measured.
struct Load {
    mails: u32,
    connections: u32,
    bulk: bool,
    postgres: Option<String>,
    foreign: Option<PathBuf>,
    runs: usize,
}

/// How long it took.
struct Took {
    accepting: Duration,
    sending: Duration,
    used: Used,
    /// Bytes at the end.
    resident: u64,
}

const USAGE: &str = "mails NUMBER [--connections 10] [--foreign FOLDER] [--postgres URL] [--bulk] [--runs N]";

fn load(args: &[String]) -> Result<Load> {
    let mut load = Load { mails: 0, connections: 10, bulk: false, postgres: None, foreign: None, runs: 1 };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--connections" => load.connections = args.next().context(USAGE)?.parse().context(USAGE)?,
            "--foreign" => load.foreign = Some(args.next().context(USAGE)?.into()),
            "--postgres" => load.postgres = Some(args.next().context(USAGE)?.clone()),
            "--runs" => load.runs = args.next().context(USAGE)?.parse().context(USAGE)?,
            "--bulk" => load.bulk = true,
            number => load.mails = number.parse().with_context(|| format!("{number}: {USAGE}"))?,
        }
    }
    ensure!(load.mails > 0 && load.connections > 0 && load.runs > 0, USAGE);
    Ok(load)
}

/// See [`USAGE`].
pub fn run(args: &[String]) -> Result<()> {
    let load = load(args)?;
    let Load { mails, connections, runs, .. } = load;
    let tools = load.foreign.as_deref().map(Tools::in_folder).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let sink = match &tools {
        Some(_) => "Postfix's smtp-sink",
        None => "our simulator, in another process; no twin without --foreign",
    };
    println!(
        "{mails} mails of {TEXT} bytes of text over {connections} connections to {sink}; lane {}, {} at once; mails/s, medians of {runs} runs; \
         processor time and memory of the last run\n",
        if load.bulk { "bulk" } else { "transactional" },
        flow::AT_ONCE,
    );
    println!("| sent | smtp-source | ratio | accepted | memory | time of ours |\n|---|---|---|---|---|---|");
    let (mut ours, mut twins, mut accepted, mut last) = (Vec::new(), Vec::new(), Vec::new(), None);
    let rate = |took: Duration| f64::from(mails) / took.as_secs_f64();
    for _ in 0..runs {
        let sink = runtime.block_on(Sink::start(tools.as_ref()))?;
        let took = runtime.block_on(flow::measure(&load, sink.port))?;
        ours.push(rate(took.sending));
        accepted.push(rate(took.accepting));
        if let Some(tools) = &tools {
            twins.push(rate(tools.source(&sink, &load)?));
        }
        last = Some(took);
    }
    let Took { used, resident, .. } = last.context("there is a run")?;
    let (ours, accepted) = (median(ours), median(accepted));
    let (twin, ratio) = match twins.is_empty() {
        true => ("-".to_owned(), "-".to_owned()),
        false => {
            let twin = median(twins);
            (format!("{twin:.0}"), format!("{:.0} %", 100.0 * ours / twin))
        }
    };
    println!("| {ours:.0} | {twin} | {ratio} | {accepted:.0} | {:.0} MB | {used} |", resident as f64 / 1e6);
    Ok(())
}

/// What runs in the other process where there is no smtp-sink: it says where it listens.
pub fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(sink::serve())
}
