//! What each command does.

mod backup;
mod check;
mod failed;
mod groups;
mod migrate;
mod produce;
mod progress;
mod relocate;
mod restore;
mod run;
mod schedules;
mod show;
mod simulate;
mod status;
mod tail;
mod why;

use crate::cli::{Cli, Command};
use anyhow::{Context, Result};
use std::future::Future;
use std::process::ExitCode;

/// Runs a command; the code says whether all went as wanted.
pub fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Produce(args) => block_on(produce::run(args)),
        Command::Tail(args) => block_on(tail::run(args)).map(|()| ExitCode::SUCCESS),
        Command::Topics(args) => block_on(show::topics(args)).map(|()| ExitCode::SUCCESS),
        Command::Groups(args) => block_on(show::groups(args)).map(|()| ExitCode::SUCCESS),
        Command::Cache(args) => block_on(show::cache(args)).map(|()| ExitCode::SUCCESS),
        Command::Dead(args) => block_on(failed::dead(args)).map(|()| ExitCode::SUCCESS),
        Command::Parked(args) => block_on(failed::parked(args)).map(|()| ExitCode::SUCCESS),
        Command::Audit(args) => block_on(failed::audit(args)).map(|()| ExitCode::SUCCESS),
        Command::Schedules(args) => block_on(schedules::run(args)).map(|()| ExitCode::SUCCESS),
        Command::Topology(args) => block_on(show::topology(args)).map(|()| ExitCode::SUCCESS),
        Command::Status(args) => block_on(status::run(args)),
        Command::Why(args) => block_on(why::run(args)),
        Command::Check(args) => check::check(&args),
        Command::Config(args) => check::print(&args),
        Command::Migrate(args) => block_on(migrate::run(args)),
        Command::Move(args) => block_on(relocate::run(args)),
        Command::Backup(args) => block_on(backup::run(args)),
        Command::Restore(args) => block_on(restore::run(args)),
        Command::Simulate(args) => block_on(simulate::run(args)),
    }
}

/// One thread is enough for a client.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("no runtime for this command")?.block_on(work)
}
