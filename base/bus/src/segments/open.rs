//! Opening the folder: what is stored becomes topics, what was being deleted is finished.

use super::disk::Disk;
use super::meta::{TopicMeta, io_error, load, topics_folder};
use super::partition::{Partition, Place};
use super::recover::recover;
use super::shared::TopicState;
use crate::BusError;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes the folder and those above it that are missing, with durable names.
pub(super) fn make_root(disk: &dyn Disk, root: &Path) -> io::Result<()> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && disk.list(path).is_err();
    let missing: Vec<&Path> = root.ancestors().take_while(is_missing).collect();
    disk.create_dir(root)?;
    for parent in missing.iter().filter_map(|path| path.parent()) {
        let is_here = parent.as_os_str().is_empty();
        disk.sync_dir(if is_here { Path::new(".") } else { parent })?;
    }
    Ok(())
}

/// Takes the folder's lock; the guard keeps it.
pub(super) fn take_lock(disk: &dyn Disk, root: &Path) -> Result<Box<dyn Send + Sync>, BusError> {
    let path = root.join("lock");
    match disk.lock(&path) {
        Ok(Some(guard)) => Ok(guard),
        Ok(None) => Err(BusError::Unavailable(format!(
            "the log folder {} is in use by another process; stop that one or choose another folder",
            root.display()
        ))),
        Err(error) => Err(io_error("locking", &path, &error)),
    }
}

/// Recovers every topic. Damage stops single partitions, not the start.
pub(super) fn open_topics(
    disk: &dyn Disk,
    root: &Path,
    index_interval: u64,
    ids: &AtomicU64,
) -> Result<BTreeMap<String, Arc<TopicState>>, BusError> {
    let topics_folder = topics_folder(root);
    disk.create_dir(&topics_folder)
        .and_then(|()| disk.sync_dir(root))
        .and_then(|()| disk.sync_dir(&topics_folder))
        .map_err(|e| io_error("making", &topics_folder, &e))?;
    let mut topics = BTreeMap::new();
    for meta in load(disk, root)? {
        if meta.deleted {
            if let Err(error) = remove_topic_folders(disk, root, &meta) {
                // It stays marked; the others are not to wait for it.
                tracing::warn!(topic = meta.name, %error, folder = %root.display(),
                    "a deleted topic's files could not be removed; tried again at the next start");
            }
            continue;
        }
        topics.insert(meta.name.clone(), Arc::new(open_topic(disk, root, meta, index_interval, ids)));
    }
    Ok(topics)
}

/// Recovers the partitions of one topic. Each gets the next of `ids`.
pub(super) fn open_topic(
    disk: &dyn Disk,
    root: &Path,
    meta: TopicMeta,
    index_interval: u64,
    ids: &AtomicU64,
) -> TopicState {
    let topic: Arc<str> = meta.name.as_str().into();
    let partitions = (0..meta.partitions)
        .map(|number| {
            let folder = meta.folder(root, number);
            let recovered = recover(disk, &folder, index_interval);
            let id = ids.fetch_add(1, Ordering::Relaxed);
            let place = Place { id, topic: topic.clone(), number, folder };
            Arc::new(Partition::new(place, recovered.segments, recovered.appender, recovered.gate))
        })
        .collect();
    TopicState { meta, partitions }
}

/// Removes a topic that is marked as deleted: its folders, then the mark.
pub(super) fn remove_topic_folders(disk: &dyn Disk, root: &Path, meta: &TopicMeta) -> io::Result<()> {
    for partition in 0..meta.partitions {
        let folder = meta.folder(root, partition);
        let names = match disk.list(&folder) {
            Ok(names) => names,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        for name in names {
            disk.remove(&folder.join(name))?;
        }
        disk.remove_dir(&folder)?;
    }
    disk.sync_dir(root)?;
    meta.remove(disk, root)
}
