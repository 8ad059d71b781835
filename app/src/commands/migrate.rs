//! `artel migrate`: on the databases themselves, or by the node that runs on them, which has applied what was pending at its
//! start.

use crate::cli::{Migrate, Settings, Step, Target};
use crate::commands::check::report;
use crate::connect::{self, read};
use crate::table::table;
use crate::{FAILED, REFUSED, services, sources};
use anyhow::{Context, Result};
use artel_frame::config::DbAdapter;
use artel_frame::open_store;
use artel_store::{MigrationState, MigrationStatus, Store};
use serde_json::Value;
use std::io::Write;
use std::process::ExitCode;

pub async fn run(args: Migrate) -> Result<ExitCode> {
    let settings = Settings { config: args.config, data_dir: args.target.data_dir.clone() };
    let config = match sources::load(sources::of(&settings)) {
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
    let store = match open_store(&config).await {
        Ok(store) => store,
        Err(failure) if failure.is_in_use() => return ask(&args.target, args.step).await,
        Err(failure) => return Err(failure.into()),
    };
    let done = look(&store, args.step).await;
    store.close().await;
    done
}

/// A node runs on the databases: it knows how they stand, and nothing is left to do.
async fn ask(target: &Target, step: Step) -> Result<ExitCode> {
    let context = "a node runs on these databases and was asked";
    let answer = connect::client(target)?.get("/api/admin/migrations").await.context(context)?;
    let list: Value = read(&answer).context(context)?;
    let list = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let field =
        |row: &Value, name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |row: &Value, name: &str| row.get(name).and_then(Value::as_u64);
    let rows = list
        .iter()
        .filter(|row| step == Step::Status || field(row, "state") == "pending")
        .map(|row| {
            let [service, component, file, state, at] =
                ["service", "component", "file", "state", "at"].map(|name| field(row, name));
            let first = number(row, "version") == Some(1);
            let state = says(&state, first, number(row, "works_from"));
            vec![service, component, file, state, at]
        })
        .collect();
    show(rows)?;
    Ok(ExitCode::SUCCESS)
}

/// How a migration stands, in words, by its name in the administration's API.
fn says(state: &str, first: bool, works_from: Option<u64>) -> String {
    match (state, works_from) {
        // There is nobody yet.
        ("pending", _) if first => "pending".to_owned(),
        ("pending", Some(from)) => format!("pending; programs that know {from:04} go on beside it"),
        ("pending", None) => "pending; stop older programs first".to_owned(),
        ("changed", _) => "changed after it was applied".to_owned(),
        ("newer", _) => "of a newer program, works with this one".to_owned(),
        ("unknown", _) => "of a newer program, does not work with this one".to_owned(),
        (other, _) => other.to_owned(),
    }
}

fn show(rows: Vec<Vec<String>>) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    if rows.is_empty() {
        return writeln!(out, "nothing is pending");
    }
    write!(out, "{}", table(&["service", "component", "file", "state", "at"], &rows))
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
    show(rows)?;
    Ok(if wrong { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS })
}

fn is_wrong(line: &MigrationStatus) -> bool {
    matches!(line.state, MigrationState::Changed { .. } | MigrationState::Unknown { .. })
}

fn row(service: &str, line: &MigrationStatus) -> Vec<String> {
    let (state, at) = line.state.named();
    let state = says(state, line.version == 1, line.works_from.map(u64::from));
    let at = at.map(|at| at.to_string()).unwrap_or_default();
    vec![service.to_owned(), line.component.clone(), line.file.clone(), state, at]
}
