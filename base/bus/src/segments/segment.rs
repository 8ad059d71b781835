//! One segment as numbers, and the rules by which a batch is added to it: Kafka's, so that Kafka's tools agree.

use super::config::SegmentsConfig;
use super::disk::{LogFile, write_all};
use super::index::{Entry, INDEX_ENTRY, OffsetEntry, TIME_ENTRY, TimeEntry};
use std::io;

/// What is known of a segment file. Everything up to `bytes` is durable and well-formed, or known to be damaged on read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Offset of its first record, and its files' name.
    pub base: i64,
    /// The offset after its last record.
    pub end: i64,
    pub bytes: u64,
    pub index_entries: u64,
    pub time_entries: u64,
    /// Greatest time of its first batch, in ms.
    pub first_timestamp: Option<i64>,
    /// Greatest time of all, in ms, and the last offset of the first batch that holds it; -1 when empty.
    pub max_timestamp: i64,
    pub max_timestamp_offset: i64,
}

impl Segment {
    pub fn empty(base: i64) -> Segment {
        Segment {
            base,
            end: base,
            bytes: 0,
            index_entries: 0,
            time_entries: 0,
            first_timestamp: None,
            max_timestamp: -1,
            max_timestamp_offset: base,
        }
    }

    /// An offset as the indexes store it. A segment ends before they would not fit.
    fn relative(&self, offset: i64) -> u32 {
        u32::try_from(offset - self.base).unwrap_or(u32::MAX)
    }
}

/// A batch as far as the indexes care.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub last_offset: i64,
    pub max_timestamp: i64,
    pub size: u64,
}

/// The end of a partition: where the next batch goes, and the index entries that are due.
#[derive(Debug, Clone)]
pub(super) struct Appender {
    /// As written, which is ahead of what readers see until the fsync. Entry counts are those stored.
    pub segment: Segment,
    /// Bytes since the last index entry.
    pub since_entry: u64,
    /// Entries that are stored once the batches they point to are durable: whatever an index says was synced.
    pub index: Vec<u8>,
    pub times: Vec<u8>,
    /// The time of the last entry of the time index.
    pub last_time: i64,
    /// Whether indexes and recovery point are synced, as closing leaves them.
    pub is_settled: bool,
    /// The next segment was made in part: its name stands where this one ends, so that nothing may be added here.
    pub must_roll: bool,
}

impl Appender {
    pub fn new(base: i64) -> Appender {
        let segment = Segment::empty(base);
        Appender {
            segment,
            since_entry: 0,
            index: Vec::new(),
            times: Vec::new(),
            last_time: -1,
            is_settled: true,
            must_roll: false,
        }
    }

    /// Counts a batch in, written at the segment's present end.
    pub fn add(&mut self, batch: Placed, interval: u64) {
        let segment = &mut self.segment;
        if batch.max_timestamp > segment.max_timestamp {
            segment.max_timestamp = batch.max_timestamp;
            segment.max_timestamp_offset = batch.last_offset;
        }
        if self.since_entry > interval {
            let relative = segment.relative(batch.last_offset);
            // A segment never grows past 2 GiB, so the position fits.
            let position = u32::try_from(segment.bytes).unwrap_or(u32::MAX);
            OffsetEntry { relative, position }.put(&mut self.index);
            self.since_entry = 0;
            self.add_time();
        }
        let segment = &mut self.segment;
        segment.first_timestamp.get_or_insert(batch.max_timestamp);
        segment.bytes += batch.size;
        segment.end = batch.last_offset + 1;
        self.since_entry += batch.size;
    }

    /// Adds an entry to the time index, when the time has grown since the last.
    pub fn add_time(&mut self) {
        let segment = &self.segment;
        if segment.max_timestamp > self.last_time {
            self.last_time = segment.max_timestamp;
            let relative = segment.relative(segment.max_timestamp_offset);
            TimeEntry { timestamp: segment.max_timestamp, relative }.put(&mut self.times);
        }
    }

    /// Stores the entries that are due; what fails to be stored stays due.
    pub fn store_entries(&mut self, index: &dyn LogFile, times: &dyn LogFile) -> io::Result<()> {
        let segment = &mut self.segment;
        write_all(index, &self.index, segment.index_entries * INDEX_ENTRY as u64)?;
        segment.index_entries += (self.index.len() / INDEX_ENTRY) as u64;
        self.index.clear();
        write_all(times, &self.times, segment.time_entries * TIME_ENTRY as u64)?;
        segment.time_entries += (self.times.len() / TIME_ENTRY) as u64;
        self.times.clear();
        Ok(())
    }

    /// Whether the next batch belongs in a new segment.
    pub fn is_full_for(&self, size: u64, count: u32, max_timestamp: i64, config: &SegmentsConfig) -> bool {
        let segment = &self.segment;
        if self.must_roll {
            return true;
        }
        if segment.bytes == 0 {
            return false;
        }
        let last = segment.end + i64::from(count) - 1;
        let age = segment.first_timestamp.map_or(0, |first| max_timestamp.saturating_sub(first));
        let entries = |stored: u64, due: usize, width: usize| (stored + 1) * width as u64 + due as u64;
        segment.bytes + size > config.segment_bytes
            || age > config.segment_ms
            || last - segment.base > i64::from(i32::MAX)
            || entries(segment.index_entries, self.index.len(), INDEX_ENTRY) > config.index_max_bytes
            // The last entry of the time index is added when the segment ends.
            || entries(segment.time_entries + 1, self.times.len(), TIME_ENTRY) > config.index_max_bytes
    }
}
