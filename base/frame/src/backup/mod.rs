//! A copy of an embedded node, taken while it runs or while it stands, and brought back into a new folder.
//!
//! ```text
//! BACKUP/manifest.json   what it holds, with a checksum per file; written last: without it a backup is not finished
//! BACKUP/db/*.db         the databases
//! BACKUP/log/            the log, as it is laid out in a node
//! ```
//! All databases and the log are of one moment, the *cut*: every writer is kept out for the milliseconds that it takes to begin
//! the copies, so that no database is ahead of another one or of the log. A node that is brought back stands as one that was
//! killed at the cut: what waits in an outbox is published, perhaps once more with the number it had, and known again.

mod cut;
mod manifest;
mod place;
mod restore;
mod take;

pub use manifest::{CopiedDatabase, CopiedFile, CopiedLog, Manifest};
pub use restore::restore;
pub use take::{Source, take};

use artel_bus::BusError;
use artel_store::StoreError;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Why there is no backup, or none was brought back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("the folder '{}' is not empty{}; name one that is empty or not there yet", path.display(), hint(*.unfinished))]
    NotEmpty { path: PathBuf, unfinished: bool },
    #[error("'{}' can't be taken for a backup: {reason}", path.display())]
    Target { path: PathBuf, reason: String },
    #[error("'{}' has room for {free} bytes, and {need} are needed; free some, or name another folder", path.display())]
    Room { path: PathBuf, need: u64, free: u64 },
    #[error(
        "the writers of '{database}' could not be kept out for a moment, since one of its transactions does not end; try again"
    )]
    Busy { database: String },
    #[error("'{}' holds no finished backup: {reason}", path.display())]
    NoBackup { path: PathBuf, reason: String },
    #[error("the backup is damaged: '{}' {reason}; take another one", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "the backup is of a newer program: migration {component}/{file} is applied in the database of '{service}', which works \
         with programs that know {component}/{works_from:04} or later, and this one knows {component} up to {knows:04}; use that \
         program"
    )]
    Newer { service: String, component: String, file: String, works_from: u32, knows: usize },
    /// What a failed restore had brought back is still there, in part.
    #[error(
        "{error}; and what was brought back can't be removed again ({left}). No node starts on it: remove '{}' by hand when \
         that is mended, the log's folder first",
        path.display()
    )]
    Left { error: Box<BackupError>, left: Box<BackupError>, path: PathBuf },
    #[error("{0}")]
    NotEmbedded(String),
    #[error("{doing} '{}': {reason}", path.display())]
    Io { doing: &'static str, path: PathBuf, reason: String },
    #[error("the log: {0}")]
    Log(BusError),
    #[error("the database: {0}")]
    Store(StoreError),
    #[error(transparent)]
    Folder(#[from] Box<crate::StartFailure>),
}

fn hint(unfinished: bool) -> &'static str {
    if unfinished { " (it holds a backup that was never finished, which can be removed)" } else { "" }
}

impl From<BusError> for BackupError {
    fn from(error: BusError) -> BackupError {
        BackupError::Log(error)
    }
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> BackupError {
        BackupError::Store(error)
    }
}

/// How far long work is, for whoever watches. Cloning it is cheap.
#[derive(Clone, Default)]
pub struct Progress(Arc<Inner>);

#[derive(Default)]
struct Inner {
    doing: Mutex<(String, &'static str)>,
    done: AtomicU64,
    total: AtomicU64,
}

/// What a [`Progress`] says at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    pub doing: String,
    /// What is counted, such as `messages`; empty = bytes.
    pub unit: &'static str,
    pub done: u64,
    /// 0 = not known.
    pub total: u64,
}

impl Progress {
    /// Another part of the work begins; how far it is is counted in bytes.
    pub fn begin(&self, doing: impl Into<String>, total: u64) {
        self.count(doing, "", total);
    }

    /// The same, counted in something else.
    pub fn count(&self, doing: impl Into<String>, unit: &'static str, total: u64) {
        *self.0.doing.lock().unwrap_or_else(PoisonError::into_inner) = (doing.into(), unit);
        self.0.done.store(0, Ordering::Relaxed);
        self.0.total.store(total, Ordering::Relaxed);
    }

    pub fn add(&self, done: u64) {
        self.0.done.fetch_add(done, Ordering::Relaxed);
    }

    pub fn now(&self) -> Reached {
        let (doing, unit) = self.0.doing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Reached {
            doing,
            unit,
            done: self.0.done.load(Ordering::Relaxed),
            total: self.0.total.load(Ordering::Relaxed),
        }
    }
}
