//! What is done with a batch that failed: it is made smaller until the message to blame stands alone.

use super::attempt::Plan;
use super::{GroupTask, giveup, size};
use crate::Failure;
use crate::failure::Class;
use std::time::Duration;

/// The longest pause between tries in place.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

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

    /// The first message of a partition, on its own: a few tries in place, then it is given up.
    async fn alone(&mut self, index: usize, mut failure: Failure) -> Result<(), Failure> {
        let mut attempts = 1u32;
        let plan = vec![(index, 1)];
        loop {
            let tries = match failure.class() {
                Class::Infrastructure => return Err(failure),
                Class::NotYet if planted!(GivesUpAtOnce) => 1,
                Class::NotYet => self.tries(index),
                Class::Undecodable | Class::Never => 1,
            };
            if planted!(SkipsFailing) {
                let tx = super::attempt::open(self, &plan).await.map_err(|broken| broken.failure)?;
                tx.commit().await?;
                return Err(failure);
            }
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
}
