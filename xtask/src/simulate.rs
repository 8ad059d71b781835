//! `cargo xtask simulate`: the simulation of the durable flow (`base/flow/tests/sim`), for as many seeds as one likes.

use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::Command;

#[derive(clap::Args)]
pub struct Args {
    /// How many seeds, from 1 on
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Only this one, and print everything that happened in it
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
}

/// True when every seed kept every promise.
pub fn run(root: &Path, args: &Args) -> Result<bool> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(["test", "--release", "-p", "artel-flow", "--test", "sim", "--"]);
    command.args(["--exact", "every_seed_keeps_every_promise", "--nocapture"]);
    match args.seed {
        Some(seed) => command.env("ARTEL_SIM_SEED", seed.to_string()),
        None => command.env("ARTEL_SIM_SEEDS", args.seeds.to_string()).env("ARTEL_SIM_PROGRESS", "1"),
    };
    Ok(command.status().context("start cargo test")?.success())
}
