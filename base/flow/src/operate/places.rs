//! Places of groups by hand: forward over what nobody can take in, or onto another log.

use super::again::unnumbered;
use super::{By, Step, begin, note, reason_given};
use crate::consumer::partition::{mismatch, start};
use crate::ctx::Shared;
use crate::storage::offsets::{self, Offset};
use crate::storage::parked;
use crate::wakes::LEASES;
use crate::{Failure, Tx};
use artel_bus::From as StartAt;
use artel_message::Fault;
use std::sync::Arc;
use uuid::Uuid;

/// Where groups stand.
#[derive(Clone)]
pub struct Places {
    pub(super) shared: Arc<Shared>,
}

/// A group's partition, and where it is to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The full name.
    pub group: String,
    pub topic: String,
    pub partition: u32,
    /// The place it stands at already is one: it goes on without what is missing before it.
    pub to: StartAt,
    /// Where it goes back, messages without numbers may be taken in a second time.
    pub repeats: bool,
}

/// What a move passes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where the group stood, and goes on.
    pub from: i64,
    pub to: i64,
    /// Offsets between the two that the log holds; some may be no messages.
    pub messages: i64,
    /// Messages without numbers before where it stood, where it goes back: they run again if they ran before.
    pub again: i64,
    /// Why the stored place was none of this log.
    pub misfit: Option<String>,
}

/// A move as it was judged, to be done while nobody else has moved the place.
struct Move {
    place: Offset,
    log: Uuid,
    what: Skipped,
}

impl Places {
    /// Moves a group forward; where its place is none of this log, to any place that the log has. What it passes over is never
    /// taken in. Repeats of what was taken in stay known by their numbers; messages without numbers are not. A dry run (`by` is none) says what would be passed over. Needs a reason.
    pub async fn skip(&self, skip: &Skip, by: Option<&By>) -> Result<Skipped, Fault> {
        let judged = self.judge(skip).await.map_err(Failure::into_fault)?;
        let Some(by) = by else { return Ok(judged.what) };
        reason_given(by)?;
        may_repeat(skip, &judged.what)?;
        let done = self.shared.rerun(|| async {
            let mut tx = begin(&self.shared).await?;
            match step(&mut tx, skip, &judged, by).await {
                Ok(skipped) => tx.commit().await.map(|()| skipped),
                Err(failure) => {
                    tx.rollback().await;
                    Err(failure)
                }
            }
        });
        let skipped = done.await.map_err(Failure::into_fault)?;
        // Whoever has the partition, here or elsewhere, reads its place again.
        self.shared.held.partitions.tell();
        self.shared.wake_others(LEASES);
        Ok(skipped)
    }

    async fn judge(&self, skip: &Skip) -> Result<Move, Failure> {
        let Skip { group, topic, partition, to, .. } = skip;
        let stored = offsets::of_group(&mut self.shared.db.read().await?, group).await?;
        let place = stored.into_iter().find(|place| place.topic == *topic && place.partition == *partition);
        let Some(place) = place else {
            return Err(Failure::Refused(Fault::not_found(format!(
                "group '{group}' has no place in {topic}/{partition}; artel groups names groups and their topics"
            ))));
        };
        let bus = self.shared.topics.bus();
        let log = self.shared.topics.describe(topic).await?.id;
        let misfit = mismatch(bus.as_ref(), &place, log).await?;
        let to = start(bus.as_ref(), topic, *partition, *to).await?;
        let begins = bus.bounds(topic, *partition).await?.begin;
        let (from, messages) = (place.next, (to - place.next.max(begins)).max(0));
        let mut again = 0;
        if to < from {
            self.may_go_back(group, &place, to, misfit.as_deref()).await?;
            again = unnumbered(&self.shared, &place, log, (to, from)).await?;
        }
        Ok(Move { place, log, what: Skipped { from, to, messages, again, misfit } })
    }

    /// Backwards only where the log is another one, and nothing waits in the order of the one before.
    async fn may_go_back(
        &self,
        group: &str,
        place: &Offset,
        to: i64,
        misfit: Option<&str>,
    ) -> Result<(), Failure> {
        let (topic, partition, next) = (&place.topic, place.partition, place.next);
        if misfit.is_none() {
            return Err(Failure::Refused(Fault::conflict(format!(
                "group '{group}' stands at {next} in {topic}/{partition}, and {to} is before that: groups go forward only, or \
                 messages would have their effects twice; to run single messages again use artel dead retry"
            ))));
        }
        if parked::any(&mut self.shared.db.read().await?, group, topic, partition).await? {
            return Err(Failure::Refused(Fault::conflict(format!(
                "keys of {topic}/{partition} are parked, in the order of the log before: let them finish, or drop what waits \
                 (artel parked list --group {group}), before the group goes back to {to}"
            ))));
        }
        Ok(())
    }
}

/// What came before in this log, or in the one before it, is not known where it has no numbers.
fn may_repeat(skip: &Skip, what: &Skipped) -> Result<(), Fault> {
    if what.again == 0 || skip.repeats {
        return Ok(());
    }
    Err(Fault::conflict(format!(
        "{} messages without numbers stand in {}/{} between {} and {}, where group '{}' stood: those that were taken in would be \
         again. Go on at an offset behind them, or say that they may (--repeats)",
        what.again, skip.topic, skip.partition, what.to, what.from, skip.group
    )))
}

async fn step(tx: &mut Tx, skip: &Skip, judged: &Move, by: &By) -> Result<Skipped, Failure> {
    let Move { place, log, what } = judged;
    let from = offsets::lock(tx.write(), &skip.group, place).await?;
    let Some(from) = from.filter(|from| *from == what.from || *from <= what.to) else {
        return Err(Failure::Refused(Fault::conflict(format!(
            "group '{}' has moved in {}/{} meanwhile; look again (artel groups)",
            skip.group, skip.topic, skip.partition
        ))));
    };
    offsets::move_to(tx.write(), &skip.group, place, (*log, what.to)).await?;
    let passed = what.messages - (from - what.from);
    tx.count_in(&skip.group, "skipped", passed);
    let target = format!("{} {}/{}", skip.group, skip.topic, skip.partition);
    let detail = detail(from, what.to, &format!("{passed} messages passed over"));
    note(tx, Step { action: "skip", target, detail, by }).await?;
    Ok(Skipped { from, messages: passed, ..what.clone() })
}

/// How a move is kept; [`moved`] reads it.
pub(super) fn detail(from: i64, to: i64, what: &str) -> String {
    format!("from {from} to {to}, {what}")
}

/// From where to where a step moved a place.
pub(crate) fn moved(detail: &str) -> Option<(i64, i64)> {
    let (from, rest) = detail.strip_prefix("from ")?.split_once(" to ")?;
    let (to, _) = rest.split_once(',')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_is_read_out_of_its_record() {
        assert_eq!(moved(&detail(7, 1200, "9 messages passed over")), Some((7, 1200)));
        assert_eq!(moved("somewhere"), None);
    }
}
