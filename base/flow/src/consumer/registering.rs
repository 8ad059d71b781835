//! Telling the log of the group, beside the work: a broker takes its time over a group that it does not know yet, and only
//! retention and the tools that show lag wait for it.

use super::partition::is_lost;
use super::{Done, GroupTask, RECHECK};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// How long a group that begins waits until the log knows it. Where groups hold up retention that takes a moment; a broker, which
/// takes longer, keeps no messages for them.
const PATIENCE: Duration = Duration::from_millis(250);

/// A group on its way to the log.
pub(super) struct Registering {
    pub done: CancellationToken,
    task: AbortHandle,
}

impl Drop for Registering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl GroupTask {
    /// Begins, unless it is under way. A group that has no place yet waits a moment for it: its first place is looked up behind
    /// that, so that retention does not pass it in between.
    pub(super) async fn register(&mut self, is_new: bool) {
        self.begin_registering();
        if is_new {
            let _ = tokio::time::timeout(PATIENCE, registered(&self.registering)).await;
        }
    }

    fn begin_registering(&mut self) {
        if self.registering.as_ref().is_some_and(|registering| !registering.done.is_cancelled()) {
            return;
        }
        let (bus, grp) = (self.shared.topics.bus().clone(), self.grp.clone());
        let (topics, from) = (self.topics.clone(), self.from);
        let done = CancellationToken::new();
        let ends = done.clone().drop_guard();
        let work = async move {
            for topic in &topics {
                let mut failures = 0u32;
                while let Err(error) = bus.register(&grp, topic, from).await {
                    if is_lost(&error) {
                        break;
                    }
                    failures = failures.saturating_add(1);
                    if failures.is_power_of_two() {
                        tracing::warn!(
                            group = %grp, topic = %topic, %error, failures,
                            "the log could not be told of the group; it is tried again"
                        );
                    }
                    tokio::time::sleep(RECHECK).await;
                }
            }
            drop(ends);
        };
        self.registering = Some(Registering { done, task: tokio::spawn(work).abort_handle() });
    }

    /// Tells the log how far the group is, after the commit and never ahead of it. While the log does not know the group all is
    /// told later.
    pub(super) async fn advise(&mut self, done: &Done) {
        match &self.registering {
            Some(registering) if !registering.done.is_cancelled() => {}
            Some(_) => self.advise_all().await,
            None => self.tell(done).await,
        }
    }

    /// Once the log knows the group: tells it every place.
    pub(super) async fn advise_all(&mut self) {
        if self.registering.as_ref().is_some_and(|registering| registering.done.is_cancelled()) {
            self.registering = None;
            let going = (0..self.partitions.len()).filter(|index| self.partitions[*index].stopped.is_none());
            self.tell(&going.map(|index| (index, 1)).collect()).await;
        }
    }

    /// Tells the log of places that are not committed: for a planted bug.
    pub(super) async fn tell_of(&self, done: &Done) {
        for (index, count) in done.iter().filter(|(_, count)| *count > 0) {
            let partition = &self.partitions[*index];
            let next = partition.buffer.get(count - 1).map_or(0, |last| last.record.offset + 1);
            let bus = self.shared.topics.bus();
            let _ = bus.advise(&self.grp, &partition.topic, partition.number(), next).await;
        }
    }

    async fn tell(&self, done: &Done) {
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
}

/// Until the log knows the group; for ever where it does already.
pub(super) async fn registered(registering: &Option<Registering>) {
    match registering {
        Some(registering) => registering.done.cancelled().await,
        None => std::future::pending().await,
    }
}
