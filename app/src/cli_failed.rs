//! The part of the command line about messages that fail.

use crate::cli::{Target, at_least_one};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use uuid::Uuid;

const DEAD: &str = "A message is given up when it can never work, or has failed for its time. Its letter keeps it whole.\n\n\
example: artel dead causes\n\
example: artel dead retry --service shop --cause 1f0c2a7791d3be60 --dry-run\n\
example: artel dead retry --service shop --cause 1f0c2a7791d3be60 --rate 50 --reason 'the supplier is back'";

#[derive(Debug, Args)]
#[command(after_help = DEAD)]
pub struct Dead {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub step: DeadStep,
}

/// Which letters are meant; all that is given has to fit.
#[derive(Debug, Clone, Default, Args)]
pub struct Filter {
    /// Of this service.
    #[arg(long)]
    pub service: Option<String>,
    /// With this cause, as `artel dead causes` shows it.
    #[arg(long)]
    pub cause: Option<String>,
    /// Of the group with this full name.
    #[arg(long)]
    pub group: Option<String>,
    /// From this topic.
    #[arg(long)]
    pub topic: Option<String>,
    /// Messages of this type.
    #[arg(long)]
    pub name: Option<String>,
    /// With this key.
    #[arg(long)]
    pub key: Option<String>,
    /// Given up at this time or later, such as 2026-01-31T09:30:00Z.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Given up before this time.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum DeadStep {
    /// List letters, the newest first.
    #[command(after_help = "example: artel dead list --service shop --limit 10")]
    List {
        #[command(flatten)]
        filter: Filter,
        /// At most this many.
        #[arg(long, default_value_t = 50, value_parser = at_least_one)]
        limit: usize,
        /// JSON in place of a table.
        #[arg(long)]
        json: bool,
    },
    /// Count letters by what they failed with.
    #[command(after_help = "example: artel dead causes")]
    Causes {
        /// JSON in place of a table.
        #[arg(long)]
        json: bool,
    },
    /// Show a letter with its headers and all its errors.
    #[command(after_help = "example: artel dead show 0198f2a0-1111-7000-8000-000000000001")]
    Show { id: Uuid },
    /// Set what is tried in place of what came; it is not tried yet.
    #[command(
        after_help = "example: artel dead edit 0198f2a0-1111-7000-8000-000000000001 fixed.json --reason 'wrong currency'"
    )]
    Edit {
        id: Uuid,
        /// A file with a JSON value; `-` is standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Why, for the record.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Try letters again: each goes back where it was in its key, which waits for it; of a key the first one goes first.
    #[command(visible_alias = "replay", after_help = DEAD)]
    Retry {
        /// These letters; or those of a service that fit.
        #[arg(conflicts_with_all = ["service", "cause", "group", "topic", "name", "key", "from", "to"])]
        ids: Vec<Uuid>,
        #[command(flatten)]
        filter: Filter,
        /// Only say how many would be tried.
        #[arg(long)]
        dry_run: bool,
        /// At most this many a second.
        #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
        rate: Option<usize>,
        /// Why, for the record.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Throw letters away, for good.
    #[command(
        after_help = "example: artel dead drop 0198f2a0-1111-7000-8000-000000000001 --reason 'sent twice by hand'\n\
                      example: artel dead drop --service shop --cause 1f0c2a7791d3be60 --reason 'of a test' --dry-run"
    )]
    Drop {
        /// These letters; or those of a service that fit.
        #[arg(conflicts_with_all = ["service", "cause", "group", "topic", "name", "key", "from", "to"])]
        ids: Vec<Uuid>,
        #[command(flatten)]
        filter: Filter,
        /// Only say how many would go.
        #[arg(long)]
        dry_run: bool,
        /// Why, for the record.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Args)]
#[command(
    after_help = "A message that may work later is tried again with growing pauses, while later messages of its key wait behind it in\n\
                  order and other keys go on. A key without a time for its next try is stopped: somebody has to decide about its letter.\n\n\
                  example: artel parked list\n\
                  example: artel parked retry 0198f2a0-1111-7000-8000-000000000001"
)]
pub struct Parked {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub step: ParkedStep,
}

#[derive(Debug, Subcommand)]
pub enum ParkedStep {
    /// List parked keys with what their first message fails with.
    #[command(after_help = "example: artel parked list --service shop")]
    List {
        /// Of this service.
        #[arg(long)]
        service: Option<String>,
        /// Of the group with this full name.
        #[arg(long)]
        group: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 50, value_parser = at_least_one)]
        limit: usize,
        /// JSON in place of a table.
        #[arg(long)]
        json: bool,
    },
    /// Show a key with all that its first message failed with.
    #[command(after_help = "example: artel parked show 0198f2a0-1111-7000-8000-000000000001")]
    Show { id: Uuid },
    /// Try a key's first message now.
    #[command(after_help = "example: artel parked retry 0198f2a0-1111-7000-8000-000000000001")]
    Retry {
        id: Uuid,
        /// Why, for the record.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Throw a key's first message away, for good; the next one is tried.
    #[command(
        after_help = "Name the message by its offset, as artel parked show ID has it: what has become the first since then stays.\n\n\
                      example: artel parked drop-head 0198f2a0-1111-7000-8000-000000000001 --offset 1200 --reason 'a test order'"
    )]
    DropHead {
        id: Uuid,
        /// The offset of the message.
        #[arg(long)]
        offset: i64,
        /// Why, for the record.
        #[arg(long)]
        reason: String,
    },
    /// Throw away all that waits in a group that does not run any more, on no node, for good.
    #[command(
        after_help = "Refused for groups that a living node of any release has, and for versions of projections, which artel groups retire\n\
                      removes.\n\n\
                      example: artel parked forget shop.search --reason 'the group has another name now'"
    )]
    Forget {
        /// The group's full name.
        group: String,
        /// Why, for the record.
        #[arg(long)]
        reason: String,
    },
    /// Let a key go on that is stopped, without the message that it is stopped for.
    #[command(after_help = "example: artel parked release 0198f2a0-1111-7000-8000-000000000001")]
    Release {
        id: Uuid,
        /// Why, for the record.
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "example: artel audit --limit 20")]
pub struct Audit {
    #[command(flatten)]
    pub target: Target,
    /// At most this many.
    #[arg(long, default_value_t = 50, value_parser = at_least_one)]
    pub limit: usize,
    /// JSON in place of a table.
    #[arg(long)]
    pub json: bool,
}
