//! What the log holds at one moment, copied while it goes on.
//!
//! Segment files only grow, so a copy is the first bytes of each. Nothing is removed meanwhile: as long as a [`Snapshot`] lives,
//! retention rests and topics can't be deleted.

use super::disk::{self, Disk, read_all, write_all};
use super::files::Kind;
use super::groups;
use super::index::{Entry, OffsetEntry, TimeEntry};
use super::meta::{TopicMeta, io_error, load_one, topics_folder};
use super::point::RecoveryPoint;
use super::scan::{Scan, ScanError};
use super::segment::Segment;
use super::shared::Shared;
use super::writer::Command;
use super::{RealDisk, Segments};
use crate::codec::{CodecError, check_crc};
use crate::{Bounds, BusError, Topic};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How much is copied or read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// A topic in a snapshot or in a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedTopic {
    pub topic: Topic,
    /// What each partition holds.
    pub bounds: Vec<Bounds>,
}

/// The log at one moment. It keeps everything that it names from being removed.
pub struct Snapshot {
    topics: Vec<Frozen>,
    groups: Vec<u8>,
    _hold: Hold,
}

struct Frozen {
    meta: TopicMeta,
    partitions: Vec<FrozenPartition>,
}

struct FrozenPartition {
    folder: PathBuf,
    segments: Vec<Segment>,
}

impl FrozenPartition {
    fn bounds(&self) -> Bounds {
        let begin = self.segments.first().map_or(0, |segment| segment.base);
        Bounds { begin, end: self.segments.last().map_or(begin, |segment| segment.end) }
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

/// While one lives, nothing is removed.
struct Hold(Arc<Shared>);

impl Hold {
    fn of(shared: Arc<Shared>) -> Hold {
        shared.holds.fetch_add(1, Ordering::AcqRel);
        Hold(shared)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Segments {
    /// What is durable now, in all partitions at one moment. Refused where a partition is stopped: what it holds is not known.
    pub async fn freeze(&self) -> Result<Snapshot, BusError> {
        self.ask(Command::Freeze).await
    }
}

/// In the writer's thread, where nothing changes meanwhile.
pub(super) fn freeze(shared: &Arc<Shared>) -> Result<Snapshot, BusError> {
    let hold = Hold::of(shared.clone());
    let mut topics = Vec::new();
    for topic in shared.all() {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            partition.check_open()?;
            let segments = partition.with_view(|view| view.segments.clone());
            partitions.push(FrozenPartition { folder: partition.folder.clone(), segments });
        }
        topics.push(Frozen { meta: topic.meta.clone(), partitions });
    }
    let groups =
        groups::encode(&shared.groups).map_err(|e| io_error("encoding groups of", &shared.root, &e))?;
    Ok(Snapshot { topics, groups, _hold: hold })
}

impl Snapshot {
    /// Every topic, by name, with what its partitions hold.
    pub fn topics(&self) -> Vec<CopiedTopic> {
        let copied = |frozen: &Frozen| CopiedTopic {
            topic: topic(&frozen.meta, frozen.partitions.iter().map(FrozenPartition::bytes).collect()),
            bounds: frozen.partitions.iter().map(FrozenPartition::bounds).collect(),
        };
        self.topics.iter().map(copied).collect()
    }

    /// About as many bytes as a copy takes.
    pub fn bytes(&self) -> u64 {
        self.topics.iter().flat_map(|topic| &topic.partitions).map(FrozenPartition::bytes).sum()
    }

    /// Writes it into an empty folder, durable on return; the log can be opened there. `copied` hears of bytes as they come.
    /// Blocks.
    pub fn copy_to(&self, root: &Path, copied: &dyn Fn(u64)) -> Result<(), BusError> {
        let disk = &RealDisk;
        let topics = topics_folder(root);
        disk.create_dir(&topics).map_err(|e| io_error("making", &topics, &e))?;
        for Frozen { meta, partitions } in &self.topics {
            for (number, partition) in (0u32..).zip(partitions) {
                partition.copy_to(&meta.folder(root, number), copied)?;
            }
            meta.store(disk, root).map_err(|e| io_error("storing a topic in", root, &e))?;
        }
        disk::replace(disk, root, groups::FILE, &self.groups)
            .and_then(|()| disk.sync_dir(root))
            .map_err(|e| io_error("storing groups in", root, &e))
    }
}

impl FrozenPartition {
    fn copy_to(&self, folder: &Path, copied: &dyn Fn(u64)) -> Result<(), BusError> {
        let disk = &RealDisk;
        disk.create_dir(folder).map_err(|e| io_error("making", folder, &e))?;
        for segment in &self.segments {
            let of_index = [
                (Kind::Log, segment.bytes),
                (Kind::Index, segment.index_entries * OffsetEntry::WIDTH as u64),
                (Kind::TimeIndex, segment.time_entries * TimeEntry::WIDTH as u64),
            ];
            for (kind, bytes) in of_index {
                copy_file(
                    &kind.path(&self.folder, segment.base),
                    &kind.path(folder, segment.base),
                    bytes,
                    copied,
                )?;
            }
        }
        let last = self.segments.last().map(|last| RecoveryPoint { base: last.base, position: last.bytes });
        let path = Kind::RecoveryPoint.path(folder, 0);
        let stored = disk.open(&path, true).and_then(|file| {
            last.map_or(Ok(()), |point| point.store(file.as_ref()))?;
            file.sync()
        });
        stored.and_then(|()| disk.sync_dir(folder)).map_err(|e| io_error("writing", &path, &e))
    }
}

/// The first bytes of a file as another file, synced.
fn copy_file(from: &Path, to: &Path, bytes: u64, copied: &dyn Fn(u64)) -> Result<(), BusError> {
    let mut source = File::open(from).map_err(|e| io_error("reading", from, &e))?.take(bytes);
    let failed = |e: io::Error| io_error("writing", to, &e);
    let target = RealDisk.open(to, true).map_err(failed)?;
    let (mut chunk, mut at) = (vec![0; CHUNK_BYTES], 0);
    loop {
        let have = source.read(&mut chunk).map_err(|e| io_error("reading", from, &e))?;
        if have == 0 {
            break;
        }
        write_all(target.as_ref(), &chunk[..have], at).map_err(failed)?;
        at += have as u64;
        copied(have as u64);
    }
    if at < bytes {
        let short =
            io::Error::new(io::ErrorKind::UnexpectedEof, format!("it ends at byte {at}, before {bytes}"));
        return Err(io_error("reading", from, &short));
    }
    target.sync().map_err(failed)
}

/// Reads every batch of a log in a folder that nobody has open, without changing anything: checksums, and offsets without a gap.
/// Gives what is there. Blocks.
pub fn check_copy(root: &Path) -> Result<Vec<CopiedTopic>, BusError> {
    let folder = topics_folder(root);
    let mut names = RealDisk.list(&folder).map_err(|e| io_error("reading", &folder, &e))?;
    names.sort_unstable();
    let mut topics = Vec::with_capacity(names.len());
    for name in names {
        let path = folder.join(&name);
        let content = disk::open_to_read(&path).and_then(|file| read_all(file.as_ref()));
        let meta = load_one(&path, &name, &content.map_err(|e| io_error("reading", &path, &e))?)?;
        let (mut bounds, mut bytes) = (Vec::new(), Vec::new());
        for number in 0..meta.partitions {
            let (bound, size) = check_partition(&meta.folder(root, number))?;
            bounds.push(bound);
            bytes.push(size);
        }
        topics.push(CopiedTopic { topic: topic(&meta, bytes), bounds });
    }
    Ok(topics)
}

fn check_partition(folder: &Path) -> Result<(Bounds, u64), BusError> {
    let names = RealDisk.list(folder).map_err(|e| io_error("reading", folder, &e))?;
    let mut bases: Vec<i64> =
        names.iter().filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
    bases.sort_unstable();
    let begin = bases.first().copied().ok_or_else(|| damaged(folder, "it has no segment"))?;
    let (mut end, mut bytes) = (begin, 0);
    for base in bases {
        let path = Kind::Log.path(folder, base);
        if base != end {
            return Err(damaged(&path, &format!("the offsets {end} to {base} are missing before it")));
        }
        let file = disk::open_to_read(&path).map_err(|e| io_error("reading", &path, &e))?;
        let length = file.size().map_err(|e| io_error("reading", &path, &e))?;
        let mut scan = Scan::new(file.as_ref(), 0, length, CHUNK_BYTES);
        loop {
            match next_end(&mut scan, end) {
                Ok(Some(next)) => end = next,
                Ok(None) => break,
                Err(ScanError::Io(e)) => return Err(io_error("reading", &path, &e)),
                Err(ScanError::Damaged(error)) => {
                    return Err(damaged(&path, &format!("at byte {}: {error}", scan.position)));
                }
            }
        }
        bytes += length;
    }
    Ok((Bounds { begin, end }, bytes))
}

/// The end of the batch that is due at `expected`.
fn next_end(scan: &mut Scan<'_>, expected: i64) -> Result<Option<i64>, ScanError> {
    let Some(header) = scan.header()? else { return Ok(None) };
    if header.base_offset != expected {
        return Err(CodecError::Malformed("the batch has another offset than the one due here").into());
    }
    check_crc(&scan.batch(&header)?)?;
    scan.step(&header);
    Ok(Some(header.next_offset()))
}

fn damaged(path: &Path, reason: &str) -> BusError {
    BusError::Io {
        context: format!("checking {}", path.display()),
        reason: format!("it is damaged: {reason}"),
    }
}

fn topic(meta: &TopicMeta, bytes: Vec<u64>) -> Topic {
    Topic {
        name: meta.name.clone(),
        id: meta.id,
        partitions: meta.partitions,
        bytes,
        retention_ms: meta.retention_ms,
        retention_bytes: meta.retention_bytes,
    }
}
