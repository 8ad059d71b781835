//! Which partitions a group has here, and where it stands in each.

use super::fetching::Check;
use super::partition::{Partition, is_lost};
use super::{GroupKind, GroupTask};
use crate::Failure;
use crate::storage::{groups, offsets, offsets::Offset};
use crate::topics::Known;
use crate::wakes::LEASES;
use artel_store::Lane;
use std::sync::{Arc, PoisonError};
use tokio::task::JoinSet;

impl GroupTask {
    /// Reads every place again; nothing in memory is trusted any more. A topic or partition that the log has lost stops
    /// alone. On a database that several nodes share only those partitions count that this node has leased.
    pub(super) async fn assign(&mut self) -> Result<(), Failure> {
        self.leased.see();
        if let GroupKind::RunTime { name, id } = &self.reader.kind
            && !groups::is_wanted(&mut self.shared.db.read().await?, name, *id).await?
        {
            // Stopped or forgotten meanwhile: nothing of it may come back.
            self.stop.cancel();
            return Ok(());
        }
        let stored = offsets::of_group(&mut self.shared.db.read().await?, &self.grp).await?;
        let logs = self.logs().await?;
        self.register(stored.is_empty()).await;
        let begun = self.begin_new(&stored, &logs).await?;
        let stored = if begun {
            offsets::of_group(&mut self.shared.db.read().await?, &self.grp).await?
        } else {
            stored
        };
        let mut partitions = Vec::new();
        for offset in stored.into_iter().filter(|offset| offset.owner == Some(self.shared.node)) {
            let Some((topic, log)) = logs
                .iter()
                .find(|(topic, known)| **topic == *offset.topic && offset.partition < known.partitions)
            else {
                continue;
            };
            let mut partition = Partition::load(self, topic, offset, log.id).await?;
            self.partitions.iter().for_each(|before| partition.doubts(before));
            partitions.push(partition);
        }
        self.fetches = JoinSet::new();
        self.partitions = partitions;
        self.forget_others();
        self.report();
        Ok(())
    }

    /// Takes what another node has now out of what is shown.
    fn forget_others(&self) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let here = |topic: &str, number: u32| {
            self.partitions.iter().any(|p| *p.topic == *topic && p.number() == number)
        };
        status.partitions.retain(|(topic, number), _| {
            let keep = here(topic, *number);
            if !keep {
                self.shared.metrics.forget_partition(&self.grp, topic, *number);
            }
            keep
        });
    }

    /// The group's topics as the log has them.
    async fn logs(&mut self) -> Result<Vec<(Arc<str>, Known)>, Failure> {
        let mut logs = Vec::new();
        self.lost.clear();
        for topic in &self.topics {
            match self.shared.topics.describe(topic).await {
                Ok(known) => logs.push((topic.clone(), known)),
                Err(error) if is_lost(&error) && self.topics.len() > 1 => {
                    self.lost.push(((topic.to_string(), 0), error.to_string()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(logs)
    }

    /// Writes a row for each partition that the group has not read before, whoever will have it; true when there were some.
    async fn begin_new(&mut self, stored: &[Offset], logs: &[(Arc<str>, Known)]) -> Result<bool, Failure> {
        let new = self.new_places(stored, logs).await;
        if new.is_empty() {
            return Ok(false);
        }
        let mut write = self.shared.begin_own(Lane::Background).await?;
        // Looked at again in this transaction: rows of a group that is forgotten at this moment would stay for ever.
        if let GroupKind::RunTime { name, id } = &self.reader.kind
            && !groups::is_still_wanted(&mut write, name, *id).await?
        {
            write.rollback().await?;
            self.stop.cancel();
            return Ok(false);
        }
        for offset in &new {
            offsets::begin(&mut write, &self.grp, offset).await?;
        }
        write.commit().await?;
        self.shared.held.look.notify_one();
        self.shared.wake_others(LEASES);
        Ok(true)
    }

    pub(super) fn report(&self) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |p: &Partition| p.check == Check::Done || p.stopped.is_some();
        let assigned = !self.starts.are_open() && self.partitions.iter().all(fits);
        if std::mem::replace(&mut status.assigned, assigned) != assigned {
            self.shared.progressed();
        }
        for (place, reason) in &self.lost {
            status.partitions.insert(place.clone(), (0, Some(reason.clone())));
        }
        for p in &self.partitions {
            let place = (p.topic.to_string(), p.number());
            let trouble = p.trouble();
            if status.partitions.get(&place).is_none_or(|(_, shown)| shown.as_deref() != trouble) {
                self.shared.metrics.stopped(&self.grp, &place.0, place.1, trouble.is_some());
                if let Some(reason) = trouble {
                    tracing::error!(group = %self.grp, reason, "partition stopped");
                }
            }
            let shown = (p.offset.next, trouble.map(str::to_owned));
            status.partitions.insert(place, shown);
        }
    }
}
