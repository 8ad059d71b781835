//! What can go wrong with the log, in classes a caller can act on.

use artel_message::Fault;

/// Every error names the topic or file it is about and says what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BusError {
    #[error("topic '{0}' does not exist; make it first, or check the name")]
    UnknownTopic(String),
    #[error("topic '{topic}' has {count} partitions; partition {partition} does not exist")]
    UnknownPartition { topic: String, partition: u32, count: u32 },
    #[error("'{name}' is not a topic name: {reason}")]
    InvalidTopic { name: String, reason: &'static str },
    #[error("topic '{topic}' exists with {actual} partitions, not {wanted}; partition counts are fixed")]
    PartitionCount { topic: String, actual: u32, wanted: u32 },
    /// The record or batch can never be appended.
    #[error("{what} is {size} bytes; the limit is {limit} (setting {setting})")]
    TooLarge { what: &'static str, size: usize, limit: usize, setting: &'static str },
    #[error("offset {offset} of {topic}/{partition} is outside {begin}..{end}")]
    OutOfRange { topic: String, partition: u32, offset: i64, begin: i64, end: i64 },
    /// A record that the format cannot hold.
    #[error("record {index} of the batch can't be stored: {reason}")]
    InvalidRecord { index: usize, reason: String },
    #[error("group '{group}' is not registered on topic '{topic}'; register it first")]
    UnknownGroup { group: String, topic: String },
    /// A bound on how many of something there may be.
    #[error("no room for {what}: the limit is {limit} (setting {setting})")]
    Limit { what: String, limit: usize, setting: &'static str },
    /// The hard size is reached while a registered group still needs the oldest records.
    #[error(
        "{topic}/{partition} is full ({size} bytes) and group '{group}' still needs its oldest records; let it catch up or forget it"
    )]
    Full { topic: String, partition: u32, size: u64, group: String },
    /// No room on the disk: nothing was appended; appends work again when there is room.
    #[error("no space left on the disk that holds {path}; free some, appends go on by themselves")]
    DiskFull { path: String },
    /// A failed fsync or a damaged file: this partition is closed until somebody looks at it.
    #[error("{topic}/{partition} is stopped: {reason}")]
    Stopped { topic: String, partition: u32, reason: String },
    /// Another process has the folder, or the connection is away.
    #[error("{0}")]
    Unavailable(String),
    /// The brokers know neither this process nor its right to do that: they need another setting, or this one does.
    #[error("{0}")]
    Denied(String),
    #[error("the log is closed")]
    Closed,
    #[error("{context}: {reason}")]
    Io { context: String, reason: String },
}

impl BusError {
    /// Whether trying the same call later can succeed: by itself, or once somebody has put right what the error names and
    /// (`Stopped`) started again. A caller keeps what it has meanwhile.
    pub fn is_retriable(&self) -> bool {
        matches!(
            self,
            BusError::Full { .. }
                | BusError::DiskFull { .. }
                | BusError::Unavailable(_)
                | BusError::Denied(_)
                | BusError::Io { .. }
                | BusError::Stopped { .. }
        )
    }
}

impl From<BusError> for Fault {
    fn from(error: BusError) -> Fault {
        let reason = error.to_string();
        match error {
            BusError::UnknownTopic(_) | BusError::UnknownPartition { .. } | BusError::UnknownGroup { .. } => {
                Fault::not_found(reason)
            }
            BusError::InvalidTopic { .. }
            | BusError::TooLarge { .. }
            | BusError::InvalidRecord { .. }
            | BusError::OutOfRange { .. } => Fault::invalid(reason),
            BusError::PartitionCount { .. } => Fault::conflict(reason),
            BusError::Full { .. } | BusError::Limit { .. } => Fault::exhausted(reason),
            BusError::DiskFull { .. } => Fault::storage_full(reason),
            BusError::Stopped { .. } | BusError::Unavailable(_) | BusError::Denied(_) | BusError::Closed => {
                Fault::unavailable(reason)
            }
            BusError::Io { .. } => Fault::internal(reason),
        }
    }
}
