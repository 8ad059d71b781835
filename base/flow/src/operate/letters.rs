//! Dead letters by hand: found, tried again, edited, dropped.

use super::{By, Step, begin, note, own, place, reason_given};
use crate::consumer::Reader;
use crate::consumer::parking::{BYTES, MESSAGES};
use crate::ctx::Shared;
use crate::letters::Again;
use crate::retry::kind_of;
use crate::storage::dead;
use crate::storage::letters::{self, DeadCause, Letters, Onward};
use crate::storage::parked::{Failing, New, Parked, lane};
use crate::storage::{groups, mended};
use crate::{DeadLetter, Failure, Tx};
use artel_message::{Cause, Envelope, Fault, Time};
use bytes::Bytes;
use std::sync::Arc;
use uuid::Uuid;

/// Letters of one partition that go back in one transaction.
const TOGETHER: usize = 100;

/// Messages that were given up on.
#[derive(Clone)]
pub struct DeadLetters {
    pub(super) shared: Arc<Shared>,
}

/// What came of trying letters again, or of dropping them.
#[derive(Debug, Clone, Default)]
pub struct Replayed {
    /// Those that went back or away, or would, in the order of their logs.
    pub letters: Vec<Uuid>,
    /// Those that can't, and why.
    pub refused: Vec<(Uuid, Fault)>,
    /// The last letter that was looked at: where to go on; `None` = there are no more.
    pub next: Option<Onward>,
}

impl DeadLetters {
    /// Those that fit, the newest first, those of one moment by falling id; behind the letter at this time with this id.
    pub async fn find(
        &self,
        which: &Letters,
        behind: Option<(Time, Uuid)>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, Fault> {
        which.check()?;
        let mut read = self.shared.db.read().await?;
        let behind = behind.unwrap_or((Time::MAX, Uuid::max()));
        Ok(letters::find(&mut read, which, behind, i64::from(limit)).await?)
    }

    pub async fn get(&self, id: Uuid) -> Result<Option<DeadLetter>, Fault> {
        Ok(dead::one(&mut self.shared.db.read().await?, id).await?)
    }

    /// The causes with the most letters.
    pub async fn causes(&self, limit: u32) -> Result<Vec<DeadCause>, Fault> {
        Ok(letters::causes(&mut self.shared.db.read().await?, i64::from(limit)).await?)
    }

    /// Tries a letter again: its message goes back where it was in its key, due now. It runs once: the letter is gone with the
    /// same commit, and comes again if the message is given up again. A timer is set again, due now; an effect is called again
    /// under the key it had, or, where only its done handler had failed, told again.
    pub async fn retry(&self, id: Uuid, by: &By) -> Result<(), Fault> {
        let letter = self.get(id).await?.ok_or_else(|| none(id))?;
        let done = self.put_back(&[letter], by).await;
        done.into_iter().next().map_or(Ok(()), |(_, done)| done)
    }

    /// Whether that can be done.
    pub async fn may_retry(&self, id: Uuid) -> Result<(), Fault> {
        let letter = self.get(id).await?.ok_or_else(|| none(id))?;
        let made = groups::list(&mut self.shared.db.read().await?).await?;
        may(&self.shared, &made, &letter).await
    }

    /// The same for those that fit and that there are when it begins, at most `limit` of them, in the order of their logs: of a key
    /// the first one goes first. A dry run changes nothing and says which.
    pub async fn retry_all(
        &self,
        which: &Letters,
        behind: Option<Onward>,
        limit: u32,
        by: Option<&By>,
    ) -> Result<Replayed, Fault> {
        let (found, next) = self.walk(which, behind, limit).await?;
        let mut replayed = Replayed { next, ..Replayed::default() };
        let Some(by) = by else {
            let made = groups::list(&mut self.shared.db.read().await?).await?;
            for letter in found {
                let done = may(&self.shared, &made, &letter).await;
                replayed.note(letter.id, done);
            }
            return Ok(replayed);
        };
        let place = |l: &DeadLetter| (l.group.clone(), l.topic.clone(), l.partition);
        for of_one in found.chunk_by(|a, b| place(a) == place(b)) {
            for together in of_one.chunks(TOGETHER) {
                for (id, done) in self.put_back(together, by).await {
                    replayed.note(id, done);
                }
            }
        }
        Ok(replayed)
    }

    /// Throws away those that fit, at most `limit` of them, for good. Needs a reason; a dry run (`by` is none) only says which.
    pub async fn drop_all(
        &self,
        which: &Letters,
        behind: Option<Onward>,
        limit: u32,
        by: Option<&By>,
    ) -> Result<Replayed, Fault> {
        by.map_or(Ok(()), reason_given)?;
        let (found, next) = self.walk(which, behind, limit).await?;
        let mut dropped = Replayed { next, ..Replayed::default() };
        for letter in found {
            let done = match by {
                Some(by) => self.drop(letter.id, by).await,
                None => Ok(()),
            };
            dropped.note(letter.id, done);
        }
        Ok(dropped)
    }

    /// The next of those that fit, and where to go on behind them.
    async fn walk(
        &self,
        which: &Letters,
        behind: Option<Onward>,
        limit: u32,
    ) -> Result<(Vec<DeadLetter>, Option<Onward>), Fault> {
        which.check()?;
        let behind = behind.unwrap_or_else(|| Onward::start(self.shared.now()));
        let mut read = self.shared.db.read().await?;
        let found = letters::in_order(&mut read, which, &behind, i64::from(limit)).await?;
        let full = u32::try_from(found.len()).is_ok_and(|n| n == limit);
        let next = found.last().filter(|_| full).map(|last| Onward::behind(last, behind.until));
        Ok((found, next))
    }

    /// Puts letters of one partition back, all of them in one transaction: its owner looks again once.
    async fn put_back(&self, letters: &[DeadLetter], by: &By) -> Vec<(Uuid, Result<(), Fault>)> {
        if letters.first().is_some_and(|letter| Again::of(&self.shared, letter).is_some()) {
            return self.begin_again(letters, by).await;
        }
        let done = self.shared.rerun(|| async {
            let mut tx = begin(&self.shared).await?;
            match put_back(&mut tx, letters, by).await {
                Ok(done) => tx.commit().await.map(|()| done),
                Err(failure) => {
                    tx.rollback().await;
                    Err(failure)
                }
            }
        });
        let done = done.await.map_err(Failure::into_fault);
        self.shared.wake_parked();
        done.unwrap_or_else(|fault| letters.iter().map(|l| (l.id, Err(fault.clone()))).collect())
    }

    /// Sets timers again, and queues effects again.
    async fn begin_again(&self, letters: &[DeadLetter], by: &By) -> Vec<(Uuid, Result<(), Fault>)> {
        let mut done = Vec::with_capacity(letters.len());
        for letter in letters {
            done.push((letter.id, self.act(letter.id, by, Act::Again).await));
        }
        done
    }

    /// Sets what is tried in place of what came.
    pub async fn edit(&self, id: Uuid, value: Option<Bytes>, by: &By) -> Result<(), Fault> {
        let most = self.shared.limits.message_bytes;
        if value.as_ref().is_some_and(|value| value.len() > most) {
            return Err(Fault::field("value", format!("is larger than {most} bytes")));
        }
        self.act(id, by, Act::Edit(value)).await
    }

    /// Throws a letter away, for good. A key that waits for it goes on. Needs a reason.
    pub async fn drop(&self, id: Uuid, by: &By) -> Result<(), Fault> {
        reason_given(by)?;
        self.act(id, by, Act::Drop).await?;
        self.shared.wake_parked();
        Ok(())
    }

    async fn act(&self, id: Uuid, by: &By, act: Act) -> Result<(), Fault> {
        let done = self.shared.rerun(|| async {
            let mut tx = begin(&self.shared).await?;
            match step(&mut tx, &act, id, by).await {
                Ok(()) => tx.commit().await,
                Err(failure) => {
                    tx.rollback().await;
                    Err(failure)
                }
            }
        });
        done.await.map_err(Failure::into_fault)
    }
}

impl Replayed {
    fn note(&mut self, id: Uuid, done: Result<(), Fault>) {
        match done {
            Ok(()) => self.letters.push(id),
            Err(fault) => self.refused.push((id, fault)),
        }
    }
}

enum Act {
    /// A timer or an effect.
    Again,
    Edit(Option<Bytes>),
    Drop,
}

fn none(id: Uuid) -> Fault {
    Fault::not_found(format!("there is no dead letter {id} (any more); artel dead list"))
}

async fn step(tx: &mut Tx, act: &Act, id: Uuid, by: &By) -> Result<(), Failure> {
    let (action, detail) = match act {
        Act::Edit(value) => {
            if !dead::edit(tx.write(), id, value.clone()).await? {
                return Err(Failure::Refused(none(id)));
            }
            ("edit-letter", format!("{} bytes", value.as_ref().map_or(0, Bytes::len)))
        }
        Act::Drop => ("drop-letter", throw_away(tx, id).await?),
        Act::Again => {
            let letter = dead::take(tx.write(), id).await?.ok_or_else(|| Failure::Refused(none(id)))?;
            let again = Again::of(&tx.shared, &letter).ok_or_else(|| Failure::Refused(none(id)))?;
            let detail = own::named(&letter);
            own::put_back(tx, again, letter).await?;
            ("retry-letter", detail)
        }
    };
    note(tx, Step { action, target: id.to_string(), detail, by }).await
}

/// That it is dropped is the decision that a stopped key waits for. Says where it was.
async fn throw_away(tx: &mut Tx, id: Uuid) -> Result<String, Failure> {
    let letter = dead::take(tx.write(), id).await?.ok_or_else(|| Failure::Refused(none(id)))?;
    if Again::of(&tx.shared, &letter).is_some() {
        return Ok(own::named(&letter));
    }
    let mut detail = place(&letter.topic, letter.partition, letter.offset);
    let (engine, now) = (tx.shared.db.engine(), tx.now());
    if let Some(key) = letter.trail.holds
        && let Some((_, key)) = mended::lock(tx.write(), engine, key).await?
    {
        mended::decided(tx.write(), &key, now).await?;
        detail = format!("{detail}; key {} no longer waits for it", key.hold.id);
    }
    Ok(detail)
}

/// First the keys: whoever has one for a long time holds up nothing else meanwhile. Then the partition, as a consumer does: who
/// has that waits here, and then finds that it has to look again.
async fn put_back(
    tx: &mut Tx,
    letters: &[DeadLetter],
    by: &By,
) -> Result<Vec<(Uuid, Result<(), Fault>)>, Failure> {
    let Some(first) = letters.first() else { return Ok(Vec::new()) };
    let shared = tx.shared.clone();
    let made = groups::all(tx.write()).await?;
    let (grp, topic, partition) = (first.group.as_str(), first.topic.as_str(), first.partition);
    let lanes = letters.iter().map(|letter| lane(letter.key.as_deref(), letter.offset));
    let lanes = lanes.collect::<std::collections::BTreeSet<Bytes>>();
    mended::wait_for(tx.write(), grp, (topic, partition), lanes.into_iter().collect()).await?;
    mended::raise_epoch(tx.write(), grp, topic, partition).await?;
    let mut done = Vec::with_capacity(letters.len());
    for letter in letters {
        let id = letter.id;
        if let Err(fault) = check(&shared, &made, letter) {
            done.push((id, Err(fault)));
            continue;
        }
        // As it is now: somebody may have edited it.
        let Some(letter) = dead::take(tx.write(), id).await? else {
            done.push((id, Err(none(id))));
            continue;
        };
        let detail = place(&letter.topic, letter.partition, letter.offset);
        go_back(tx, letter).await?;
        note(tx, Step { action: "retry-letter", target: id.to_string(), detail, by }).await?;
        done.push((id, Ok(())));
    }
    Ok(done)
}

async fn go_back(tx: &mut Tx, letter: DeadLetter) -> Result<(), Failure> {
    let message = message_of(&letter);
    let (size, engine) = (message.size(), tx.shared.db.engine());
    let new = New {
        id: tx.new_id(),
        grp: &letter.group,
        topic: &letter.topic,
        partition: letter.partition,
        lane: lane(letter.key.as_deref(), letter.offset),
        now: tx.now(),
        due: None,
        stopped_at: None,
        failing: Failing::default(),
    };
    mended::put_back(tx.write(), engine, new, message).await?;
    tx.count_in(&letter.group, MESSAGES, 1);
    tx.count_in(&letter.group, BYTES, size);
    tx.count_in(&letter.group, "retried", 1);
    Ok(())
}

/// Whether anybody would take it.
async fn may(shared: &Arc<Shared>, made: &[groups::Stored], letter: &DeadLetter) -> Result<(), Fault> {
    match Again::of(shared, letter) {
        Some(again) => own::check(shared, &again, letter).await,
        None => check(shared, made, letter),
    }
}

/// The same for a message's.
fn check(shared: &Arc<Shared>, made: &[groups::Stored], letter: &DeadLetter) -> Result<(), Fault> {
    let Some(kind) = kind_of(shared, made, &letter.group) else {
        return Err(Fault::conflict(format!(
            "group '{}' does not run; start it first, or drop the letter",
            letter.group
        )));
    };
    let reader = Reader { shared: shared.clone(), grp: letter.group.clone(), kind };
    let name = letter.name.as_deref().unwrap_or_default();
    if !reader.handles(&letter.topic, name) {
        return Err(Fault::conflict(format!(
            "group '{}' has no handler for messages of type '{name}' here; try again where it has one, or drop the letter",
            letter.group
        )));
    }
    Ok(())
}

fn message_of(letter: &DeadLetter) -> Parked {
    let written_at = letter.trail.written_at.unwrap_or(letter.at);
    // Letters from before the cause was kept: the id that their handlers' ids derive from is the message's.
    let envelope = Envelope::from_headers(&letter.headers()).ok();
    let at = envelope.map_or(written_at, |envelope| envelope.time);
    Parked {
        offset: letter.offset,
        cause: letter.trail.cause.unwrap_or_else(|| Cause::message(letter.message, at)),
        ours: letter.trail.ours,
        time: written_at,
        key: letter.key.clone(),
        headers: letter.headers.clone(),
        value: letter.value.clone(),
        letter: Some(letter.id),
    }
}
