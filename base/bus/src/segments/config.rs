//! Settings of the embedded log.

use crate::BusError;
use crate::codec::Compression;
use artel_message::Time;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where the log takes the time of day from (retention by age).
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// Every bound of the embedded log. `SegmentsConfig::default()` suits one process with all its services.
#[derive(Clone)]
pub struct SegmentsConfig {
    /// A segment file is closed and the next begun before it would pass this many bytes. 128 MiB; Kafka's limit is 2 GiB.
    pub segment_bytes: u64,
    /// A segment takes no record that is this much younger than its first, in milliseconds of the records' own time. 7 days.
    pub segment_ms: i64,
    /// One record: key, value and headers with their framing, before compression. 1 MiB + 64 KiB, so that a message of
    /// 1 MiB fits with its headers.
    pub max_message_bytes: usize,
    /// One append, which is one record batch, before compression; in any case a message of `max_message_bytes`. 4 MiB.
    pub max_batch_bytes: usize,
    /// Headers of one record. 256.
    pub max_headers: usize,
    /// How new batches are stored; old ones stay as they are. None.
    pub compression: Compression,
    /// An index entry is written after this many bytes. 4 KiB, as Kafka.
    pub index_interval_bytes: u64,
    /// An index file that reaches this size ends its segment. 10 MiB, as Kafka.
    pub index_max_bytes: u64,
    /// How often retention runs. 1 minute.
    pub retention_interval: Duration,
    /// Where retention stops waiting for slow groups: a partition above this size whose oldest records are due but still
    /// needed by a group refuses appends (`Full`). 16 GiB.
    pub hard_bytes: u64,
    /// Bytes of batches that wait for the writer; more appends wait their turn. 64 MiB.
    pub queue_bytes: u32,
    /// Bytes written before the round's fsync. 8 MiB.
    pub round_bytes: usize,
    /// Newest batches of all partitions kept in memory, so that readers at the end need no file. 16 MiB.
    pub tail_cache_bytes: usize,
    /// Files kept open at once. 256.
    pub open_files: usize,
    /// How long an advised offset may wait until it is stored. 1 second.
    pub advise_interval: Duration,
    /// Topics in all. 10,000.
    pub max_topics: usize,
    /// Partitions of one topic. 1,000.
    pub max_partitions: u32,
    /// Registered groups, counted per topic. 100,000.
    pub max_groups: usize,
    pub clock: Clock,
}

impl Default for SegmentsConfig {
    fn default() -> SegmentsConfig {
        SegmentsConfig {
            segment_bytes: 128 << 20,
            segment_ms: 7 * 24 * 3600 * 1000,
            max_message_bytes: (1 << 20) + (64 << 10),
            max_batch_bytes: 4 << 20,
            max_headers: 256,
            compression: Compression::None,
            index_interval_bytes: 4 << 10,
            index_max_bytes: 10 << 20,
            retention_interval: Duration::from_secs(60),
            hard_bytes: 16 << 30,
            queue_bytes: 64 << 20,
            round_bytes: 8 << 20,
            tail_cache_bytes: 16 << 20,
            open_files: 256,
            advise_interval: Duration::from_secs(1),
            max_topics: 10_000,
            max_partitions: 1_000,
            max_groups: 100_000,
            clock: Arc::new(|| Time::from_system(std::time::SystemTime::now())),
        }
    }
}

impl fmt::Debug for SegmentsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentsConfig")
            .field("segment_bytes", &self.segment_bytes)
            .field("max_batch_bytes", &self.max_batch_bytes)
            .field("compression", &self.compression)
            .field("hard_bytes", &self.hard_bytes)
            .finish_non_exhaustive()
    }
}

/// Of the intervals: beyond it a point in time may not be a number any more.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl SegmentsConfig {
    /// Refuses settings that could not work, naming the first.
    pub(super) fn check(&self) -> Result<(), BusError> {
        // Positions in Kafka's index are signed 32-bit numbers.
        let largest = u64::from(i32::MAX.unsigned_abs());
        let rules = [
            ("segment_bytes must be 1 KiB to 2 GiB - 1", (1 << 10..=largest).contains(&self.segment_bytes)),
            ("segment_ms must be positive", self.segment_ms > 0),
            (
                "max_message_bytes must not pass max_batch_bytes",
                self.max_message_bytes <= self.max_batch_bytes,
            ),
            ("max_batch_bytes must be 1 KiB to 64 MiB", (1 << 10..=64 << 20).contains(&self.max_batch_bytes)),
            ("max_headers must be at most 10,000", self.max_headers <= 10_000),
            (
                "index_max_bytes must be 1 KiB to 2 GiB - 1",
                (1 << 10..=largest).contains(&self.index_max_bytes),
            ),
            (
                "retention_interval must be 10 ms to 10 years",
                (Duration::from_millis(10)..=LONGEST).contains(&self.retention_interval),
            ),
            ("advise_interval must be at most 10 years", self.advise_interval <= LONGEST),
            ("queue_bytes must be positive", self.queue_bytes > 0),
            ("round_bytes must be positive", self.round_bytes > 0),
            ("open_files must be at least 8", self.open_files >= 8),
            ("max_partitions must be 1 to 99,999", (1..=99_999).contains(&self.max_partitions)),
        ];
        match rules.iter().find(|(_, holds)| !holds) {
            Some((rule, _)) => Err(BusError::Unavailable(format!("setting of the log: {rule}"))),
            None => Ok(()),
        }
    }
}
