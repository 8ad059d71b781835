//! `artel`: every service in one binary, and the command line that talks to a running one.

mod cli;
mod cli_failed;
mod cli_groups;
mod cli_why;
mod commands;
mod connect;
mod line;
mod services;
mod sources;
mod table;

use clap::Parser;
use cli::Cli;
use std::io::Write;
use std::process::ExitCode;

/// Messages are made on one thread and freed on another, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Something was refused, or is not as it should be.
pub const REFUSED: u8 = 1;
/// Nothing could be done: a wrong command line or configuration, no start, no connection.
pub const FAILED: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("artel: {error:#}"));
            ExitCode::from(FAILED)
        }
    }
}

/// A line on standard error. Where that is gone there is nobody left to tell.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", line::printable(text));
}

/// `artel topics | head` ends when `head` has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
