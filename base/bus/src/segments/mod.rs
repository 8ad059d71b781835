//! The embedded log: one folder per partition with segment files in Kafka's own format, one writer thread with group
//! commit. Kafka's DumpLogSegments reads the files.
//!
//! ```text
//! <root>/lock                                     held by the one process that has the folder
//! <root>/topics/<topic>                           JSON: id, partitions, retention
//! <root>/groups                                   JSON: registered groups and their offsets
//! <root>/<topic>-<partition>/<base offset>.log    record batches
//!                                         .index  sparse: offset to position
//!                                     .timeindex  sparse: time to offset
//! <root>/<topic>-<partition>/recovery-point       how far the last segment is known to be durable
//! ```
//! Order of one round: write all that waits; then for every touched file fsync, show it to readers, wake them, answer the
//! callers, store index entries. So whatever is readable is durable, and whatever an index points to was synced before.
//!
//! After a failed fsync, and where a file is damaged in the middle, a partition is stopped: every call on it says why and
//! what to do. Others go on.

mod config;
mod damage;
mod disk;
mod files;
mod groups;
mod incoming;
mod index;
mod meta;
mod open;
mod partition;
mod point;
mod port;
mod read;
mod recover;
mod retention;
mod scan;
mod segment;
mod shared;
mod snapshot;
mod sync;
mod tail;
mod writer;

pub use crate::codec::Compression;
pub use config::{Clock, SegmentsConfig};
pub use disk::{Disk, LogFile, RealDisk};
pub use snapshot::{CopiedTopic, Snapshot, check_copy};

use crate::BusError;
use crate::codec::{Limits, batch_of_one};
use groups::GroupTable;
use meta::io_error;
use shared::Shared;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, mpsc};
use tokio::sync::{Semaphore, oneshot, watch};
use writer::{Answer, Command, Reply, Writer};

/// The embedded log. It needs a tokio runtime when it is used, not when it is opened.
///
/// Dropping it without `close` finishes what was taken in, in the background; the folder is free once that is done.
pub struct Segments {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Command>,
    /// Bytes that may wait for the writer.
    budget: Arc<Semaphore>,
    /// True once the writer has ended as it should.
    done: watch::Receiver<bool>,
}

impl Segments {
    /// Opens or makes the log in the folder `root`, recovering what a crash left. Blocks while it reads. A folder that
    /// another process has is refused with `Unavailable`; a damaged partition is stopped, and the others serve.
    pub fn open(root: impl AsRef<Path>, config: SegmentsConfig) -> Result<Arc<Segments>, BusError> {
        Segments::open_on(Arc::new(RealDisk), root, config)
    }

    /// Like `open`, on another file system than the real one.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        root: impl AsRef<Path>,
        config: SegmentsConfig,
    ) -> Result<Arc<Segments>, BusError> {
        config.check()?;
        let root = root.as_ref().to_owned();
        open::make_root(disk.as_ref(), &root).map_err(|e| io_error("making", &root, &e))?;
        let lock = open::take_lock(disk.as_ref(), &root)?;
        let ids = AtomicU64::new(0);
        let topics = open::open_topics(disk.as_ref(), &root, config.index_interval_bytes, &ids)?;
        let groups = GroupTable::load(disk.as_ref(), &root, |topic| topics.get(topic).map(|t| t.meta.id))?;
        let budget = Arc::new(Semaphore::new(config.queue_bytes as usize));
        let shared = Arc::new(Shared::new(disk, root, config, topics, groups, ids));
        let (queue, commands) = mpsc::channel();
        let (finished, done) = watch::channel(false);
        let writer = Writer::new(shared.clone(), commands);
        std::thread::Builder::new()
            .name("artel-log".to_owned())
            .spawn(move || writer.run(lock, &finished))
            .map_err(|e| BusError::Io {
            context: "starting the log's writer thread".to_owned(),
            reason: e.to_string(),
        })?;
        Ok(Arc::new(Segments { shared, queue, budget, done }))
    }

    /// The log's folder.
    pub fn root(&self) -> &Path {
        &self.shared.root
    }

    /// Runs retention now instead of at its next interval.
    pub async fn retain(&self) -> Result<(), BusError> {
        self.ask(Command::Retain).await
    }

    /// Sends a command to the writer and waits for its answer.
    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, BusError> {
        self.answer(self.send(command)?).await
    }

    fn send<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<Answer<T>, BusError> {
        self.shared.check_open()?;
        let (reply, answer) = oneshot::channel();
        self.queue.send(command(reply)).map_err(|_| self.gone())?;
        Ok(answer)
    }

    async fn answer<T>(&self, answer: Answer<T>) -> Result<T, BusError> {
        if let Ok(answer) = answer.await {
            return answer;
        }
        // The writer ends without an answer; once it has, it is known why.
        let _ = self.done.clone().wait_for(|done| *done).await;
        Err(self.gone())
    }

    /// Why the writer does not answer. Closing as it should leaves nothing half done.
    fn gone(&self) -> BusError {
        if *self.done.borrow() {
            return BusError::Closed;
        }
        let unknown =
            || BusError::Unavailable("the log's writer thread is gone; start the process again".into());
        self.shared.failure().unwrap_or_else(unknown)
    }
}

/// What one append may hold.
fn codec_limits(config: &SegmentsConfig) -> Limits {
    Limits {
        record_bytes: config.max_message_bytes,
        // Whatever the settings, a message that may be is not refused for the frame around it.
        batch_bytes: config.max_batch_bytes.max(batch_of_one(config.max_message_bytes)),
        // The bytes bound the records: the smallest takes seven.
        records: Limits::READ.records,
        headers: config.max_headers,
    }
}
