//! What is done with a batch that failed: it is made smaller until the message to blame stands alone.

use super::attempt::Plan;
use super::parking::{Head, Tried, Why};
use super::reader::Policy;
use super::{GroupTask, giveup, size};
use crate::Failure;
use crate::failure::Class;
use crate::fingerprint;
use std::time::Duration;

/// The longest pause between tries in place.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Attempts of one message in a partition that paused, before it is parked and the next one tried.
const PROBES: u32 = 3;

impl GroupTask {
    /// A message failed: what stands before it in the batch is taken in without it, then it alone (where a
    /// batch handler failed: half of its messages). The rest stays buffered for the next round.
    pub(super) async fn without(
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
    pub(super) async fn halved(&mut self, plan: Plan, failure: Failure) -> Result<(), Failure> {
        let total = size(&plan);
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

    /// The first message of a partition, on its own: a few tries in place, then its key is parked, or it is given up.
    async fn alone(&mut self, index: usize, mut failure: Failure) -> Result<(), Failure> {
        let plan = vec![(index, 1)];
        let before = self.head(index);
        let paused = self.partitions[index].paused.is_some();
        let probes = before.as_ref().map_or(0, |head| head.probes) + u32::from(paused);
        let mut attempts = before.as_ref().map_or(1, |head| head.attempts.saturating_add(1));
        let since = before.as_ref().map_or_else(|| self.shared.now(), |head| head.since);
        let mut errors = before.map(|head| head.errors).unwrap_or_default();
        loop {
            errors.add(&failure, self.shared.now());
            let tries = match failure.class() {
                Class::Infrastructure => return Err(failure),
                Class::NotYet if planted!(GivesUpAtOnce) => 1,
                // Tried now and then.
                Class::NotYet if paused => 1,
                Class::NotYet => self.tries_in_place(index),
                Class::Undecodable | Class::Never => 1,
            };
            if planted!(SkipsFailing) {
                let tx = super::attempt::open(self, &plan).await.map_err(|broken| broken.failure)?;
                tx.commit().await?;
                return Err(failure);
            }
            if attempts >= tries {
                return self
                    .put_by(index, &Tried { failure: &failure, attempts, since, errors }, probes)
                    .await;
            }
            self.shared.topics.look_for_missing().await;
            let growing = self.shared.limits.retry_pause.saturating_mul(2u32.saturating_pow(attempts - 1));
            let pause = growing.min(LONGEST_PAUSE);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
            match self.attempt(&plan).await {
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

    /// The whole group waits meanwhile: where keys are parked already, a message that may be tried later is so at once. What the
    /// handlers stand on is away, and each key of a thousand would hold the others up for a moment.
    fn tries_in_place(&self, index: usize) -> u32 {
        let Some(policy) = self.policy(index) else { return 1 };
        let later = policy.attempts > policy.tries && !policy.retry_for.is_zero();
        if later && self.partitions.iter().any(|partition| partition.parked) {
            return 1;
        }
        policy.tries.min(policy.attempts)
    }

    fn policy(&self, index: usize) -> Option<Policy> {
        let partition = &self.partitions[index];
        partition.buffer.front().map(|sorted| self.reader.policy(&partition.topic, sorted))
    }

    /// What the first message of a partition that paused went through.
    fn head(&self, index: usize) -> Option<Head> {
        let partition = &self.partitions[index];
        let offset = partition.buffer.front()?.record.offset;
        partition.paused.as_ref()?.head_at(offset).cloned()
    }

    /// Parks a message, or gives it up. Where most messages of the partition fail alike it pauses: what may work later stays in
    /// the log but for a trickle, and what never will is given up one by one.
    async fn put_by(&mut self, index: usize, tried: &Tried<'_>, probes: u32) -> Result<(), Failure> {
        let Some(policy) = self.policy(index) else { return Ok(()) };
        let class = tried.failure.class();
        let lasted = self.shared.now().since(tried.since);
        let over = class == Class::Never
            || tried.attempts >= policy.attempts
            || lasted >= policy.retry_for
            || planted!(GivesUpAtOnce);
        let cause = fingerprint::of(tried.failure);
        let partition = &mut self.partitions[index];
        let same = partition.paused.as_ref().is_some_and(|paused| paused.is_for(&cause));
        let most_fail = partition.recent.failed(&cause) || same;
        let offset = partition.buffer.front().map_or(0, |sorted| sorted.record.offset);
        // The one that is tried may be the one that never works: those behind it have to be tried too.
        let enough = if class == Class::Undecodable { 1 } else { PROBES };
        if over {
            self.give_up(index, tried, policy).await?;
        } else if !most_fail || probes >= enough {
            return self.park(index, tried).await;
        }
        if most_fail {
            let reason = format!(
                "more than half of the latest messages failed with one cause, and one is tried now and then until that has ended: {}",
                tried.failure
            );
            let (attempts, since, errors) = (tried.attempts, tried.since, tried.errors.clone());
            let head = (class != Class::Never).then_some(Head { offset, attempts, since, errors, probes });
            self.pause_partition(index, Why::Failing { cause, head }, reason);
        }
        Ok(())
    }

    async fn give_up(&mut self, index: usize, tried: &Tried<'_>, policy: Policy) -> Result<(), Failure> {
        let overlay = giveup::give_up(self, index, tried, policy).await.map_err(|broken| broken.failure)?;
        let code = tried.failure.code().as_str();
        self.shared.metrics.dead(&self.grp, code, &fingerprint::of(tried.failure));
        let plan = vec![(index, 1)];
        self.merge(&plan, overlay);
        self.advise(&plan).await;
        Ok(())
    }
}
