//! What a partition's folder holds when the log is opened: whole batches are kept, a round that a crash tore is cut off,
//! damage anywhere else stops the partition.

use super::damage::{Damage, may_follow};
use super::disk::{Disk, LogFile, read_all, read_full, write_all};
use super::files::Kind;
use super::index::{Entry, OffsetEntry, TimeEntry, entry, last_where};
use super::partition::Gate;
use super::point::RecoveryPoint;
use super::scan::{Scan, ScanError};
use super::segment::{Appender, Placed, Segment};
use crate::codec::{CodecError, check_crc};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How much one read of a recovery scan brings.
const CHUNK_BYTES: usize = 1 << 20;
/// The same where only headers matter, and usually few.
const HEADER_CHUNK_BYTES: usize = 16 << 10;

pub(super) struct Recovered {
    pub segments: Vec<Segment>,
    pub appender: Appender,
    pub gate: Gate,
}

/// Reads a partition's folder. What can't be served comes back as stopped, a folder without segments as well: a topic is laid
/// out with its first.
pub(super) fn recover(disk: &dyn Disk, folder: &Path, index_interval: u64) -> Recovered {
    let recovery = Recovery { disk, folder, index_interval };
    match recovery.run() {
        Ok(recovered) => recovered,
        Err(damage) => {
            let reason = damage.sentence(folder);
            tracing::error!(folder = %folder.display(), %reason, "partition stopped");
            Recovered { segments: Vec::new(), appender: Appender::new(0), gate: Gate::Stopped(reason.into()) }
        }
    }
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    folder: &'a Path,
    index_interval: u64,
}

/// The three files of a segment.
struct Files {
    log: Arc<dyn LogFile>,
    index: Arc<dyn LogFile>,
    times: Arc<dyn LogFile>,
}

impl Recovery<'_> {
    fn run(&self) -> Result<Recovered, Damage> {
        let mut bases = self.bases()?;
        // A killed process may have made a file and not synced its name.
        self.disk.sync_dir(self.folder)?;
        let point = self.disk.open(&Kind::RecoveryPoint.path(self.folder, 0), true)?;
        let known = RecoveryPoint::load(point.as_ref())?;
        let newest = known.map_or(0, |point| point.base);
        if bases.last().is_none_or(|last| *last < newest) {
            return Err(Damage::Missing { base: newest });
        }
        let mut segments = Vec::with_capacity(bases.len());
        while let Some(next) = bases.get(segments.len() + 1).copied() {
            match self.sealed(bases[segments.len()], next) {
                Ok(segment) => segments.push(segment),
                Err(damage) if damage.passes(next) && self.is_empty(next)? => {
                    self.remove_stray(next)?;
                    bases.remove(segments.len() + 1);
                }
                Err(damage) => return Err(damage),
            }
        }
        // `bases` is not empty.
        let base = bases.last().copied().unwrap_or(0);
        let appender = self.active(base)?;
        segments.push(appender.segment);
        Ok(Recovered { segments, appender, gate: Gate::Open })
    }

    /// The segments' base offsets, growing. Index files without a log are what an interrupted removal leaves.
    fn bases(&self) -> io::Result<Vec<i64>> {
        let names = self.disk.list(self.folder)?;
        let parse = |name: &str, extension: &str| {
            let digits = name.strip_suffix(extension).filter(|d| d.len() == 20)?;
            digits.parse::<i64>().ok()
        };
        let mut bases: Vec<i64> = names.iter().filter_map(|name| parse(name, ".log")).collect();
        bases.sort_unstable();
        for name in &names {
            let base = parse(name, ".index").or_else(|| parse(name, ".timeindex"));
            if base.is_some_and(|base| bases.binary_search(&base).is_err()) {
                self.disk.remove(&self.folder.join(name))?;
            }
        }
        Ok(bases)
    }

    fn files(&self, base: i64) -> io::Result<Files> {
        let open = |kind: Kind| self.disk.open(&kind.path(self.folder, base), true);
        Ok(Files { log: open(Kind::Log)?, index: open(Kind::Index)?, times: open(Kind::TimeIndex)? })
    }

    fn is_empty(&self, base: i64) -> io::Result<bool> {
        Ok(self.disk.open(&Kind::Log.path(self.folder, base), false)?.size()? == 0)
    }

    /// Removes an empty segment that begins within its predecessor: one whose making failed, and the log went on without it.
    fn remove_stray(&self, base: i64) -> io::Result<()> {
        tracing::warn!(folder = %self.folder.display(), segment = %Kind::Log.name(base),
            "an empty segment that was never begun is removed");
        for kind in Kind::SEGMENT {
            match self.disk.remove(&kind.path(self.folder, base)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.disk.sync_dir(self.folder)
    }

    /// A segment that has a successor: it was synced before that was made, so it has to end right there.
    fn sealed(&self, base: i64, next: i64) -> Result<Segment, Damage> {
        let files = self.files(base)?;
        let length = files.log.size()?;
        if let Some(Indexed { appender, .. }) = from_indexes(&files, base, length)? {
            let (found, stop) = self.walk(&files, appender, length)?;
            let is_whole = stop.is_none() && found.segment.end == next;
            // The last entry of a finished time index is its segment's greatest time.
            if is_whole && found.index.is_empty() && found.segment.max_timestamp == found.last_time {
                return Ok(found.segment);
            }
        }
        let (mut found, stop) = self.walk(&files, Appender::new(base), length)?;
        let name = Kind::Log.name(base);
        if let Some(error) = stop {
            return Err(Damage::Middle {
                file: name,
                position: found.segment.bytes,
                offset: found.segment.end,
                error,
            });
        }
        if found.segment.end != next {
            return Err(Damage::Gap { file: name, end: found.segment.end, next });
        }
        found.add_time();
        self.store_indexes(&files, &mut found)?;
        Ok(found.segment)
    }

    /// The last segment, whose end a crash may have torn.
    fn active(&self, base: i64) -> Result<Appender, Damage> {
        let files = self.files(base)?;
        let length = files.log.size()?;
        let point = self.disk.open(&Kind::RecoveryPoint.path(self.folder, 0), true)?;
        // A segment that was just begun has none yet.
        let known = RecoveryPoint::load(point.as_ref())?.filter(|p| p.base == base).map_or(0, |p| p.position);

        let indexed = from_indexes(&files, base, length)?;
        let is_indexed = indexed.is_some();
        let (start, durable) = match indexed {
            Some(Indexed { appender, durable }) => (appender, durable.max(known)),
            None => (Appender::new(base), known),
        };
        let (mut found, stop) = self.walk(&files, start, length)?;
        let position = found.segment.bytes;
        if let Some(error) = stop {
            let tail = Tail { name: Kind::Log.name(base), length, position, durable, error };
            self.cut(&files, &found, tail)?;
        }
        if position < durable {
            tracing::warn!(folder = %self.folder.display(), offset = found.segment.end, bytes = durable - position,
                "records that had been durable are missing at the end of the log: its file was cut or damaged");
            RecoveryPoint { base, position }.store(point.as_ref())?;
            point.sync()?;
        }
        // What a killed process had written and not synced is taken in, so it has to be durable before anyone reads it.
        rewrite(files.log.as_ref(), durable.min(position), position)?;
        files.log.sync()?;
        if !is_indexed {
            self.store_indexes(&files, &mut found)?;
        }
        Ok(found)
    }

    /// Cuts a torn tail off, or refuses where more than that is wrong. The caller syncs.
    fn cut(&self, files: &Files, found: &Appender, tail: Tail) -> Result<(), Damage> {
        let Tail { name, length, position, durable, error } = tail;
        let offset = found.segment.end;
        // What was durable and is all there has been damaged since. Where it was cut short, records may follow the damage.
        let is_damage = position < durable
            && (length >= durable || may_follow(files.log.as_ref(), position + 1, length, offset)?);
        if is_damage {
            return Err(Damage::Middle { file: name, position, offset, error });
        }
        let file = self.folder.join(&name);
        tracing::warn!(
            file = %file.display(), offset, position, bytes_cut = length - position, %error,
            "the end of the log was torn; cut back to the last whole batch"
        );
        files.log.set_len(position)?;
        Ok(())
    }

    /// Puts the appender's due entries, which are all there are, in the place of what the index files hold. Synced, so that no
    /// entry of before comes back in a crash.
    fn store_indexes(&self, files: &Files, appender: &mut Appender) -> io::Result<()> {
        appender.segment.index_entries = 0;
        appender.segment.time_entries = 0;
        let differ =
            |file: &Arc<dyn LogFile>, due: &[u8]| Ok::<_, io::Error>(read_all(file.as_ref())? != due);
        let changed = differ(&files.index, &appender.index)? || differ(&files.times, &appender.times)?;
        if changed {
            files.index.set_len(0)?;
            files.times.set_len(0)?;
        }
        appender.store_entries(files.index.as_ref(), files.times.as_ref())?;
        if changed {
            tracing::warn!(folder = %self.folder.display(), segment = %Kind::Log.name(appender.segment.base),
                "the indexes were missing or damaged; rebuilt from the log");
            files.index.sync()?;
            files.times.sync()?;
        }
        Ok(())
    }

    /// Walks whole, valid batches from the appender's end on, counting them in. The second value is what stopped it.
    fn walk(
        &self,
        files: &Files,
        mut appender: Appender,
        length: u64,
    ) -> io::Result<(Appender, Option<CodecError>)> {
        let mut scan = Scan::new(files.log.as_ref(), appender.segment.bytes, length, CHUNK_BYTES);
        loop {
            match next_batch(&mut scan, appender.segment.end) {
                Ok(Some(placed)) => appender.add(placed, self.index_interval),
                Ok(None) => return Ok((appender, None)),
                Err(ScanError::Damaged(error)) => return Ok((appender, Some(error))),
                Err(ScanError::Io(error)) => return Err(error),
            }
        }
    }
}

/// What is wrong at the end of the last segment.
struct Tail {
    name: String,
    length: u64,
    position: u64,
    /// Everything before was once synced.
    durable: u64,
    error: CodecError,
}

/// Writes the bytes of `from..to` once more: after an fsync that failed the kernel holds them for clean, and the next one would
/// succeed without them. Usually they are one round's at most.
fn rewrite(file: &dyn LogFile, mut from: u64, to: u64) -> io::Result<()> {
    let mut chunk = vec![0; usize::try_from(to - from).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES))];
    while from < to {
        let want = usize::try_from(to - from).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let have = read_full(file, &mut chunk[..want], from)?;
        if have == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        write_all(file, &chunk[..have], from)?;
        from += have as u64;
    }
    Ok(())
}

fn next_batch(scan: &mut Scan<'_>, expected: i64) -> Result<Option<Placed>, ScanError> {
    let Some(header) = scan.header()? else { return Ok(None) };
    if header.base_offset != expected {
        return Err(CodecError::Malformed("the batch has another offset than the one due here").into());
    }
    check_crc(&scan.batch(&header)?)?;
    scan.step(&header);
    let size = header.size as u64;
    Ok(Some(Placed { last_offset: header.last_offset(), max_timestamp: header.max_timestamp, size }))
}

/// The state at the batch of the last index entry, which was durable before the entry was written.
struct Indexed {
    appender: Appender,
    /// The end of that batch.
    durable: u64,
}

/// `None` when there is no entry, or the indexes do not fit the log.
fn from_indexes(files: &Files, base: i64, length: u64) -> io::Result<Option<Indexed>> {
    let (Some(index_entries), Some(time_entries)) =
        (entries::<OffsetEntry>(&files.index)?, entries::<TimeEntry>(&files.times)?)
    else {
        return Ok(None);
    };
    if index_entries == 0 || time_entries == 0 {
        return Ok(None);
    }
    let last: OffsetEntry = entry(files.index.as_ref(), index_entries - 1)?;
    let time: TimeEntry = entry(files.times.as_ref(), time_entries - 1)?;
    let position = u64::from(last.position);
    let mut scan = Scan::new(files.log.as_ref(), position, length, CHUNK_BYTES);
    let header = match scan.header() {
        Ok(Some(header)) if header.last_offset() == base + i64::from(last.relative) => header,
        Ok(_) | Err(ScanError::Damaged(_)) => return Ok(None),
        Err(ScanError::Io(error)) => return Err(error),
    };
    let found = Found { base, index_entries, last, time };
    if !found.times_hold(files, length)? {
        return Ok(None);
    }
    let mut first = Scan::new(files.log.as_ref(), 0, length, 0);
    let Ok(Some(first)) = first.header() else { return Ok(None) };
    let mut appender = Appender::new(base);
    appender.last_time = time.timestamp;
    appender.segment = Segment {
        base,
        end: header.base_offset,
        bytes: position,
        index_entries,
        time_entries,
        first_timestamp: Some(first.max_timestamp),
        max_timestamp: time.timestamp,
        max_timestamp_offset: base + i64::from(time.relative),
    };
    Ok(Some(Indexed { appender, durable: position + header.size as u64 }))
}

/// What the two indexes end with.
struct Found {
    base: i64,
    index_entries: u64,
    last: OffsetEntry,
    time: TimeEntry,
}

impl Found {
    /// Whether the last entry of the time index is what its batch says, and no batch from there to the last one of the offset
    /// index is of a later time: a power loss may keep what was written to one file and not what was written to the other.
    fn times_hold(&self, files: &Files, length: u64) -> io::Result<bool> {
        let Found { base, index_entries, last, time } = self;
        let before =
            last_where(files.index.as_ref(), *index_entries, |e: &OffsetEntry| e.relative <= time.relative)?;
        let start = before.map_or(0, |entry| u64::from(entry.position));
        let (holder, end) = (base + i64::from(time.relative), base + i64::from(last.relative));
        let mut scan = Scan::new(files.log.as_ref(), start, length, HEADER_CHUNK_BYTES);
        let mut is_found = false;
        loop {
            let header = match scan.header() {
                Ok(Some(header)) => header,
                Ok(None) => return Ok(is_found),
                // The walk over the log tells more.
                Err(ScanError::Damaged(_)) => return Ok(false),
                Err(ScanError::Io(error)) => return Err(error),
            };
            let is_holder = header.last_offset() == holder;
            is_found |= is_holder;
            let fits = if is_holder {
                header.max_timestamp == time.timestamp
            } else {
                header.max_timestamp <= time.timestamp && (is_found || header.last_offset() < holder)
            };
            if !fits || (is_found && header.last_offset() >= end) {
                return Ok(fits);
            }
            scan.step(&header);
        }
    }
}

/// How many entries an index file holds; `None` when its length is not a multiple of one, or the order is broken at the end.
fn entries<E: Entry + Ordered>(file: &Arc<dyn LogFile>) -> io::Result<Option<u64>> {
    let length = file.size()?;
    let width = E::WIDTH as u64;
    if length % width != 0 {
        return Ok(None);
    }
    let count = length / width;
    if count >= 2 {
        let (before, last): (E, E) = (entry(file.as_ref(), count - 2)?, entry(file.as_ref(), count - 1)?);
        if !before.is_below(&last) {
            return Ok(None);
        }
    }
    Ok(Some(count))
}

trait Ordered {
    fn is_below(&self, next: &Self) -> bool;
}
impl Ordered for OffsetEntry {
    fn is_below(&self, next: &Self) -> bool {
        self.relative < next.relative && self.position < next.position
    }
}
impl Ordered for TimeEntry {
    fn is_below(&self, next: &Self) -> bool {
        self.timestamp < next.timestamp && self.relative <= next.relative
    }
}

/// Makes the files of a segment, empty and with durable names.
pub(super) fn create_segment(disk: &dyn Disk, folder: &Path, base: i64) -> io::Result<()> {
    for kind in Kind::SEGMENT {
        disk.open(&kind.path(folder, base), true)?.set_len(0)?;
    }
    disk.sync_dir(folder)
}
