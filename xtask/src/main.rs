//! Checks and generators for this workspace: `cargo xtask --help`.

mod backends;
mod crash;
mod deploy;
mod licenses;
mod new;
mod simulate;
mod spdx;
mod tidy;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Checks and generators for this workspace")]
struct Args {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check the rules of CONTRIBUTING.md that a program can check; prints every problem as path:line: reason
    Tidy,
    /// Check the licence of every dependency against the list in deny.toml; needs no network
    Licenses,
    /// Start and stop real Kafka, PostgreSQL and Redis for tests, without containers
    Backends(backends::Args),
    /// Check the folder deploy as far as that goes without an engine for containers: image, compose, proxy, kubernetes,
    /// prometheus, metrics
    DeployCheck {
        /// What a node answered at /metrics; the list of metrics is compared with it
        #[arg(long, value_name = "FILE")]
        scrape: Option<PathBuf>,
        /// Check nothing, and fetch the programs that the checks need into .cache/deploy-tools
        #[arg(long)]
        fetch: bool,
        /// Only these checks
        #[arg(value_name = "CHECK")]
        only: Vec<String>,
    },
    /// Kill the program again and again while it works, and account for every message; as long as --minutes says
    Crash(crash::Args),
    /// Run the flow's simulation: many seeds, or one with everything that happened in it
    Simulate(simulate::Args),
    /// Write what is new, ready to compile
    #[command(subcommand)]
    New(New),
}

#[derive(Subcommand)]
enum New {
    /// A service: its files, its messages in the contract, its line in the table of services, its settings
    Service {
        /// Lowercase letters and digits, such as notify
        name: String,
        /// Put it below products/ instead of services/
        #[arg(long)]
        product: bool,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let root = root()?;
    let passed = match Args::parse().command {
        Task::Tidy => tidy::run(&root)?,
        Task::Licenses => licenses::run(&root)?,
        Task::Backends(args) => backends::run(&root, args).map(|()| true)?,
        Task::DeployCheck { fetch: true, .. } => {
            deploy::fetch(&root);
            true
        }
        Task::DeployCheck { scrape, only, .. } => deploy::run(&root, scrape.as_deref(), &only)?,
        Task::Crash(args) => crash::run(&root, &args)?,
        Task::Simulate(args) => simulate::run(&root, &args)?,
        Task::New(New::Service { name, product }) => new::service(&root, &name, product).map(|()| true)?,
    };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The workspace's folder: cargo tells where this crate stands, also when called from a folder below.
fn root() -> anyhow::Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("start this by `cargo xtask`")?;
    let root = PathBuf::from(manifest).join("..");
    root.canonicalize().context("find the workspace's folder")
}
