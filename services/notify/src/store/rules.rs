//! Rules, their versions, what they missed, and events on their way to many.

use super::rows::Rows;
use artel_contract::notify::rules::{Miss, RuleBody, RuleVersion};
use artel_flow::Tx;
use artel_flow::moving::Position;
use artel_message::Time;
use artel_store::{Args, FromRow, Row, StoreError};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Where the log has what was missed.
pub const POSITIONS: &[Position] =
    &[Position { table: "rule_miss", topic: "topic", partition: "partition", offset: "position" }];

/// What holds of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub id: String,
    pub version: u32,
    pub removed: bool,
    /// The topic that it reads; `None` where it is not enabled.
    pub read_topic: Option<String>,
    pub since: Option<Time>,
    pub template: String,
    /// What it is about.
    pub about: String,
    pub source: Option<String>,
    pub file_hash: Option<String>,
}

impl FromRow for Head {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Head {
            id: row.get("id")?,
            version: row.get("version")?,
            removed: row.get("removed")?,
            read_topic: row.get("read_topic")?,
            since: row.get("since")?,
            template: row.get("template")?,
            about: row.get("about")?,
            source: row.get("source")?,
            file_hash: row.get("file_hash")?,
        })
    }
}

struct Stored(RuleVersion);

impl FromRow for Stored {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let body: String = row.get("body")?;
        Ok(Stored(RuleVersion {
            id: row.get("id")?,
            version: row.get("version")?,
            body: serde_json::from_str(&body)
                .map_err(|error| StoreError::decode("body", error.to_string()))?,
            since: row.get("since")?,
            saved_at: row.get("saved_at")?,
            saved_by: row.get("saved_by")?,
        }))
    }
}

/// A rule that reads a topic, without what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub id: String,
    pub version: u32,
    pub since: Time,
    /// Settings of what it is about: JSON.
    pub topic: Option<String>,
}

/// Rules that read a topic, by id.
pub async fn reading(tx: &mut Tx, topic: &str) -> Result<Vec<Reading>, StoreError> {
    let found: Vec<(String, u32, Time, Option<String>)> = tx
        .all(
            "SELECT r.id, r.version, r.since, t.settings FROM rule r LEFT JOIN topic t ON t.name = r.about
             WHERE r.read_topic = $1 ORDER BY r.id",
            (topic,),
        )
        .await?;
    Ok(found.into_iter().map(|(id, version, since, topic)| Reading { id, version, since, topic }).collect())
}

pub async fn head(tx: &mut Tx, id: &str) -> Result<Option<Head>, StoreError> {
    tx.opt(
        "SELECT id, version, removed, read_topic, since, template, about, source, file_hash FROM rule WHERE id = $1",
        (id,),
    )
    .await
}

/// What came from a file.
pub async fn of_source(tx: &mut Tx, source: &str) -> Result<Vec<Head>, StoreError> {
    tx.all(
        "SELECT id, version, removed, read_topic, since, template, about, source, file_hash FROM rule
         WHERE source = $1 ORDER BY id",
        (source,),
    )
    .await
}

/// Enabled rules that send a template: id and version.
pub async fn sending(tx: &mut Tx, template: &str) -> Result<Vec<(String, u32)>, StoreError> {
    tx.all(
        "SELECT id, version FROM rule WHERE template = $1 AND read_topic IS NOT NULL ORDER BY id",
        (template,),
    )
    .await
}

pub async fn put_head(tx: &mut Tx, head: &Head) -> Result<(), StoreError> {
    tx.exec(
        "INSERT INTO rule (id, version, removed, read_topic, since, template, about, source, file_hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (id) DO UPDATE SET version = excluded.version, removed = excluded.removed,
             read_topic = excluded.read_topic, since = excluded.since, template = excluded.template,
             about = excluded.about, source = excluded.source, file_hash = excluded.file_hash",
        (
            head.id.as_str(),
            head.version,
            head.removed,
            head.read_topic.as_deref(),
            head.since,
            head.template.as_str(),
            head.about.as_str(),
            head.source.as_deref(),
            head.file_hash.as_deref(),
        ),
    )
    .await?;
    Ok(())
}

pub async fn save(tx: &mut Tx, id: &str, version: u32, body: &RuleBody, by: &str) -> Result<(), StoreError> {
    let text = serde_json::to_string(body).map_err(|error| StoreError::decode("body", error.to_string()))?;
    let now = tx.now();
    tx.exec(
        "INSERT INTO rule_version (id, version, body, saved_at, saved_by) VALUES ($1, $2, $3, $4, $5)",
        (id, version, text, now, by),
    )
    .await?;
    Ok(())
}

/// What a version says.
pub async fn body(tx: &mut Tx, id: &str, version: u32) -> Result<Option<RuleBody>, StoreError> {
    let row: Option<(String,)> =
        tx.opt("SELECT body FROM rule_version WHERE id = $1 AND version = $2", (id, version)).await?;
    row.map(|(text,)| {
        serde_json::from_str(&text).map_err(|error| StoreError::decode("body", error.to_string()))
    })
    .transpose()
}

/// A version of a rule; the current one, of a rule that is there, where none is named.
pub async fn version(
    rows: &mut impl Rows,
    id: &str,
    version: Option<u32>,
) -> Result<Option<RuleVersion>, StoreError> {
    let found: Vec<Stored> = match version {
        Some(version) => {
            rows.all(
                "SELECT v.id, v.version, v.body, CASE WHEN r.version = v.version THEN r.since END AS since,
                     v.saved_at, v.saved_by FROM rule_version v JOIN rule r ON r.id = v.id
                 WHERE v.id = $1 AND v.version = $2",
                (id, version),
            )
            .await?
        }
        None => {
            rows.all(
                "SELECT v.id, v.version, v.body, r.since, v.saved_at, v.saved_by FROM rule r
                 JOIN rule_version v ON v.id = r.id AND v.version = r.version WHERE r.id = $1 AND NOT r.removed",
                (id,),
            )
            .await?
        }
    };
    Ok(found.into_iter().next().map(|stored| stored.0))
}

/// Rules that there are, by id behind `after`.
pub async fn list(rows: &mut impl Rows, after: &str, limit: i64) -> Result<Vec<RuleVersion>, StoreError> {
    let found: Vec<Stored> = rows
        .all(
            "SELECT v.id, v.version, v.body, r.since, v.saved_at, v.saved_by FROM rule r
             JOIN rule_version v ON v.id = r.id AND v.version = r.version
             WHERE r.id > $1 AND NOT r.removed ORDER BY r.id LIMIT $2",
            (after, limit),
        )
        .await?;
    Ok(found.into_iter().map(|stored| stored.0).collect())
}

/// The versions of one, the latest first, before `before`.
pub async fn versions(
    rows: &mut impl Rows,
    id: &str,
    before: u32,
    limit: i64,
) -> Result<Vec<RuleVersion>, StoreError> {
    let found: Vec<Stored> = rows
        .all(
            "SELECT v.id, v.version, v.body, CASE WHEN r.version = v.version THEN r.since END AS since,
                 v.saved_at, v.saved_by FROM rule_version v JOIN rule r ON r.id = v.id
             WHERE v.id = $1 AND v.version < $2 ORDER BY v.version DESC LIMIT $3",
            (id, before, limit),
        )
        .await?;
    Ok(found.into_iter().map(|stored| stored.0).collect())
}

/// Writes down what a rule missed, unless there are `most` of it already.
pub async fn miss(tx: &mut Tx, id: Uuid, miss: &Miss, most: i64) -> Result<bool, StoreError> {
    let (known,): (i64,) =
        tx.one("SELECT count(*) FROM rule_miss WHERE rule = $1", (miss.rule.as_str(),)).await?;
    if known >= most {
        return Ok(false);
    }
    tx.exec(
        "INSERT INTO rule_miss (rule, at, id, version, topic, partition, position, cause, reason)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        (
            miss.rule.as_str(),
            miss.at,
            id,
            miss.version,
            miss.topic.as_str(),
            miss.partition,
            miss.offset,
            miss.cause.as_str(),
            miss.reason.as_str(),
        ),
    )
    .await?;
    Ok(true)
}

struct Missed(Uuid, Miss);

impl FromRow for Missed {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let miss = Miss {
            rule: row.get("rule")?,
            version: row.get("version")?,
            topic: row.get("topic")?,
            partition: row.get("partition")?,
            offset: row.get("position")?,
            cause: row.get("cause")?,
            reason: row.get("reason")?,
            at: row.get("at")?,
        };
        Ok(Missed(row.get("id")?, miss))
    }
}

/// What a rule missed, the latest first, before `before`.
pub async fn misses(
    rows: &mut impl Rows,
    rule: &str,
    before: (Time, Uuid),
    limit: i64,
) -> Result<Vec<(Uuid, Miss)>, StoreError> {
    let found: Vec<Missed> = rows
        .all(
            "SELECT id, rule, version, topic, partition, position, cause, reason, at FROM rule_miss
             WHERE rule = $1 AND (at, id) < ($2, $3) ORDER BY at DESC, id DESC LIMIT $4",
            (rule, before.0, before.1, limit),
        )
        .await?;
    Ok(found.into_iter().map(|missed| (missed.0, missed.1)).collect())
}

pub async fn purge_misses(tx: &mut Tx, before: Time, limit: i64) -> Result<u64, StoreError> {
    tx.exec(
        "DELETE FROM rule_miss WHERE (rule, at, id) IN
             (SELECT rule, at, id FROM rule_miss WHERE at < $1 ORDER BY at LIMIT $2)",
        (before, limit),
    )
    .await
}

/// Writes down that a rule took the event that has `own` to itself, from the message of this key. False where another message brought
/// the event before; the same one may come again, as each page of those it is for does.
pub async fn is_first(tx: &mut Tx, rule: &str, own: &str, message: &str) -> Result<bool, StoreError> {
    let now = tx.now();
    let row = (hash(&[rule, own]), hash(&[message]), now);
    let taken: Option<(Uuid,)> = tx
        .opt(
            "INSERT INTO rule_event (event, message, at) VALUES ($1, $2, $3)
             ON CONFLICT (event) DO UPDATE SET event = excluded.event WHERE rule_event.message = excluded.message
             RETURNING event",
            row,
        )
        .await?;
    Ok(taken.is_some())
}

/// The first half of the texts' SHA-256.
fn hash(texts: &[&str]) -> Uuid {
    let mut whole = Sha256::new();
    for text in texts {
        whole.update(text.as_bytes());
        whole.update([0]);
    }
    let mut half = [0; 16];
    half.copy_from_slice(&whole.finalize()[..16]);
    Uuid::from_bytes(half)
}

pub async fn purge_events(tx: &mut Tx, before: Time, limit: i64) -> Result<u64, StoreError> {
    tx.exec(
        "DELETE FROM rule_event WHERE event IN (SELECT event FROM rule_event WHERE at < $1 ORDER BY at LIMIT $2)",
        (before, limit),
    )
    .await
}

/// An event on its way to many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FanOut {
    pub rule: String,
    pub version: u32,
    pub key: String,
    pub event_key: String,
    pub cause: String,
    pub at: Time,
    /// JSON
    pub event: String,
}

impl FromRow for FanOut {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(FanOut {
            rule: row.get("rule")?,
            version: row.get("version")?,
            key: row.get("key")?,
            event_key: row.get("event_key")?,
            cause: row.get("cause")?,
            at: row.get("at")?,
            event: row.get("event")?,
        })
    }
}

pub async fn begin_fan_out(tx: &mut Tx, id: Uuid, fan: &FanOut) -> Result<(), StoreError> {
    let FanOut { rule, version, key, event_key, cause, at, event } = fan;
    let row =
        (id, rule.as_str(), *version, key.as_str(), event_key.as_str(), cause.as_str(), *at, event.as_str());
    tx.exec(
        "INSERT INTO fan_out (id, rule, version, key, event_key, cause, at, event)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        row.values(),
    )
    .await?;
    Ok(())
}

pub async fn fan_out(tx: &mut Tx, id: Uuid) -> Result<Option<FanOut>, StoreError> {
    tx.opt("SELECT rule, version, key, event_key, cause, at, event FROM fan_out WHERE id = $1", (id,)).await
}

pub async fn end_fan_out(tx: &mut Tx, id: Uuid) -> Result<(), StoreError> {
    tx.exec("DELETE FROM fan_out WHERE id = $1", (id,)).await?;
    Ok(())
}
