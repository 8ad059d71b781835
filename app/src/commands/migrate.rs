//! `artel migrate`: on the databases themselves, while no node runs on them; `artel run` applies what is pending at its start.

use crate::cli::{Migrate, Step};
use crate::commands::check::report;
use crate::table::table;
use crate::{FAILED, REFUSED, services, sources};
use anyhow::{Context, Result};
use artel_frame::config::DbAdapter;
use artel_frame::{StartFailure, open_store};
use artel_store::{MigrationState, MigrationStatus, Store};
use std::io::Write;
use std::process::ExitCode;

pub async fn run(args: Migrate) -> Result<ExitCode> {
    let config = match sources::load(sources::of(&args.settings)) {
        Ok(config) => config,
        Err(problems) => {
            report(&problems)?;
            return Ok(ExitCode::from(FAILED));
        }
    };
    if let (Ok(DbAdapter::Sqlite(folder)), Step::Status | Step::Plan) = (config.db_adapter(), args.step)
        && !folder.exists()
    {
        let folder = folder.display();
        writeln!(
            std::io::stdout(),
            "no databases yet in {folder}; everything is applied when a node starts there"
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let store = open_store(&config).await.map_err(|failure| {
        let running = failure.is_in_use();
        let error = anyhow::Error::new::<StartFailure>(failure);
        if running {
            error.context("a node runs on these databases, and applied everything at its start")
        } else {
            error
        }
    })?;
    let done = look(&store, args.step).await;
    store.close().await;
    done
}

async fn look(store: &Store, step: Step) -> Result<ExitCode> {
    let (mut rows, mut wrong) = (Vec::new(), false);
    for service in services::all() {
        let (name, sets) = (service.name(), service.migration_sets());
        let db = store.db(name).await.with_context(|| format!("the database of '{name}'"))?;
        match step {
            Step::Status => {
                let lines = db.migration_status(&sets).await?;
                wrong |= lines.iter().any(is_wrong);
                rows.extend(lines.iter().map(|line| row(name, line)));
            }
            Step::Plan => rows.extend(db.migration_plan(&sets).await?.iter().map(|line| row(name, line))),
            Step::Apply => {
                let applied = db.migrate(&sets).await?;
                rows.extend(applied.into_iter().map(|done| {
                    vec![name.to_owned(), done.component, done.file, "applied now".to_owned(), String::new()]
                }));
            }
        }
    }
    let mut out = std::io::stdout();
    if rows.is_empty() {
        writeln!(out, "nothing is pending")?;
    } else {
        write!(out, "{}", table(&["service", "component", "file", "state", "at"], &rows))?;
    }
    Ok(if wrong { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS })
}

fn is_wrong(line: &MigrationStatus) -> bool {
    matches!(line.state, MigrationState::Changed { .. } | MigrationState::Unknown { .. })
}

fn row(service: &str, line: &MigrationStatus) -> Vec<String> {
    let (state, at) = match line.state {
        MigrationState::Applied { at } => ("applied", Some(at)),
        MigrationState::Pending => ("pending", None),
        MigrationState::Changed { at } => ("changed after it was applied", Some(at)),
        MigrationState::Unknown { at } => ("not known to this program", Some(at)),
    };
    let at = at.map(|at| at.to_string()).unwrap_or_default();
    vec![service.to_owned(), line.component.clone(), line.file.clone(), state.to_owned(), at]
}
