//! The command line as types; clap reads the comments.

pub use crate::cli_failed::{Audit, Dead, DeadStep, Filter, Parked, ParkedStep};
pub use crate::cli_groups::{GroupStep, Retire, RewindTo, SkipTo};
pub use crate::cli_why::Why;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Artel: event-driven services in one program.
///
/// `artel run` starts a node; the other commands talk to a running one, or look at the configuration.
#[derive(Debug, Parser)]
#[command(name = "artel", version, after_help = "example: artel run --data-dir data --listen 127.0.0.1:8080")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a node and run until a signal.
    Run(Run),
    /// Send a file of JSON lines as messages.
    Produce(Produce),
    /// Show the messages of a topic as they come.
    Tail(Tail),
    /// List topics, or show one with its partitions.
    Topics(Topics),
    /// List groups with their lag; move one on over what it can't take in, build a projection anew.
    Groups(Groups),
    /// List keys of the cache, show or remove an entry.
    Cache(Cache),
    /// Look at messages that were given up on; try them again, edit or drop them.
    #[command(subcommand_required = true)]
    Dead(Dead),
    /// Look at keys whose messages wait behind one that fails; try them now, let them go on, drop a message.
    #[command(subcommand_required = true)]
    Parked(Parked),
    /// List what was done by hand to messages.
    Audit(Audit),
    /// Tell the story of one message: where it is, what became of it, what caused it and what it caused.
    Why(Why),
    /// List schedules with their next run, or run one now.
    #[command(subcommand_required = true)]
    Schedules(Schedules),
    /// Show which service handles what.
    Topology(Topology),
    /// Show the nodes, who does what, and what is wrong.
    Status(Status),
    /// Check the configuration and print every problem at once.
    Check(Check),
    /// Print the configuration in effect, each value with its source; secrets are not shown.
    Config(Check),
    /// Show or apply the migrations of the databases.
    Migrate(Migrate),
    /// Move everything an embedded node keeps to Kafka and PostgreSQL.
    Move(Move),
    /// Copy everything an embedded node keeps into a folder, while it runs.
    Backup(Backup),
    /// Bring a backup back into an empty data folder.
    Restore(Restore),
    /// Stand in for what is outside, so that everything can be tried without an account anywhere.
    Simulate(Simulate),
}

#[derive(Debug, Args)]
pub struct Simulate {
    #[command(subcommand)]
    pub what: Simulated,
}

#[derive(Debug, Subcommand)]
pub enum Simulated {
    /// Providers of mail, SMS and push on this machine, and a page that shows what arrived.
    Providers(Providers),
}

#[derive(Debug, Args)]
#[command(after_help = "The folder gets an artel.toml with accounts at them, and what these need.\n\n\
                        example: artel simulate providers --folder data/providers\n         \
                        artel run --config data/providers/artel.toml")]
pub struct Providers {
    /// Where settings and keys for a node are written.
    #[arg(long, value_name = "FOLDER", default_value = "data/providers")]
    pub folder: PathBuf,
    /// The port of the page; the providers have the five after it. 0 takes free ones.
    #[arg(long, default_value_t = 8090, value_parser = clap::value_parser!(u16).range(..=65_530))]
    pub port: u16,
    /// Where the node will be reached: Twilio posts to it what became of messages.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub node: String,
}

/// Where settings come from.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// A file of settings; it needs only what differs from the defaults.
    #[arg(long, value_name = "FILE", env = "ARTEL_CONFIG")]
    pub config: Option<PathBuf>,
    /// The folder of everything that is kept.
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "example: artel run --data-dir data --listen 127.0.0.1:9000\n         \
                        artel run --simulate")]
pub struct Run {
    #[command(flatten)]
    pub settings: Settings,
    /// The address and port to listen on.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// The services that run here; all of them unless said.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub roles: Option<Vec<String>>,
    /// Stand in, within this process, for providers of mail, SMS and push where no account is configured, with a page of what
    /// arrived on this port of this machine; the providers have the five after it. 0 takes free ones.
    #[arg(
        long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "8090",
        overrides_with = "simulate", value_parser = clap::value_parser!(u16).range(..=65_530)
    )]
    pub simulate: Option<u16>,
    /// Takes back a --simulate before it.
    #[arg(long, overrides_with = "simulate")]
    pub no_simulate: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "example: artel check --config my.toml")]
pub struct Check {
    #[command(flatten)]
    pub settings: Settings,
    /// The address and port to listen on.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// The services that run here; all of them unless said.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub roles: Option<Vec<String>>,
}

/// The node to talk to.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// The node's URL.
    #[arg(long, global = true, env = "ARTEL_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// Certificates of the authorities to trust with https, in PEM, in place of the system's.
    #[arg(long, global = true, value_name = "FILE", env = "ARTEL_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// The token to send; for a node on this machine it is read from the data folder.
    #[arg(long, global = true, env = "ARTEL_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// A file that holds the token.
    #[arg(long, global = true, value_name = "FILE", env = "ARTEL_TOKEN_FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// The data folder of a node on this machine.
    #[arg(long, global = true, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A line is any JSON value. Lines go in chunks of 1,000, each sent again until it is answered and taken once.\n\n\
                        example: artel produce --topic shipments --key-field shipment examples/shipments.ndjson"
)]
pub struct Produce {
    #[command(flatten)]
    pub target: Target,
    /// The topic; it is made where it does not exist.
    #[arg(long)]
    pub topic: String,
    /// The field of each line that is the message's key.
    #[arg(long, value_name = "FIELD")]
    pub key_field: Option<String>,
    /// Give up when a chunk has no answer for this many seconds; 0 = never.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub patience: u64,
    /// The file; `-` or nothing is standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "example: artel tail shipments --from beginning -n 10")]
pub struct Tail {
    #[command(flatten)]
    pub target: Target,
    pub topic: String,
    /// `beginning`, `end`, an offset such as 1200, or a time such as 2026-01-31T09:30:00Z.
    #[arg(long, default_value = "end")]
    pub from: String,
    /// One partition in place of all.
    #[arg(long)]
    pub partition: Option<u32>,
    /// Only messages with this key.
    #[arg(long)]
    pub key: Option<String>,
    /// Only messages that hold this text.
    #[arg(long)]
    pub contains: Option<String>,
    /// End after this many messages.
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub count: Option<u64>,
    /// A JSON document per line, with headers.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "example: artel topics shipments")]
pub struct Topics {
    #[command(flatten)]
    pub target: Target,
    /// Show this one with its partitions and groups.
    pub topic: Option<String>,
    /// JSON in place of a table.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "example: artel groups\n\
                  example: artel groups skip depot shop.sale 3 --to 1200 --dry-run\n\
                  example: artel groups rewind books sales-v1 --to earliest --dry-run")]
pub struct Groups {
    #[command(flatten)]
    pub target: Target,
    /// JSON in place of a table.
    #[arg(long)]
    pub json: bool,
    #[command(subcommand)]
    pub step: Option<GroupStep>,
}

#[derive(Debug, Args)]
#[command(after_help = "example: artel cache bridge:message:")]
pub struct Cache {
    #[command(flatten)]
    pub target: Target,
    /// Keys that begin with this.
    #[arg(default_value = "")]
    pub prefix: String,
    /// Show the value of this key.
    #[arg(long, value_name = "KEY", conflicts_with = "delete")]
    pub get: Option<String>,
    /// Remove this key.
    #[arg(long, value_name = "KEY")]
    pub delete: Option<String>,
    /// At most this many keys.
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    pub limit: usize,
    /// JSON in place of a table.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "example: artel schedules list\nexample: artel schedules run shop shop.nightly")]
pub struct Schedules {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub step: ScheduleStep,
}

#[derive(Debug, Subcommand)]
pub enum ScheduleStep {
    /// List schedules: when each runs next and ran last, and how many of its runs were missed.
    #[command(after_help = "example: artel schedules list --json")]
    List {
        /// JSON in place of a table.
        #[arg(long)]
        json: bool,
    },
    /// Run a schedule now, whichever node keeps it; its next regular run stays.
    #[command(after_help = "example: artel schedules run shop shop.nightly")]
    Run {
        /// The service it belongs to.
        service: String,
        /// Its name, as `artel schedules list` shows it.
        schedule: String,
    },
}

/// How the topology is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
    /// For a Mermaid block in Markdown.
    Mermaid,
}

#[derive(Debug, Args)]
#[command(after_help = "example: artel topology --format mermaid")]
pub struct Topology {
    #[command(flatten)]
    pub target: Target,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How the status is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Any node answers for all of them; ask with the operator's token. The exit code is 1 when something is wrong: work that\n\
                  no living node has, a stopped partition, a node that is not ready, a service that runs nowhere.\n\n\
                  example: artel status\n\
                  example: artel status --url http://artel-2:8080 --token-file operator-token --format json"
)]
pub struct Status {
    #[command(flatten)]
    pub target: Target,
    #[arg(long, value_enum, default_value_t = StatusFormat::Text)]
    pub format: StatusFormat,
    /// The same as --format json.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

/// What to do about migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// Every migration and how it stands.
    Status,
    /// What `apply` would do.
    Plan,
    /// Apply what is pending; `artel run` does so at its start.
    Apply,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The databases themselves are looked at; where a node runs on them, it is asked.\n\nexample: artel migrate status"
)]
pub struct Migrate {
    /// A file of settings; it needs only what differs from the defaults.
    #[arg(long, value_name = "FILE", env = "ARTEL_CONFIG")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub target: Target,
    #[arg(value_enum, default_value_t = Step::Status)]
    pub step: Step,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Stop the node first. Its topics are copied with as many partitions, its databases table by table, and both are read\n\
                  back and compared; then no node starts on the old folder any more, and the new one goes on where the old one\n\
                  stopped. The old folder is left as it is. Kafka and PostgreSQL have to be empty: other databases and topics on\n\
                  the same servers do no harm (kafka.topic_prefix). What was interrupted is begun anew with --again.\n\n\
                  example: artel move --to grown.toml --dry-run\n\
                  example: artel move --data-dir /srv/artel --to grown.toml"
)]
pub struct Move {
    #[command(flatten)]
    pub settings: Settings,
    /// The settings of the node afterwards, with bus.url kafka:// and db.url postgres://.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// Only print what would be moved, and what can't be: every message is looked at.
    #[arg(long)]
    pub dry_run: bool,
    /// Empty what an interrupted move of this node has copied, and begin anew.
    #[arg(long, conflicts_with = "dry_run")]
    pub again: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The databases and the log in the backup are of one moment. Where the node runs it is asked to copy, with the operator's\n\
                  token; the folder is one of its machine. Where none runs on the data folder, this program copies. The copy is\n\
                  read back. Settings, and what is in Redis, are not in it. While a partition of the log is stopped there is no backup:\n\
                  stop the node and copy the folder.\n\n\
                  example: artel backup /var/backups/artel-monday\n\
                  example: artel backup --url http://127.0.0.1:9000 --data-dir /srv/artel backup-1"
)]
pub struct Backup {
    /// A file of settings; it needs only what differs from the defaults.
    #[arg(long, value_name = "FILE", env = "ARTEL_CONFIG")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub target: Target,
    /// A folder that is empty or not there yet.
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Stop the old node for good first: two that go on from one state know nothing of each other.\n\n\
                  example: artel restore /var/backups/artel-monday --to data\n\
                  example: artel restore backup-1 --config my.toml"
)]
pub struct Restore {
    /// A file of settings; it needs only what differs from the defaults.
    #[arg(long, value_name = "FILE", env = "ARTEL_CONFIG")]
    pub config: Option<PathBuf>,
    /// The data folder to bring it back into, in place of the configured one; empty or not there yet.
    #[arg(long, value_name = "FOLDER", visible_alias = "data-dir")]
    pub to: Option<PathBuf>,
    /// The backup's folder.
    #[arg(value_name = "BACKUP")]
    pub backup: PathBuf,
}

pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("write a number, 1 or more".to_owned()),
    }
}
