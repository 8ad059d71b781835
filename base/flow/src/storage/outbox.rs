//! The outbox: rows written last before the commit, numbered in commit order, deleted when the log has confirmed them.

use crate::Failure;
use crate::ctx::Shared;
use artel_message::{Fault, Time};
use artel_store::{Args, FromRow, Read, Row, StoreError, Values, Write};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use uuid::Uuid;

/// A message on its way out.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub topic: String,
    pub partition: u32,
    pub message: Uuid,
    pub name: String,
    pub key: Option<Bytes>,
    /// Encoded by `wire`, without seq and prev.
    pub headers: Bytes,
    pub value: Option<Bytes>,
    pub at: Time,
    /// Dead letters carry no seq.
    pub numbered: bool,
}

/// A row of the outbox.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub id: i64,
    pub seq: Option<i64>,
    pub prev: Option<i64>,
    pub message: Outgoing,
}

/// The last seq given, per (topic, partition).
pub(crate) type LastSent = HashMap<(String, u32), i64>;

/// What a transaction let go; known only after its commit.
#[derive(Default)]
pub(crate) struct Sent {
    pub outbox: usize,
    pub timers: bool,
    pub effects: bool,
    pub groups: bool,
    last: Option<LastSent>,
}

/// Refuses more rows than the outbox may hold.
pub(crate) fn bound(shared: &Shared, more: usize) -> Result<(), Failure> {
    let rows = u64::try_from(shared.outbox_rows.load(Ordering::Relaxed)).unwrap_or(0);
    let limit = shared.limits.outbox_rows;
    if more > 0 && rows >= limit {
        return Err(Failure::Infrastructure(Fault::exhausted(format!(
            "the outbox of service '{}' holds {rows} messages, its limit (setting flow.outbox_rows); try again when the log takes them",
            shared.name()
        ))));
    }
    Ok(())
}

/// Writes the rows as the last statements before the commit. One writer per database makes insert order commit order, so
/// ids serve as seqs here.
pub(crate) async fn insert(
    write: &mut Write,
    shared: &Shared,
    messages: Vec<Outgoing>,
    sent: &mut Sent,
) -> Result<(), Failure> {
    if messages.is_empty() {
        return Ok(());
    }
    let count = i64::try_from(messages.len()).unwrap_or(i64::MAX);
    let (next,): (i64,) =
        write.one("UPDATE flow_seq SET next = next + $1 WHERE id = 1 RETURNING next", (count,)).await?;
    let before = last_sent(write, shared).await?;
    let mut touched: BTreeMap<(String, u32), i64> = BTreeMap::new();
    let rows: Vec<Values> = messages
        .into_iter()
        .zip(next - count..)
        .map(|(m, id)| {
            let place = (m.topic.clone(), m.partition);
            let (seq, prev) = if m.numbered {
                let prev = touched.get(&place).or_else(|| before.get(&place)).copied();
                touched.insert(place, id);
                (Some(id), prev)
            } else {
                (None, None)
            };
            (id, m.topic, m.partition, seq, prev, m.message, m.name, m.key, m.headers, m.value, m.at).values()
        })
        .collect();
    sent.outbox = rows.len();
    write
        .exec_rows(
            "INSERT INTO flow_outbox (id, topic, partition, seq, prev, message, name, key, headers, value, at) VALUES {rows}",
            (),
            rows,
        )
        .await?;
    let marks =
        touched.iter().map(|((topic, partition), seq)| (topic.clone(), *partition, *seq).values()).collect();
    write
        .exec_rows(
            "INSERT INTO flow_sent (topic, partition, seq) VALUES {rows}
             ON CONFLICT (topic, partition) DO UPDATE SET seq = excluded.seq",
            (),
            marks,
        )
        .await?;
    let mut last = before.as_ref().clone();
    last.extend(touched);
    sent.last = Some(last);
    Ok(())
}

/// The committed marks: from memory, or from the table where memory was given up. Only the holder of the writer calls it.
async fn last_sent(write: &mut Write, shared: &Shared) -> Result<Arc<LastSent>, Failure> {
    if let Some(known) = shared.sent.lock().unwrap_or_else(PoisonError::into_inner).clone() {
        return Ok(known);
    }
    let rows: Vec<(String, u32, i64)> = write.all("SELECT topic, partition, seq FROM flow_sent", ()).await?;
    Ok(Arc::new(rows.into_iter().map(|(topic, partition, seq)| ((topic, partition), seq)).collect()))
}

/// Merges what a commit that succeeded gave.
pub(crate) fn remember_sent(shared: &Shared, sent: &mut Sent) {
    if let Some(last) = sent.last.take() {
        *shared.sent.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(last));
    }
}

/// After an error from COMMIT the marks are read again.
pub(crate) fn forget_sent(shared: &Shared) {
    *shared.sent.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

impl FromRow for Waiting {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Waiting {
            id: row.get("id")?,
            seq: row.get("seq")?,
            prev: row.get("prev")?,
            message: Outgoing {
                topic: row.get("topic")?,
                partition: row.get("partition")?,
                message: row.get("message")?,
                name: row.get("name")?,
                key: row.get("key")?,
                headers: row.get("headers")?,
                value: row.get("value")?,
                at: row.get("at")?,
                numbered: true,
            },
        })
    }
}

/// Rows after `id`, oldest first.
pub(crate) async fn after(read: &mut Read, id: i64, limit: usize) -> Result<Vec<Waiting>, StoreError> {
    read.all(
        "SELECT id, topic, partition, seq, prev, message, name, key, headers, value, at
         FROM flow_outbox WHERE id > $1 ORDER BY id LIMIT $2",
        (id, i64::try_from(limit).unwrap_or(i64::MAX)),
    )
    .await
}

/// The oldest rows of one partition up to `until`.
pub(crate) async fn of_partition(
    read: &mut Read,
    topic: &str,
    partition: u32,
    until: i64,
    limit: usize,
) -> Result<Vec<Waiting>, StoreError> {
    read.all(
        "SELECT id, topic, partition, seq, prev, message, name, key, headers, value, at
         FROM flow_outbox WHERE topic = $1 AND partition = $2 AND id <= $3 ORDER BY id LIMIT $4",
        (topic, partition, until, i64::try_from(limit).unwrap_or(i64::MAX)),
    )
    .await
}

/// Deletes what the log has confirmed.
pub(crate) async fn confirm(write: &mut Write, ids: &[i64]) -> Result<u64, StoreError> {
    let rows = ids.iter().map(|id| (*id,).values()).collect();
    write.exec_rows("DELETE FROM flow_outbox WHERE id IN (VALUES {rows})", (), rows).await
}

/// Whether any row waits.
pub(crate) async fn any(read: &mut Read) -> Result<bool, StoreError> {
    let row: Option<(i64,)> = read.opt("SELECT id FROM flow_outbox ORDER BY id LIMIT 1", ()).await?;
    Ok(row.is_some())
}

/// How many rows wait.
pub(crate) async fn count(write: &mut Write) -> Result<i64, StoreError> {
    let (n,): (i64,) = write.one("SELECT count(*) FROM flow_outbox", ()).await?;
    Ok(n)
}

/// The partitions this service ever wrote to with a seq.
pub(crate) async fn partitions(write: &mut Write) -> Result<Vec<(String, u32, i64)>, StoreError> {
    write.all("SELECT topic, partition, seq FROM flow_sent ORDER BY topic, partition", ()).await
}

/// Raises the counter to at least `floor`, so that no number is ever given twice; returns the next one.
pub(crate) async fn jump(write: &mut Write, floor: i64) -> Result<i64, StoreError> {
    let (next,): (i64,) = write
        .one(
            "INSERT INTO flow_seq (id, next) VALUES (1, $1)
             ON CONFLICT (id) DO UPDATE SET next = CASE WHEN flow_seq.next > excluded.next
                 THEN flow_seq.next ELSE excluded.next END
             RETURNING next",
            (floor,),
        )
        .await?;
    Ok(next)
}
