//! Every SQL text of the bridge.

use crate::domain::{self, Fact};
use artel_contract::bridge::{
    ConsumeMessage, ListMessages, MessageId, NewMessage, Stats, Status, Timer, Tracked,
};
use artel_flow::moving::Position;
use artel_flow::{Published, Read, Tx};
use artel_message::Time;
use artel_store::{Args, FromRow, Row, StoreError, Values};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Totals since the beginning: they outlive the messages.
const ACCEPTED: &str = "accepted";
const PRODUCED: &str = "produced";
const CONSUMED: &str = "consumed";
const FAILED: &str = "failed";
/// Reports that told nothing new.
const AGAIN: &str = "again";

/// Rows that a statement is joined with.
const JOINED: usize = 64;

struct Stored(Tracked);

/// Where the log has a message.
pub const POSITIONS: &[Position] =
    &[Position { table: "bridge_message", topic: "topic", partition: "partition", offset: "position" }];

impl FromRow for Stored {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let json = |column: &'static str, e: serde_json::Error| StoreError::decode(column, e.to_string());
        let status: i64 = row.get("status")?;
        let headers: String = row.get("headers")?;
        Ok(Stored(Tracked {
            id: row.get("id")?,
            topic: row.get("topic")?,
            key: row.get("key")?,
            value: RawValue::from_string(row.get("value")?).map_err(|e| json("value", e))?,
            headers: serde_json::from_str(&headers).map_err(|e| json("headers", e))?,
            status: domain::status(status)
                .ok_or_else(|| StoreError::decode("status", format!("{status} is none")))?,
            partition: row.get("partition")?,
            offset: row.get("position")?,
            accepted_at: row.get("accepted_at")?,
            produced_at: row.get("produced_at")?,
            consumed_at: row.get("consumed_at")?,
            reason: row.get("reason")?,
            latency_us: row.get("latency")?,
        }))
    }
}

fn headers_text(headers: &BTreeMap<String, String>) -> Result<String, StoreError> {
    serde_json::to_string(headers).map_err(|e| StoreError::decode("headers", e.to_string()))
}

/// Saves messages as accepted.
pub async fn insert(tx: &mut Tx, messages: &[(MessageId, NewMessage)]) -> Result<(), StoreError> {
    let now = tx.now();
    let mut rows: Vec<Values> = Vec::with_capacity(messages.len());
    for (id, m) in messages {
        let headers = headers_text(&m.headers)?;
        let status = domain::code(Status::Accepted);
        rows.push((*id, m.topic.as_str(), m.key.clone(), m.value.get(), headers, status, now).values());
    }
    let accepted = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    tx.exec_rows(
        "INSERT INTO bridge_message (id, topic, key, value, headers, status, accepted_at) VALUES {rows}",
        (),
        rows,
    )
    .await?;
    tx.count(ACCEPTED, accepted);
    Ok(())
}

/// Marks messages as produced. The first report stays; one that was consumed already keeps that status.
pub async fn mark_produced(tx: &mut Tx, reports: &[&Published]) -> Result<(), StoreError> {
    let at = tx.now();
    let (fresh, reached) = (Status::Accepted, domain::after(Status::Accepted, Fact::Produced));
    let (mut produced, mut again) = (0, 0);
    for Part { ids, rows, first, last } in
        parts(reports.iter().map(|p| (p.id, (p.id, p.partition, p.offset).values())))
    {
        let marked = tx
            .exec_rows(
                "UPDATE bridge_message SET status = CASE WHEN status = $2 THEN $3 ELSE status END,
                     partition = v.column2, position = v.column3, produced_at = $1
                 FROM (VALUES {rows}) AS v WHERE bridge_message.id = v.column1 AND bridge_message.produced_at IS NULL
                     AND bridge_message.id >= $4 AND bridge_message.id <= $5",
                (at, domain::code(fresh), domain::code(reached), first, last),
                rows,
            )
            .await?;
        produced += marked;
        again += told_again(tx, ids, marked).await?;
    }
    tx.count(PRODUCED, count(produced));
    tx.count(AGAIN, count(again));
    Ok(())
}

/// Marks messages of ours as consumed; one that is already stays as it is.
pub async fn mark_consumed(tx: &mut Tx, reads: &[&ConsumeMessage]) -> Result<(), StoreError> {
    let reached = domain::code(domain::after(Status::Produced, Fact::Consumed));
    let mended = reads.iter().map(|c| (c.id,).values()).collect();
    let mended = tx
        .exec_rows(
            "UPDATE bridge_message SET status = $1, reason = NULL WHERE id IN ({rows}) AND status = $2 AND status <> 2",
            (reached, domain::code(Status::Failed)),
            mended,
        )
        .await?;
    tx.count(FAILED, -count(mended));
    let (mut consumed, mut again) = (0, 0);
    for Part { ids, rows, first, last } in
        parts(reads.iter().map(|c| (c.id.uuid(), (c.id, c.read_at).values())))
    {
        let marked = tx
            .exec_rows(
                "UPDATE bridge_message SET status = $1, consumed_at = v.column2,
                     latency = CASE WHEN v.column2 > bridge_message.accepted_at
                         THEN v.column2 - bridge_message.accepted_at ELSE 0 END
                 FROM (VALUES {rows}) AS v WHERE bridge_message.id = v.column1 AND bridge_message.consumed_at IS NULL
                     AND bridge_message.id >= $2 AND bridge_message.id <= $3",
                (reached, first, last),
                rows,
            )
            .await?;
        consumed += marked;
        again += told_again(tx, ids, marked).await?;
    }
    tx.count(CONSUMED, count(consumed));
    tx.count(AGAIN, count(again));
    Ok(())
}

/// How many of the reports on these ids, of which so many marked a message, found one that was marked before them. Those on
/// messages that are not there any more found none.
async fn told_again(tx: &mut Tx, ids: Vec<Uuid>, marked: u64) -> Result<u64, StoreError> {
    if count(marked) == i64::try_from(ids.len()).unwrap_or(i64::MAX) {
        return Ok(0);
    }
    let asked = ids.iter().map(|id| (*id,).values()).collect();
    let there: Vec<(Uuid,)> =
        tx.all_rows("SELECT id FROM bridge_message WHERE id IN ({rows})", (), asked).await?;
    let there: BTreeSet<Uuid> = there.into_iter().map(|(id,)| id).collect();
    let found = ids.iter().filter(|id| there.contains(id)).count();
    Ok(u64::try_from(found).unwrap_or(u64::MAX).saturating_sub(marked))
}

/// Rows of one statement that is joined with them, and the range of their ids.
struct Part {
    ids: Vec<Uuid>,
    rows: Vec<Values>,
    first: Uuid,
    last: Uuid,
}

/// Cuts a batch into short ranges of ids. Where PostgreSQL's statistics are of a table that was empty, it goes over all that it
/// finds and compares each message with each row of the statement: the range keeps it to the part of the table where these are,
/// and few rows keep the comparisons few.
fn parts(rows: impl Iterator<Item = (Uuid, Values)>) -> Vec<Part> {
    let mut rows: Vec<(Uuid, Values)> = rows.collect();
    rows.sort_unstable_by_key(|(id, _)| *id);
    let mut parts: Vec<Part> = Vec::with_capacity(rows.len().div_ceil(JOINED));
    for (id, row) in rows {
        match parts.last_mut() {
            Some(part) if part.rows.len() < JOINED => {
                part.last = id;
                part.ids.push(id);
                part.rows.push(row);
            }
            _ => parts.push(Part { ids: vec![id], rows: vec![row], first: id, last: id }),
        }
    }
    parts
}

/// Marks a message as failed. One that is consumed stays so, one that failed keeps its first reason; false where there is none.
pub async fn mark_failed(tx: &mut Tx, id: MessageId, reason: &str) -> Result<bool, StoreError> {
    let failed = domain::code(domain::after(Status::Produced, Fact::GivenUp));
    let consumed = domain::code(Status::Consumed);
    let marked = tx
        .exec(
            "UPDATE bridge_message SET status = $2, reason = $4 WHERE id = $1 AND status <> $2 AND status <> $3",
            (id, failed, consumed, reason),
        )
        .await?;
    tx.count(FAILED, count(marked));
    let known: Option<(MessageId,)> = tx.opt("SELECT id FROM bridge_message WHERE id = $1", (id,)).await?;
    Ok(known.is_some())
}

/// Tracks messages that somebody else wrote, from the moment they are read. Their value stays in the log.
pub async fn insert_foreign(tx: &mut Tx, reads: &[&ConsumeMessage]) -> Result<(), StoreError> {
    let (good, bad): (Vec<&ConsumeMessage>, Vec<&ConsumeMessage>) =
        reads.iter().partition(|read| read.problem.is_none());
    for (reads, status, name) in [(good, Status::Consumed, CONSUMED), (bad, Status::Failed, FAILED)] {
        let rows: Vec<Values> = reads.iter().map(|read| foreign(read, domain::code(status))).collect();
        if rows.is_empty() {
            continue;
        }
        let told = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        let inserted = tx
            .exec_rows(
                "INSERT INTO bridge_message (id, topic, value, headers, status, partition, position, accepted_at,
                     produced_at, consumed_at, latency, reason) VALUES {rows} ON CONFLICT DO NOTHING",
                (),
                rows,
            )
            .await?;
        for name in [ACCEPTED, PRODUCED, name] {
            tx.count(name, count(inserted));
        }
        tx.count(AGAIN, count(told.saturating_sub(inserted)));
    }
    Ok(())
}

fn foreign(c: &ConsumeMessage, status: i64) -> Values {
    let consumed = c.problem.is_none();
    let latency = i64::try_from(c.read_at.since(c.written_at).as_micros()).unwrap_or(i64::MAX);
    let (written, read) = (c.written_at, consumed.then_some(c.read_at));
    let (topic, nothing) = (c.topic.as_str(), ("null", "{}"));
    let end = (consumed.then_some(latency), c.problem.clone());
    (c.id, topic, nothing.0, nothing.1, status, c.partition, c.offset, written, written, read, end.0, end.1)
        .values()
}

fn count(rows: u64) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

pub async fn find(read: &Read, id: MessageId) -> Result<Option<Tracked>, StoreError> {
    let found: Option<Stored> = read
        .opt(
            "SELECT id, topic, key, value, headers, status, partition, position, accepted_at, produced_at,
                 consumed_at, latency, reason FROM bridge_message WHERE id = $1",
            (id,),
        )
        .await?;
    Ok(found.map(|stored| stored.0))
}

/// The newest first, before `before` when given.
pub async fn list(
    read: &Read,
    query: &ListMessages,
    before: Option<MessageId>,
    limit: i64,
) -> Result<Vec<Tracked>, StoreError> {
    const ALL: &str =
        "SELECT id, topic, key, value, headers, status, partition, position, accepted_at, produced_at,
             consumed_at, latency, reason FROM bridge_message
         WHERE ($1 IS NULL OR id < $1) AND ($2 IS NULL OR status = $2) ORDER BY id DESC LIMIT $3";
    const OF_TOPIC: &str = "SELECT id, topic, key, value, headers, status, partition, position, accepted_at,
             produced_at, consumed_at, latency, reason FROM bridge_message
         WHERE topic = $4 AND ($1 IS NULL OR id < $1) AND ($2 IS NULL OR status = $2) ORDER BY id DESC LIMIT $3";
    const OPEN: &str =
        "SELECT id, topic, key, value, headers, status, partition, position, accepted_at, produced_at,
             consumed_at, latency, reason FROM bridge_message
         WHERE status <> 2 AND status = $2 AND ($1 IS NULL OR id < $1) ORDER BY id DESC LIMIT $3";
    const OPEN_OF_TOPIC: &str =
        "SELECT id, topic, key, value, headers, status, partition, position, accepted_at, produced_at,
             consumed_at, latency, reason FROM bridge_message
         WHERE status <> 2 AND status = $2 AND topic = $4 AND ($1 IS NULL OR id < $1) ORDER BY id DESC LIMIT $3";
    let status = query.status.map(domain::code);
    let rows: Vec<Stored> = match (&query.topic, query.status) {
        // What is open is rare: its index is short, while most of a topic would be looked through in vain.
        (Some(topic), Some(s)) if s != Status::Consumed => {
            read.all(OPEN_OF_TOPIC, (before, status, limit, topic.as_str())).await?
        }
        (Some(topic), _) => read.all(OF_TOPIC, (before, status, limit, topic.as_str())).await?,
        (None, Some(s)) if s != Status::Consumed => read.all(OPEN, (before, status, limit)).await?,
        (None, _) => read.all(ALL, (before, status, limit)).await?,
    };
    Ok(rows.into_iter().map(|stored| stored.0).collect())
}

pub async fn totals(read: &Read) -> Result<Stats, StoreError> {
    Ok(Stats {
        accepted: read.total(ACCEPTED).await?,
        produced: read.total(PRODUCED).await?,
        consumed: read.total(CONSUMED).await?,
        failed: read.total(FAILED).await?,
        duplicates: read.counted("repeat").await?,
        again: read.total(AGAIN).await?,
    })
}

/// True the first time the bridge sends to a topic.
pub async fn meet_topic(tx: &mut Tx, topic: &str) -> Result<bool, StoreError> {
    let rows =
        tx.exec("INSERT INTO bridge_topic (name) VALUES ($1) ON CONFLICT DO NOTHING", (topic,)).await?;
    Ok(rows == 1)
}

pub async fn set_timer(tx: &mut Tx, timer: &Timer) -> Result<(), StoreError> {
    let interval = i64::try_from(timer.interval_ms).unwrap_or(i64::MAX);
    tx.exec(
        "INSERT INTO bridge_timer (id, enabled, interval_ms, topic) VALUES (1, $1, $2, $3)
         ON CONFLICT (id) DO UPDATE SET enabled = excluded.enabled, interval_ms = excluded.interval_ms,
             topic = excluded.topic",
        (timer.enabled, interval, timer.topic.as_str()),
    )
    .await?;
    Ok(())
}

const TIMER: &str = "SELECT enabled, interval_ms, topic FROM bridge_timer WHERE id = 1";

fn timer_of(row: Option<(bool, i64, String)>) -> Timer {
    match row {
        Some((enabled, interval, topic)) => {
            Timer { enabled, interval_ms: u64::try_from(interval).unwrap_or(1_000), topic }
        }
        None => Timer { enabled: false, interval_ms: 1_000, topic: "timer".to_owned() },
    }
}

pub async fn timer(tx: &mut Tx) -> Result<Timer, StoreError> {
    Ok(timer_of(tx.opt(TIMER, ()).await?))
}

pub async fn read_timer(read: &Read) -> Result<Timer, StoreError> {
    Ok(timer_of(read.opt(TIMER, ()).await?))
}

/// Deletes the oldest messages accepted before `before`, at most `limit`. Ids begin with the time of acceptance in milliseconds,
/// so that the search ends at the first one that is young enough.
pub async fn purge(tx: &mut Tx, before: Time, limit: i64) -> Result<u64, StoreError> {
    let first_kept = MessageId::from(uuid_at(before));
    tx.exec(
        "DELETE FROM bridge_message WHERE id IN (SELECT id FROM bridge_message WHERE id < $1 ORDER BY id LIMIT $2)",
        (first_kept, limit),
    )
    .await
}

/// The least UUIDv7 of a millisecond.
fn uuid_at(time: Time) -> Uuid {
    let millis = u128::try_from(time.micros() / 1_000).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}
