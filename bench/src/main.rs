//! Measured comparisons, each with its raw twin in the same run. The ledger is README.md beside this folder.

mod flow;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "artel-bench", about = "Measured comparisons, each with its raw twin")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Commands, outbox, log, group and state, beside the same statements in bare transactions
    Flow(flow::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().what {
        What::Flow(arguments) => flow::run(&arguments),
    }
}
