//! `crash`: the program killed again and again while it works, for as long as somebody wants.

use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::Command;

/// What is killed, and for how long.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask crash --minutes 30              both forms, fifteen minutes each
  cargo xtask crash --minutes 5 --embedded    one process on embedded storage
  cargo xtask crash --minutes 60 --seed 7     other moments")]
pub struct Args {
    /// How long, in minutes; a round that has begun is finished
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// What the moments and the victims are drawn from
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seed: u64,
    /// Only one process on embedded storage
    #[arg(long, conflicts_with = "servers")]
    embedded: bool,
    /// Only two nodes on three brokers, PostgreSQL and Redis, which are killed too
    #[arg(long)]
    servers: bool,
}

/// True when everything was accounted for.
pub fn run(root: &Path, args: &Args) -> Result<bool> {
    let (tests, minutes): (&[&str], u64) = match (args.embedded, args.servers) {
        (true, _) => (&["crashes_of_one_process"], args.minutes),
        (_, true) => (&["crashes_of_nodes_and_servers"], args.minutes),
        _ => (&["crashes_of_one_process", "crashes_of_nodes_and_servers"], args.minutes.div_ceil(2)),
    };
    let mut passed = true;
    for test in tests {
        println!("{test}: {minutes} minutes");
        let status = Command::new("cargo")
            .args(["test", "--release", "--locked", "--all-features", "-p", "artel", "--test", "it", "--"])
            .args(["--nocapture", "--exact", &format!("driver::{test}")])
            .env("ARTEL_CRASH_MINUTES", minutes.to_string())
            .env("ARTEL_TEST_SEED", args.seed.to_string())
            // The servers are its own; the variable says that they are wanted.
            .env("ARTEL_TEST_KAFKA", "of its own")
            .current_dir(root)
            .status()
            .context("start cargo")?;
        passed &= status.success();
    }
    Ok(passed)
}
