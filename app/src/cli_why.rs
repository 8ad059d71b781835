//! The part of the command line about one message.

use crate::cli::Target;
use clap::Args;
use clap::builder::RangedU64ValueParser;

#[derive(Debug, Args)]
#[command(
    after_help = "Messages have no index by id: the log is looked through from the time on that the id tells. What was looked at, and\n\
                  where that ended, is said below the story. The id of a dead letter, a parked key or an effect is taken as well.\n\
                  The exit code is 1 when nothing is known of the id.\n\n\
                  example: artel why 0198f2a0-1111-7000-8000-000000000001\n\
                  example: artel why 0198f2a0-1111-7000-8000-000000000001 --topic shop.sale --key tea --payload"
)]
pub struct Why {
    #[command(flatten)]
    pub target: Target,
    /// The message's id, as `ce_id` in its headers.
    pub id: String,
    /// Look for it in this topic only.
    #[arg(long)]
    pub topic: Option<String>,
    /// Look for it only where messages with this key go.
    #[arg(long)]
    pub key: Option<String>,
    /// Look from this time on, such as 2026-01-31T09:30:00Z, in place of the one that the id tells.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// How many generations up and down are told.
    #[arg(long, default_value_t = 5, value_parser = RangedU64ValueParser::<u32>::new().range(1..=50))]
    pub depth: u32,
    /// How many messages are told.
    #[arg(long, default_value_t = 100, value_parser = RangedU64ValueParser::<u32>::new().range(1..=1_000))]
    pub limit: u32,
    /// How many messages are looked at.
    #[arg(long, value_name = "COUNT", default_value_t = 200_000, value_parser = RangedU64ValueParser::<u32>::new().range(1..=5_000_000))]
    pub records: u32,
    /// For how long is looked.
    #[arg(long, default_value_t = 10, value_parser = RangedU64ValueParser::<u32>::new().range(1..=25))]
    pub seconds: u32,
    /// Show the values of messages.
    #[arg(long)]
    pub payload: bool,
    /// JSON in place of text.
    #[arg(long)]
    pub json: bool,
}
