//! What readers and the writer share of one partition.

use super::disk::LogFile;
use super::files::{Kind, OpenFiles};
use super::segment::{Appender, Segment};
use super::sync::{lock, read, write};
use super::tail::Tail;
use crate::{Bounds, BusError};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use tokio::sync::watch;

/// Whether a partition serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    Stopped(Arc<str>),
    Deleted,
    Closed,
}

/// What waiters watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signal {
    /// The offset after the last readable record.
    pub end: i64,
    pub gate: Gate,
}

/// What is readable: always whole rounds, after their fsync.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Oldest first; the last one grows. Empty only when the partition was found damaged at open.
    pub segments: Vec<Segment>,
    pub tail: Tail,
}

impl View {
    pub fn bounds(&self) -> Bounds {
        let begin = self.segments.first().map_or(0, |s| s.base);
        Bounds { begin, end: self.segments.last().map_or(begin, |s| s.end) }
    }

    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.bytes).sum()
    }
}

pub(super) struct Partition {
    /// Unique in the process, also over topics made again under the same name.
    pub id: u64,
    pub topic: Arc<str>,
    pub number: u32,
    pub folder: PathBuf,
    view: RwLock<View>,
    signal: watch::Sender<Signal>,
    /// Locked by the writer thread alone.
    appender: Mutex<Appender>,
    /// Segments out of sight whose files are still to be removed, oldest first. Locked by the writer thread alone.
    removals: Mutex<VecDeque<Segment>>,
}

impl Partition {
    /// A partition as recovery found it.
    pub fn new(place: Place, segments: Vec<Segment>, appender: Appender, gate: Gate) -> Partition {
        let view = View { segments, tail: Tail::default() };
        let signal = Signal { end: view.bounds().end, gate };
        Partition {
            id: place.id,
            topic: place.topic,
            number: place.number,
            folder: place.folder,
            view: RwLock::new(view),
            signal: watch::Sender::new(signal),
            appender: Mutex::new(appender),
            removals: Mutex::default(),
        }
    }

    pub fn appender(&self) -> MutexGuard<'_, Appender> {
        lock(&self.appender)
    }

    pub fn removals(&self) -> MutexGuard<'_, VecDeque<Segment>> {
        lock(&self.removals)
    }

    pub fn with_view<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&read(&self.view))
    }

    /// Changes the view; waiters hear of it by `announce`.
    pub fn change_view<T>(&self, change: impl FnOnce(&mut View) -> T) -> T {
        change(&mut write(&self.view))
    }

    /// Wakes the waiters: everything below the view's end is readable.
    pub fn announce(&self) {
        let end = self.with_view(|view| view.bounds().end);
        self.signal.send_modify(|signal| signal.end = end);
    }

    /// Closes the gate; the first cause stays, but for deletion, which stands above all.
    pub fn shut(&self, gate: Gate) {
        if let Gate::Stopped(reason) = &gate {
            tracing::error!(topic = %self.topic, partition = self.number, %reason, "partition stopped");
        }
        self.signal.send_modify(|signal| {
            if signal.gate == Gate::Open || gate == Gate::Deleted {
                signal.gate = gate;
            }
        });
    }

    pub fn watch(&self) -> watch::Receiver<Signal> {
        self.signal.subscribe()
    }

    pub fn check_open(&self) -> Result<(), BusError> {
        self.check(&self.signal.borrow().gate)
    }

    /// What a gate means to a caller.
    pub fn check(&self, gate: &Gate) -> Result<(), BusError> {
        match gate {
            Gate::Open => Ok(()),
            Gate::Stopped(reason) => Err(BusError::Stopped {
                topic: self.topic.to_string(),
                partition: self.number,
                reason: reason.to_string(),
            }),
            Gate::Deleted => Err(BusError::UnknownTopic(self.topic.to_string())),
            Gate::Closed => Err(BusError::Closed),
        }
    }

    pub fn file(&self, files: &OpenFiles, base: i64, kind: Kind) -> io::Result<Arc<dyn LogFile>> {
        files.get(self.id, &self.folder, base, kind)
    }

    pub fn out_of_range(&self, offset: i64, bounds: Bounds) -> BusError {
        BusError::OutOfRange {
            topic: self.topic.to_string(),
            partition: self.number,
            offset,
            begin: bounds.begin,
            end: bounds.end,
        }
    }
}

/// Where a partition belongs.
pub(super) struct Place {
    pub id: u64,
    pub topic: Arc<str>,
    pub number: u32,
    pub folder: PathBuf,
}
