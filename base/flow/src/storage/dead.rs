//! Dead letters: messages given up on, kept whole with their cause.

use crate::fingerprint::{Chain, fingerprint};
use artel_message::{Cause, Headers, Time};
use artel_store::{FromRow, Read, Row, StoreError, Write};
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

/// What a letter needs to be tried again as it was, and what it went through. Empty in letters from before it was kept, and in
/// those of timers.
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
            },
        })
    }
}

/// The fields of a letter, in the order of its table.
macro_rules! letters {
    ($rest:literal) => {
        concat!(
            "SELECT id, grp, topic, partition, position, message, name, key, headers, value, code, reason, attempts, at, cause,
             caused_at, ours, time, failed_at, errors FROM flow_dead ",
            $rest
        )
    };
}

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

/// The newest first, behind the letter at this time with this id.
pub(crate) async fn list(
    read: &mut Read,
    behind: (Time, Uuid),
    limit: i64,
) -> Result<Vec<DeadLetter>, StoreError> {
    let text = letters!("WHERE at < $1 OR (at = $1 AND id < $2) ORDER BY at DESC, id DESC LIMIT $3");
    read.all(text, (behind.0, behind.1, limit)).await
}

/// Which letters are meant; all that are named have to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Letters {
    /// Their fingerprint.
    pub cause: Option<String>,
    pub group: Option<String>,
    pub topic: Option<String>,
    pub name: Option<String>,
    pub key: Option<Bytes>,
    /// Given up at this time or later, and before that one.
    pub from: Option<Time>,
    pub to: Option<Time>,
}

/// Those that fit, the newest first, behind the letter at this time with this id.
pub(crate) async fn find(
    read: &mut Read,
    which: &Letters,
    behind: (Time, Uuid),
    limit: i64,
) -> Result<Vec<DeadLetter>, StoreError> {
    let text = letters!(
        "WHERE (at < $1 OR (at = $1 AND id < $2)) AND at >= $3 AND at < $4 AND ($5 = '' OR fingerprint = $5)
             AND ($6 = '' OR grp = $6) AND ($7 = '' OR topic = $7) AND ($8 = '' OR name = $8)
             AND ($9 = FALSE OR key = $10) ORDER BY at DESC, id DESC LIMIT $11"
    );
    let word = |word: &Option<String>| word.clone().unwrap_or_default();
    let times = (which.from.unwrap_or(Time::MIN), which.to.unwrap_or(Time::MAX));
    let key = (which.key.is_some(), which.key.clone().unwrap_or_default());
    let words = (word(&which.cause), word(&which.group), word(&which.topic), word(&which.name));
    let args =
        (behind.0, behind.1, times.0, times.1, words.0, words.1, words.2, words.3, key.0, key.1, limit);
    read.all(text, args).await
}

pub(crate) async fn one(read: &mut Read, id: Uuid) -> Result<Option<DeadLetter>, StoreError> {
    read.opt(letters!("WHERE id = $1"), (id,)).await
}

/// Takes a letter out, for this transaction to do something with it.
pub(crate) async fn take(write: &mut Write, id: Uuid) -> Result<Option<DeadLetter>, StoreError> {
    let letter = write.opt(letters!("WHERE id = $1"), (id,)).await?;
    let gone = write.exec("DELETE FROM flow_dead WHERE id = $1", (id,)).await?;
    Ok(letter.filter(|_| gone == 1))
}

/// Sets what is tried again in place of what came. False = there is no such letter (any more).
pub(crate) async fn edit(write: &mut Write, id: Uuid, value: Option<Bytes>) -> Result<bool, StoreError> {
    Ok(write.exec("UPDATE flow_dead SET value = $1 WHERE id = $2", (value, id)).await? == 1)
}

/// How many letters there are of each cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadCause {
    pub fingerprint: String,
    pub count: i64,
    /// Of one of them.
    pub code: String,
    pub reason: String,
    pub first: Time,
    pub last: Time,
}

impl FromRow for DeadCause {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(DeadCause {
            fingerprint: row.get("print")?,
            count: row.get("n")?,
            code: row.get("code")?,
            reason: row.get("reason")?,
            first: row.get("first_at")?,
            last: row.get("last_at")?,
        })
    }
}

/// The causes with the most letters.
pub(crate) async fn causes(read: &mut Read, limit: i64) -> Result<Vec<DeadCause>, StoreError> {
    read.all(
        "SELECT coalesce(fingerprint, '') AS print, count(*) AS n, min(code) AS code, min(reason) AS reason,
             min(at) AS first_at, max(at) AS last_at
         FROM flow_dead GROUP BY coalesce(fingerprint, '') ORDER BY n DESC, print LIMIT $1",
        (limit,),
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
