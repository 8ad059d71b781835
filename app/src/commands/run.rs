//! `artel run`: a node until a signal.

use crate::cli::Run;
use crate::commands::check::report;
use crate::commands::simulate::{self, Within};
use crate::{FAILED, REFUSED, services, sources};
use anyhow::{Context, Result};
use artel_frame::config::{Config, Sources};
use artel_frame::telemetry::{Identity, SpanCounts, Telemetry};
use artel_frame::{Node, Overrides};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a stop may take beyond `node.stop_within` before the process ends anyway.
const GRACE: Duration = Duration::from_secs(5);

pub fn run(args: &Run) -> Result<ExitCode> {
    let Some(config) = load(sources::of_run(args))? else { return Ok(ExitCode::from(FAILED)) };
    let who = Identity {
        service: "artel".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: config.node.name.clone(),
    };
    let telemetry = Telemetry::install(&config.telemetry, who)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("no threads for a node")?;
    let done = runtime.block_on(async {
        let within = match args.simulate {
            Some(port) => simulate::within(&config, port).await?,
            None => None,
        };
        let config = match &within {
            Some(within) => load(sources::of_run(args).defaults("--simulate", &within.settings))?,
            None => Some(config),
        };
        match config {
            Some(config) => serve(config, telemetry.spans(), within.as_ref()).await,
            None => Ok(ExitCode::from(FAILED)),
        }
    });
    runtime.shutdown_background();
    telemetry.flush();
    done
}

/// `None`, said on standard error, where something is wrong with it.
fn load(sources: Sources) -> Result<Option<Config>> {
    match sources::load(sources) {
        Ok(config) => Ok(Some(config)),
        Err(problems) => {
            report(&problems)?;
            Ok(None)
        }
    }
}

/// The simulated providers answer for as long as the node runs.
async fn serve(config: Config, spans: SpanCounts, within: Option<&Within>) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let generated = config.auth.operator_token.is_none();
    let stop_within = config.node.stop_within.get();
    let overrides = Overrides { spans, ..Overrides::default() };
    let start = Node::start(config, services::all(), artel_contract::catalogue(), overrides);
    let node = tokio::select! {
        node = start => node?,
        () = signals.next() => return Ok(ExitCode::from(REFUSED)),
    };
    if let Err(error) = welcome(&node, generated, within) {
        tracing::debug!(%error, "nobody reads standard output");
    }
    tracing::info!(url = node.url(), "ready");
    signals.next().await;
    tracing::info!(within = ?stop_within, "stopping; a second signal stops at once");
    let code = tokio::select! {
        () = node.stop() => ExitCode::SUCCESS,
        () = signals.next() => ExitCode::from(REFUSED),
        () = tokio::time::sleep(stop_within + GRACE) => ExitCode::from(REFUSED),
    };
    tracing::info!("stopped");
    Ok(code)
}

/// What a person needs to go on.
fn welcome(node: &Node, generated: bool, within: Option<&Within>) -> std::io::Result<()> {
    let url = node.url();
    let program = std::env::args().next().unwrap_or_else(|| "artel".to_owned());
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "artel {} is ready at {url}, data in {}",
        env!("CARGO_PKG_VERSION"),
        node.data_dir().display()
    )?;
    writeln!(out, "  the API, to read and to try: {url}/api/docs")?;
    if let Some(within) = within {
        writeln!(out, "  {}", within.sentence())?;
    }
    if generated {
        writeln!(out, "  operator token, for /api/admin: {}", node.operator_token().expose())?;
    }
    writeln!(
        out,
        "\ntry in another terminal:\n  curl -s -X POST {url}/api/bridge/messages -H 'Content-Type: application/json' \\\n    \
         -d '{{\"topic\": \"greetings\", \"key\": \"ann\", \"value\": {{\"text\": \"hello\"}}}}'"
    )?;
    let at = if url == "http://127.0.0.1:8080" { String::new() } else { format!(" --url {url}") };
    let folder = match node.data_dir().to_string_lossy() {
        folder if folder == "data" => String::new(),
        folder => format!(" --data-dir {folder}"),
    };
    writeln!(
        out,
        "  {program} produce{at} --topic shipments --key-field shipment examples/shipments.ndjson"
    )?;
    if within.is_some() {
        writeln!(
            out,
            "  {program} produce{at} --topic logistics.shipment --key-field shipment examples/notify/shipments.ndjson"
        )?;
    }
    writeln!(out, "  {program} tail{at}{folder} shipments --from beginning -n 10")?;
    writeln!(out, "  curl -s {url}/api/bridge/stats\n")?;
    out.flush()
}

/// What asks a process to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
