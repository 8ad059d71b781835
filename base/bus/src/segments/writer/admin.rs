//! Topics and groups, changed in the same thread as the records.

use super::{Start, Writer, disk};
use crate::segments::files::Kind;
use crate::segments::meta::{TopicMeta, io_error, topics_folder};
use crate::segments::open::{open_topic, remove_topic_folders};
use crate::segments::partition::Gate;
use crate::segments::recover::create_segment;
use crate::segments::shared::TopicState;
use crate::segments::sync::{lock, read};
use crate::{BusError, GroupOffset, Topic, TopicSpec};
use std::io;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

impl Writer {
    pub(super) fn make(&mut self, spec: &TopicSpec) -> Result<Topic, BusError> {
        crate::name::check(&spec.name)?;
        if let Ok(topic) = self.shared.topic(&spec.name) {
            return match topic.meta.partitions {
                actual if actual == spec.partitions => Ok(topic.describe()),
                actual => {
                    let (topic, wanted) = (spec.name.clone(), spec.partitions);
                    Err(BusError::PartitionCount { topic, actual, wanted })
                }
            };
        }
        let config = &self.shared.config;
        if spec.partitions == 0 || spec.partitions > config.max_partitions {
            return Err(BusError::Limit {
                what: format!("topic '{}' with {} partitions", spec.name, spec.partitions),
                limit: config.max_partitions as usize,
                setting: "max_partitions",
            });
        }
        if read(&self.shared.topics).len() >= config.max_topics {
            let what = format!("topic '{}'", spec.name);
            return Err(BusError::Limit { what, limit: config.max_topics, setting: "max_topics" });
        }
        let meta = TopicMeta::new(spec, Uuid::now_v7());
        let topic = Arc::new(self.lay_out(meta)?);
        self.shared.insert(topic.clone());
        Ok(topic.describe())
    }

    /// Folders first; the topic exists once its own file does.
    fn lay_out(&self, meta: TopicMeta) -> Result<TopicState, BusError> {
        let (disk, root) = (disk(&self.shared), self.shared.root.as_path());
        for partition in 0..meta.partitions {
            let folder = meta.folder(root, partition);
            let failed = |e: io::Error| io_error("making", &folder, &e);
            disk.create_dir(&folder).map_err(failed)?;
            refuse_leftovers(disk, &folder)?;
            create_segment(disk, &folder, 0).map_err(failed)?;
        }
        disk.sync_dir(root).map_err(|e| io_error("making folders in", root, &e))?;
        let interval = self.shared.config.index_interval_bytes;
        let topic = open_topic(disk, root, meta, interval, &self.shared.partition_ids);
        for partition in &topic.partitions {
            partition.check_open()?;
        }
        topic.meta.store(disk, root).map_err(|e| self.unmake(&topic.meta, &e))?;
        Ok(topic)
    }

    /// Takes a topic's file back whose storing failed, or the topic would be there after the next start although its maker was
    /// told that it is not. Its empty folders are taken by the next `make`.
    fn unmake(&self, meta: &TopicMeta, failed: &io::Error) -> BusError {
        let (disk, root) = (disk(&self.shared), self.shared.root.as_path());
        let Err(error) = meta.remove(disk, root) else {
            return io_error("storing topics in", root, failed);
        };
        BusError::Unavailable(format!(
            "topic '{}' could not be stored ({failed}), nor taken back: {error}; mend the disk and make it again, it may be \
             there after the next start",
            meta.name
        ))
    }

    pub(super) fn delete(&mut self, name: &str) -> Result<(), BusError> {
        let topic = self.shared.topic(name)?;
        if self.shared.is_held() {
            return Err(BusError::Unavailable(format!(
                "topic '{name}' can't be deleted while the log is copied; delete it again when the backup is through"
            )));
        }
        let shared = self.shared.clone();
        let (disk, root) = (disk(&shared), shared.root.as_path());
        let meta = topic.meta.deleted();
        if let Err(error) = meta.store(disk, root) {
            return Err(self.keep_undeleted(&topic, &io_error("deleting a topic in", root, &error)));
        }
        // From here on it is gone; what fails below is finished at the next start.
        self.shared.remove(name);
        for partition in &topic.partitions {
            partition.shut(Gate::Deleted);
            partition.change_view(|view| view.tail.clear());
        }
        lock(&shared.groups).remove_topic(name);
        self.store_advised();
        if let Err(error) = remove_topic_folders(disk, root, &meta) {
            tracing::warn!(topic = name, %error, "a deleted topic's files remain; removed at the next start");
        }
        // After the names are gone, so that no reader opens the files once more.
        topic.partitions.iter().for_each(|partition| shared.files.forget_all(partition.id));
        Ok(())
    }

    /// Takes a mark of deletion back whose storing failed. A mark that may be on the disk would delete at the next start what
    /// is appended from here on: then nothing is.
    fn keep_undeleted(&self, topic: &TopicState, failed: &BusError) -> BusError {
        let Err(error) = topic.meta.restore(disk(&self.shared), &self.shared.root) else {
            return failed.clone();
        };
        let what = format!(
            "deleting the topic failed ({failed}) and could not be taken back: {error}; mend the disk and start again, \
             then the topic is there or deleted"
        );
        for partition in &topic.partitions {
            partition.shut(Gate::Stopped(what.as_str().into()));
        }
        BusError::Unavailable(what)
    }

    pub(super) fn register(&mut self, start: Start) -> Result<(), BusError> {
        let topic = self.shared.topic(&start.topic)?;
        if topic.meta.id != start.topic_id {
            // Deleted and made again since the start was resolved.
            return Err(BusError::UnknownTopic(start.topic));
        }
        let shared = &self.shared;
        {
            let mut groups = lock(&shared.groups);
            if groups.is_stored(&start.group, &start.topic) {
                return Ok(());
            }
            let limit = shared.config.max_groups;
            if groups.len() >= limit {
                let what = format!("group '{}' on '{}'", start.group, start.topic);
                return Err(BusError::Limit { what, limit, setting: "max_groups" });
            }
            let mut next = start.next;
            if start.is_within {
                // Retention may have run since.
                for (next, partition) in next.iter_mut().zip(&topic.partitions) {
                    *next = (*next).max(partition.with_view(|view| view.bounds().begin));
                }
            }
            groups.insert(&start.group, &start.topic, start.topic_id, next);
        }
        self.store_groups().inspect_err(|_| {
            lock(&self.shared.groups).remove(&start.group, &start.topic);
        })
    }

    pub(super) fn forget(&mut self, group: &str, topic: &str) -> Result<(), BusError> {
        {
            let mut groups = lock(&self.shared.groups);
            if !groups.remove(group, topic) && !groups.is_dirty() {
                return Ok(());
            }
        }
        // Also where it is gone from memory alone, because storing that failed before.
        self.store_groups()
    }

    /// Moves a group back, which has to be durable: after a crash it must not stand higher than this.
    pub(super) fn move_back(&mut self, to: &GroupOffset) -> Result<(), BusError> {
        let moved = lock(&self.shared.groups).advise(&to.group, &to.topic, to.partition, to.next);
        match moved {
            None => Err(BusError::UnknownGroup { group: to.group.clone(), topic: to.topic.clone() }),
            Some(_) => self.store_groups(),
        }
    }
}

/// A folder without a topic's file is what an interrupted `make` left: empty files of the log's own, which go. Records in
/// them, and files of another name, are somebody's: then nothing is touched.
fn refuse_leftovers(disk: &dyn crate::segments::disk::Disk, folder: &Path) -> Result<(), BusError> {
    let failed = |e: io::Error| io_error("looking into", folder, &e);
    let names = disk.list(folder).map_err(failed)?;
    for name in &names {
        let is_log = name.ends_with(".log");
        let what = if !Kind::is_own(name) {
            format!("'{name}', which is no file of a log")
        } else if is_log && disk.open(&folder.join(name), false).and_then(|f| f.size()).map_err(failed)? > 0 {
            "records".to_owned()
        } else {
            continue;
        };
        return Err(BusError::Unavailable(format!(
            "{} holds {what}, but no topic of that name is known ({} has none); move the folder away",
            folder.display(),
            topics_folder(folder.parent().unwrap_or(folder)).display()
        )));
    }
    for name in &names {
        disk.remove(&folder.join(name)).map_err(failed)?;
    }
    Ok(())
}
