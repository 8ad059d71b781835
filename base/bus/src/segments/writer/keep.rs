//! Retention, and the bound where it ends.

use super::{Writer, disk};
use crate::BusError;
use crate::segments::files::Kind;
use crate::segments::meta::io_error;
use crate::segments::partition::Partition;
use crate::segments::retention::{Keep, Plan, plan};
use crate::segments::sync::{lock, read};
use std::io;
use std::path::Path;
use std::sync::Arc;

impl Writer {
    /// Removes the segments that are due, everywhere.
    pub(super) fn retain(&self) {
        for topic in self.shared.all() {
            for partition in &topic.partitions {
                if partition.check_open().is_ok() {
                    self.retain_partition(partition);
                }
            }
        }
    }

    fn plan(&self, partition: &Partition) -> Plan {
        let Some(keep) = read(&self.shared.topics)
            .get(partition.topic.as_ref())
            .map(|topic| Keep { ms: topic.meta.retention_ms, bytes: topic.meta.retention_bytes })
        else {
            return Plan::default();
        };
        let needed =
            lock(&self.shared.groups).slowest(&partition.topic, partition.number).map(|(_, next)| next);
        let now = (self.shared.config.clock)().millis();
        partition.with_view(|view| plan(&view.segments, keep, needed, now))
    }

    fn retain_partition(&self, partition: &Partition) {
        if self.shared.is_held() {
            return; // it is being copied
        }
        let plan = self.plan(partition);
        if plan.remove == 0 && partition.removals().is_empty() {
            return;
        }
        if let Err(error) = self.remove_oldest(partition, plan) {
            tracing::warn!(%error, folder = %partition.folder.display(), "a segment could not be removed; tried again when retention runs next");
        }
    }

    fn remove_oldest(&self, partition: &Partition, plan: Plan) -> Result<(), BusError> {
        if plan.with_active {
            self.roll(partition)?;
        }
        // Out of sight first: a reader that is too late finds its offset out of range.
        let due = partition.change_view(|view| view.segments.drain(..plan.remove).collect::<Vec<_>>());
        let mut removals = partition.removals();
        removals.extend(due);
        // One that fails holds up the rest: a younger one gone before it would be a gap at the next start.
        while let Some(removed) = removals.front().copied() {
            let gone = remove_segment(self, &partition.folder, removed.base);
            // After the names are gone, so that no reader opens the files once more.
            self.shared.files.forget(partition.id, removed.base);
            gone.map_err(|e| io_error("removing a segment of", &partition.folder, &e))?;
            removals.pop_front();
            tracing::info!(topic = %partition.topic, partition = partition.number, from = removed.base,
                to = removed.end, bytes = removed.bytes, "segment removed by retention");
        }
        Ok(())
    }

    /// Refuses what would pass the hard size while a group holds what is due for removal.
    pub(super) fn check_room(&self, partition: &Arc<Partition>, incoming: u64) -> Result<(), BusError> {
        let size = || partition.with_view(|view| view.bytes());
        if size() + incoming <= self.shared.config.hard_bytes {
            return Ok(());
        }
        self.retain_partition(partition);
        let size = size();
        if size + incoming <= self.shared.config.hard_bytes || !self.plan(partition).is_blocked {
            return Ok(());
        }
        let groups = lock(&self.shared.groups);
        let group = groups.slowest(&partition.topic, partition.number).map_or("", |(group, _)| group);
        Err(BusError::Full {
            topic: partition.topic.to_string(),
            partition: partition.number,
            size,
            group: group.to_owned(),
        })
    }
}

/// Durable before the next one goes, so that a crash never leaves a gap. The log goes first: without it the rest is
/// swept up at the next start.
fn remove_segment(writer: &Writer, folder: &Path, base: i64) -> io::Result<()> {
    for kind in Kind::SEGMENT {
        match disk(&writer.shared).remove(&kind.path(folder, base)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    disk(&writer.shared).sync_dir(folder)
}
