//! `crash`: the program killed again and again while it works, for as long as somebody wants.

use anyhow::{Context as _, Result};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is killed, and for how long.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask crash --minutes 30              both forms, fifteen minutes each
  cargo xtask crash --minutes 5 --embedded    one process on embedded storage
  cargo xtask crash --minutes 60 --seed 7     other moments
  cargo xtask crash --notify                  20,000 notifications in both forms, ten kills each, and what became of every one
  cargo xtask crash --old ../before/artel     a rolling upgrade from that program, once; ARTEL_TEST_… name the servers")]
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
    /// Notifications to simulated providers in place of lines, so many, once in each form
    #[arg(long, value_name = "NUMBER", num_args = 0..=1, default_missing_value = "20000", conflicts_with = "minutes")]
    #[arg(value_parser = clap::value_parser!(u64).range(5_000..=200_000))]
    notify: Option<u64>,
    /// Only a rolling upgrade, from this program of an older release to what is built here, on the servers of ARTEL_TEST_…
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["embedded", "servers", "minutes", "seed", "notify"])]
    old: Option<PathBuf>,
}

/// True when everything was accounted for.
pub fn run(root: &Path, args: &Args) -> Result<bool> {
    if let Some(old) = &args.old {
        let old = old.canonicalize().with_context(|| format!("find {}", old.display()))?;
        let test = "upgrade::nodes_are_replaced_one_by_one_and_an_old_one_comes_back_in_the_middle";
        return run_test(root, test, &[("ARTEL_TEST_OLD_PROGRAM", old.as_os_str())]);
    }
    let both = match args.notify {
        None => ["driver::crashes_of_one_process", "driver::crashes_of_nodes_and_servers"],
        Some(_) => [
            "truth::every_notification_is_accounted_for_when_one_process_is_killed",
            "truth::every_notification_is_accounted_for_when_nodes_and_servers_are_killed",
        ],
    };
    let (tests, minutes) = match (args.embedded, args.servers) {
        (true, _) => (&both[..1], args.minutes),
        (_, true) => (&both[1..], args.minutes),
        _ => (&both[..], args.minutes.div_ceil(2)),
    };
    let (variable, load) = match args.notify {
        None => ("ARTEL_CRASH_MINUTES", minutes),
        Some(number) => ("ARTEL_CRASH_NOTIFY", number),
    };
    let mut passed = true;
    for test in tests {
        println!("{test}: {load} {}", if args.notify.is_some() { "notifications" } else { "minutes" });
        let (load, seed) = (load.to_string(), args.seed.to_string());
        // The servers are its own; the third variable says that they are wanted.
        let environment = [
            (variable, OsStr::new(&load)),
            ("ARTEL_TEST_SEED", OsStr::new(&seed)),
            ("ARTEL_TEST_KAFKA", OsStr::new("of its own")),
        ];
        passed &= run_test(root, test, &environment)?;
    }
    Ok(passed)
}

fn run_test(root: &Path, test: &str, environment: &[(&str, &OsStr)]) -> Result<bool> {
    let status = Command::new("cargo")
        .args(["test", "--release", "--locked", "--all-features", "-p", "artel", "--test", "it", "--"])
        .args(["--nocapture", "--exact", test])
        .envs(environment.iter().copied())
        .current_dir(root)
        .status()
        .context("start cargo")?;
    Ok(status.success())
}
