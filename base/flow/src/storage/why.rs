//! Where one message stands in a service's tables. Nothing here is needed to work: each is a look for an operator.

use super::audit::Audit;
use artel_message::Time;
use artel_store::{FromRow, Read, Row, StoreError};
use bytes::Bytes;
use uuid::Uuid;

/// A message that is committed and not confirmed by the log yet.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub id: Uuid,
    pub topic: String,
    pub partition: Option<u32>,
    pub name: String,
    pub key: Option<Bytes>,
    pub headers: Bytes,
    pub value: Option<Bytes>,
    pub at: Time,
}

impl FromRow for Outgoing {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Outgoing {
            id: row.get("message")?,
            topic: row.get("topic")?,
            partition: row.get("partition")?,
            name: row.get("name")?,
            key: row.get("key")?,
            headers: row.get("headers")?,
            value: row.get("value")?,
            at: row.get("at")?,
        })
    }
}

/// The outbox is bounded, so that it has no index for this.
pub(crate) async fn outgoing(read: &mut Read, id: Uuid) -> Result<Option<Outgoing>, StoreError> {
    read.opt(
        "SELECT message, topic, partition, name, key, headers, value, at FROM flow_outbox WHERE message = $1 LIMIT 1",
        (id,),
    )
    .await
}

/// What waits in the outbox since this time or later, the oldest first.
pub(crate) async fn outbox_since(
    read: &mut Read,
    since: Time,
    limit: i64,
) -> Result<Vec<(Uuid, Bytes)>, StoreError> {
    read.all("SELECT message, headers FROM flow_outbox WHERE at >= $1 ORDER BY id LIMIT $2", (since, limit))
        .await
}

/// A group's place in one partition.
#[derive(Debug, Clone)]
pub(crate) struct Stand {
    pub next: i64,
    pub begun: Option<i64>,
}

pub(crate) async fn stand(
    read: &mut Read,
    grp: &str,
    topic: &str,
    partition: u32,
) -> Result<Option<Stand>, StoreError> {
    let row: Option<(i64, Option<i64>)> = read
        .opt(
            "SELECT next, begun FROM flow_offset WHERE grp = $1 AND topic = $2 AND partition = $3",
            (grp, topic, partition),
        )
        .await?;
    Ok(row.map(|(next, begun)| Stand { next, begun }))
}

/// The id of the parked key that a place waits behind, with the offset of the key's first message.
pub(crate) async fn waiting(
    read: &mut Read,
    grp: &str,
    (topic, partition, offset): (&str, u32, i64),
    lane: &Bytes,
) -> Result<Option<(Uuid, i64)>, StoreError> {
    read.opt(
        "SELECT k.id, (SELECT min(f.position) FROM flow_parked AS f WHERE f.hold = k.id) AS first
         FROM flow_parked_key AS k JOIN flow_parked AS p ON p.hold = k.id AND p.position = $4
         WHERE k.grp = $1 AND k.topic = $2 AND k.partition = $3 AND k.key = $5",
        (grp, topic, partition, offset, lane.clone()),
    )
    .await
}

/// A message that waits behind a parked key.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub topic: String,
    pub partition: u32,
    pub offset: i64,
    pub cause: Uuid,
    pub caused_at: Time,
    pub time: Time,
    pub key: Option<Bytes>,
    pub headers: Bytes,
    pub value: Option<Bytes>,
}

impl FromRow for Waiting {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Waiting {
            topic: row.get("topic")?,
            partition: row.get("partition")?,
            offset: row.get("position")?,
            cause: row.get("cause")?,
            caused_at: row.get("caused_at")?,
            time: row.get("time")?,
            key: row.get("key")?,
            headers: row.get("headers")?,
            value: row.get("value")?,
        })
    }
}

/// A waiting message by its id, in whichever group. What waits is bounded, and all of it is looked at: for messages that the
/// log has deleted.
pub(crate) async fn waiting_message(read: &mut Read, id: Uuid) -> Result<Option<Waiting>, StoreError> {
    read.opt(
        "SELECT k.topic, k.partition, p.position, p.cause, p.caused_at, p.time, p.key, p.headers, p.value
         FROM flow_parked AS p JOIN flow_parked_key AS k ON k.id = p.hold WHERE p.cause = $1 ORDER BY p.position LIMIT 1",
        (id,),
    )
    .await
}

/// The letters of a message, in all groups.
pub(crate) async fn letters(read: &mut Read, message: Uuid) -> Result<Vec<Uuid>, StoreError> {
    let rows: Vec<(Uuid,)> =
        read.all("SELECT id FROM flow_dead WHERE message = $1 ORDER BY at, id LIMIT 20", (message,)).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// What was done by hand to a letter, to a parked key, or to a message of a group as it stands in a step's detail; the oldest first.
pub(crate) async fn steps(
    read: &mut Read,
    letter: &str,
    key: &str,
    dropped: &str,
) -> Result<Vec<Audit>, StoreError> {
    read.all(
        "SELECT id, at, who, action, target, detail, reason FROM flow_audit
         WHERE target = $1 OR target = $2 OR (action = 'drop-message' AND detail = $3) ORDER BY at, id LIMIT 20",
        (letter, key, dropped),
    )
    .await
}

/// Moves of a group's partition by hand, the oldest first.
pub(crate) async fn moves(read: &mut Read, target: &str) -> Result<Vec<Audit>, StoreError> {
    read.all(
        "SELECT id, at, who, action, target, detail, reason FROM flow_audit
         WHERE target = $1 AND action IN ('skip', 'rewind') ORDER BY at, id LIMIT 200",
        (target,),
    )
    .await
}

/// A timer that waits.
#[derive(Debug, Clone)]
pub(crate) struct Timer {
    pub name: String,
    pub key: String,
    pub due: Time,
    pub attempts: u32,
}

impl FromRow for Timer {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Timer {
            name: row.get("name")?,
            key: row.get("key")?,
            due: row.get("due")?,
            attempts: row.get("attempts")?,
        })
    }
}

/// Timers that a message has set, among so many that are due first: there may be millions, and none is looked up by its cause
/// but here.
pub(crate) async fn timers(read: &mut Read, cause: Uuid, among: i64) -> Result<Vec<Timer>, StoreError> {
    read.all(
        "SELECT name, key, due, attempts FROM (SELECT name, key, due, attempts, cause FROM flow_timer ORDER BY due LIMIT $2) AS t
         WHERE cause = $1 ORDER BY due LIMIT 20",
        (cause, among),
    )
    .await
}

/// An effect that waits, or is called now.
#[derive(Debug, Clone)]
pub(crate) struct Effect {
    pub name: String,
    pub made_at: Time,
    pub due: Time,
    pub attempts: u32,
    pub done: bool,
}

impl FromRow for Effect {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Effect {
            name: row.get("name")?,
            made_at: row.get("made_at")?,
            due: row.get("due")?,
            attempts: row.get("attempts")?,
            done: row.get::<Option<bool>>("ok")?.is_some(),
        })
    }
}

pub(crate) async fn effect(read: &mut Read, id: Uuid) -> Result<Option<Effect>, StoreError> {
    read.opt("SELECT name, made_at, due, attempts, ok FROM flow_effect WHERE id = $1", (id,)).await
}

/// Whether the reply to a command of a caller is kept: (whether it succeeded, until when).
pub(crate) async fn answered(
    read: &mut Read,
    caller: &str,
    command: &str,
    id: &str,
) -> Result<Option<(bool, Time)>, StoreError> {
    read.opt(
        "SELECT ok, until FROM flow_answered WHERE caller = $1 AND command = $2 AND key = $3",
        (caller, command, id),
    )
    .await
}

/// The offset of the first message that waits behind a parked key.
pub(crate) async fn first_of(read: &mut Read, key: Uuid) -> Result<Option<i64>, StoreError> {
    let (first,): (Option<i64>,) =
        read.one("SELECT min(position) AS first FROM flow_parked WHERE hold = $1", (key,)).await?;
    Ok(first)
}
