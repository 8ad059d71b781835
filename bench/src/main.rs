//! Measured comparisons, each with its raw twin on the same machine in the same run. They print ratios and judge nothing.

mod flow;
#[cfg(feature = "kafka")]
mod kafka;
mod log;
mod pipeline;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("log") => log::run(&args.collect::<Vec<_>>()),
        Some("flow") => flow::run(&args.collect::<Vec<_>>()),
        Some("pipeline") => pipeline::run(&args.collect::<Vec<_>>()),
        #[cfg(feature = "kafka")]
        Some("kafka") => kafka::run(&args.collect::<Vec<_>>()),
        other => anyhow::bail!(
            "'{}' is no benchmark; there is: log [FOLDER], flow [MESSAGES], pipeline URL [MESSAGES], \
             and with the feature kafka: kafka BROKERS",
            other.unwrap_or_default()
        ),
    }
}
