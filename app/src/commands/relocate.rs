//! `artel move`: everything of an embedded node, to Kafka and PostgreSQL.

use super::progress::watched;
use crate::cli::{Move, Settings};
use crate::commands::check::report;
use crate::table::{bytes, table};
use crate::{FAILED, services, sources};
use anyhow::Result;
use artel_frame::backup::Progress;
use artel_frame::config::Config;
use artel_frame::moving::{self, Moved, Plan, Same};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Settings in which the two nodes are expected to differ begin so.
const OTHER: [&str; 6] = ["bus.url ", "kafka.", "db.url ", "cache.url ", "peers.", "node.data_dir "];

pub async fn run(args: Move) -> Result<ExitCode> {
    let target = Settings { config: Some(args.to.clone()), data_dir: None };
    let loaded = (sources::load(sources::of(&args.settings)), sources::load(sources::of(&target)));
    let (from, to) = match loaded {
        (Ok(from), Ok(to)) => (from, to),
        (from, to) => {
            let problems = [from.err(), to.err()].into_iter().flatten().flatten();
            report(&problems.collect::<Vec<_>>())?;
            return Ok(ExitCode::from(FAILED));
        }
    };
    let differing = differing(&from, &to);
    let work = moving::Move { from, to, services: services::all(), again: args.again };
    if args.dry_run {
        let progress = Progress::default();
        let plan = watched(&progress, work.plan(&progress)).await?;
        say_plan(&plan)?;
        return Ok(ExitCode::SUCCESS);
    }
    let progress = Progress::default();
    let moved = watched(&progress, work.run(&progress)).await?;
    say(&moved, &args.to, &differing)?;
    Ok(ExitCode::SUCCESS)
}

/// The settings that the node has and its successor would not, as they are printed: `section.key = value`.
fn differing(from: &Config, to: &Config) -> Vec<String> {
    let there: BTreeSet<String> = settings(to).into_iter().collect();
    let own = |line: &String| !OTHER.iter().any(|start| line.starts_with(start));
    let secrets = from.other_secrets(to).into_iter().filter(own);
    let secrets = secrets.map(|path| format!("{path} (another secret)")).collect::<Vec<_>>();
    settings(from).into_iter().filter(own).filter(|line| !there.contains(line)).chain(secrets).collect()
}

fn settings(config: &Config) -> Vec<String> {
    let (mut section, mut all) = (String::new(), Vec::new());
    for line in config.effective().lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((setting, _)) = line.rsplit_once('#') {
            all.push(format!("{section}.{}", setting.trim_end()));
        }
    }
    all
}

fn say_plan(plan: &Plan) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let topics: Vec<Vec<String>> = plan
        .topics
        .iter()
        .map(|t| vec![t.name.clone(), t.partitions.to_string(), t.records.to_string(), bytes(t.bytes)])
        .collect();
    write!(out, "{}", table(&["topic", "partitions", "messages", "size"], &topics))?;
    let tables: Vec<Vec<String>> = plan
        .databases
        .iter()
        .flat_map(|db| db.tables.iter().map(|(name, rows)| (db.service.clone(), name.clone(), rows)))
        .map(|(service, name, rows)| vec![service, name, rows.to_string()])
        .collect();
    write!(out, "\n{}", table(&["service", "table", "rows"], &tables))?;
    writeln!(out, "\n{} would be moved; nothing was changed", summary(plan))
}

fn summary(plan: &Plan) -> String {
    format!(
        "{} topics with {} messages ({}) and {} databases with {} rows",
        plan.topics.len(),
        plan.records(),
        bytes(plan.bytes()),
        plan.databases.len(),
        plan.rows()
    )
}

fn say_same(out: &mut impl Write, same: &Same) -> std::io::Result<()> {
    let topics: Vec<Vec<String>> =
        same.topics.iter().map(|t| vec![t.name.clone(), t.same.to_string(), t.gone.to_string()]).collect();
    write!(out, "{}", table(&["topic", "the same", "removed by age"], &topics))?;
    let tables: Vec<Vec<String>> = same
        .tables
        .iter()
        .map(|t| vec![t.service.clone(), t.table.clone(), t.rows.to_string(), t.checksum.clone()])
        .collect();
    writeln!(out, "\n{}", table(&["service", "table", "the same rows", "checksum"], &tables))
}

fn say(moved: &Moved, to: &Path, differing: &[String]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if let Some(same) = &moved.same {
        say_same(&mut out, same)?;
    }
    writeln!(
        out,
        "moved {} to {}; all of it was read back and is the same",
        summary(&moved.plan),
        moved.target
    )?;
    for topic in &moved.kept_for_ever {
        writeln!(
            out,
            "topic {topic} keeps its messages for ever there: a group needs some that brokers might remove before it has read \
             them. Set its retention.ms and retention.bytes when it has"
        )?;
    }
    if !differing.is_empty() {
        writeln!(out, "{} does not say what this node's settings said; these differ:", to.display())?;
        for line in differing {
            writeln!(out, "  {line}")?;
        }
    }
    writeln!(
        out,
        "the old folder holds what it held and no node starts on it any more\nstart the node with: artel run --config {}",
        to.display()
    )
}
