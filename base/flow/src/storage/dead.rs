//! Dead letters: messages given up on, kept whole with their cause.

use crate::fingerprint::{Chain, fingerprint};
use artel_message::{Cause, Headers, Time};
use artel_store::{Args, FromRow, Read, Row, StoreError, Values, Write};
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
    pub trail: Trail,
}

/// What a letter needs to be tried again as it was, and what it went through. Empty in letters from before it was kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trail {
    /// What ids of the handler derive from.
    pub(crate) cause: Option<Cause>,
    /// Whether its source is believed.
    pub(crate) ours: bool,
    /// When its record was written.
    pub written_at: Option<Time>,
    /// When it failed first.
    pub failing_since: Option<Time>,
    /// What it failed with, in order.
    pub errors: Chain,
    /// The parked key that is stopped until somebody decides about this letter.
    pub holds: Option<Uuid>,
}

impl DeadLetter {
    /// The same for the same cause, whatever numbers and ids its reason names.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.code, &self.reason)
    }

    /// As they were read.
    pub fn headers(&self) -> Headers {
        crate::wire::decode(&self.headers).unwrap_or_default()
    }
}

impl FromRow for DeadLetter {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let (cause, caused_at): (Option<Uuid>, Option<Time>) = (row.get("cause")?, row.get("caused_at")?);
        let errors: Option<String> = row.get("errors")?;
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
            trail: Trail {
                cause: cause.zip(caused_at).map(|(id, at)| Cause::message(id, at)),
                ours: row.get::<Option<bool>>("ours")?.unwrap_or_default(),
                written_at: row.get("time")?,
                failing_since: row.get("failed_at")?,
                errors: Chain::read(errors.as_deref()),
                holds: row.get("holds")?,
            },
        })
    }
}

/// The fields of a letter, in the order of its table.
macro_rules! fields {
    () => {
        "id, grp, topic, partition, position, message, name, key, headers, value, code, reason, attempts, at, cause, caused_at,
         ours, time, failed_at, errors, holds"
    };
}
pub(super) use fields;

/// Keeps a letter; one that is there already stays.
pub(crate) async fn insert(write: &mut Write, d: DeadLetter) -> Result<(), StoreError> {
    let (id, print, trail) = (d.id, d.fingerprint(), d.trail);
    let what = (d.message, d.name, d.key, d.headers, d.value);
    let row = (
        d.id,
        d.group,
        d.topic,
        d.partition,
        d.offset,
        what.0,
        what.1,
        what.2,
        what.3,
        what.4,
        d.code,
        d.reason,
        d.attempts,
        d.at,
        print,
        trail.errors.text(),
    );
    let new = write
        .exec(
            "INSERT INTO flow_dead (id, grp, topic, partition, position, message, name, key, headers, value, code, reason,
                 attempts, at, fingerprint, errors)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT DO NOTHING",
            row,
        )
        .await?;
    let Some(cause) = trail.cause.filter(|_| new == 1) else { return Ok(()) };
    write
        .exec(
            "UPDATE flow_dead SET cause = $1, caused_at = $2, ours = $3, time = $4, failed_at = $5 WHERE id = $6",
            (cause.id(), cause.at(), trail.ours, trail.written_at, trail.failing_since, id),
        )
        .await?;
    Ok(())
}

pub(crate) async fn one(read: &mut Read, id: Uuid) -> Result<Option<DeadLetter>, StoreError> {
    read.opt(concat!("SELECT ", fields!(), " FROM flow_dead WHERE id = $1"), (id,)).await
}

/// Takes a letter out, for this transaction to do something with it.
pub(crate) async fn take(write: &mut Write, id: Uuid) -> Result<Option<DeadLetter>, StoreError> {
    write
        .opt(
            "DELETE FROM flow_dead WHERE id = $1
             RETURNING id, grp, topic, partition, position, message, name, key, headers, value, code, reason, attempts, at, cause,
                 caused_at, ours, time, failed_at, errors, holds",
            (id,),
        )
        .await
}

/// Sets what is tried again in place of what came. False = there is no such letter (any more).
pub(crate) async fn edit(write: &mut Write, id: Uuid, value: Option<Bytes>) -> Result<bool, StoreError> {
    Ok(write.exec("UPDATE flow_dead SET value = $1 WHERE id = $2", (value, id)).await? == 1)
}

/// A parked key that this transaction has locked waits for a decision about this letter.
pub(crate) async fn hold(write: &mut Write, id: Uuid, key: Uuid) -> Result<(), StoreError> {
    write.exec("UPDATE flow_dead SET holds = $1 WHERE id = $2", (key, id)).await?;
    Ok(())
}

/// The first letter that a key waits for, and its place.
pub(crate) async fn holding(write: &mut Write, key: Uuid) -> Result<Option<(Uuid, i64)>, StoreError> {
    write.opt("SELECT id, position FROM flow_dead WHERE holds = $1 ORDER BY position LIMIT 1", (key,)).await
}

/// A key waits for none of its letters any more.
pub(crate) async fn let_go(write: &mut Write, key: Uuid) -> Result<(), StoreError> {
    write.exec("UPDATE flow_dead SET holds = NULL WHERE holds = $1", (key,)).await?;
    Ok(())
}

/// How many letters a group has, counted up to `most`.
pub(crate) async fn count(read: &mut Read, grp: &str, most: i64) -> Result<i64, StoreError> {
    let (n,): (i64,) = read
        .one(
            "SELECT count(*) AS n FROM (SELECT id FROM flow_dead WHERE grp = $1 LIMIT $2) AS few",
            (grp, most),
        )
        .await?;
    Ok(n)
}

/// Those that a key waits for stay: the decision is somebody's. So do those of a version of a projection that is being built: it is
/// not switched to without one.
pub(crate) async fn purge(write: &mut Write, before: Time, limit: i64) -> Result<u64, StoreError> {
    write
        .exec(
            "DELETE FROM flow_dead WHERE id IN
                 (SELECT d.id FROM flow_dead AS d WHERE d.at < $1 AND d.holds IS NULL AND NOT EXISTS
                     (SELECT p.version FROM flow_projection AS p WHERE p.state = 'building'
                         AND d.grp LIKE '%.' || p.name || '-v' || CAST(p.version AS TEXT))
                  ORDER BY d.at LIMIT $2)",
            (before, limit),
        )
        .await
}

/// Gives letters from before their causes were kept theirs; returns how many.
pub(crate) async fn fill_causes(write: &mut Write, limit: i64) -> Result<u64, StoreError> {
    let bare: Vec<(Uuid, String, String)> = write
        .all("SELECT id, code, reason FROM flow_dead WHERE fingerprint IS NULL LIMIT $1", (limit,))
        .await?;
    let rows: Vec<Values> =
        bare.into_iter().map(|(id, code, reason)| (id, fingerprint(&code, &reason)).values()).collect();
    if rows.is_empty() {
        return Ok(0);
    }
    write
        .exec_rows(
            "UPDATE flow_dead SET fingerprint = v.column2 FROM (VALUES {rows}) AS v WHERE flow_dead.id = v.column1",
            (),
            rows,
        )
        .await
}
