//! The port. Its comments are the contract; `conformance` checks every adapter against it.

use crate::BusError;
use artel_message::{Headers, Time};
use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

/// One record to append. Everything is borrowed: an append costs no copy but the one into the batch.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// In order; names may repeat, values may be null.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// The record's own time (Kafka: CreateTime), cut to milliseconds by the log.
    pub time: Time,
}

/// Where a batch landed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The first record's offset.
    pub base: i64,
    pub count: u32,
    /// Empty where the records have the offsets `base..base + count`. Otherwise something stands between them (Kafka: what
    /// another producer wrote), and here begins each run of consecutive offsets.
    pieces: Vec<Piece>,
}

/// The records of a batch from `index` on have consecutive offsets from `offset` on, up to the next piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    pub index: u32,
    pub offset: i64,
}

impl Appended {
    /// A batch whose records follow each other.
    pub fn whole(base: i64, count: u32) -> Appended {
        Appended { base, count, pieces: Vec::new() }
    }

    /// A batch in runs, in order; the first begins with record 0.
    pub fn in_pieces(mut pieces: Vec<Piece>, count: u32) -> Appended {
        let base = pieces.first().map_or(0, |piece| piece.offset);
        if pieces.len() < 2 {
            pieces.clear();
        }
        Appended { base, count, pieces }
    }

    /// The offset of a record of the batch.
    pub fn offset(&self, index: u32) -> i64 {
        let at = self.pieces.partition_point(|piece| piece.index <= index);
        match self.pieces[..at].last() {
            Some(piece) => piece.offset + i64::from(index - piece.index),
            None => self.base + i64::from(index),
        }
    }
}

/// One record read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub offset: i64,
    /// At milliseconds.
    pub time: Time,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Headers,
}

/// How much a read may bring. At least one record comes when one is there, however large.
#[derive(Debug, Clone, Copy)]
pub struct Fetch {
    pub max_records: usize,
    pub max_bytes: usize,
}

/// What a read brought.
#[derive(Debug, Clone, Default)]
pub struct Fetched {
    /// In offset order, from the first offset at or above the one asked for. Empty at the end.
    pub records: Vec<Received>,
    /// Where to read on: past the last record, and past anything that holds none (Kafka: control records).
    pub next: i64,
}

/// The offsets a partition holds: `begin..end`; `end` is the next to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub begin: i64,
    pub end: i64,
}

/// Settings of a topic that does not exist yet.
#[derive(Debug, Clone)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: u32,
    /// How long records are kept, in milliseconds; `None` = for ever.
    pub retention_ms: Option<i64>,
    /// How much a partition keeps, in bytes; `None` = without limit.
    pub retention_bytes: Option<u64>,
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    /// The log's identity: a topic deleted and made again has another.
    pub id: Uuid,
    pub partitions: u32,
    /// Bytes per partition, where the adapter knows them.
    pub bytes: Vec<u64>,
    pub retention_ms: Option<i64>,
    pub retention_bytes: Option<u64>,
}

/// The place a group starts at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Earliest,
    Latest,
    Offset(i64),
    /// The first record at or after this time.
    Time(Time),
}

/// How far a group says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffset {
    pub group: String,
    pub topic: String,
    pub partition: u32,
    /// The next offset it needs.
    pub next: i64,
}

/// Appending and reading, per partition.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// What it is, for traces: OpenTelemetry's `messaging.system`.
    fn system(&self) -> &'static str;

    /// Appends `batch` to one partition, all of it or nothing, and returns when it is durable. Batches of one caller that
    /// awaits each land in that order; concurrent calls land in some order, never interleaved. An error other than
    /// `Unavailable` means that nothing of the batch will ever be readable; after `Unavailable` it may be.
    ///
    /// A record or a batch above the adapter's limit is `TooLarge` with the setting's name, and the caller splits it
    /// (`segments`: `max_message_bytes`, `max_batch_bytes`). An empty batch writes nothing and returns the present end.
    ///
    /// On `segments` one call is one record batch of the format, so that it is atomic over a crash. On Kafka it is so only
    /// where nothing fails: after `Unavailable` a first part of it may be there without the rest.
    async fn append(&self, topic: &str, partition: u32, batch: &[Record<'_>]) -> Result<Appended, BusError>;

    /// Reads from `from` on, durable records only, without waiting. `from` below `begin` or above `end` is `OutOfRange`:
    /// nothing jumps silently. It may bring less than there is and than `fetch` allows: read on at `next`.
    async fn read(&self, topic: &str, partition: u32, from: i64, fetch: Fetch) -> Result<Fetched, BusError>;

    /// Returns when the partition's end has passed `from` (at once when it has already): a record at or above `from` was
    /// readable, unless retention has taken it since, which `read` says. Or with an error when that will never be: topic
    /// deleted, log closed, partition stopped, or `OutOfRange` where the log was seen to lose what lay before `from`. Cancel
    /// by dropping.
    async fn wait(&self, topic: &str, partition: u32, from: i64) -> Result<(), BusError>;

    async fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, BusError>;

    /// The first offset whose record's time is at or after `time`, both at milliseconds, or `None` when there is none.
    async fn offset_at(&self, topic: &str, partition: u32, time: Time) -> Result<Option<i64>, BusError>;

    /// Stops taking appends, finishes those that run, wakes all waiters with `Closed`. Idempotent.
    async fn close(&self);
}

/// Making and looking at topics.
#[async_trait]
pub trait Topics: Send + Sync + 'static {
    /// Makes a topic, durable on return. One that exists with the same partition count is returned as it is; with
    /// another, `PartitionCount`. Names follow Kafka: 1 to 249 of `a-z A-Z 0-9 . _ -`, neither `.` nor `..`.
    async fn make(&self, spec: TopicSpec) -> Result<Topic, BusError>;
    async fn describe(&self, topic: &str) -> Result<Topic, BusError>;
    /// Every topic, by name.
    async fn list(&self) -> Result<Vec<Topic>, BusError>;
    /// Deletes the topic and its records; waiters get `UnknownTopic`.
    async fn delete(&self, topic: &str) -> Result<(), BusError>;
}

/// Who still needs which records. Retention never passes a registered group.
#[async_trait]
pub trait Groups: Send + Sync + 'static {
    /// Makes the group known on a topic with its start point, if it is not yet; durable on return.
    async fn register(&self, group: &str, topic: &str, from: From) -> Result<(), BusError>;
    /// Says that the group has taken in everything below `next`; never ahead of its own commit. A move on may be lost in a
    /// crash, a move back (`segments`) is durable on return: the group stands lower than the truth, never higher. `UnknownGroup` when it is not registered.
    async fn advise(&self, group: &str, topic: &str, partition: u32, next: i64) -> Result<(), BusError>;
    async fn forget(&self, group: &str, topic: &str) -> Result<(), BusError>;
    /// Every registered group, by name, topic and partition.
    async fn offsets(&self) -> Result<Vec<GroupOffset>, BusError>;
}

/// An adapter: all three.
pub trait Bus: Log + Topics + Groups {}
impl<T: Log + Topics + Groups> Bus for T {}
