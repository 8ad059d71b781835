//! Why a node's flow does not start.

use artel_bus::BusError;
use artel_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Missing, doubled or misplaced handlers, every one of them named.
    #[error("the table of services is not complete:\n{}", .0.join("\n"))]
    Registry(Vec<String>),
    #[error("service '{service}': settings: {}", .problems.join("; "))]
    Settings { service: String, problems: Vec<String> },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error("{0}")]
    Flow(crate::Failure),
    #[error(
        "topic '{topic}' has {actual} partitions, and had {recorded} when it was made: keys would lie elsewhere than their \
         earlier messages; bring back the topic with {recorded} partitions (Kafka can't take partitions away: make it anew \
         and copy its messages)"
    )]
    Partitions { topic: String, recorded: u32, actual: u32 },
    #[error(
        "the database of service '{service}' belongs to another log: its places in topic '{topic}' are of log {stored}, and \
         this one is {found}; point bus.url and kafka.topic_prefix at the log that this database was used with, or take an \
         empty database for this one (an embedded log, segments:, is of one process alone: nodes that share a database share \
         a log on kafka: as well)"
    )]
    OtherLog { service: String, topic: String, stored: uuid::Uuid, found: uuid::Uuid },
    #[error(
        "everything of the node '{source_name}' is being moved to this database since {began_at}, or that was interrupted; let \
         `artel move` end, or begin it once more with --again"
    )]
    Arriving { source_name: String, began_at: artel_message::Time },
    #[error(
        "the consumer '{group}' of service '{service}' is to begin at offset {offset} of topic '{topic}' and has not begun: \
         elsewhere that is another message; start the node until it has, or forget the consumer"
    )]
    NotBegun { service: String, group: String, topic: String, offset: String },
    #[error("service '{service}': {fault}")]
    Hook { service: String, fault: artel_message::Fault },
    #[error(
        "service '{service}' has given numbers that lie more than a day ahead of this machine's clock; set the clock right"
    )]
    Clock { service: String },
}
