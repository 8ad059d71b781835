//! Measured comparisons, each with its raw twin on the same machine in the same run. They print ratios and judge nothing.

mod beside;
mod consume;
mod cpu;
mod drain;
mod effects;
mod flow;
mod heard;
#[cfg(feature = "kafka")]
mod kafka;
mod latency;
mod log;
mod mails;
mod node;
mod notify;
mod parked;
mod pipeline;
mod place;
#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;
mod status;
mod timers;

/// Messages are made on one thread and freed on another, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("log") => log::run(&args.collect::<Vec<_>>()),
        Some("beside") => beside::run(&args.collect::<Vec<_>>()),
        Some("drain") => drain::run(&args.collect::<Vec<_>>()),
        Some("latency") => latency::run(&args.collect::<Vec<_>>()),
        Some("consume") => consume::run(&args.collect::<Vec<_>>()),
        Some("effects") => effects::run(&args.collect::<Vec<_>>()),
        Some("heard") => heard::run(&args.collect::<Vec<_>>()),
        Some("mails") => mails::run(&args.collect::<Vec<_>>()),
        Some("status") => status::run(&args.collect::<Vec<_>>()),
        // The other side of those above, in processes of their own.
        Some("mail-server") => mails::serve(),
        Some("status-server") => status::serve(&args.collect::<Vec<_>>()),
        Some("notify") => notify::run(&args.collect::<Vec<_>>()),
        Some("flow") => flow::run(&args.collect::<Vec<_>>()),
        Some("poison") => parked::poison(&args.collect::<Vec<_>>()),
        Some("parked") => parked::parked(&args.collect::<Vec<_>>()),
        Some("pipeline") => pipeline::run(&args.collect::<Vec<_>>()),
        Some("timers") => timers::run(&args.collect::<Vec<_>>()),
        #[cfg(feature = "kafka")]
        Some("kafka") => kafka::run(&args.collect::<Vec<_>>()),
        other => anyhow::bail!(
            "'{}' is no benchmark; there is: log [FOLDER], flow [MESSAGES], consume [MESSAGES], latency [SECONDS], \
             drain [ROWS], beside [MESSAGES], poison [MESSAGES], parked [MESSAGES [KEYS]], pipeline URL [MESSAGES], \
             timers NUMBER SECONDS, effects NUMBER, notify NUMBER, mails NUMBER, heard [SECONDS], status [SECONDS], and with the feature kafka: kafka BROKERS",
            other.unwrap_or_default()
        ),
    }
}
