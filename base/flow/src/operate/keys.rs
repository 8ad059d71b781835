//! Parked keys by hand.

use super::{By, Step, begin, note, place, reason_given};
use crate::consumer::parking::{BYTES, MESSAGES};
use crate::ctx::Shared;
use crate::retry::{kind_of, whose};
use crate::storage::parked::{self, Claimed, Taken};
use crate::storage::{dead, forgotten, groups, held, mended, projections};
use crate::{Failure, ParkedKey, Tx};
use artel_message::Fault;
use std::sync::Arc;
use uuid::Uuid;

/// Keys whose messages wait.
#[derive(Clone)]
pub struct ParkedKeys {
    pub(super) shared: Arc<Shared>,
}

/// Keys that are forgotten in one transaction.
const FORGOTTEN: i64 = 100;

/// What is done to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Retry,
    Release,
    /// The one at this offset.
    DropFirst(i64),
}

impl ParkedKeys {
    /// By id, of one group when named, behind the key with this id when given; without the values of their first messages.
    pub async fn list(
        &self,
        group: Option<&str>,
        behind: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<ParkedKey>, Fault> {
        let mut read = self.shared.db.read().await?;
        Ok(held::list(&mut read, group, behind.unwrap_or_default(), i64::from(limit)).await?)
    }

    pub async fn get(&self, id: Uuid) -> Result<Option<ParkedKey>, Fault> {
        Ok(held::one(&mut self.shared.db.read().await?, id).await?)
    }

    /// Tries a key's first message now. One that is stopped has to be released, or its letter tried again.
    pub async fn retry(&self, id: Uuid, by: &By) -> Result<(), Fault> {
        self.act(Act::Retry, id, by).await
    }

    /// Lets a key go on now, also one that is stopped: without the message that it is stopped for.
    pub async fn release(&self, id: Uuid, by: &By) -> Result<(), Fault> {
        self.act(Act::Release, id, by).await
    }

    /// Throws a key's first message away, for good, if it is the one at this offset; the next one is tried now, unless the key is
    /// stopped. Needs a reason.
    pub async fn drop_first(&self, id: Uuid, offset: i64, by: &By) -> Result<(), Fault> {
        reason_given(by)?;
        self.act(Act::DropFirst(offset), id, by).await
    }

    /// Throws away all that waits in a group that runs on no node, of whatever release: one with another name now, or that is stopped
    /// for good. Versions of projections are removed instead. Returns how many messages. Needs a reason.
    pub async fn forget(&self, group: &str, by: &By) -> Result<i64, Fault> {
        reason_given(by)?;
        let mut messages = 0;
        loop {
            let done = self.shared.rerun(|| async {
                let mut tx = begin(&self.shared).await?;
                match forget_some(&mut tx, group, by).await {
                    Ok(done) => tx.commit().await.map(|()| done),
                    Err(failure) => {
                        tx.rollback().await;
                        Err(failure)
                    }
                }
            });
            match done.await.map_err(Failure::into_fault)? {
                Some(some) => messages += some,
                None => return Ok(messages),
            }
        }
    }

    async fn act(&self, act: Act, id: Uuid, by: &By) -> Result<(), Fault> {
        let done = self.shared.rerun(|| async {
            let mut tx = begin(&self.shared).await?;
            match step(&mut tx, act, id, by).await {
                Ok(()) => tx.commit().await,
                Err(failure) => {
                    tx.rollback().await;
                    Err(failure)
                }
            }
        });
        done.await.map_err(Failure::into_fault)?;
        self.shared.wake_parked();
        Ok(())
    }
}

async fn step(tx: &mut Tx, act: Act, id: Uuid, by: &By) -> Result<(), Failure> {
    let engine = tx.shared.db.engine();
    let Some((grp, key)) = mended::lock(tx.write(), engine, id).await? else {
        return Err(refused(Fault::not_found(format!(
            "no key with id {id} is parked (any more); artel parked list shows those that are"
        ))));
    };
    let now = tx.now();
    let mut detail = format!("{}/{}, {} waiting", key.hold.topic, key.hold.partition, key.hold.waiting);
    let action = match act {
        Act::Retry => {
            may_go_on(tx, &grp).await?;
            may_be_tried(tx, &key).await?;
            mended::due_now(tx.write(), &key, now).await?;
            "retry-key"
        }
        Act::Release => {
            may_go_on(tx, &grp).await?;
            mended::go_on(tx.write(), &key, now).await?;
            "release-key"
        }
        Act::DropFirst(offset) => {
            drop_first(tx, &grp, &key, offset).await?;
            detail = dropped(&grp, &place(&key.hold.topic, key.hold.partition, offset));
            "drop-message"
        }
    };
    note(tx, Step { action, target: id.to_string(), detail, by }).await
}

/// How it is kept which message of a group was dropped.
pub(crate) fn dropped(grp: &str, place: &str) -> String {
    format!("{grp} {place}")
}

/// One round of it; `None` = nothing is left.
async fn forget_some(tx: &mut Tx, grp: &str, by: &By) -> Result<Option<i64>, Failure> {
    let made = groups::all(tx.write()).await?;
    let versions = projections::list_here(tx.write()).await?;
    if let Some(whose) = whose(&tx.shared, &made, &versions, grp) {
        return Err(refused(Fault::conflict(format!(
            "group '{grp}' {whose}: release its keys, or drop their first messages (artel parked release, drop-head)"
        ))));
    }
    let Some((messages, bytes)) = forgotten::some(tx.write(), grp, FORGOTTEN).await? else {
        return Ok(None);
    };
    tx.count_in(grp, MESSAGES, -messages);
    tx.count_in(grp, BYTES, -bytes);
    tx.count_in(grp, "dropped", messages);
    let detail = format!("{messages} messages of {bytes} bytes");
    note(tx, Step { action: "forget-keys", target: grp.to_owned(), detail, by }).await?;
    Ok(Some(messages))
}

/// Nobody tries the keys of a group that does not run.
async fn may_go_on(tx: &mut Tx, grp: &str) -> Result<(), Failure> {
    let made = groups::all(tx.write()).await?;
    if kind_of(&tx.shared, &made, grp).is_some() {
        return Ok(());
    }
    Err(refused(Fault::conflict(format!(
        "group '{grp}' does not run, and nobody would try its keys; start it first, or drop what waits (artel parked forget)"
    ))))
}

/// Of a stopped key only what comes before the letter that it waits for.
async fn may_be_tried(tx: &mut Tx, key: &Claimed) -> Result<(), Failure> {
    let id = key.hold.id;
    if !key.stopped || !parked::first(tx.write(), id, key.until(), 1).await?.is_empty() {
        return Ok(());
    }
    let (behind, again) = match dead::holding(tx.write(), id).await? {
        Some((letter, _)) => (format!("letter {letter}"), format!("artel dead retry {letter}, or drop it")),
        None => ("a dead letter".to_owned(), "artel dead retry".to_owned()),
    };
    Err(refused(Fault::conflict(format!(
        "key {id} is stopped behind {behind}: try the letter again ({again}), or release the key to go on without it \
         (artel parked release)"
    ))))
}

async fn drop_first(tx: &mut Tx, grp: &str, key: &Claimed, offset: i64) -> Result<(), Failure> {
    let id = key.hold.id;
    let Some(first) = parked::first(tx.write(), id, i64::MAX, 1).await?.pop() else {
        return Err(refused(Fault::conflict(format!(
            "no message waits behind key {id}, which is stopped behind a dead letter: release it (artel parked release)"
        ))));
    };
    if first.offset != offset {
        return Err(refused(Fault::conflict(format!(
            "the first message of key {id} is the one at offset {} now, not that at {offset}, which is gone or never was the \
             first; look at it before you drop it (artel parked show {id})",
            first.offset
        ))));
    }
    let taken = Taken { count: 1, bytes: first.size(), to: first.offset };
    parked::take(tx.write(), key, taken).await?;
    if key.hold.waiting > 1 && !key.stopped {
        let now = tx.now();
        mended::due_now(tx.write(), key, now).await?;
    }
    tx.count_in(grp, MESSAGES, -1);
    tx.count_in(grp, BYTES, -first.size());
    tx.count_in(grp, "dropped", 1);
    Ok(())
}

fn refused(fault: Fault) -> Failure {
    Failure::Refused(fault)
}
