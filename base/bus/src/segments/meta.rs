//! Topics as they are stored: one small JSON file each in `topics/`, replaced as a whole.

use super::disk::{Disk, read_all, replace};
use crate::{BusError, TopicSpec};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicMeta {
    version: u32,
    pub name: String,
    pub id: Uuid,
    pub partitions: u32,
    pub retention_ms: Option<i64>,
    pub retention_bytes: Option<u64>,
    /// Deletion has begun: it is finished at the next start when it was interrupted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

impl TopicMeta {
    pub fn new(spec: &TopicSpec, id: Uuid) -> TopicMeta {
        TopicMeta {
            version: VERSION,
            name: spec.name.clone(),
            id,
            partitions: spec.partitions,
            retention_ms: spec.retention_ms,
            retention_bytes: spec.retention_bytes,
            deleted: false,
        }
    }

    /// The same, marked as being deleted.
    pub fn deleted(&self) -> TopicMeta {
        TopicMeta { deleted: true, ..self.clone() }
    }

    /// The partition's folder. The number after the last dash makes it unambiguous: `a-1-0` is partition 0 of `a-1`.
    pub fn folder(&self, root: &Path, partition: u32) -> PathBuf {
        root.join(format!("{}-{partition}", self.name))
    }

    /// Whether the file says what `self` says.
    fn is_stored(&self, disk: &dyn Disk, root: &Path) -> io::Result<bool> {
        let file = disk.open(&topics_folder(root).join(&self.name), false)?;
        Ok(serde_json::from_slice::<TopicMeta>(&read_all(file.as_ref())?).is_ok_and(|stored| stored == *self))
    }

    /// After another state could not be stored: makes sure that this one still is.
    pub fn restore(&self, disk: &dyn Disk, root: &Path) -> io::Result<()> {
        if self.is_stored(disk, root)? { Ok(()) } else { self.store(disk, root) }
    }

    /// Removes the file where there is one, durably.
    pub fn remove(&self, disk: &dyn Disk, root: &Path) -> io::Result<()> {
        let folder = topics_folder(root);
        match disk.remove(&folder.join(&self.name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => disk.sync_dir(&folder),
        }
    }

    /// Durable on return.
    pub fn store(&self, disk: &dyn Disk, root: &Path) -> io::Result<()> {
        replace(disk, &topics_folder(root), &self.name, &serde_json::to_vec_pretty(self)?)
    }
}

pub(super) fn topics_folder(root: &Path) -> PathBuf {
    root.join("topics")
}

/// Every stored topic, deleted ones included.
pub(super) fn load(disk: &dyn Disk, root: &Path) -> Result<Vec<TopicMeta>, BusError> {
    let folder = topics_folder(root);
    let failed = |path: &Path, e: io::Error| io_error("reading", path, &e);
    let mut topics = Vec::new();
    for name in disk.list(&folder).map_err(|e| failed(&folder, e))? {
        let path = folder.join(&name);
        if name.ends_with('~') {
            // A replacement that was never finished.
            disk.remove(&path).map_err(|e| failed(&path, e))?;
            continue;
        }
        let file = disk.open(&path, false).map_err(|e| failed(&path, e))?;
        let content = read_all(file.as_ref()).map_err(|e| failed(&path, e))?;
        topics.push(load_one(&path, &name, &content)?);
    }
    Ok(topics)
}

/// What the file of a topic says.
pub(super) fn load_one(path: &Path, name: &str, content: &[u8]) -> Result<TopicMeta, BusError> {
    let meta: TopicMeta = serde_json::from_slice(content).map_err(|e| unreadable(path, &e.to_string()))?;
    if meta.version != VERSION || meta.name != name {
        return Err(unreadable(path, "it is of another version or another topic"));
    }
    Ok(meta)
}

pub(super) fn unreadable(path: &Path, reason: &str) -> BusError {
    let path = path.display();
    BusError::Unavailable(format!(
        "{path} can't be understood ({reason}); restore it from a backup and start again"
    ))
}

/// A failed file operation as the caller sees it.
pub(super) fn io_error(doing: &str, path: &Path, error: &io::Error) -> BusError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            BusError::DiskFull { path: path.display().to_string() }
        }
        _ => BusError::Io { context: format!("{doing} {}", path.display()), reason: error.to_string() },
    }
}
