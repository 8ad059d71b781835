//! Parked keys by hand.

use super::{By, Step, begin, note, place, reason_given};
use crate::consumer::parking::{BYTES, MESSAGES};
use crate::ctx::Shared;
use crate::storage::parked::{self, Claimed, Taken};
use crate::storage::{held, mended};
use crate::{Failure, ParkedKey, Tx};
use artel_message::Fault;
use std::sync::Arc;
use uuid::Uuid;

/// Keys whose messages wait.
#[derive(Clone)]
pub struct ParkedKeys {
    pub(super) shared: Arc<Shared>,
}

/// What is done to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Retry,
    Release,
    DropFirst,
}

impl ParkedKeys {
    /// By id, of one group when named, behind the key with this id when given.
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

    /// Throws a key's first message away, for good; the next one is tried now, unless the key is stopped. Needs a reason.
    pub async fn drop_first(&self, id: Uuid, by: &By) -> Result<(), Fault> {
        reason_given(by)?;
        self.act(Act::DropFirst, id, by).await
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
        Act::Retry if key.stopped => {
            return Err(refused(Fault::conflict(format!(
                "key {id} is stopped behind a dead letter: try the letter again (artel dead retry), or release the key to go on \
                 without it (artel parked release)"
            ))));
        }
        Act::Retry | Act::Release => {
            mended::go_on(tx.write(), &key, now).await?;
            if act == Act::Retry { "retry-key" } else { "release-key" }
        }
        Act::DropFirst => {
            let offset = drop_first(tx, &grp, &key).await?;
            detail = place(&key.hold.topic, key.hold.partition, offset);
            "drop-message"
        }
    };
    note(tx, Step { action, target: id.to_string(), detail, by }).await
}

/// Returns the offset of what was dropped.
async fn drop_first(tx: &mut Tx, grp: &str, key: &Claimed) -> Result<i64, Failure> {
    let id = key.hold.id;
    let Some(first) = parked::first(tx.write(), id, 1).await?.pop() else {
        return Err(refused(Fault::conflict(format!(
            "no message waits behind key {id}, which is stopped behind a dead letter: release it (artel parked release)"
        ))));
    };
    let taken = Taken { count: 1, bytes: first.size(), to: first.offset };
    parked::take(tx.write(), key, taken).await?;
    if key.hold.waiting > 1 && !key.stopped {
        let now = tx.now();
        mended::go_on(tx.write(), key, now).await?;
    }
    tx.count_in(grp, MESSAGES, -1);
    tx.count_in(grp, BYTES, -first.size());
    tx.count_in(grp, "dropped", 1);
    Ok(first.offset)
}

fn refused(fault: Fault) -> Failure {
    Failure::Refused(fault)
}
