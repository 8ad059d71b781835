//! What operators change of parked keys.

use super::parked::{self, Claimed, New, Parked};
use artel_message::Time;
use artel_store::{Engine, Sql, StoreError, Write};
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
    let key: Claimed = write
        .one(
            "SELECT id, topic, partition, key, waiting, version, stopped, attempts, failed_at, code, reason, fingerprint, errors
             FROM flow_parked_key WHERE id = $1",
            (id,),
        )
        .await?;
    Ok(Some((grp, key)))
}

/// Makes a key due now, and lets one that was stopped go on; it goes where nothing waits.
pub(crate) async fn go_on(write: &mut Write, key: &Claimed, now: Time) -> Result<(), StoreError> {
    if key.hold.waiting == 0 {
        write.exec("DELETE FROM flow_parked_key WHERE id = $1", (key.hold.id,)).await?;
        return Ok(());
    }
    write
        .exec("UPDATE flow_parked_key SET stopped = FALSE, due = $1 WHERE id = $2", (now, key.hold.id))
        .await?;
    Ok(())
}

/// Puts a message back where it was in its key, which is parked for it where it is not, and due now. What is known of the
/// first message's failures begins anew.
pub(crate) async fn put_back(write: &mut Write, new: New<'_>, message: Parked) -> Result<(), StoreError> {
    let place = (new.topic.to_owned(), new.partition, new.lane.clone());
    let Some(hold) = parked::look_up(write, new.grp, vec![place]).await?.pop() else {
        return parked::park(write, New { due: Some(new.now), ..new }, Some(message)).await;
    };
    write
        .exec(
            "UPDATE flow_parked_key SET stopped = FALSE, due = $1, version = version + 1, attempts = 0, failed_at = NULL,
                 code = NULL, reason = NULL, fingerprint = NULL, errors = NULL WHERE id = $2",
            (new.now, hold.id),
        )
        .await?;
    let size = message.size();
    parked::join(write, vec![(hold.id, 1, size)], vec![message.row(hold.id)]).await
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
