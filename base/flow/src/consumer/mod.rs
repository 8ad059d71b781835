//! Taking in: one task per group reads its partitions and runs its handlers, a batch to a transaction.

mod attempt;
mod giveup;
mod partition;
mod sort;

use crate::Failure;
use crate::ctx::Shared;
use crate::erase::Erased;
use crate::failure::Class;
use crate::handler::Options;
use crate::service::{EventEntry, EventKind};
use crate::storage::{groups, offsets, offsets::Offset};
use artel_bus::{BusError, From as StartAt};
use artel_message::{Cause, commands_topic};
use artel_store::Lane;
use attempt::{Broken, Done, Overlay, Plan};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::select_all;
use partition::{Partition, is_lost};
use sort::Sorted;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Stopped partitions are looked at again this often.
const RECHECK: Duration = Duration::from_secs(30);
/// The longest pause between tries in place.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Whose handlers a group runs.
pub(crate) enum GroupKind {
    /// Events registered under this group name ("" = the service's own, which also has its commands and replies).
    Declared { events: &'static str },
    /// The raw handler, for a group made at run time.
    RunTime { name: Arc<str>, id: Uuid },
}

/// What others see of a group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    /// Why the whole group does not run; it is tried again.
    pub error: Option<String>,
    /// (topic, partition) → (next, why it is stopped).
    pub partitions: HashMap<(String, u32), (i64, Option<String>)>,
    /// False until the first assignment.
    pub assigned: bool,
}

pub(crate) type SharedStatus = Arc<Mutex<Status>>;

pub(crate) struct GroupTask {
    pub shared: Arc<Shared>,
    /// The full name, as offsets are kept under.
    pub grp: String,
    pub topics: Vec<Arc<str>>,
    pub kind: GroupKind,
    pub from: StartAt,
    pub status: SharedStatus,
    pub stop: CancellationToken,
    pub(crate) partitions: Vec<Partition>,
    /// What the log has lost: (topic, partition) and why.
    lost: Vec<((String, u32), String)>,
    /// When stopped partitions are looked at again.
    recheck_at: Instant,
}

impl GroupTask {
    pub fn new(
        shared: Arc<Shared>,
        grp: String,
        topics: &[String],
        kind: GroupKind,
        from: StartAt,
        stop: CancellationToken,
    ) -> GroupTask {
        let topics = topics.iter().map(|t| Arc::from(t.as_str())).collect();
        GroupTask {
            shared,
            grp,
            topics,
            kind,
            from,
            status: SharedStatus::default(),
            stop,
            partitions: Vec::new(),
            lost: Vec::new(),
            recheck_at: Instant::now() + RECHECK,
        }
    }

    /// Runs until stopped. A failure of the whole group is shown and tried again, with a growing pause.
    pub async fn run(mut self) {
        let mut failures = 0u32;
        while !self.stop.is_cancelled() {
            let result = self.assign_and_read().await;
            let Err(failure) = result else { return };
            failures = failures.saturating_add(1);
            tracing::warn!(group = %self.grp, error = %failure, failures, "group does not run; it is tried again");
            self.update(|status| status.error = Some(failure.to_string()));
            self.pause(failures).await;
        }
    }

    async fn assign_and_read(&mut self) -> Result<(), Failure> {
        self.assign().await?;
        self.update(|status| status.error = None);
        let mut outages = 0u32;
        while !self.stop.is_cancelled() {
            match self.round().await {
                Ok(true) => outages = 0,
                Ok(false) => {
                    outages = 0;
                    if !self.wait().await {
                        self.assign().await?;
                    }
                }
                Err(failure) => {
                    outages = outages.saturating_add(1);
                    if !matches!(failure, Failure::Fenced { .. }) {
                        tracing::warn!(group = %self.grp, error = %failure, "waiting for the infrastructure");
                        self.pause(outages).await;
                    }
                    self.assign().await?;
                }
            }
        }
        Ok(())
    }

    /// Reads every place again; nothing in memory is trusted any more. A topic or partition that the log has lost stops
    /// alone.
    async fn assign(&mut self) -> Result<(), Failure> {
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

    /// Takes in what is there; false when nothing was.
    async fn round(&mut self) -> Result<bool, Failure> {
        let mut plan = Plan::new();
        let mut left = self.shared.limits.batch_records;
        let (shared, mut partitions) = (self.shared.clone(), std::mem::take(&mut self.partitions));
        let mut result = Ok(());
        for (index, partition) in partitions.iter_mut().enumerate() {
            if partition.stopped.is_some() || left == 0 {
                continue;
            }
            if partition.buffer.is_empty()
                && let Err(failure) = partition.fetch(self).await
            {
                // The others go on; the error counts only where nothing else is to be done.
                result = Err(failure);
                continue;
            }
            let count = partition.ready(left.min(shared.limits.batch_records));
            if count > 0 {
                left -= count;
                plan.push((index, count));
            }
        }
        self.partitions = partitions;
        if plan.is_empty() {
            return result.map(|()| false);
        }
        // The partition that came first goes last in the next round, so that none starves the others.
        self.take_in(plan).await?;
        self.partitions.rotate_left(1);
        Ok(true)
    }

    async fn take_in(&mut self, plan: Plan) -> Result<(), Failure> {
        match attempt::run(self, &plan).await {
            Ok((done, overlay)) => {
                self.merge(&done, overlay);
                self.advise(&done).await;
                Ok(())
            }
            Err(Broken { failure, .. }) if failure.class() == Class::Infrastructure => Err(failure),
            Err(Broken { failure, at: None, .. }) => self.halved(plan, failure).await,
            Err(Broken { failure, at: Some((index, position)), span }) => {
                self.without(plan, index, position, span, failure).await
            }
        }
    }

    /// A message failed: what stands before it in the batch is taken in without it, then it alone (where a
    /// batch handler failed: half of its messages). The rest stays buffered for the next round.
    async fn without(
        &mut self,
        plan: Plan,
        index: usize,
        position: usize,
        span: usize,
        failure: Failure,
    ) -> Result<(), Failure> {
        let before: Plan = plan
            .iter()
            .take_while(|(i, _)| *i != index)
            .copied()
            .chain((position > 0).then_some((index, position)))
            .collect();
        if before.iter().any(|(_, count)| *count > 0) {
            return Box::pin(self.take_in(before)).await;
        }
        if span > 1 {
            return Box::pin(self.take_in(vec![(index, span / 2)])).await;
        }
        self.alone(index, failure).await
    }

    /// The commit itself was refused, and no message is known to be to blame: half of them, down to one.
    async fn halved(&mut self, plan: Plan, failure: Failure) -> Result<(), Failure> {
        let total: usize = plan.iter().map(|(_, count)| count).sum();
        if total <= 1 {
            let index = plan.iter().find(|(_, count)| *count > 0).map_or(0, |(index, _)| *index);
            return self.alone(index, failure).await;
        }
        let mut left = total / 2;
        let mut half = Plan::new();
        for (index, count) in plan {
            let taken = count.min(left);
            left -= taken;
            if taken > 0 {
                half.push((index, taken));
            }
        }
        Box::pin(self.take_in(half)).await
    }

    /// The first message of a partition, on its own: a few tries in place, then it is given up.
    async fn alone(&mut self, index: usize, mut failure: Failure) -> Result<(), Failure> {
        let mut attempts = 1u32;
        let plan = vec![(index, 1)];
        loop {
            let tries = match failure.class() {
                Class::Infrastructure => return Err(failure),
                Class::NotYet => self.tries(index),
                Class::Undecodable | Class::Never => 1,
            };
            if attempts >= tries {
                let overlay =
                    giveup::give_up(self, index, &failure, attempts).await.map_err(|b| b.failure)?;
                self.merge(&plan, overlay);
                self.advise(&plan).await;
                return Ok(());
            }
            let growing = self.shared.limits.retry_pause.saturating_mul(2u32.saturating_pow(attempts - 1));
            let pause = growing.min(LONGEST_PAUSE);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return Ok(()),
            }
            match attempt::run(self, &plan).await {
                Ok((done, overlay)) => {
                    self.merge(&done, overlay);
                    self.advise(&done).await;
                    return Ok(());
                }
                Err(broken) => failure = broken.failure,
            }
            attempts += 1;
        }
    }

    fn tries(&self, index: usize) -> u32 {
        let partition = &self.partitions[index];
        let name = partition.buffer.front().and_then(|s| s.envelope.as_ref()).map_or("", |e| e.name.as_str());
        let own = if self.is_command(&partition.topic) {
            self.shared.service.commands.get(name).and_then(|c| c.tries)
        } else {
            self.event(name).and_then(|e| e.options.tries)
        };
        own.unwrap_or(self.shared.limits.tries).max(1)
    }

    /// Merges what a commit that succeeded has changed.
    fn merge(&mut self, done: &Done, overlay: Overlay) {
        for (index, count) in done {
            let partition = &mut self.partitions[*index];
            let last = partition.buffer.drain(..*count).last();
            if let Some(last) = last {
                let (log, topic) = (partition.offset.log, partition.topic.clone());
                partition.offset.next = last.record.offset + 1;
                partition.offset.last_offset = Some(last.record.offset);
                partition.offset.last_id =
                    Some(partition::identity(&last.record, log, &topic, partition.offset.partition));
            }
        }
        for (index, high) in overlay.high {
            self.partitions[index].high.extend(high);
        }
        let total: usize = done.iter().map(|(_, count)| count).sum();
        let other: i64 = overlay.counts.values().sum();
        let run = u64::try_from(total).unwrap_or(0).saturating_sub(u64::try_from(other).unwrap_or(0));
        self.shared.metrics.taken(&self.grp, "run", run);
        for (kind, n) in overlay.counts {
            self.shared.metrics.taken(&self.grp, kind, u64::try_from(n).unwrap_or(0));
        }
        self.report();
        self.shared.progressed();
    }

    /// Tells the log how far the group is, after the commit and never ahead of it.
    async fn advise(&self, done: &Done) {
        for (index, count) in done.iter().filter(|(_, count)| *count > 0) {
            let partition = &self.partitions[*index];
            let told = self
                .shared
                .topics
                .bus()
                .advise(&self.grp, &partition.topic, partition.number(), partition.offset.next)
                .await;
            if let Err(error) = told {
                tracing::debug!(group = %self.grp, %error, count, "the log was not told how far the group is");
            }
        }
    }

    /// Waits for more; false when the places should be read again.
    async fn wait(&mut self) -> bool {
        let bus = self.shared.topics.bus();
        let waits: Vec<_> = self
            .partitions
            .iter()
            .filter(|p| p.stopped.is_none())
            .map(|p| bus.wait(&p.topic, p.number(), p.fetch_from).boxed())
            .collect();
        let any_stopped = waits.len() < self.partitions.len() || !self.lost.is_empty();
        if any_stopped && Instant::now() >= self.recheck_at {
            self.recheck_at = Instant::now() + RECHECK;
            return false;
        }
        let recheck_at = self.recheck_at;
        self.report();
        let more =
            async { if waits.is_empty() { std::future::pending().await } else { select_all(waits).await.0 } };
        let recheck = async {
            if any_stopped {
                tokio::time::sleep_until(recheck_at).await
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            woken = more => woken.is_ok(),
            () = recheck => false,
            () = self.stop.cancelled() => true,
        }
    }

    async fn pause(&self, failures: u32) {
        let pause = self.shared.limits.outage_pause * failures.min(10);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.stop.cancelled() => {}
        }
    }

    fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.progressed();
    }

    fn report(&self) {
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

    pub(crate) fn is_command(&self, topic: &str) -> bool {
        matches!(self.kind, GroupKind::Declared { .. }) && *topic == *commands_topic(self.shared.name())
    }

    fn event(&self, name: &str) -> Option<&EventEntry> {
        match &self.kind {
            GroupKind::Declared { events } => self.shared.service.events.get(events)?.get(name),
            GroupKind::RunTime { .. } => None,
        }
    }

    /// The name in the registry, which lives as long as the program.
    pub(crate) fn stored_name(&self, name: &str) -> &'static str {
        let GroupKind::Declared { events } = &self.kind else { return "raw" };
        let service = &self.shared.service;
        let event = service.events.get(events).and_then(|e| Some(*e.get_key_value(name)?.0));
        event.or_else(|| Some(*service.commands.get_key_value(name)?.0)).unwrap_or("")
    }

    pub(crate) fn expired(&self, sorted: &Sorted) -> bool {
        let Some(envelope) = &sorted.envelope else { return false };
        let age: Option<&Options> = self.event(&envelope.name).map(|e| &e.options);
        age.and_then(|o| o.max_age).is_some_and(|max| self.shared.now().since(envelope.time) > max)
    }

    pub(crate) fn batch_of(&self, topic: &str, sorted: &Sorted) -> Option<&Erased<Vec<(Cause, Bytes)>, ()>> {
        let envelope = sorted.envelope.as_ref()?;
        if self.is_command(topic) {
            let entry = self.shared.service.commands.get(envelope.name.as_str())?;
            return entry.batch.as_ref().filter(|_| !envelope.reply);
        }
        match &self.event(&envelope.name)?.kind {
            EventKind::Batch(handler) => Some(handler),
            EventKind::Single(_) => None,
        }
    }
}
