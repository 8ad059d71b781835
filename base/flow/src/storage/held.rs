//! Parked keys as operators see them.

use crate::fingerprint::Chain;
use artel_message::{Envelope, Time};
use artel_store::{FromRow, Read, Row, StoreError};
use bytes::Bytes;
use uuid::Uuid;

/// A parked key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedKey {
    pub id: Uuid,
    pub group: String,
    pub topic: String,
    pub partition: u32,
    /// `None` = its message has none; of a key above 512 bytes its SHA-256.
    pub key: Option<Bytes>,
    /// Messages that wait, the one that fails among them, and their bytes.
    pub waiting: i64,
    pub bytes: i64,
    /// When the first one is tried again; `None` = stopped, somebody has to decide.
    pub due: Option<Time>,
    /// The first letter that it is stopped behind: a decision about it lets the key go on.
    pub letter: Option<Uuid>,
    /// `None` = none waits: the message that it is stopped for is the letter.
    pub first: Option<First>,
    pub parked_at: Time,
    /// Of the first message.
    pub attempts: u32,
    /// Since when the first message fails; `None` = it has not failed yet.
    pub failing_since: Option<Time>,
    pub code: Option<String>,
    pub reason: Option<String>,
    /// The same for the same cause.
    pub fingerprint: Option<String>,
    /// What the first message failed with, in order.
    pub errors: Chain,
}

/// The first message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct First {
    pub offset: i64,
    /// Its own id, or the derived one of a foreign message.
    pub message: Uuid,
    pub name: Option<String>,
    /// When its record was written.
    pub written_at: Time,
    /// As it was read; looked up where one key is asked for.
    pub value: Option<Bytes>,
}

impl First {
    fn of(row: &Row) -> Result<Option<First>, StoreError> {
        let Some(offset) = row.get::<Option<i64>>("position")? else { return Ok(None) };
        let headers: Option<Bytes> = row.get("headers")?;
        let headers = headers.and_then(|headers| crate::wire::decode(&headers).ok());
        let envelope = headers.and_then(|headers| Envelope::from_headers(&headers).ok());
        Ok(Some(First {
            offset,
            message: row.get::<Option<Uuid>>("message")?.unwrap_or_default(),
            name: envelope.map(|envelope| envelope.name),
            written_at: row.get::<Option<Time>>("time")?.unwrap_or(Time::MIN),
            value: row.get("value")?,
        }))
    }
}

impl FromRow for ParkedKey {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let lane: Bytes = row.get("key")?;
        let due: Time = row.get("due")?;
        let errors: Option<String> = row.get("errors")?;
        Ok(ParkedKey {
            id: row.get("id")?,
            group: row.get("grp")?,
            topic: row.get("topic")?,
            partition: row.get("partition")?,
            key: lane.first().is_some_and(|tag| *tag > 0).then(|| lane.slice(1..)),
            waiting: row.get("waiting")?,
            bytes: row.get("bytes")?,
            due: (due < Time::MAX).then_some(due),
            letter: row.get("letter")?,
            first: First::of(row)?,
            parked_at: row.get("parked_at")?,
            attempts: row.get("attempts")?,
            failing_since: row.get("failed_at")?,
            code: row.get("code")?,
            reason: row.get("reason")?,
            fingerprint: row.get("fingerprint")?,
            errors: Chain::read(errors.as_deref()),
        })
    }
}

/// With the value of its first message.
pub(crate) async fn one(read: &mut Read, id: Uuid) -> Result<Option<ParkedKey>, StoreError> {
    read.opt(
        "SELECT k.id AS id, k.grp AS grp, k.topic AS topic, k.partition AS partition, k.key AS key, k.waiting AS waiting,
                 k.bytes AS bytes, k.due AS due, k.parked_at AS parked_at, k.attempts AS attempts, k.failed_at AS failed_at,
                 k.code AS code, k.reason AS reason, k.fingerprint AS fingerprint, k.errors AS errors,
                 (SELECT d.id FROM flow_dead AS d WHERE d.holds = k.id ORDER BY d.position LIMIT 1) AS letter,
                 p.position AS position, p.cause AS message, p.headers AS headers, p.time AS time, p.value AS value
             FROM flow_parked_key AS k LEFT JOIN flow_parked AS p
                 ON p.hold = k.id AND p.position = (SELECT min(f.position) FROM flow_parked AS f WHERE f.hold = k.id)
             WHERE k.id = $1",
        (id,),
    )
    .await
}

/// By id, behind the key with this id; of one group, if named.
pub(crate) async fn list(
    read: &mut Read,
    grp: Option<&str>,
    behind: Uuid,
    limit: i64,
) -> Result<Vec<ParkedKey>, StoreError> {
    let Some(grp) = grp else {
        return read
            .all(
                "SELECT k.id AS id, k.grp AS grp, k.topic AS topic, k.partition AS partition, k.key AS key, k.waiting AS waiting,
                 k.bytes AS bytes, k.due AS due, k.parked_at AS parked_at, k.attempts AS attempts, k.failed_at AS failed_at,
                 k.code AS code, k.reason AS reason, k.fingerprint AS fingerprint, k.errors AS errors,
                 (SELECT d.id FROM flow_dead AS d WHERE d.holds = k.id ORDER BY d.position LIMIT 1) AS letter,
                 p.position AS position, p.cause AS message, p.headers AS headers, p.time AS time, CAST(NULL AS BYTEA) AS value
             FROM flow_parked_key AS k LEFT JOIN flow_parked AS p
                 ON p.hold = k.id AND p.position = (SELECT min(f.position) FROM flow_parked AS f WHERE f.hold = k.id)
             WHERE k.id > $1 ORDER BY k.id LIMIT $2",
                (behind, limit),
            )
            .await;
    };
    read.all(
        "SELECT k.id AS id, k.grp AS grp, k.topic AS topic, k.partition AS partition, k.key AS key, k.waiting AS waiting,
                 k.bytes AS bytes, k.due AS due, k.parked_at AS parked_at, k.attempts AS attempts, k.failed_at AS failed_at,
                 k.code AS code, k.reason AS reason, k.fingerprint AS fingerprint, k.errors AS errors,
                 (SELECT d.id FROM flow_dead AS d WHERE d.holds = k.id ORDER BY d.position LIMIT 1) AS letter,
                 p.position AS position, p.cause AS message, p.headers AS headers, p.time AS time, CAST(NULL AS BYTEA) AS value
             FROM flow_parked_key AS k LEFT JOIN flow_parked AS p
                 ON p.hold = k.id AND p.position = (SELECT min(f.position) FROM flow_parked AS f WHERE f.hold = k.id)
             WHERE k.grp = $1 AND k.id > $2 ORDER BY k.id LIMIT $3",
        (grp, behind, limit),
    )
    .await
}

/// More keys of a group are not counted.
const COUNTED: i64 = 100_000;

/// How many keys of a group are parked, counted up to a bound, and since when the oldest is.
pub(crate) async fn measure(read: &mut Read, grp: &str) -> Result<(i64, Option<Time>), StoreError> {
    let (keys,): (i64,) = read
        .one(
            "SELECT count(*) FROM (SELECT id FROM flow_parked_key WHERE grp = $1 LIMIT $2) AS counted",
            (grp, COUNTED),
        )
        .await?;
    let oldest: Option<(Time,)> = read
        .opt("SELECT parked_at FROM flow_parked_key WHERE grp = $1 ORDER BY parked_at LIMIT 1", (grp,))
        .await?;
    Ok((keys, oldest.map(|(at,)| at)))
}
