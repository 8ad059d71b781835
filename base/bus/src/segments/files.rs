//! The open files: bounded, the one unused for longest is closed first.

use super::disk::{Disk, LogFile};
use super::sync::lock;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What a file in a partition's folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Log,
    /// Offset to position, sparse.
    Index,
    /// Time to offset, sparse.
    TimeIndex,
    /// One per partition: how far the last segment is known to be durable.
    RecoveryPoint,
}

impl Kind {
    /// The files of one segment.
    pub const SEGMENT: [Kind; 3] = [Kind::Log, Kind::Index, Kind::TimeIndex];

    /// A segment's files have Kafka's names: the base offset with 20 digits.
    pub fn name(self, base: i64) -> String {
        let extension = match self {
            Kind::Log => "log",
            Kind::Index => "index",
            Kind::TimeIndex => "timeindex",
            Kind::RecoveryPoint => return "recovery-point".to_owned(),
        };
        format!("{base:020}.{extension}")
    }

    /// Whether a file in a partition's folder has a name that the log gives.
    pub fn is_own(name: &str) -> bool {
        if name == Kind::RecoveryPoint.name(0) {
            return true;
        }
        let base = name.split('.').next().and_then(|base| base.parse::<i64>().ok());
        base.is_some_and(|base| Kind::SEGMENT.iter().any(|kind| kind.name(base) == name))
    }

    pub fn path(self, folder: &Path, base: i64) -> PathBuf {
        folder.join(self.name(base))
    }
}

type Key = (u64, i64, Kind);

struct Open {
    file: Arc<dyn LogFile>,
    used: u64,
}

#[derive(Default)]
struct Table {
    open: HashMap<Key, Open>,
    /// Grows with each use; the smallest `used` is the oldest.
    uses: u64,
    /// How often files were forgotten.
    forgotten: u64,
}

impl Table {
    fn find(&mut self, key: Key) -> Option<Arc<dyn LogFile>> {
        self.uses += 1;
        let open = self.open.get_mut(&key)?;
        open.used = self.uses;
        Some(open.file.clone())
    }

    fn keep(&mut self, key: Key, file: Arc<dyn LogFile>, limit: usize) {
        if self.open.len() >= limit && !self.open.contains_key(&key) {
            let oldest = self.open.iter().min_by_key(|(_, open)| open.used).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                self.open.remove(&oldest);
            }
        }
        self.open.insert(key, Open { file, used: self.uses });
    }
}

pub(super) struct OpenFiles {
    disk: Arc<dyn Disk>,
    limit: usize,
    table: Mutex<Table>,
}

impl OpenFiles {
    pub fn new(disk: Arc<dyn Disk>, limit: usize) -> OpenFiles {
        OpenFiles { disk, limit, table: Mutex::new(Table::default()) }
    }

    /// The file of `partition` (its process-wide number) in `folder`; it must exist.
    pub fn get(&self, partition: u64, folder: &Path, base: i64, kind: Kind) -> io::Result<Arc<dyn LogFile>> {
        let key = (partition, base, kind);
        let forgotten = {
            let mut table = lock(&self.table);
            if let Some(file) = table.find(key) {
                return Ok(file);
            }
            table.forgotten
        };
        // Others go on while the disk works. Who opens the same file meanwhile has another handle of it, which does no harm.
        let file = self.disk.open(&kind.path(folder, base), false)?;
        let mut table = lock(&self.table);
        // One that may have been removed since would hold its room on the disk.
        if table.forgotten == forgotten {
            table.keep(key, file.clone(), self.limit);
        }
        Ok(file)
    }

    /// Closes the files of one segment.
    pub fn forget(&self, partition: u64, base: i64) {
        let mut table = lock(&self.table);
        table.forgotten += 1;
        for kind in Kind::SEGMENT {
            table.open.remove(&(partition, base, kind));
        }
    }

    /// Closes the files of a partition.
    pub fn forget_all(&self, partition: u64) {
        let mut table = lock(&self.table);
        table.forgotten += 1;
        table.open.retain(|(of, ..), _| *of != partition);
    }

    /// Closes everything.
    pub fn clear(&self) {
        lock(&self.table).open.clear();
    }
}
