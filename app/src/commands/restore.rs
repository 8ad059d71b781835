//! `artel restore`: a backup becomes the data folder of an embedded node.

use super::progress::watched;
use crate::cli::{Restore, Settings};
use crate::commands::check::report;
use crate::table::bytes;
use crate::{FAILED, services, sources};
use anyhow::Result;
use artel_frame::backup::{Manifest, Progress, restore};
use artel_frame::config::{CacheAdapter, Config};
use artel_message::Time;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

pub async fn run(args: Restore) -> Result<ExitCode> {
    let settings = Settings { config: args.config.clone(), data_dir: args.to.clone() };
    let config = match sources::load(sources::of(&settings)) {
        Ok(config) => config,
        Err(problems) => {
            report(&problems)?;
            return Ok(ExitCode::from(FAILED));
        }
    };
    let progress = Progress::default();
    let services = services::all();
    let manifest = watched(&progress, restore(&args.backup, &config, &services, &progress)).await?;
    say(&config, &manifest, &start(args.config.as_deref(), args.to.as_deref(), &config))?;
    Ok(ExitCode::SUCCESS)
}

/// The command that starts a node on what was restored: with the settings that said where it went.
fn start(file: Option<&Path>, to: Option<&Path>, config: &Config) -> String {
    let mut command = "artel run".to_owned();
    if let Some(file) = file {
        command += &format!(" --config {}", file.display());
    }
    if let Some(folder) = to.or(file.is_none().then_some(&config.node.data_dir)) {
        command += &format!(" --data-dir {}", folder.display());
    }
    command
}

fn say(config: &Config, manifest: &Manifest, start: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    let (folder, cut, now) =
        (config.node.data_dir.display(), manifest.cut_at, Time::from_system(SystemTime::now()));
    writeln!(
        out,
        "restored into {folder}: {} databases and {} messages of the log, {}, as they were at {cut}",
        manifest.databases.len(),
        manifest.records(),
        bytes(manifest.bytes())
    )?;
    writeln!(
        out,
        "the interval from {cut} to the end of the node that was backed up (at most {now}) is lost: what was accepted in it is \
         not here, and callers may send it again under the same Idempotency-Key. Calls to the outside that were made in it \
         may be made once more, with the same idempotency key each"
    )?;
    if matches!(config.cache_adapter(), Ok(CacheAdapter::Redis(_))) {
        writeln!(out, "Redis may hold what is newer than this: empty it, or choose another cache.prefix")?;
    }
    writeln!(out, "start it with: {start}")
}
