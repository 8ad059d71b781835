//! What operators change of parked keys.

use super::dead;
use super::parked::{self, Claimed, New, Parked, claimed};
use artel_message::Time;
use artel_store::{Engine, Sql, StoreError, Write};
use bytes::Bytes;
use uuid::Uuid;

/// Locks a key, whatever it waits for; waits for who has it. None = there is no such key (any more).
pub(crate) async fn lock(
    write: &mut Write,
    engine: Engine,
    id: Uuid,
) -> Result<Option<(String, Claimed)>, StoreError> {
    const LOCK: Sql = Sql {
        sqlite: "SELECT grp FROM flow_parked_key WHERE id = $1",
        postgres: "SELECT grp FROM flow_parked_key WHERE id = $1 FOR UPDATE",
    };
    let Some((grp,)) = write.opt::<(String,)>(LOCK.pick(engine), (id,)).await? else { return Ok(None) };
    let key: Claimed = write.one(claimed!("WHERE id = $1"), (id,)).await?;
    Ok(Some((grp, key)))
}

/// Makes the first message of a key due now. An attempt that is under way at this moment does not put it off again.
pub(crate) async fn due_now(write: &mut Write, key: &Claimed, now: Time) -> Result<(), StoreError> {
    write
        .exec("UPDATE flow_parked_key SET due = $1, version = version + 1 WHERE id = $2", (now, key.hold.id))
        .await?;
    Ok(())
}

/// Lets a key go on now, without the letters that it waits for; it goes where nothing waits.
pub(crate) async fn go_on(write: &mut Write, key: &Claimed, now: Time) -> Result<(), StoreError> {
    dead::let_go(write, key.hold.id).await?;
    settle(write, key, None, now).await
}

/// A decision about a letter that a key waits for has been taken: it goes on to the next such letter, if there is one.
pub(crate) async fn decided(write: &mut Write, key: &Claimed, now: Time) -> Result<(), StoreError> {
    let rest = dead::holding(write, key.hold.id).await?;
    settle(write, key, rest.map(|(_, at)| at), now).await
}

async fn settle(write: &mut Write, key: &Claimed, rest: Option<i64>, now: Time) -> Result<(), StoreError> {
    let id = key.hold.id;
    if rest.is_none() && key.hold.waiting == 0 {
        write.exec("DELETE FROM flow_parked_key WHERE id = $1", (id,)).await?;
        return Ok(());
    }
    write
        .exec(
            "UPDATE flow_parked_key SET stopped = $1, stopped_at = $2, version = version + 1,
                 due = CASE WHEN $1 = FALSE OR EXISTS (SELECT 1 FROM flow_parked WHERE hold = $3 AND position < $2)
                     THEN CAST($4 AS BIGINT) ELSE CAST($5 AS BIGINT) END
             WHERE id = $3",
            (rest.is_some(), rest, id, now, Time::MAX),
        )
        .await?;
    Ok(())
}

/// Waits for whoever has one of these keys of a partition, and locks them.
pub(crate) async fn wait_for(
    write: &mut Write,
    grp: &str,
    (topic, partition): (&str, u32),
    lanes: Vec<Bytes>,
) -> Result<(), StoreError> {
    let lanes = lanes.into_iter().map(|lane| (topic.to_owned(), partition, lane)).collect();
    parked::look_up(write, grp, lanes).await?;
    Ok(())
}

/// Puts a message back where it was in its key, which is parked for it where it is not, and due now unless it waits for another
/// letter. What is known of the first message's failures begins anew.
pub(crate) async fn put_back(
    write: &mut Write,
    engine: Engine,
    new: New<'_>,
    message: Parked,
) -> Result<(), StoreError> {
    let place = (new.topic.to_owned(), new.partition, new.lane.clone());
    let Some(hold) = parked::look_up(write, new.grp, vec![place]).await?.pop() else {
        return parked::park(write, New { due: Some(new.now), ..new }, Some(message)).await;
    };
    write
        .exec(
            "UPDATE flow_parked_key SET attempts = 0, failed_at = NULL, code = NULL, reason = NULL, fingerprint = NULL,
                 errors = NULL WHERE id = $1",
            (hold.id,),
        )
        .await?;
    let size = message.size();
    parked::join(write, vec![(hold.id, 1, size)], vec![message.row(hold.id)]).await?;
    match lock(write, engine, hold.id).await? {
        Some((_, key)) => decided(write, &key, new.now).await,
        None => Ok(()),
    }
}

/// Makes the partition's owner read its places again, and with them which keys are parked.
pub(crate) async fn raise_epoch(
    write: &mut Write,
    grp: &str,
    topic: &str,
    partition: u32,
) -> Result<(), StoreError> {
    write
        .exec(
            "UPDATE flow_offset SET epoch = epoch + 1 WHERE grp = $1 AND topic = $2 AND partition = $3",
            (grp, topic, partition),
        )
        .await?;
    Ok(())
}
