//! Dead letters by hand: found, tried again, edited, dropped.

use super::{By, Step, begin, note, place, reason_given};
use crate::consumer::parking::{BYTES, MESSAGES};
use crate::ctx::Shared;
use crate::retry::kind_of;
use crate::storage::dead::{self, DeadCause, Letters};
use crate::storage::parked::{Failing, New, Parked, lane};
use crate::storage::{groups, mended};
use crate::{DeadLetter, Failure, Tx};
use artel_message::{Cause, Envelope, Fault, Time};
use bytes::Bytes;
use std::sync::Arc;
use uuid::Uuid;

/// Messages that were given up on.
#[derive(Clone)]
pub struct DeadLetters {
    pub(super) shared: Arc<Shared>,
}

/// What came of trying letters again, or of dropping them.
#[derive(Debug, Clone, Default)]
pub struct Replayed {
    /// Those that went back or away, or would, the newest first.
    pub letters: Vec<Uuid>,
    /// Those that can't, and why.
    pub refused: Vec<(Uuid, Fault)>,
    /// The last letter that was looked at: where to go on; `None` = there are no more.
    pub next: Option<(Time, Uuid)>,
}

impl DeadLetters {
    /// Those that fit, the newest first, those of one moment by falling id; behind the letter at this time with this id.
    pub async fn find(
        &self,
        which: &Letters,
        behind: Option<(Time, Uuid)>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, Fault> {
        let mut read = self.shared.db.read().await?;
        let behind = behind.unwrap_or((Time::MAX, Uuid::max()));
        Ok(dead::find(&mut read, which, behind, i64::from(limit)).await?)
    }

    pub async fn get(&self, id: Uuid) -> Result<Option<DeadLetter>, Fault> {
        Ok(dead::one(&mut self.shared.db.read().await?, id).await?)
    }

    /// The causes with the most letters.
    pub async fn causes(&self, limit: u32) -> Result<Vec<DeadCause>, Fault> {
        Ok(dead::causes(&mut self.shared.db.read().await?, i64::from(limit)).await?)
    }

    /// Tries a letter again: its message goes back where it was in its key, due now. It runs once: the letter is gone with the
    /// same commit, and comes again if the message is given up again.
    pub async fn retry(&self, id: Uuid, by: &By) -> Result<(), Fault> {
        self.act(id, by, Act::Retry).await?;
        self.shared.wake_parked();
        Ok(())
    }

    /// The same for those that fit, at most `limit` of them. A dry run changes nothing and says which.
    pub async fn retry_all(
        &self,
        which: &Letters,
        behind: Option<(Time, Uuid)>,
        limit: u32,
        by: Option<&By>,
    ) -> Result<Replayed, Fault> {
        let found = self.find(which, behind, limit).await?;
        let mut replayed = Replayed { next: next(&found, limit), ..Replayed::default() };
        for letter in found {
            let done = match by {
                Some(by) => self.retry(letter.id, by).await,
                None => self.may_retry(&letter).await,
            };
            match done {
                Ok(()) => replayed.letters.push(letter.id),
                Err(fault) => replayed.refused.push((letter.id, fault)),
            }
        }
        Ok(replayed)
    }

    /// Throws away those that fit, at most `limit` of them, for good. Needs a reason; a dry run (`by` is none) only says which.
    pub async fn drop_all(
        &self,
        which: &Letters,
        behind: Option<(Time, Uuid)>,
        limit: u32,
        by: Option<&By>,
    ) -> Result<Replayed, Fault> {
        by.map_or(Ok(()), reason_given)?;
        let found = self.find(which, behind, limit).await?;
        let mut dropped = Replayed { next: next(&found, limit), ..Replayed::default() };
        for letter in found {
            match by {
                Some(by) => match self.drop(letter.id, by).await {
                    Ok(()) => dropped.letters.push(letter.id),
                    Err(fault) => dropped.refused.push((letter.id, fault)),
                },
                None => dropped.letters.push(letter.id),
            }
        }
        Ok(dropped)
    }

    /// Sets what is tried in place of what came.
    pub async fn edit(&self, id: Uuid, value: Option<Bytes>, by: &By) -> Result<(), Fault> {
        let most = self.shared.limits.message_bytes;
        if value.as_ref().is_some_and(|value| value.len() > most) {
            return Err(Fault::field("value", format!("is larger than {most} bytes")));
        }
        self.act(id, by, Act::Edit(value)).await
    }

    /// Throws a letter away, for good. Needs a reason.
    pub async fn drop(&self, id: Uuid, by: &By) -> Result<(), Fault> {
        reason_given(by)?;
        self.act(id, by, Act::Drop).await
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

    async fn may_retry(&self, letter: &DeadLetter) -> Result<(), Fault> {
        let made = groups::list(&mut self.shared.db.read().await?).await?;
        check(&self.shared, &made, letter)
    }
}

/// Where to go on behind a page.
fn next(found: &[DeadLetter], limit: u32) -> Option<(Time, Uuid)> {
    let full = u32::try_from(found.len()).is_ok_and(|n| n == limit);
    found.last().filter(|_| full).map(|last| (last.at, last.id))
}

enum Act {
    Retry,
    Edit(Option<Bytes>),
    Drop,
}

async fn step(tx: &mut Tx, act: &Act, id: Uuid, by: &By) -> Result<(), Failure> {
    let none = || {
        Failure::Refused(Fault::not_found(format!(
            "there is no dead letter {id} (any more); artel dead list"
        )))
    };
    let (action, detail) = match act {
        Act::Edit(value) => {
            if !dead::edit(tx.write(), id, value.clone()).await? {
                return Err(none());
            }
            ("edit-letter", format!("{} bytes", value.as_ref().map_or(0, Bytes::len)))
        }
        Act::Drop => {
            let letter = dead::take(tx.write(), id).await?.ok_or_else(none)?;
            ("drop-letter", place(&letter.topic, letter.partition, letter.offset))
        }
        Act::Retry => {
            let letter = dead::take(tx.write(), id).await?.ok_or_else(none)?;
            let detail = place(&letter.topic, letter.partition, letter.offset);
            put_back(tx, letter).await?;
            ("retry-letter", detail)
        }
    };
    note(tx, Step { action, target: id.to_string(), detail, by }).await
}

async fn put_back(tx: &mut Tx, letter: DeadLetter) -> Result<(), Failure> {
    let shared = tx.shared.clone();
    let made = groups::all(tx.write()).await?;
    check(&shared, &made, &letter).map_err(Failure::Refused)?;
    // First of all, as a consumer does: who has the partition waits here, and then finds that it has to look again.
    mended::raise_epoch(tx.write(), &letter.group, &letter.topic, letter.partition).await?;
    let message = message_of(&letter);
    let size = message.size();
    let new = New {
        id: tx.new_id(),
        grp: &letter.group,
        topic: &letter.topic,
        partition: letter.partition,
        lane: lane(letter.key.as_deref(), letter.offset),
        now: tx.now(),
        due: None,
        failing: Failing::default(),
    };
    mended::put_back(tx.write(), new, message).await?;
    tx.count_in(&letter.group, MESSAGES, 1);
    tx.count_in(&letter.group, BYTES, size);
    tx.count_in(&letter.group, "retried", 1);
    Ok(())
}

/// Whether anybody would take it.
fn check(shared: &Shared, made: &[groups::Stored], letter: &DeadLetter) -> Result<(), Fault> {
    if letter.topic == "timers" {
        return Err(Fault::conflict(
            "the letter is a timer's, which is no message of a topic; set the timer again in place of it",
        ));
    }
    if kind_of(shared, made, &letter.group).is_none() {
        return Err(Fault::conflict(format!(
            "group '{}' does not run; start it first, or drop the letter",
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
