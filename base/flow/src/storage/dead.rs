//! Dead letters: messages given up on, kept whole with their cause.

use artel_message::Time;
use artel_store::{Args, FromRow, Read, Row, StoreError, Write};
use bytes::Bytes;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub id: Uuid,
    pub group: String,
    pub topic: String,
    pub partition: u32,
    pub offset: i64,
    /// The message's own id, or the derived one of a foreign message.
    pub message: Uuid,
    pub name: Option<String>,
    pub key: Option<Bytes>,
    /// Encoded by `wire`.
    pub(crate) headers: Bytes,
    pub value: Option<Bytes>,
    pub code: String,
    pub reason: String,
    pub attempts: u32,
    pub at: Time,
}

impl FromRow for DeadLetter {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(DeadLetter {
            id: row.get("id")?,
            group: row.get("grp")?,
            topic: row.get("topic")?,
            partition: row.get("partition")?,
            offset: row.get("position")?,
            message: row.get("message")?,
            name: row.get("name")?,
            key: row.get("key")?,
            headers: row.get("headers")?,
            value: row.get("value")?,
            code: row.get("code")?,
            reason: row.get("reason")?,
            attempts: row.get("attempts")?,
            at: row.get("at")?,
        })
    }
}

pub(crate) async fn insert(write: &mut Write, d: DeadLetter) -> Result<(), StoreError> {
    let row = (
        d.id,
        d.group,
        d.topic,
        d.partition,
        d.offset,
        d.message,
        d.name,
        d.key,
        d.headers,
        d.value,
        d.code,
        d.reason,
        d.attempts,
        d.at,
    )
        .values();
    write
        .exec_rows(
            "INSERT INTO flow_dead (id, grp, topic, partition, position, message, name, key, headers, value, code, reason,
             attempts, at) VALUES {rows} ON CONFLICT DO NOTHING",
            (),
            vec![row],
        )
        .await?;
    Ok(())
}

/// The newest first, behind the letter at this time with this id.
pub(crate) async fn list(
    read: &mut Read,
    behind: (Time, Uuid),
    limit: i64,
) -> Result<Vec<DeadLetter>, StoreError> {
    read.all(
        "SELECT id, grp, topic, partition, position, message, name, key, headers, value, code, reason, attempts, at
         FROM flow_dead WHERE at < $1 OR (at = $1 AND id < $2) ORDER BY at DESC, id DESC LIMIT $3",
        (behind.0, behind.1, limit),
    )
    .await
}

pub(crate) async fn purge(write: &mut Write, before: Time, limit: i64) -> Result<u64, StoreError> {
    write
        .exec(
            "DELETE FROM flow_dead WHERE id IN (SELECT id FROM flow_dead WHERE at < $1 ORDER BY at LIMIT $2)",
            (before, limit),
        )
        .await
}
