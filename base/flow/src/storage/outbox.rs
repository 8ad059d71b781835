//! The outbox: rows written last before the commit, numbered in commit order, deleted when the log has confirmed them.

use crate::Failure;
use crate::ctx::Shared;
use artel_message::{Fault, Time};
use artel_store::{Args, FromRow, Read, Row, RowStream, StoreError, Values, Write};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
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

impl Outgoing {
    /// About how many bytes it takes in the log.
    pub fn size(&self) -> usize {
        let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        self.headers.len() + of(&self.key) + of(&self.value) + 64
    }
}

/// A row of the outbox.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub id: i64,
    pub seq: Option<i64>,
    pub prev: Option<i64>,
    pub message: Outgoing,
}

/// What a transaction let go; known only after its commit.
#[derive(Default)]
pub(crate) struct Sent {
    pub outbox: usize,
    pub timers: bool,
    pub effects: bool,
    pub groups: bool,
    /// Topics adopted.
    pub adopted: Vec<String>,
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
    messages: Vec<Outgoing>,
    sent: &mut Sent,
) -> Result<(), Failure> {
    if messages.is_empty() {
        return Ok(());
    }
    let count = i64::try_from(messages.len()).unwrap_or(i64::MAX);
    let (next,): (i64,) =
        write.one("UPDATE flow_seq SET next = next + $1 WHERE id = 1 RETURNING next", (count,)).await?;
    let numbered = messages.iter().filter(|m| m.numbered);
    let places = numbered.map(|m| (m.topic.clone(), m.partition)).collect();
    let mut last = last_sent(write, &places).await?;
    let rows: Vec<Values> = messages
        .into_iter()
        .zip(next - count..)
        .map(|(m, id)| {
            let place = (m.topic.clone(), m.partition);
            let (seq, prev) = if m.numbered { (Some(id), last.insert(place, id)) } else { (None, None) };
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
        last.iter().map(|((topic, partition), seq)| (topic.clone(), *partition, *seq).values()).collect();
    write
        .exec_rows(
            "INSERT INTO flow_sent (topic, partition, seq) VALUES {rows}
             ON CONFLICT (topic, partition) DO UPDATE SET seq = excluded.seq",
            (),
            marks,
        )
        .await?;
    Ok(())
}

/// The last numbers given in the partitions that this transaction writes to.
async fn last_sent(
    write: &mut Write,
    places: &BTreeSet<(String, u32)>,
) -> Result<BTreeMap<(String, u32), i64>, Failure> {
    let keys = places.iter().map(|(topic, partition)| (topic.as_str(), *partition).values()).collect();
    let rows: Vec<(String, u32, i64)> = write
        .all_rows(
            "SELECT topic, partition, seq FROM flow_sent WHERE (topic, partition) IN (VALUES {rows})",
            (),
            keys,
        )
        .await?;
    Ok(rows.into_iter().map(|(topic, partition, seq)| ((topic, partition), seq)).collect())
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

/// How much of the outbox is read at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub rows: usize,
    pub bytes: usize,
}

/// Rows after `id`, oldest first.
pub(crate) async fn after(read: &mut Read, id: i64, load: Load) -> Result<Vec<Waiting>, StoreError> {
    let rows = read.stream(
        "SELECT id, topic, partition, seq, prev, message, name, key, headers, value, at
         FROM flow_outbox WHERE id > $1 ORDER BY id LIMIT $2",
        (id, i64::try_from(load.rows).unwrap_or(i64::MAX)),
    )?;
    bounded(rows, load.bytes).await
}

/// The oldest rows of one partition up to `until`.
pub(crate) async fn of_partition(
    read: &mut Read,
    topic: &str,
    partition: u32,
    until: i64,
    load: Load,
) -> Result<Vec<Waiting>, StoreError> {
    let rows = read.stream(
        "SELECT id, topic, partition, seq, prev, message, name, key, headers, value, at
         FROM flow_outbox WHERE topic = $1 AND partition = $2 AND id <= $3 ORDER BY id LIMIT $4",
        (topic, partition, until, i64::try_from(load.rows).unwrap_or(i64::MAX)),
    )?;
    bounded(rows, load.bytes).await
}

async fn bounded(mut rows: RowStream<'_, Waiting>, bytes: usize) -> Result<Vec<Waiting>, StoreError> {
    let (mut all, mut size) = (Vec::new(), 0);
    while size < bytes
        && let Some(row) = rows.next().await?
    {
        size += row.message.size();
        all.push(row);
    }
    Ok(all)
}

/// Deletes what the log has confirmed; returns the rows that were still there.
pub(crate) async fn confirm(
    write: &mut Write,
    ids: impl Iterator<Item = i64>,
) -> Result<Vec<i64>, StoreError> {
    let rows = ids.map(|id| (id,).values()).collect();
    let gone: Vec<(i64,)> =
        write.all_rows("DELETE FROM flow_outbox WHERE id IN (VALUES {rows}) RETURNING id", (), rows).await?;
    Ok(gone.into_iter().map(|(id,)| id).collect())
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
