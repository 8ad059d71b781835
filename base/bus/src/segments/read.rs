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

    /// About how many of the records will be taken.
    fn room_for(&self, records: &Records) -> usize {
        let by_bytes = self.fetch.max_bytes.saturating_sub(self.bytes) / records.average_bytes() + 1;
        let by_count = self.fetch.max_records.saturating_sub(self.fetched.records.len());
        records.size_hint().1.unwrap_or(0).min(by_bytes).min(by_count)
    }

    /// Takes what fits of a batch; whether there is room for more.
    fn add(&mut self, batch: &Bytes) -> Result<bool, CodecError> {
        let mut records = Records::open(batch, &Limits::READ)?;
        let next = records.header().next_offset();
        if !records.header().is_control() {
            records.skip_below(self.from)?;
            self.fetched.records.reserve(self.room_for(&records));
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
    length(&record.key) + length(&record.value) + record.headers.payload_bytes()
}

/// The batches from the one that holds `from` on, when memory has them; `None` when the files are needed.
pub(super) fn from_memory(
    partition: &Partition,
    from: i64,
    max_bytes: usize,
) -> Result<Option<Vec<Bytes>>, BusError> {
    partition.check_open()?;
    let (bounds, batches) = partition.with_view(|view| (view.bounds(), view.tail.from(from, max_bytes)));
    if from < bounds.begin || from > bounds.end {
        return Err(partition.out_of_range(from, bounds));
    }
    if from == bounds.end {
        return Ok(Some(Vec::new()));
    }
    Ok(batches)
}

/// The batches from the one that holds `from` on, as many as one chunk of the file holds. Blocks.
pub(super) fn from_files(
    partition: &Partition,
    files: &OpenFiles,
    from: i64,
    max_bytes: usize,
) -> Result<Vec<Bytes>, BusError> {
    loop {
        partition.check_open()?;
        let (bounds, segment) = partition.with_view(|view| {
            let after = view.segments.partition_point(|s| s.base <= from);
            (view.bounds(), after.checked_sub(1).map(|i| view.segments[i]))
        });
        let Some(segment) = segment.filter(|_| from < bounds.end) else {
            return Err(partition.out_of_range(from, bounds));
        };
        let read = Reader { partition, files, segment };
        match read.batches(from, max_bytes) {
            Ok(batches) => return Ok(batches),
            Err(error) => read.explain(error)?,
        }
    }
}

/// The records of `batches` from `from` on that fit the fetch.
pub(super) fn decode(
    partition: &Partition,
    from: i64,
    fetch: Fetch,
    batches: &[Bytes],
) -> Result<Fetched, BusError> {
    let mut taken = Taken::new(from, fetch);
    for batch in batches {
        let more = taken.add(batch).map_err(|e| BusError::Io {
            context: format!("decoding {}/{} from offset {from}", partition.topic, partition.number),
            reason: e.to_string(),
        })?;
        if !more {
            break;
        }
    }
    Ok(taken.fetched)
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
            Err(error) => read.explain(error)?,
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
    /// What a failed read means to the caller; nothing when a further look at the partition tells more.
    fn explain(&self, error: ScanError) -> Result<(), BusError> {
        let Reader { partition, segment, .. } = self;
        match error {
            // The gate is shut.
            ScanError::Damaged(_) => Ok(()),
            // Retention or deletion removed the segment meanwhile.
            ScanError::Io(e) if e.kind() == io::ErrorKind::NotFound && self.is_gone() => Ok(()),
            ScanError::Io(e) => {
                Err(io_error("reading", &Kind::Log.path(&partition.folder, segment.base), &e))
            }
        }
    }

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

    /// The batches of one chunk, checked. The first holds `from`.
    fn batches(&self, from: i64, max_bytes: usize) -> Result<Vec<Bytes>, ScanError> {
        let chunk = max_bytes.clamp(*CHUNK_BYTES.start(), *CHUNK_BYTES.end());
        let mut batches = Vec::new();
        self.walk(self.position_of(from), chunk, |scan| {
            // The rest of a batch is not worth another read.
            if !batches.is_empty() && !scan.is_buffered() {
                return Ok(false);
            }
            let Some(header) = scan.header()? else {
                return Err(CodecError::Malformed("its records end early").into());
            };
            if header.next_offset() > from {
                if batches.is_empty() && header.base_offset > from {
                    return Err(CodecError::Malformed("the offsets before it are missing").into());
                }
                let batch = scan.batch(&header)?;
                check_crc(&batch)?;
                batches.push(batch);
            }
            scan.step(&header);
            Ok(true)
        })?;
        Ok(batches)
    }

    fn offset_at(&self, millis: i64) -> Result<Option<i64>, ScanError> {
        let times = self.partition.file(self.files, self.segment.base, Kind::TimeIndex);
        let before = times.and_then(|times| {
            last_where(times.as_ref(), self.segment.time_entries, |e: &TimeEntry| e.timestamp <= millis)
        });
        let before = before.ok().flatten().and_then(|entry| self.timed(entry).ok().flatten());
        let mut found = None;
        self.walk(before.unwrap_or(0), *CHUNK_BYTES.start(), |scan| {
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

    /// Where the batch of an entry of the time index begins, if it is the one that the entry tells of: then all records before
    /// it are older. Anything else costs time, as with the other index.
    fn timed(&self, entry: TimeEntry) -> Result<Option<u64>, ScanError> {
        let offset = self.segment.base + i64::from(entry.relative);
        let log = self.partition.file(self.files, self.segment.base, Kind::Log)?;
        let start = self.position_of(offset);
        let mut scan = Scan::new(log.as_ref(), start, self.segment.bytes, *CHUNK_BYTES.start());
        while let Some(header) = scan.header()? {
            if header.last_offset() >= offset {
                let fits = header.last_offset() == offset && header.max_timestamp == entry.timestamp;
                return Ok(fits.then_some(scan.position));
            }
            scan.step(&header);
        }
        Ok(None)
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
