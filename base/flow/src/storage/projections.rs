//! Versions of projections, and moving a group's places back.

use super::offsets::Offset;
use crate::projections::Phase;
use artel_message::Time;
use artel_store::{Args, FromRow, Read, Row, StoreError, Write};
use uuid::Uuid;

/// A version as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub name: String,
    pub version: u32,
    pub phase: Phase,
    pub changed_at: Time,
}

impl FromRow for Stored {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let state: String = row.get("state")?;
        Ok(Stored {
            name: row.get("name")?,
            version: row.get("version")?,
            phase: Phase::of(&state),
            changed_at: row.get("changed_at")?,
        })
    }
}

pub(crate) async fn list(read: &mut Read) -> Result<Vec<Stored>, StoreError> {
    read.all("SELECT name, version, state, changed_at FROM flow_projection ORDER BY name, version", ()).await
}

pub(crate) async fn of_name(read: &mut Read, name: &str) -> Result<Vec<Stored>, StoreError> {
    read.all(
        "SELECT name, version, state, changed_at FROM flow_projection WHERE name = $1 ORDER BY version",
        (name,),
    )
    .await
}

/// The same within a transaction that writes.
pub(crate) async fn of_name_here(write: &mut Write, name: &str) -> Result<Vec<Stored>, StoreError> {
    write
        .all(
            "SELECT name, version, state, changed_at FROM flow_projection WHERE name = $1 ORDER BY version",
            (name,),
        )
        .await
}

/// Whoever changes versions holds this row, on all nodes; nothing else waits for it for longer than a moment.
pub(crate) async fn lock(write: &mut Write) -> Result<(), StoreError> {
    write.exec("UPDATE flow_lease SET epoch = epoch WHERE name = 'keeper'", ()).await?;
    Ok(())
}

/// Notes a version; one that is known stays as it is.
pub(crate) async fn declare(
    write: &mut Write,
    name: &str,
    version: u32,
    phase: Phase,
    now: Time,
) -> Result<(), StoreError> {
    write
        .exec(
            "INSERT INTO flow_projection (name, version, state, made_at, changed_at) VALUES ($1, $2, $3, $4, $4)
             ON CONFLICT DO NOTHING",
            (name, version, phase.word(), now),
        )
        .await?;
    Ok(())
}

/// Changes what a version is for, if it still is what it was.
pub(crate) async fn change(
    write: &mut Write,
    (name, version): (&str, u32),
    (from, to): (Phase, Phase),
    now: Time,
) -> Result<bool, StoreError> {
    let rows = write
        .exec(
            "UPDATE flow_projection SET state = $1, changed_at = $2 WHERE name = $3 AND version = $4 AND state = $5",
            (to.word(), now, name, version, from.word()),
        )
        .await?;
    Ok(rows == 1)
}

/// Whether a version takes in. Within a transaction that writes for it: until that ends nobody retires it.
pub(crate) async fn is_still_on(write: &mut Write, name: &str, version: u32) -> Result<bool, StoreError> {
    let rows = write
        .exec(
            "UPDATE flow_projection SET state = state WHERE name = $1 AND version = $2 AND state <> 'retired'",
            (name, version),
        )
        .await?;
    Ok(rows == 1)
}

/// Where a group began in each of its partitions; none = from before that was kept.
pub(crate) async fn begun(read: &mut Read, grp: &str) -> Result<Vec<(String, u32, Option<i64>)>, StoreError> {
    read.all(
        "SELECT topic, partition, begun FROM flow_offset WHERE grp = $1 ORDER BY topic, partition",
        (grp,),
    )
    .await
}

/// The epochs of a group's places; each changes when somebody moves the place or takes it over.
pub(crate) async fn epochs(write: &mut Write, grp: &str) -> Result<Vec<(String, u32, i64)>, StoreError> {
    write
        .all(
            "SELECT topic, partition, epoch FROM flow_offset WHERE grp = $1 ORDER BY topic, partition",
            (grp,),
        )
        .await
}

/// Deletes what a group has: places, marks, what is parked and given up.
pub(crate) async fn forget(write: &mut Write, grp: &str) -> Result<(), StoreError> {
    write.exec("DELETE FROM flow_offset WHERE grp = $1", (grp,)).await?;
    write.exec("DELETE FROM flow_high WHERE grp = $1", (grp,)).await?;
    // The keys before the letters: who is giving one up has its key's row locked, and its letter is seen then.
    super::forgotten::all(write, grp).await?;
    write.exec("DELETE FROM flow_dead WHERE grp = $1", (grp,)).await?;
    Ok(())
}

/// What of a partition would be overtaken if its group went on at a place.
pub(crate) struct Overtaken {
    /// Messages that wait from before it.
    pub waiting: i64,
    /// Keys that are stopped for a decision about one from before it.
    pub stopped: i64,
}

pub(crate) async fn overtaken(
    write: &mut Write,
    grp: &str,
    place: &Offset,
    to: i64,
) -> Result<Overtaken, StoreError> {
    let (waiting, stopped): (i64, i64) = write
        .one(
            "SELECT (SELECT count(*) FROM flow_parked AS p JOIN flow_parked_key AS k ON k.id = p.hold
                 WHERE k.grp = $1 AND k.topic = $2 AND k.partition = $3 AND p.position < $4) AS waiting,
             (SELECT count(*) FROM flow_parked_key AS s WHERE s.grp = $1 AND s.topic = $2 AND s.partition = $3 AND s.stopped
                 AND (s.stopped_at IS NULL OR s.stopped_at < $4))
             + (SELECT count(*) FROM flow_dead AS d WHERE d.grp = $1 AND d.topic = $2 AND d.partition = $3 AND d.position < $4
                 AND d.holds IS NOT NULL) AS stopped",
            (grp, place.topic.as_str(), place.partition, to),
        )
        .await?;
    Ok(Overtaken { waiting, stopped })
}

/// The same as [`list`] within a transaction that writes.
pub(crate) async fn list_here(write: &mut Write) -> Result<Vec<Stored>, StoreError> {
    write.all("SELECT name, version, state, changed_at FROM flow_projection ORDER BY name, version", ()).await
}

/// Locks a version's row, if it still is what it was seen as: nobody switches to it or removes it before this transaction ends.
pub(crate) async fn hold(
    write: &mut Write,
    name: &str,
    version: u32,
    phase: Phase,
) -> Result<bool, StoreError> {
    let rows = write
        .exec(
            "UPDATE flow_projection SET state = state WHERE name = $1 AND version = $2 AND state = $3",
            (name, version, phase.word()),
        )
        .await?;
    Ok(rows == 1)
}

/// Locks a place that stays where it is: nothing is taken in there before this transaction ends.
pub(crate) async fn hold_place(write: &mut Write, grp: &str, place: &Offset) -> Result<(), StoreError> {
    write
        .exec(
            "UPDATE flow_offset SET epoch = epoch + 1 WHERE grp = $1 AND topic = $2 AND partition = $3",
            (grp, place.topic.as_str(), place.partition),
        )
        .await?;
    Ok(())
}

/// Locks a group's parked keys: nothing of them is tried before this transaction ends.
pub(crate) async fn hold_keys(write: &mut Write, grp: &str) -> Result<(), StoreError> {
    write.exec("UPDATE flow_parked_key SET waiting = waiting WHERE grp = $1", (grp,)).await?;
    Ok(())
}

/// What was taken away with a move back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Gone {
    pub waiting: i64,
    pub bytes: i64,
    pub letters: u64,
}

/// Where a place goes back to.
pub(crate) struct Target<'a> {
    pub to: i64,
    /// The highest number of each source before it, as the log has them: what comes again of those is known. The next message of
    /// each is taken whatever is missing before it.
    pub marks: &'a [(String, i64)],
    /// Everything that was written goes: what the group has begins here.
    pub anew: bool,
}

/// Moves a place that this transaction has locked back: what comes from there on is taken in anew, so that nothing of it is known
/// as a repeat, waits, or is given up.
pub(crate) async fn move_back(
    write: &mut Write,
    grp: &str,
    place: &Offset,
    target: &Target<'_>,
) -> Result<Gone, StoreError> {
    let (topic, partition, to) = (place.topic.as_str(), place.partition, target.to);
    // The keys first: who tries one again has its row locked.
    let keys: Vec<(Uuid, i64, i64)> = write
        .all(
            "DELETE FROM flow_parked_key WHERE grp = $1 AND topic = $2 AND partition = $3 RETURNING id, waiting, bytes",
            (grp, topic, partition),
        )
        .await?;
    let ids = keys.iter().map(|(id, ..)| (*id,).values()).collect();
    write.exec_rows("DELETE FROM flow_parked WHERE hold IN (VALUES {rows})", (), ids).await?;
    remark(write, grp, place, target.marks).await?;
    let letters = write
        .exec(
            "DELETE FROM flow_dead WHERE grp = $1 AND topic = $2 AND partition = $3 AND position >= $4",
            (grp, topic, partition, to),
        )
        .await?;
    // Letters from before it, where the log has no more: no key waits for them now.
    write
        .exec(
            "UPDATE flow_dead SET holds = NULL WHERE grp = $1 AND topic = $2 AND partition = $3 AND holds IS NOT NULL",
            (grp, topic, partition),
        )
        .await?;
    write
        .exec(
            "UPDATE flow_offset SET next = $1, last_offset = NULL, last_id = NULL,
                 begun = CASE WHEN $2 OR begun > $1 THEN $1 ELSE begun END
             WHERE grp = $3 AND topic = $4 AND partition = $5",
            (to, target.anew, grp, topic, partition),
        )
        .await?;
    let sum = |of: fn(&(Uuid, i64, i64)) -> i64| keys.iter().map(of).sum();
    Ok(Gone { waiting: sum(|key| key.1), bytes: sum(|key| key.2), letters })
}

/// Puts the marks of the sources of a partition back to what they were at a place before.
async fn remark(
    write: &mut Write,
    grp: &str,
    place: &Offset,
    marks: &[(String, i64)],
) -> Result<(), StoreError> {
    let (topic, partition) = (place.topic.as_str(), place.partition);
    write
        .exec(
            "DELETE FROM flow_high WHERE grp = $1 AND topic = $2 AND partition = $3",
            (grp, topic, partition),
        )
        .await?;
    let rows =
        marks.iter().map(|(source, seq)| (grp, topic, partition, source.as_str(), *seq, true).values());
    write
        .exec_rows(
            "INSERT INTO flow_high (grp, topic, partition, source, seq, loose) VALUES {rows}",
            (),
            rows.collect(),
        )
        .await?;
    Ok(())
}
