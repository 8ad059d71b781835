//! Who did what to messages by hand.

use artel_message::Time;
use artel_store::{FromRow, Read, Row, StoreError, Write};
use uuid::Uuid;

/// Something that was done by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    pub id: Uuid,
    pub at: Time,
    pub who: String,
    /// `retry-letter`, `edit-letter`, `drop-letter`, `retry-key`, `release-key`, `drop-message`, `skip`, `rewind`, `retire`.
    pub action: String,
    /// The letter's or the key's id; group, topic and partition of a place.
    pub target: String,
    /// What it was done to, for people.
    pub detail: String,
    pub reason: Option<String>,
}

impl FromRow for Audit {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Audit {
            id: row.get("id")?,
            at: row.get("at")?,
            who: row.get("who")?,
            action: row.get("action")?,
            target: row.get("target")?,
            detail: row.get("detail")?,
            reason: row.get("reason")?,
        })
    }
}

pub(crate) async fn note(write: &mut Write, a: Audit) -> Result<(), StoreError> {
    write
        .exec(
            "INSERT INTO flow_audit (id, at, who, action, target, detail, reason) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            (a.id, a.at, a.who, a.action, a.target, a.detail, a.reason),
        )
        .await?;
    Ok(())
}

/// The newest first, behind the one at this time with this id.
pub(crate) async fn list(
    read: &mut Read,
    behind: (Time, Uuid),
    limit: i64,
) -> Result<Vec<Audit>, StoreError> {
    read.all(
        "SELECT id, at, who, action, target, detail, reason FROM flow_audit
         WHERE at < $1 OR (at = $1 AND id < $2) ORDER BY at DESC, id DESC LIMIT $3",
        (behind.0, behind.1, limit),
    )
    .await
}

pub(crate) async fn purge(write: &mut Write, before: Time, limit: i64) -> Result<u64, StoreError> {
    write
        .exec(
            "DELETE FROM flow_audit WHERE id IN (SELECT id FROM flow_audit WHERE at < $1 ORDER BY at LIMIT $2)",
            (before, limit),
        )
        .await
}
