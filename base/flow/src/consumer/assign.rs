//! Which partitions a group has here, and where it stands in each.

use super::partition::{self, Partition, is_lost};
use super::{GroupKind, GroupTask};
use crate::Failure;
use crate::storage::{groups, offsets, offsets::Offset};
use artel_bus::{BusError, From as StartAt};
use artel_store::Lane;
use std::sync::PoisonError;
use uuid::Uuid;

impl GroupTask {
    /// Reads every place again; nothing in memory is trusted any more. A topic or partition that the log has lost stops
    /// alone.
    pub(super) async fn assign(&mut self) -> Result<(), Failure> {
        let mut read = self.shared.db.read().await?;
        if let GroupKind::RunTime { name, id } = &self.kind
            && !groups::is_wanted(&mut read, name, *id).await?
        {
            // Stopped or forgotten meanwhile: nothing of it may come back.
            self.stop.cancel();
            return Ok(());
        }
        let stored = offsets::of_group(&mut read, &self.grp).await?;
        drop(read);
        let mut places = Vec::new();
        self.lost.clear();
        for topic in self.topics.clone() {
            let known = match self.shared.topics.describe(&topic).await {
                Ok(known) => known,
                Err(error) if is_lost(&error) && self.topics.len() > 1 => {
                    self.lost.push(((topic.to_string(), 0), error.to_string()));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for number in 0..known.partitions {
                match self.place(&stored, &topic, number, known.id).await {
                    Ok(place) => places.push((topic.clone(), place)),
                    Err(error) if is_lost(&error) => {
                        self.lost.push(((topic.to_string(), number), error.to_string()));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let mut write = self.shared.db.begin(Lane::Background).await?;
        let mut partitions = Vec::new();
        for (topic, (offset, stopped)) in places {
            offsets::begin(&mut write, &self.grp, &offset).await?;
            let mut partition = Partition::load(self, &mut write, &topic, offset).await?;
            partition.stopped = stopped;
            partitions.push(partition);
        }
        write.commit().await?;
        self.partitions = partitions;
        for topic in &self.topics {
            match self.shared.topics.bus().register(&self.grp, topic, self.from).await {
                Err(error) if !is_lost(&error) => return Err(error.into()),
                _ => {}
            }
        }
        let going = (0..self.partitions.len()).filter(|index| self.partitions[*index].stopped.is_none());
        self.advise(&going.map(|index| (index, 1)).collect()).await;
        self.report();
        Ok(())
    }

    /// Where the group is in a partition, and why it must not go on from there, if so.
    async fn place(
        &self,
        stored: &[Offset],
        topic: &str,
        number: u32,
        log: Uuid,
    ) -> Result<(Offset, Option<String>), BusError> {
        if let Some(offset) = stored.iter().find(|o| o.topic == topic && o.partition == number) {
            let mismatch = partition::mismatch(self, offset, log).await?;
            return Ok((offset.clone(), mismatch));
        }
        // A partition that came later is read from its beginning.
        let known_topic = stored.iter().any(|o| o.topic == topic);
        let from = if known_topic { StartAt::Earliest } else { self.from };
        let next = partition::start(self, topic, number, from).await?;
        let epoch = self.shared.fresh_epoch();
        let (topic, last_offset, last_id) = (topic.to_owned(), None, None);
        Ok((Offset { topic, partition: number, next, epoch, log, last_offset, last_id }, None))
    }

    pub(super) fn report(&self) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.assigned = true;
        for (place, reason) in &self.lost {
            status.partitions.insert(place.clone(), (0, Some(reason.clone())));
        }
        for p in &self.partitions {
            let place = (p.topic.to_string(), p.number());
            if status.partitions.get(&place).is_none_or(|(_, stopped)| *stopped != p.stopped) {
                self.shared.metrics.stopped(&self.grp, &place.0, place.1, p.stopped.is_some());
                if let Some(reason) = &p.stopped {
                    tracing::error!(group = %self.grp, reason, "partition stopped");
                }
            }
            status.partitions.insert(place, (p.offset.next, p.stopped.clone()));
        }
    }
}
