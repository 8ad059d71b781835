//! One round of appends: write, sync, show, answer.

use super::{Append, Reply, Writer, answer, disk};
use crate::codec::Batch;
use crate::segments::disk::{LogFile, write_all};
use crate::segments::files::Kind;
use crate::segments::meta::io_error;
use crate::segments::partition::{Gate, Partition};
use crate::segments::point::RecoveryPoint;
use crate::segments::recover::create_segment;
use crate::segments::segment::{Appender, Placed, Segment};
use crate::segments::tail::Cached;
use crate::{Appended, BusError};
use bytes::Bytes;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Batches up to this size are gathered into one write; copying larger ones costs more than another call.
const GATHER_BATCH: usize = 16 << 10;
/// How much is gathered.
const GATHER_BYTES: usize = 256 << 10;

/// A batch with its place.
struct Staged {
    base: i64,
    count: u32,
    bytes: Bytes,
    reply: Reply<Appended>,
    /// Held until the batch is done.
    _permit: OwnedSemaphorePermit,
}

/// Batches written to one segment and not yet synced.
struct Stage {
    partition: Arc<Partition>,
    file: Arc<dyn LogFile>,
    batches: Vec<Staged>,
}

impl Writer {
    pub(super) fn round(&mut self, appends: Vec<Append>) {
        let mut order: Vec<(Arc<Partition>, Vec<Append>)> = Vec::new();
        let mut place = HashMap::new();
        for append in appends {
            let i = *place.entry(append.partition.id).or_insert_with(|| {
                order.push((append.partition.clone(), Vec::new()));
                order.len() - 1
            });
            order[i].1.push(append);
        }
        let staged: Vec<Stage> =
            order.into_iter().filter_map(|(partition, appends)| self.write(&partition, appends)).collect();
        for stage in staged {
            self.commit(stage);
        }
    }

    /// Writes a partition's batches; what is left to sync comes back. A batch that needs a new segment first commits those
    /// before it: a segment is synced before its successor exists, so that only the last can ever be torn.
    fn write(&mut self, partition: &Arc<Partition>, appends: Vec<Append>) -> Option<Stage> {
        let incoming = appends.iter().map(|a| a.batch.size() as u64).sum();
        if let Err(error) = partition.check_open().and_then(|()| self.check_room(partition, incoming)) {
            return refuse_all(appends, &error);
        }
        let mut run: Vec<Append> = Vec::with_capacity(appends.len());
        let mut appends = appends.into_iter();
        let mut planned = partition.appender().clone();
        while let Some(append) = appends.next() {
            let batch = &append.batch;
            let size = batch.size() as u64;
            if planned.is_full_for(size, batch.count(), batch.max_timestamp(), &self.shared.config) {
                if let Some(stage) = self.write_run(partition, std::mem::take(&mut run)) {
                    self.commit(stage);
                }
                if let Err(error) = partition.check_open().and_then(|()| self.roll(partition)) {
                    return refuse_all(std::iter::once(append).chain(appends), &error);
                }
                planned = partition.appender().clone();
            }
            planned.add(placed(planned.segment.end, batch), self.shared.config.index_interval_bytes);
            run.push(append);
        }
        self.write_run(partition, run)
    }

    /// Writes batches that go to the present segment. All of them or none: on an error the file is cut back.
    fn write_run(&mut self, partition: &Arc<Partition>, run: Vec<Append>) -> Option<Stage> {
        if run.is_empty() {
            return None;
        }
        let mut appender = partition.appender();
        let start = appender.segment.bytes;
        let file = match partition.file(&self.shared.files, appender.segment.base, Kind::Log) {
            Ok(file) => file,
            Err(error) => {
                let path = Kind::Log.path(&partition.folder, appender.segment.base);
                return refuse_all(run, &io_error("opening", &path, &error));
            }
        };
        let before = appender.clone();
        let interval = self.shared.config.index_interval_bytes;
        let batches: Vec<Staged> =
            run.into_iter().map(|append| stage(append, &mut appender, interval)).collect();
        if let Err(error) = gather(&mut self.buffer, file.as_ref(), &batches, start) {
            let path = Kind::Log.path(&partition.folder, before.segment.base);
            *appender = before;
            drop(appender);
            tracing::warn!(%error, file = %path.display(), "write failed; nothing of it is kept");
            let mut failed = io_error("writing", &path, &error);
            // Synced, or a crash could bring back what the callers are told was not stored.
            if let Err(error) = file.set_len(start).and_then(|()| file.sync()) {
                let what = format!("{} could not be cut back after a failed write: {error}", path.display());
                partition.shut(Gate::Stopped(stopped(&what).into()));
                failed = BusError::Unavailable(what);
            }
            for batch in batches {
                answer(batch.reply, Err(failed.clone()));
            }
            return None;
        }
        drop(appender);
        Some(Stage { partition: partition.clone(), file, batches })
    }

    /// Makes a stage durable, then readable, then known.
    fn commit(&mut self, stage: Stage) {
        let Stage { partition, file, batches } = stage;
        if let Err(error) = file.sync() {
            // The kernel may have dropped the pages: trying again could succeed without having written them.
            let base = partition.appender().segment.base;
            let what =
                format!("fsync of {} failed: {error}", Kind::Log.path(&partition.folder, base).display());
            partition.shut(Gate::Stopped(stopped(&what).into()));
            for batch in batches {
                // Nobody knows what of it is on the disk, and whether recovery will find it.
                answer(batch.reply, Err(BusError::Unavailable(what.clone())));
            }
            return;
        }
        let written = partition.appender().segment;
        partition.change_view(|view| {
            if let Some(last) = view.segments.last_mut() {
                *last = written;
            }
            for batch in &batches {
                let end = batch.base + i64::from(batch.count);
                view.tail.push(Cached { base: batch.base, end, bytes: batch.bytes.clone() });
            }
        });
        partition.announce();
        for batch in batches {
            self.cached_bytes += batch.bytes.len();
            self.cached.push_back((partition.clone(), batch.bytes.len()));
            answer(batch.reply, Ok(Appended::whole(batch.base, batch.count)));
        }
        self.evict();
        self.store_indexes(&partition);
    }

    /// Keeps all tails together within their bytes: the oldest batch goes first.
    fn evict(&mut self) {
        while self.cached_bytes > self.shared.config.tail_cache_bytes {
            let Some((partition, bytes)) = self.cached.pop_front() else { return };
            partition.change_view(|view| view.tail.pop_oldest());
            self.cached_bytes -= bytes;
        }
    }

    /// Stores the index entries of what was just synced, and how far that is, while the callers go on. Both only save time: a
    /// failure leaves them for later.
    fn store_indexes(&self, partition: &Partition) {
        let mut appender = partition.appender();
        let stored = self.store_due(partition, &mut appender);
        if let Err(error) = stored {
            tracing::warn!(%error, folder = %partition.folder.display(), "index entries are not stored yet");
        }
        let Segment { index_entries, time_entries, .. } = appender.segment;
        drop(appender);
        partition.change_view(|view| {
            if let Some(last) = view.segments.last_mut() {
                (last.index_entries, last.time_entries) = (index_entries, time_entries);
            }
        });
    }

    fn store_due(&self, partition: &Partition, appender: &mut Appender) -> io::Result<()> {
        let files = &self.shared.files;
        let base = appender.segment.base;
        if !appender.index.is_empty() || !appender.times.is_empty() {
            let index = partition.file(files, base, Kind::Index)?;
            let times = partition.file(files, base, Kind::TimeIndex)?;
            appender.store_entries(index.as_ref(), times.as_ref())?;
        }
        let point = partition.file(files, 0, Kind::RecoveryPoint)?;
        appender.is_settled = false;
        RecoveryPoint { base, position: appender.segment.bytes }.store(point.as_ref())
    }

    /// Ends the present segment, which is durable, and begins the next; an empty one goes on. A next one that was made in
    /// part is finished before anything else is appended: at a start its name says where this segment ends.
    pub(super) fn roll(&self, partition: &Partition) -> Result<(), BusError> {
        let mut appender = partition.appender();
        if appender.segment.bytes == 0 {
            return Ok(());
        }
        let path = Kind::Log.path(&partition.folder, appender.segment.base);
        // Kafka's last entry of a finished time index is the segment's greatest time.
        appender.add_time();
        self.store_due(partition, &mut appender)
            .and_then(|()| self.sync_indexes(partition, &appender))
            .and_then(|()| {
                appender.must_roll = true;
                create_segment(disk(&self.shared), &partition.folder, appender.segment.end)
            })
            .map_err(|e| io_error("ending the segment", &path, &e))?;
        let finished = appender.segment;
        *appender = Appender::new(finished.end);
        drop(appender);
        partition.change_view(|view| {
            if let Some(last) = view.segments.last_mut() {
                *last = finished;
            }
            view.segments.push(Segment::empty(finished.end));
        });
        tracing::debug!(file = %path.display(), next = finished.end, "segment ended");
        Ok(())
    }

    fn sync_indexes(&self, partition: &Partition, appender: &Appender) -> io::Result<()> {
        for kind in [Kind::Index, Kind::TimeIndex] {
            partition.file(&self.shared.files, appender.segment.base, kind)?.sync()?;
        }
        Ok(())
    }

    /// On closing: makes durable what saves time and doubt at the next start.
    pub(super) fn settle(&self, partition: &Partition) {
        let mut appender = partition.appender();
        if partition.check_open().is_err() || appender.is_settled {
            return;
        }
        let settled = self.store_due(partition, &mut appender).and_then(|()| {
            self.sync_indexes(partition, &appender)?;
            partition.file(&self.shared.files, 0, Kind::RecoveryPoint)?.sync()
        });
        match settled {
            Ok(()) => appender.is_settled = true,
            Err(error) => {
                tracing::warn!(%error, folder = %partition.folder.display(), "indexes could not be synced");
            }
        }
    }
}

fn stopped(what: &str) -> String {
    format!("{what}; what was acknowledged before is kept: check the disk and start again")
}

fn refuse_all<T>(appends: impl IntoIterator<Item = Append>, error: &BusError) -> Option<T> {
    for append in appends {
        answer(append.reply, Err(error.clone()));
    }
    None
}

fn placed(base: i64, batch: &Batch) -> Placed {
    Placed {
        last_offset: base + i64::from(batch.count()) - 1,
        max_timestamp: batch.max_timestamp(),
        size: batch.size() as u64,
    }
}

/// Gives a batch the next offsets.
fn stage(append: Append, appender: &mut Appender, interval: u64) -> Staged {
    let base = appender.segment.end;
    let count = append.batch.count();
    appender.add(placed(base, &append.batch), interval);
    Staged { base, count, bytes: append.batch.place(base, 0), reply: append.reply, _permit: append.permit }
}

/// Writes batches one behind the other, small ones together.
fn gather(buffer: &mut Vec<u8>, file: &dyn LogFile, batches: &[Staged], mut at: u64) -> io::Result<()> {
    buffer.clear();
    for batch in batches {
        let is_large = batch.bytes.len() > GATHER_BATCH;
        if is_large || buffer.len() + batch.bytes.len() > GATHER_BYTES {
            write_all(file, buffer, at)?;
            at += buffer.len() as u64;
            buffer.clear();
        }
        if is_large {
            write_all(file, &batch.bytes, at)?;
            at += batch.bytes.len() as u64;
        } else {
            buffer.extend_from_slice(&batch.bytes);
        }
    }
    write_all(file, buffer, at)
}
