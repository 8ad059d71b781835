//! The part of the command line about groups.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum GroupStep {
    /// Move a group on over what it can't take in.
    #[command(
        after_help = "What is passed over is never taken in; repeats of what was taken in stay known by their numbers, and messages\n\
                      without numbers run again where the group goes back (--repeats). To go on where messages are missing,\n\
                      name the offset where the group stands. Groups go forward only, unless the log is another one than\n\
                      their place was stored for.\n\n\
                      example: artel groups skip depot shop.sale 3 --to 1200 --dry-run\n\
                      example: artel groups skip depot shop.sale 3 --to 1200 --reason 'lost with the disk'"
    )]
    Skip(SkipTo),
    /// Take a projection back, so that it takes in again.
    #[command(
        after_help = "In one transaction with the service's own handler that takes away what the projection has written. Messages may flow\n\
                      meanwhile. Groups that are no projections go forward only.\n\n\
                      example: artel groups rewind books sales-v1 --to earliest --dry-run\n\
                      example: artel groups rewind books sales-v1 --to 2026-01-31T09:30:00Z --reason 'counted twice since then'\n\
                      example: artel groups rewind books sales-v1 --to shop.sale/3=1200 --reason 'counted twice since then'"
    )]
    Rewind(RewindTo),
    /// Remove a version of a projection that is not read from any more.
    #[command(
        after_help = "Its group, its places, what of it waits or was given up. Its tables are the service's to drop.\n\n\
                      example: artel groups retire books sales 1 --reason 'version 2 serves'"
    )]
    Retire(Retire),
}

#[derive(Debug, Args)]
pub struct SkipTo {
    /// The group's full name.
    pub group: String,
    pub topic: String,
    pub partition: u32,
    /// Where it goes on: an offset, a time such as 2026-01-31T09:30:00Z, `end`, or `beginning`.
    #[arg(long, value_name = "PLACE")]
    pub to: String,
    /// Where it goes back: messages without numbers may be taken in a second time.
    #[arg(long)]
    pub repeats: bool,
    /// Only say what would be passed over.
    #[arg(long)]
    pub dry_run: bool,
    /// Why, for the record.
    #[arg(long, required_unless_present = "dry_run")]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct RewindTo {
    /// The service it belongs to.
    pub service: String,
    /// The group's name, as `artel groups` shows it, or without the service's.
    pub group: String,
    /// Where it goes back to: `earliest`, a time such as 2026-01-31T09:30:00Z, or a place such as shop.sale/3=1200.
    #[arg(long, value_name = "PLACE")]
    pub to: String,
    /// Only say what would be taken in again.
    #[arg(long)]
    pub dry_run: bool,
    /// Also where nothing takes away what was written (its handlers run over it again), where retention has taken what does not
    /// come again, and where it can't be told which messages are repeats.
    #[arg(long)]
    pub force: bool,
    /// Why, for the record.
    #[arg(long, required_unless_present = "dry_run")]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct Retire {
    /// The service it belongs to.
    pub service: String,
    /// The projection's name, without the version.
    pub projection: String,
    pub version: u32,
    /// Only say whether it may go.
    #[arg(long)]
    pub dry_run: bool,
    /// Why, for the record.
    #[arg(long, required_unless_present = "dry_run")]
    pub reason: Option<String>,
}
