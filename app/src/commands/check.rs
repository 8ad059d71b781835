//! `artel check` and `artel config`.

use crate::cli::Check;
use crate::{FAILED, sources};
use anyhow::Result;
use artel_frame::config::{Config, Problem};
use std::io::Write;
use std::process::ExitCode;

/// Prints every problem at once.
pub fn check(args: &Check) -> Result<ExitCode> {
    match load(args)? {
        Some(_) => {
            writeln!(std::io::stdout(), "the configuration is fine")?;
            Ok(ExitCode::SUCCESS)
        }
        None => Ok(ExitCode::from(FAILED)),
    }
}

/// Prints what is in effect.
pub fn print(args: &Check) -> Result<ExitCode> {
    match load(args)? {
        Some(config) => {
            write!(std::io::stdout(), "{}", config.effective())?;
            Ok(ExitCode::SUCCESS)
        }
        None => Ok(ExitCode::from(FAILED)),
    }
}

fn load(args: &Check) -> Result<Option<Config>> {
    match sources::load(sources::of_check(args)) {
        Ok(config) => Ok(Some(config)),
        Err(problems) => {
            report(&problems)?;
            Ok(None)
        }
    }
}

/// A line for each problem, and how many there are.
pub fn report(problems: &[Problem]) -> std::io::Result<()> {
    let mut err = std::io::stderr().lock();
    for problem in problems {
        writeln!(err, "{problem}")?;
    }
    let noun = if problems.len() == 1 { "problem" } else { "problems" };
    writeln!(
        err,
        "artel: {} {noun} in the configuration; config/artel.toml explains every setting",
        problems.len()
    )
}
