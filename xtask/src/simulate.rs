//! `cargo xtask simulate`: the simulation of the durable flow (`base/flow/tests/sim`), for as many seeds as one likes, and what it
//! finds of the bugs that were planted for it.

use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::Command;

#[derive(clap::Args)]
pub struct Args {
    /// How many seeds, from --seed on (from 1 without it)
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed; without --seeds only this one, with everything that happened in it
    #[arg(long)]
    seed: Option<u64>,
    /// Plant one bug after another, and print how many seeds it takes to find each
    #[arg(long, conflicts_with_all = ["seeds", "seed"])]
    planted: bool,
    /// With --planted: only this one
    #[arg(long, requires = "planted")]
    bug: Option<String>,
}

const DEFAULT_SEEDS: u64 = 1_000;

/// True when every seed kept every promise, or every planted bug was found.
pub fn run(root: &Path, args: &Args) -> Result<bool> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args([
        "test",
        "--release",
        "--locked",
        "-p",
        "artel-flow",
        "--test",
        "sim",
        "--",
    ]);
    let test = if args.planted { "every_planted_bug_is_found" } else { "every_seed_keeps_every_promise" };
    command.args(["--exact", test, "--nocapture"]);
    for (name, value) in variables(args) {
        command.env(name, value);
    }
    Ok(command.status().context("start cargo test")?.success())
}

fn variables(args: &Args) -> Vec<(&'static str, String)> {
    if args.planted {
        let bug = args.bug.iter().map(|bug| ("ARTEL_TEST_SIM_BUG", bug.clone()));
        return bug.chain([("ARTEL_TEST_SIM_PLANTED", "1".to_owned())]).collect();
    }
    match (args.seeds, args.seed) {
        (None, Some(seed)) => vec![("ARTEL_TEST_SIM_SEED", seed.to_string())],
        (seeds, from) => vec![
            ("ARTEL_TEST_SIM_SEEDS", seeds.unwrap_or(DEFAULT_SEEDS).to_string()),
            ("ARTEL_TEST_SIM_FROM", from.unwrap_or(1).to_string()),
            ("ARTEL_TEST_SIM_PROGRESS", "1".to_owned()),
        ],
    }
}
