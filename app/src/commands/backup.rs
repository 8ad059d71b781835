//! `artel backup`: by the node that runs on the data folder, or on the folder itself where none does.

use super::progress::{Line, watched};
use crate::cli::{Backup, Settings, Target};
use crate::commands::check::report;
use crate::connect::{self, read};
use crate::table::bytes;
use crate::{FAILED, sources};
use anyhow::{Context, Result, bail};
use artel_flow::Clock;
use artel_frame::backup::{Progress, Reached, Source, take};
use artel_frame::config::Config;
use artel_frame::{Standing, StartFailure};
use artel_message::Time;
use serde::Deserialize;
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const PATH: &str = "/api/admin/backup";
const POLL: Duration = Duration::from_millis(200);

/// What the node says of it.
#[derive(Deserialize)]
struct State {
    state: String,
    doing: String,
    done: u64,
    total: u64,
    error: Option<String>,
    cut_at: Option<Time>,
    bytes: Option<u64>,
    records: Option<u64>,
    databases: Option<usize>,
}

pub async fn run(args: Backup) -> Result<ExitCode> {
    let settings = Settings { config: args.config, data_dir: args.target.data_dir.clone() };
    let config = match sources::load(sources::of(&settings)) {
        Ok(config) => config,
        Err(problems) => {
            report(&problems)?;
            return Ok(ExitCode::from(FAILED));
        }
    };
    let folder = std::path::absolute(&args.folder).context("the folder of the backup")?;
    match Standing::open(&config).await {
        Ok(standing) => by_ourselves(&config, standing, &folder).await?,
        Err(failure) if failure.is_in_use() => ask(&args.target, &folder).await?,
        // Perhaps the node is on another machine, or its settings are not known here.
        Err(StartFailure::Folder { .. } | StartFailure::NotEmbedded) if asks_another(&args.target) => {
            ask(&args.target, &folder).await?;
        }
        Err(failure) => return Err(failure.into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the command line says how to reach a node.
fn asks_another(target: &Target) -> bool {
    target.token.is_some() || target.token_file.is_some()
}

async fn by_ourselves(config: &Config, standing: Standing, folder: &Path) -> Result<()> {
    let source = Source {
        log: standing.log.clone(),
        store: standing.store.clone(),
        node: config.node.name.clone(),
        clock: Clock::system(),
    };
    let progress = Progress::default();
    let taken = watched(&progress, take(&source, folder, &progress)).await;
    standing.close().await;
    let manifest = taken?;
    let (databases, records) = (manifest.databases.len(), manifest.records());
    say(folder, manifest.cut_at, databases, records, manifest.bytes())
}

async fn ask(target: &Target, folder: &Path) -> Result<()> {
    let client = connect::client(target)?;
    let context = "a node runs on this data folder and was asked";
    let begun = client.send_json(http::Method::POST, PATH, &json!({ "folder": folder })).await;
    let mut state: State = read(&begun.context(context)?).context(context)?;
    let line = Line::begin();
    while state.state == "running" {
        line.show(&Reached { doing: state.doing.clone(), unit: "", done: state.done, total: state.total });
        tokio::time::sleep(POLL).await;
        state = read(&client.get(PATH).await.context("asking the node how far the backup is")?)?;
    }
    drop(line);
    if let Some(error) = state.error {
        bail!("the node could not take the backup: {error}");
    }
    let cut_at = state.cut_at.context("the node does not say of which moment the backup is")?;
    let (databases, records) = (state.databases.unwrap_or(0), state.records.unwrap_or(0));
    say(folder, cut_at, databases, records, state.bytes.unwrap_or(0))
}

fn say(folder: &Path, cut_at: Time, databases: usize, records: u64, size: u64) -> Result<()> {
    let (folder, size) = (folder.display(), bytes(size));
    writeln!(
        std::io::stdout(),
        "backup in {folder}: {databases} databases and {records} messages of the log, {size}, all of {cut_at}\n\
         bring it back with: artel restore {folder} --to FOLDER"
    )?;
    Ok(())
}
