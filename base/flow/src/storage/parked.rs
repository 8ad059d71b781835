//! Parked keys and what waits behind them. Whoever adds to a key or takes from it has its row locked first, so that none is
//! added to a key that is about to go.

use artel_message::{Cause, Headers, Time};
use artel_store::{Args, Engine, FromRow, Read, Row, Sql, StoreError, Values, Write};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Keys above this length are told apart by their hash.
const KEY_BYTES: usize = 512;
/// Beside key, value and headers.
const ROW_BYTES: usize = 64;

/// What tells parked keys of a partition apart: the key's bytes, or a message's place where it has no key.
pub(crate) fn lane(key: Option<&[u8]>, offset: i64) -> Bytes {
    let (tag, rest): (u8, Vec<u8>) = match key {
        None => (0, offset.to_be_bytes().to_vec()),
        Some(key) if key.len() <= KEY_BYTES => (1, key.to_vec()),
        Some(key) => (2, Sha256::digest(key).to_vec()),
    };
    std::iter::once(tag).chain(rest).collect()
}

/// The place of a message without a key, where a lane is one's.
pub(crate) fn place_of(lane: &[u8]) -> Option<i64> {
    let (tag, place) = lane.split_first()?;
    (*tag == 0).then(|| place.try_into().ok().map(i64::from_be_bytes)).flatten()
}

/// A parked key that a group's messages go behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    pub id: Uuid,
    pub topic: String,
    pub partition: u32,
    pub lane: Bytes,
    /// Messages behind it.
    pub waiting: i64,
}

impl FromRow for Hold {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Hold {
            id: row.get("id")?,
            topic: row.get("topic")?,
            partition: row.get("partition")?,
            lane: row.get("key")?,
            waiting: row.get("waiting")?,
        })
    }
}

/// What is known of the failures of a key's first message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Failing {
    pub attempts: u32,
    /// Since when it fails.
    pub since: Option<Time>,
    pub code: Option<String>,
    pub reason: Option<String>,
    pub fingerprint: Option<String>,
    /// The chain of its errors, as JSON.
    pub errors: Option<String>,
}

/// A key to be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub hold: Hold,
    pub version: i64,
    pub stopped: bool,
    /// What is before this position is taken in though the key is stopped.
    pub stopped_at: Option<i64>,
    pub failing: Failing,
}

impl FromRow for Claimed {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Claimed {
            hold: Hold::from_row(row)?,
            version: row.get("version")?,
            stopped: row.get("stopped")?,
            stopped_at: row.get("stopped_at")?,
            failing: Failing {
                attempts: row.get("attempts")?,
                since: row.get("failed_at")?,
                code: row.get("code")?,
                reason: row.get("reason")?,
                fingerprint: row.get("fingerprint")?,
                errors: row.get("errors")?,
            },
        })
    }
}

impl Claimed {
    /// Messages at this position and behind it wait for a decision.
    pub fn until(&self) -> i64 {
        if self.stopped { self.stopped_at.unwrap_or(i64::MIN) } else { i64::MAX }
    }
}

/// The fields of a claimed key.
macro_rules! claimed {
    ($rest:literal) => {
        concat!(
            "SELECT id, topic, partition, key, waiting, version, stopped, stopped_at, attempts, failed_at, code, reason,
             fingerprint, errors FROM flow_parked_key ",
            $rest
        )
    };
}
pub(super) use claimed;

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parked {
    pub offset: i64,
    pub cause: Cause,
    /// Whether its source is believed.
    pub ours: bool,
    pub time: Time,
    pub key: Option<Bytes>,
    /// Encoded by `wire`.
    pub headers: Bytes,
    pub value: Option<Bytes>,
    /// The dead letter that it was before somebody wanted it tried again.
    pub letter: Option<Uuid>,
}

impl Parked {
    pub fn headers_of(headers: &Headers) -> Bytes {
        crate::wire::encode(headers)
    }

    /// What it counts against the bounds.
    pub fn size(&self) -> i64 {
        let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        i64::try_from(self.headers.len() + of(&self.key) + of(&self.value) + ROW_BYTES).unwrap_or(i64::MAX)
    }

    pub fn row(self, hold: Uuid) -> Values {
        let (id, at) = (self.cause.id(), self.cause.at());
        let what = (self.key, self.headers, self.value, self.letter);
        (hold, self.offset, id, at, self.ours, self.time, what.0, what.1, what.2, what.3).values()
    }
}

impl FromRow for Parked {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Parked {
            offset: row.get("position")?,
            cause: Cause::message(row.get("cause")?, row.get("caused_at")?),
            ours: row.get("ours")?,
            time: row.get("time")?,
            key: row.get("key")?,
            headers: row.get("headers")?,
            value: row.get("value")?,
            letter: row.get("letter")?,
        })
    }
}

/// Whether a partition of a group has parked keys.
pub(crate) async fn any(read: &mut Read, grp: &str, topic: &str, partition: u32) -> Result<bool, StoreError> {
    let row: Option<(Uuid,)> = read
        .opt(
            "SELECT id FROM flow_parked_key WHERE grp = $1 AND topic = $2 AND partition = $3 LIMIT 1",
            (grp, topic, partition),
        )
        .await?;
    Ok(row.is_some())
}

/// Which of these (topic, partition, lane) are parked. They are locked: none of them goes before this transaction ends.
pub(crate) async fn look_up(
    write: &mut Write,
    grp: &str,
    lanes: Vec<(String, u32, Bytes)>,
) -> Result<Vec<Hold>, StoreError> {
    write
        .all_rows(
            "UPDATE flow_parked_key SET waiting = flow_parked_key.waiting FROM (VALUES {rows}) AS v
             WHERE flow_parked_key.grp = $1 AND flow_parked_key.topic = v.column1
                 AND flow_parked_key.partition = v.column2 AND flow_parked_key.key = v.column3
             RETURNING flow_parked_key.id, flow_parked_key.topic, flow_parked_key.partition, flow_parked_key.key,
                 flow_parked_key.waiting",
            (grp,),
            lanes.into_iter().map(Args::values).collect(),
        )
        .await
}

/// A parked key that messages are to go behind.
pub(crate) struct Found {
    pub hold: Hold,
    /// Somebody else has it at this moment: its first message is being tried. It is not locked.
    pub busy: bool,
}

impl FromRow for Found {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Found { hold: Hold::from_row(row)?, busy: row.get("busy")? })
    }
}

/// The same without waiting for those that others have: a handler may run long, and the partition's fence is held meanwhile.
pub(crate) async fn find(
    write: &mut Write,
    engine: Engine,
    grp: &str,
    lanes: Vec<(String, u32, Bytes)>,
) -> Result<Vec<Found>, StoreError> {
    // SQLite has one writer at a time.
    const FIND: Sql = Sql {
        sqlite: "UPDATE flow_parked_key SET waiting = flow_parked_key.waiting FROM (VALUES {rows}) AS v
             WHERE flow_parked_key.grp = $1 AND flow_parked_key.topic = v.column1
                 AND flow_parked_key.partition = v.column2 AND flow_parked_key.key = v.column3
             RETURNING flow_parked_key.id, flow_parked_key.topic, flow_parked_key.partition, flow_parked_key.key,
                 flow_parked_key.waiting, FALSE AS busy",
        postgres: "WITH v AS (VALUES {rows}),
             locked AS MATERIALIZED (SELECT k.id FROM flow_parked_key AS k JOIN v
                 ON k.topic = v.column1 AND k.partition = v.column2 AND k.key = v.column3
                 WHERE k.grp = $1 FOR UPDATE OF k SKIP LOCKED)
             SELECT k.id, k.topic, k.partition, k.key, k.waiting, locked.id IS NULL AS busy
             FROM flow_parked_key AS k JOIN v ON k.topic = v.column1 AND k.partition = v.column2 AND k.key = v.column3
                 LEFT JOIN locked ON locked.id = k.id
             WHERE k.grp = $1",
    };
    write.all_rows(FIND.pick(engine), (grp,), lanes.into_iter().map(Args::values).collect()).await
}

/// Adds messages (rows by [`Parked::row`]) behind keys that this transaction has locked: (key, how many, bytes).
pub(crate) async fn join(
    write: &mut Write,
    keys: Vec<(Uuid, i64, i64)>,
    messages: Vec<Values>,
) -> Result<(), StoreError> {
    write
        .exec_rows(
            "UPDATE flow_parked_key SET waiting = flow_parked_key.waiting + v.column2, bytes = flow_parked_key.bytes + v.column3
             FROM (VALUES {rows}) AS v WHERE flow_parked_key.id = v.column1",
            (),
            keys.into_iter().map(Args::values).collect(),
        )
        .await?;
    insert(write, messages).await
}

async fn insert(write: &mut Write, messages: Vec<Values>) -> Result<(), StoreError> {
    write
        .exec_rows(
            "INSERT INTO flow_parked (hold, position, cause, caused_at, ours, time, key, headers, value, letter)
             VALUES {rows}",
            (),
            messages,
        )
        .await?;
    Ok(())
}

/// A key to be parked, or one that stays stopped without a message.
pub(crate) struct New<'a> {
    pub id: Uuid,
    pub grp: &'a str,
    pub topic: &'a str,
    pub partition: u32,
    pub lane: Bytes,
    pub now: Time,
    /// `None` = stopped.
    pub due: Option<Time>,
    /// Behind which message.
    pub stopped_at: Option<i64>,
    pub failing: Failing,
}

/// Parks a key with its first message, if any. Its partition's owner has found that it is not parked.
pub(crate) async fn park(write: &mut Write, new: New<'_>, first: Option<Parked>) -> Result<(), StoreError> {
    let (waiting, bytes) = first.as_ref().map_or((0, 0), |message| (1, message.size()));
    let due = new.due.unwrap_or(Time::MAX);
    let place = (new.id, new.grp, new.topic, new.partition, new.lane);
    let f = new.failing;
    write
        .exec(
            "INSERT INTO flow_parked_key (id, grp, topic, partition, key, waiting, version, bytes, due, stopped, parked_at,
                 attempts, failed_at, code, reason, fingerprint)
             VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
            (
                place.0,
                place.1,
                place.2,
                place.3,
                place.4,
                waiting,
                bytes,
                due,
                new.due.is_none(),
                new.now,
                f.attempts,
                f.since,
                f.code,
                f.reason,
                f.fingerprint,
            ),
        )
        .await?;
    if let Some(at) = new.stopped_at {
        write.exec("UPDATE flow_parked_key SET stopped_at = $1 WHERE id = $2", (at, new.id)).await?;
    }
    if let Some(errors) = f.errors {
        write.exec("UPDATE flow_parked_key SET errors = $1 WHERE id = $2", (errors, new.id)).await?;
    }
    insert(write, first.into_iter().map(|message| message.row(new.id)).collect()).await
}

/// Keys whose first message is due, the longest first.
pub(crate) async fn due(read: &mut Read, grp: &str, now: Time, limit: i64) -> Result<Vec<Uuid>, StoreError> {
    let rows: Vec<(Uuid,)> = read
        .all(
            "SELECT id FROM flow_parked_key WHERE grp = $1 AND due <= $2 ORDER BY due LIMIT $3",
            (grp, now, limit),
        )
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// When a group's next key is due.
pub(crate) async fn next(read: &mut Read, grp: &str) -> Result<Option<Time>, StoreError> {
    let row: Option<(Time,)> =
        read.opt("SELECT due FROM flow_parked_key WHERE grp = $1 ORDER BY due LIMIT 1", (grp,)).await?;
    Ok(row.map(|(due,)| due).filter(|due| *due < Time::MAX))
}

/// Locks a key that is still due; none where another node has it at this moment.
pub(crate) async fn claim(
    write: &mut Write,
    engine: Engine,
    id: Uuid,
    now: Time,
) -> Result<Option<Claimed>, StoreError> {
    const CLAIM: Sql = Sql {
        sqlite: claimed!("WHERE id = $1 AND due <= $2"),
        postgres: claimed!("WHERE id = $1 AND due <= $2 FOR UPDATE SKIP LOCKED"),
    };
    write.opt(CLAIM.pick(engine), (id, now)).await
}

/// The first messages of a key, before this position.
pub(crate) async fn first(
    write: &mut Write,
    id: Uuid,
    before: i64,
    limit: i64,
) -> Result<Vec<Parked>, StoreError> {
    write
        .all(
            "SELECT position, cause, caused_at, ours, time, key, headers, value, letter FROM flow_parked
             WHERE hold = $1 AND position < $2 ORDER BY position LIMIT $3",
            (id, before, limit),
        )
        .await
}

/// What of a key's first messages is done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken {
    pub count: i64,
    pub bytes: i64,
    /// The offset of the last of them.
    pub to: i64,
}

/// Takes the first messages of a key that this transaction has locked. The next one is due as the key is, unless it waits for a
/// decision. The key goes with its last message, unless it is stopped.
pub(crate) async fn take(write: &mut Write, key: &Claimed, taken: Taken) -> Result<(), StoreError> {
    let id = key.hold.id;
    write.exec("DELETE FROM flow_parked WHERE hold = $1 AND position <= $2", (id, taken.to)).await?;
    if taken.count == key.hold.waiting && !key.stopped {
        write.exec("DELETE FROM flow_parked_key WHERE id = $1", (id,)).await?;
        return Ok(());
    }
    write
        .exec(
            "UPDATE flow_parked_key SET waiting = waiting - $1, bytes = bytes - $2, version = version + 1, attempts = 0,
                 failed_at = NULL, code = NULL, reason = NULL, fingerprint = NULL, errors = NULL WHERE id = $3",
            (taken.count, taken.bytes, id),
        )
        .await?;
    if key.stopped { rest(write, id).await } else { Ok(()) }
}

/// A stopped key of which nothing is before the letter that it waits for is not due.
pub(crate) async fn rest(write: &mut Write, id: Uuid) -> Result<(), StoreError> {
    write
        .exec(
            "UPDATE flow_parked_key SET due = $1 WHERE id = $2 AND stopped = TRUE AND NOT EXISTS
                 (SELECT 1 FROM flow_parked WHERE hold = $2 AND position < flow_parked_key.stopped_at)",
            (Time::MAX, id),
        )
        .await?;
    Ok(())
}

/// Puts a key off whose first message failed again; nothing where it is another one by now.
pub(crate) async fn put_off(
    write: &mut Write,
    key: &Claimed,
    due: Time,
    failing: &Failing,
) -> Result<bool, StoreError> {
    let rows = write
        .exec(
            "UPDATE flow_parked_key SET due = $1, attempts = $2, failed_at = $3, code = $4, reason = $5, fingerprint = $6,
                 errors = $7, version = version + 1 WHERE id = $8 AND version = $9",
            (
                due,
                failing.attempts,
                failing.since,
                failing.code.clone(),
                failing.reason.clone(),
                failing.fingerprint.clone(),
                failing.errors.clone(),
                key.hold.id,
                key.version,
            ),
        )
        .await?;
    Ok(rows == 1)
}

/// Stops a key that this transaction has locked, behind its first message: what is later waits until somebody decides.
pub(crate) async fn stop(write: &mut Write, key: &mut Claimed, at: i64) -> Result<(), StoreError> {
    let at = key.stopped_at.map_or(at, |before| before.min(at));
    (key.stopped, key.stopped_at) = (true, Some(at));
    write
        .exec(
            "UPDATE flow_parked_key SET stopped = TRUE, stopped_at = $1, due = $2 WHERE id = $3",
            (at, Time::MAX, key.hold.id),
        )
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_tell_keys_apart_and_messages_without_one() {
        let long = vec![7; KEY_BYTES + 1];
        let lanes = [
            lane(None, 1),
            lane(None, 2),
            lane(Some(b""), 1),
            lane(Some(&1i64.to_be_bytes()), 9),
            lane(Some(&long), 1),
            lane(Some(&long[..KEY_BYTES]), 1),
        ];
        for (i, a) in lanes.iter().enumerate() {
            assert!(lanes.iter().skip(i + 1).all(|b| a != b), "{i}");
        }
        assert_eq!(lane(Some(b"k"), 1), lane(Some(b"k"), 2));
        assert_eq!(lane(Some(&long), 1).len(), 33);
    }
}
