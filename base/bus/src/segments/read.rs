//! Reading: from the tail in memory, else from the files on a thread that may block.

use super::damage::Damage;
use super::files::{Kind, OpenFiles};
use super::index::{OffsetEntry, TimeEntry, last_where};
use super::meta::io_error;
use super::partition::{Gate, Partition};
use super::scan::{Scan, ScanError};
use super::segment::Segment;
use crate::codec::{CodecError, Limits, Records, check_crc};
use crate::{BusError, Fetch, Fetched, Received};
use bytes::Bytes;
use std::io;

/// What one read from a file brings, at least and at most.
const CHUNK_BYTES: std::ops::RangeInclusive<usize> = 16 << 10..=4 << 20;

/// Records gathered under a [`Fetch`].
struct Taken {
    from: i64,
    fetch: Fetch,
    bytes: usize,
    fetched: Fetched,
}

impl Taken {
    fn new(from: i64, fetch: Fetch) -> Taken {
        Taken { from, fetch, bytes: 0, fetched: Fetched { records: Vec::new(), next: from } }
    }

    fn is_empty(&self) -> bool {
        self.fetched.records.is_empty()
    }

    /// Takes what fits of a batch; whether there is room for more.
    fn add(&mut self, batch: &Bytes) -> Result<bool, CodecError> {
        let mut records = Records::open(batch, &Limits::READ)?;
        let next = records.header().next_offset();
        if !records.header().is_control() {
            records.skip_below(self.from)?;
            for record in records {
                let record = record?;
                let size = payload(&record);
                let taken = self.fetched.records.len();
                let fits =
                    taken < self.fetch.max_records && self.bytes.saturating_add(size) <= self.fetch.max_bytes;
                if taken > 0 && !fits {
                    return Ok(false);
                }
                self.bytes = self.bytes.saturating_add(size);
                self.fetched.next = record.offset + 1;
                self.fetched.records.push(record);
            }
        }
        self.fetched.next = next;
        Ok(true)
    }
}

fn payload(record: &Received) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
    length(&record.key) + length(&record.value) + headers
}

/// Reads without touching a file; `None` when the files are needed.
pub(super) fn from_memory(
    partition: &Partition,
    from: i64,
    fetch: Fetch,
) -> Result<Option<Fetched>, BusError> {
    partition.check_open()?;
    let (bounds, batches) =
        partition.with_view(|view| (view.bounds(), view.tail.from(from, fetch.max_bytes)));
    if from < bounds.begin || from > bounds.end {
        return Err(partition.out_of_range(from, bounds));
    }
    let mut taken = Taken::new(from, fetch);
    if from == bounds.end {
        return Ok(Some(taken.fetched));
    }
    let Some(batches) = batches else { return Ok(None) };
    for batch in &batches {
        let more = taken.add(&batch.bytes).map_err(|e| BusError::Io {
            context: format!("decoding offset {} of {}/{}", batch.base, partition.topic, partition.number),
            reason: e.to_string(),
        })?;
        if !more {
            break;
        }
    }
    Ok(Some(taken.fetched))
}

/// Reads from the files. Blocks.
pub(super) fn from_files(
    partition: &Partition,
    files: &OpenFiles,
    from: i64,
    fetch: Fetch,
) -> Result<Fetched, BusError> {
    let mut taken = Taken::new(from, fetch);
    loop {
        partition.check_open()?;
        let at = taken.fetched.next;
        let (bounds, segment) = partition.with_view(|view| {
            let after = view.segments.partition_point(|s| s.base <= at);
            (view.bounds(), after.checked_sub(1).map(|i| view.segments[i]))
        });
        if at < bounds.begin || at > bounds.end {
            return Err(partition.out_of_range(at, bounds));
        }
        let Some(segment) = segment.filter(|_| at < bounds.end) else { return Ok(taken.fetched) };
        let read = Reader { partition, files, segment };
        match read.take(&mut taken) {
            Ok(()) if taken.is_empty() => {}
            Ok(()) => return Ok(taken.fetched),
            // Retention removed the segment meanwhile: the bounds now say so.
            Err(ScanError::Io(e)) if e.kind() == io::ErrorKind::NotFound && read.is_gone() => {}
            Err(ScanError::Io(e)) => {
                return Err(io_error("reading", &Kind::Log.path(&partition.folder, segment.base), &e));
            }
            Err(ScanError::Damaged(_)) => {} // the gate is shut: the next turn answers
        }
    }
}

/// The first offset whose record is of `millis` or later. Blocks.
pub(super) fn offset_at(
    partition: &Partition,
    files: &OpenFiles,
    millis: i64,
) -> Result<Option<i64>, BusError> {
    loop {
        partition.check_open()?;
        let segment =
            partition.with_view(|view| view.segments.iter().find(|s| s.max_timestamp >= millis).copied());
        let Some(segment) = segment else { return Ok(None) };
        let read = Reader { partition, files, segment };
        match read.offset_at(millis) {
            Ok(found) => return Ok(found),
            Err(ScanError::Io(e)) if e.kind() == io::ErrorKind::NotFound && read.is_gone() => {}
            Err(ScanError::Io(e)) => {
                return Err(io_error("reading", &Kind::Log.path(&partition.folder, segment.base), &e));
            }
            Err(ScanError::Damaged(_)) => {}
        }
    }
}

/// One segment as a snapshot of the view has it.
struct Reader<'a> {
    partition: &'a Partition,
    files: &'a OpenFiles,
    segment: Segment,
}

impl Reader<'_> {
    fn is_gone(&self) -> bool {
        self.partition.with_view(|view| view.bounds().begin) > self.segment.base
            || self.partition.check_open().is_err()
    }

    /// Where to begin looking for an offset: the index knows a batch at or before it. An index that can't be read, or that
    /// does not fit the log, costs time and never records: the walk then begins at the start of the file.
    fn position_of(&self, offset: i64) -> u64 {
        self.indexed(offset).ok().flatten().unwrap_or(0)
    }

    fn indexed(&self, offset: i64) -> Result<Option<u64>, ScanError> {
        let relative = u32::try_from(offset - self.segment.base).unwrap_or(u32::MAX);
        let index = self.partition.file(self.files, self.segment.base, Kind::Index)?;
        let entry =
            last_where(index.as_ref(), self.segment.index_entries, |e: &OffsetEntry| e.relative <= relative)?;
        let Some(entry) = entry else { return Ok(None) };
        let log = self.partition.file(self.files, self.segment.base, Kind::Log)?;
        let position = u64::from(entry.position);
        let header = Scan::new(log.as_ref(), position, self.segment.bytes, 0).header()?;
        let fits = |last: i64| last == self.segment.base + i64::from(entry.relative);
        Ok(header.filter(|h| fits(h.last_offset())).map(|_| position))
    }

    /// Takes what one chunk holds.
    fn take(&self, taken: &mut Taken) -> Result<(), ScanError> {
        let from = taken.fetched.next;
        let chunk = taken.fetch.max_bytes.clamp(*CHUNK_BYTES.start(), *CHUNK_BYTES.end());
        self.walk(self.position_of(from), chunk, |scan| {
            // One chunk a call: the rest of it is not worth another read.
            if !taken.is_empty() && !scan.is_buffered() {
                return Ok(false);
            }
            let Some(header) = scan.header()? else {
                if taken.fetched.next == from {
                    return Err(CodecError::Malformed("its records end early").into());
                }
                return Ok(false);
            };
            if header.next_offset() <= from {
                scan.step(&header);
                return Ok(true);
            }
            if taken.is_empty() && header.base_offset > from {
                return Err(CodecError::Malformed("the offsets before it are missing").into());
            }
            let batch = scan.batch(&header)?;
            check_crc(&batch)?;
            let more = taken.add(&batch)?;
            scan.step(&header);
            Ok(more)
        })
    }

    fn offset_at(&self, millis: i64) -> Result<Option<i64>, ScanError> {
        let times = self.partition.file(self.files, self.segment.base, Kind::TimeIndex);
        let before = times.and_then(|times| {
            last_where(times.as_ref(), self.segment.time_entries, |e: &TimeEntry| e.timestamp <= millis)
        });
        // All records before that batch are older.
        let offset =
            before.ok().flatten().map_or(self.segment.base, |e| self.segment.base + i64::from(e.relative));
        let mut found = None;
        self.walk(self.position_of(offset), *CHUNK_BYTES.start(), |scan| {
            let Some(header) = scan.header()? else { return Ok(false) };
            if header.max_timestamp >= millis {
                let batch = scan.batch(&header)?;
                check_crc(&batch)?;
                for record in Records::open(&batch, &Limits::READ)? {
                    let record = record?;
                    if record.time.millis() >= millis {
                        found = Some(record.offset);
                        return Ok(false);
                    }
                }
            }
            scan.step(&header);
            Ok(true)
        })?;
        Ok(found)
    }

    /// Walks batches as long as `visit` says so. What is no batch shuts the partition.
    fn walk(
        &self,
        start: u64,
        chunk: usize,
        mut visit: impl FnMut(&mut Scan<'_>) -> Result<bool, ScanError>,
    ) -> Result<(), ScanError> {
        let log = self.partition.file(self.files, self.segment.base, Kind::Log)?;
        let mut scan = Scan::new(log.as_ref(), start, self.segment.bytes, chunk);
        loop {
            match visit(&mut scan) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(ScanError::Damaged(error)) => {
                    let (file, position) = (Kind::Log.name(self.segment.base), scan.position);
                    let offset = self.offset_before(position);
                    let damage = Damage::Middle { file, position, offset, error: error.clone() };
                    let reason = damage.sentence(&self.partition.folder);
                    self.partition.shut(Gate::Stopped(reason.into()));
                    return Err(ScanError::Damaged(error));
                }
                Err(io) => return Err(io),
            }
        }
    }

    /// The first offset that is lost when the file is cut at `position`.
    fn offset_before(&self, position: u64) -> i64 {
        let mut offset = self.segment.base;
        let Ok(log) = self.partition.file(self.files, self.segment.base, Kind::Log) else { return offset };
        let mut scan = Scan::new(log.as_ref(), 0, position, *CHUNK_BYTES.start());
        while let Ok(Some(header)) = scan.header() {
            offset = header.next_offset();
            scan.step(&header);
        }
        offset
    }
}
