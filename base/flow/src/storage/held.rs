//! Parked keys as operators see them.

use crate::fingerprint::Chain;
use artel_message::Time;
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

impl FromRow for ParkedKey {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let lane: Bytes = row.get("key")?;
        let (due, stopped): (Time, bool) = (row.get("due")?, row.get("stopped")?);
        let errors: Option<String> = row.get("errors")?;
        Ok(ParkedKey {
            id: row.get("id")?,
            group: row.get("grp")?,
            topic: row.get("topic")?,
            partition: row.get("partition")?,
            key: lane.first().is_some_and(|tag| *tag > 0).then(|| lane.slice(1..)),
            waiting: row.get("waiting")?,
            bytes: row.get("bytes")?,
            due: (!stopped).then_some(due),
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

/// The fields of a parked key.
macro_rules! keys {
    ($rest:literal) => {
        concat!(
            "SELECT id, grp, topic, partition, key, waiting, bytes, due, stopped, parked_at, attempts, failed_at, code, reason,
             fingerprint, errors FROM flow_parked_key ",
            $rest
        )
    };
}

pub(crate) async fn one(read: &mut Read, id: Uuid) -> Result<Option<ParkedKey>, StoreError> {
    read.opt(keys!("WHERE id = $1"), (id,)).await
}

/// By id, behind the key with this id; of one group, if named.
pub(crate) async fn list(
    read: &mut Read,
    grp: Option<&str>,
    behind: Uuid,
    limit: i64,
) -> Result<Vec<ParkedKey>, StoreError> {
    read.all(
        keys!("WHERE id > $1 AND ($2 = '' OR grp = $2) ORDER BY id LIMIT $3"),
        (behind, grp.unwrap_or_default(), limit),
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
