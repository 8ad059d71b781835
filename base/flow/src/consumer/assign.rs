//! Which partitions a group has here, and where it stands in each.

use super::fetching::Check;
use super::partition::{Partition, is_lost};
use super::{GroupKind, GroupTask, Status};
use crate::Failure;
use crate::projections;
use crate::storage::projections::is_still_on;
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
        if let Some(declared) = self.reader.projection() {
            let retired = projections::retired(&mut self.shared.db.read().await?).await?;
            if retired.iter().any(|(name, version)| name == declared.name && *version == declared.version) {
                self.end_retired();
                return Ok(());
            }
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
        if !planted!(KeepsReadAhead) {
            self.fetches = JoinSet::new();
        }
        self.partitions = partitions;
        self.forget_others();
        self.report();
        Ok(())
    }

    /// Reads the place of one partition again, of which the fence failed: an operator put a letter back or moved it. The others
    /// stay as they are. False = somebody else has it, and all are to be read again.
    pub(super) async fn reload(&mut self, topic: &str, number: u32) -> Result<bool, Failure> {
        let at = self.partitions.iter().position(|p| *p.topic == *topic && p.number() == number);
        let Some(index) = at else { return Ok(false) };
        let stored =
            offsets::of_partition(&mut self.shared.db.read().await?, &self.grp, topic, number).await?;
        let Some(offset) = stored.filter(|offset| offset.owner == Some(self.shared.node)) else {
            return Ok(false);
        };
        let log = self.shared.topics.describe(topic).await?.id;
        let name = self.partitions[index].topic.clone();
        let mut partition = Partition::load(self, &name, offset, log).await?;
        partition.doubts(&self.partitions[index]);
        self.partitions[index] = partition;
        self.report();
        Ok(true)
    }

    /// An operator removed this version of a projection: it takes in nothing any more.
    fn end_retired(&mut self) {
        self.stop.cancel();
        self.partitions.clear();
        self.forget_others();
        self.update(|status| (status.error, status.assigned) = (None, true));
        tracing::info!(group = %self.grp, "this version of a projection was removed; it takes in nothing");
    }

    /// Takes what another node has now out of what is shown.
    fn forget_others(&self) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let here = |topic: &str, number: u32| {
            self.partitions.iter().any(|p| *p.topic == *topic && p.number() == number)
        };
        let Status { partitions, paused, .. } = &mut *status;
        partitions.retain(|(topic, number), _| {
            let keep = here(topic, *number);
            if !keep {
                paused.remove(&(topic.clone(), *number));
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
        if let Some(declared) = self.reader.projection()
            && !is_still_on(&mut write, declared.name, declared.version).await?
        {
            write.rollback().await?;
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
            if p.only_pauses() {
                status.paused.insert(place.clone());
            } else {
                status.paused.remove(&place);
            }
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
