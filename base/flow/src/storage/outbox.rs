//! The outbox: rows written last before the commit, numbered in commit order, deleted when the log has confirmed them.

use crate::Failure;
use crate::ctx::Shared;
use crate::gone::Run;
use crate::storage::given::Given;
use artel_message::{Fault, Time};
use artel_store::{Args, Db, FromRow, Read, Row, RowStream, StoreError, Write};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// Rows of a run that are deleted by its ends, in a statement of their own.
const LONG: i64 = 32;

/// Who gives a message its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbering {
    /// Whoever writes the row: one process at a time writes to the database, so ids are in the order of commits.
    AtInsert,
    /// The relay, where several processes write: ids of theirs become visible out of order.
    ByRelay,
}

impl Numbering {
    pub fn of(db: &Db) -> Numbering {
        if db.is_shared() { Numbering::ByRelay } else { Numbering::AtInsert }
    }

    /// The text for it.
    pub fn pick(self, at_insert: &'static str, by_relay: &'static str) -> &'static str {
        match self {
            Numbering::AtInsert => at_insert,
            Numbering::ByRelay => by_relay,
        }
    }
}

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
    /// Its place in line: rows of a partition go out in this order.
    pub turn: i64,
    pub seq: Option<i64>,
    pub prev: Option<i64>,
    pub message: Outgoing,
}

/// What a transaction let go; known only after its commit.
#[derive(Default)]
pub(crate) struct Sent {
    pub outbox: usize,
    /// The same, where they have their numbers.
    pub rows: Vec<Waiting>,
    /// When the first of the timers that were set is due.
    pub timers: Option<Time>,
    /// Names of the effects that were queued.
    pub effects: BTreeSet<String>,
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
            "the outbox of service '{}' holds {rows} messages, its limit (setting flow.outbox_limit); try again when the log takes them",
            shared.name()
        ))));
    }
    Ok(())
}

/// Writes the rows as the last statements before the commit.
pub(crate) async fn insert(
    write: &mut Write,
    numbering: Numbering,
    messages: Vec<Outgoing>,
    sent: &mut Sent,
) -> Result<(), Failure> {
    if messages.is_empty() {
        return Ok(());
    }
    sent.outbox = messages.len();
    match numbering {
        Numbering::AtInsert => {
            sent.rows = insert_numbered(write, messages).await?;
            Ok(())
        }
        Numbering::ByRelay => insert_open(write, messages).await,
    }
}

/// Rows with ids from the database's own counter, to be numbered later.
async fn insert_open(write: &mut Write, messages: Vec<Outgoing>) -> Result<(), Failure> {
    let row = |m: Outgoing| {
        (m.topic, m.partition, m.message, m.name, m.key, m.headers, m.value, m.at, m.numbered).values()
    };
    write
        .exec_rows(
            "INSERT INTO flow_outbox (topic, partition, message, name, key, headers, value, at, numbered) VALUES {rows}",
            (),
            messages.into_iter().map(row).collect(),
        )
        .await?;
    Ok(())
}

/// Rows with their numbers, which are returned.
async fn insert_numbered(write: &mut Write, messages: Vec<Outgoing>) -> Result<Vec<Waiting>, Failure> {
    let count = i64::try_from(messages.len()).unwrap_or(i64::MAX);
    let (next,): (i64,) =
        write.one("UPDATE flow_seq SET next = next + $1 WHERE id = 1 RETURNING next", (count,)).await?;
    let numbered = messages.iter().filter(|m| m.numbered);
    let places = numbered.map(|m| (m.topic.clone(), m.partition)).collect();
    let mut given = Given::before(write, &places).await?;
    let rows: Vec<Waiting> = messages
        .into_iter()
        .zip(next - count..)
        .map(|(message, id)| {
            let place = (message.topic.clone(), message.partition);
            let (seq, prev) = if message.numbered { (Some(id), given.give(place, id)) } else { (None, None) };
            Waiting { id, turn: id, seq, prev, message }
        })
        .collect();
    let values = |row: &Waiting| {
        let (m, what) = (&row.message, row.message.clone());
        let what = (what.message, what.name, what.key, what.headers, what.value, what.at);
        let place = (row.id, m.topic.as_str(), m.partition, row.seq, row.prev);
        (
            place.0, place.1, place.2, place.3, place.4, what.0, what.1, what.2, what.3, what.4, what.5,
            m.numbered,
        )
            .values()
    };
    write
        .exec_rows(
            "INSERT INTO flow_outbox (id, topic, partition, seq, prev, message, name, key, headers, value, at, numbered)
             VALUES {rows}",
            (),
            rows.iter().map(values).collect(),
        )
        .await?;
    given.remember(write).await?;
    Ok(rows)
}

/// Gives the oldest rows that have none their numbers, in a transaction that holds the relay's lease. `given` is the last
/// number that this relay gave; `None` when the database's counter stands below it: it went back.
pub(crate) async fn number(
    write: &mut Write,
    given: i64,
    load: Load,
) -> Result<Option<Vec<Waiting>>, Failure> {
    let mut rows = open_rows(write, load).await?;
    if rows.is_empty() {
        return Ok(Some(rows));
    }
    if planted!(NumbersOutOfOrder) {
        rows.reverse();
    }
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let (next,): (i64,) =
        write.one("UPDATE flow_seq SET next = next + $1 WHERE id = 1 RETURNING next", (count,)).await?;
    if next - count <= given {
        return Ok(None);
    }
    let numbered = rows.iter().filter(|row| row.message.numbered);
    let places = numbered.map(|row| (row.message.topic.clone(), row.message.partition)).collect();
    let mut now = Given::before(write, &places).await?;
    for (row, seq) in rows.iter_mut().zip(next - count..) {
        row.turn = seq;
        row.seq = Some(seq);
        if row.message.numbered {
            row.prev = now.give((row.message.topic.clone(), row.message.partition), seq);
        }
    }
    let numbers = rows.iter().map(|row| (row.id, row.seq, row.prev).values()).collect();
    let oldest = rows.iter().map(|row| row.id).min();
    let newest = rows.iter().map(|row| row.id).max();
    // A queue is empty whenever statistics are taken of it, so that PostgreSQL expects a row or two where tens of thousands
    // wait, and goes over all of them. The bounds keep it to these rows whatever it expects.
    write
        .exec_rows(
            "UPDATE flow_outbox SET seq = v.column2, prev = v.column3 FROM (VALUES {rows}) AS v
             WHERE id = v.column1 AND id >= $1 AND id <= $2",
            (oldest, newest),
            numbers,
        )
        .await?;
    now.remember(write).await?;
    Ok(Some(rows))
}

/// The oldest rows without a number.
async fn open_rows(write: &mut Write, load: Load) -> Result<Vec<Waiting>, Failure> {
    let mut rows = write.stream(
        "SELECT id, id AS turn, topic, partition, seq, prev, message, name, key, headers, value, at, numbered
         FROM flow_outbox WHERE seq IS NULL ORDER BY id LIMIT $1",
        (i64::try_from(load.rows).unwrap_or(i64::MAX),),
    )?;
    Ok(bounded(&mut rows, load).await?.0)
}

impl FromRow for Waiting {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Waiting {
            id: row.get("id")?,
            turn: row.get("turn")?,
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
                numbered: row.get("numbered")?,
            },
        })
    }
}

/// How much of the outbox is read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub rows: usize,
    pub bytes: usize,
}

impl Load {
    pub fn within(self, other: Load) -> Load {
        Load { rows: self.rows.min(other.rows), bytes: self.bytes.min(other.bytes) }
    }

    /// What is left of it when these rows were read.
    pub fn without(self, rows: &[Waiting]) -> Load {
        let bytes = rows.iter().map(|row| row.message.size()).sum();
        Load { rows: self.rows.saturating_sub(rows.len()), bytes: self.bytes.saturating_sub(bytes) }
    }
}

/// Rows of a partition that wait: those with a turn after `after`, up to `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind {
    pub after: i64,
    pub until: i64,
}

/// Rows that have their turn after `turn`, in order, where ids are the numbers; rows without one have their turn too.
pub(crate) async fn after(read: &mut Read, turn: i64, load: Load) -> Result<Vec<Waiting>, StoreError> {
    let limit = i64::try_from(load.rows).unwrap_or(i64::MAX);
    let mut rows = read.stream(
        "SELECT id, id AS turn, topic, partition, seq, prev, message, name, key, headers, value, at, numbered
         FROM flow_outbox WHERE id > $1 ORDER BY id LIMIT $2",
        (turn, limit),
    )?;
    Ok(bounded(&mut rows, load).await?.0)
}

/// What has its number and waits, where the relay gives them.
pub(crate) struct Backlog {
    /// The partitions that it is for.
    pub places: Vec<(String, u32)>,
    /// The last number given.
    pub until: i64,
}

/// By partitions, in whose order there is an index: one over all of them would be kept up with each row for the sake of starts.
pub(crate) async fn backlog(read: &mut Read) -> Result<Backlog, StoreError> {
    let next: Option<(i64,)> = read.opt("SELECT next FROM flow_seq WHERE id = 1", ()).await?;
    let mut places = Vec::new();
    let mut last = (String::new(), -1);
    loop {
        let next: Option<(String, i64)> = read
            .opt(
                "SELECT topic, partition FROM flow_outbox WHERE seq IS NOT NULL AND (topic, partition) > ($1, $2)
                 ORDER BY topic, partition LIMIT 1",
                (last.0.as_str(), last.1),
            )
            .await?;
        let Some((topic, partition)) = next else { break };
        places.extend(u32::try_from(partition).ok().map(|number| (topic.clone(), number)));
        last = (topic, partition);
    }
    Ok(Backlog { places, until: next.map_or(-1, |(next,)| next - 1) })
}

/// The first rows of one partition between two turns, and whether these are all. The lower turn keeps rows of other partitions
/// that have waited for longer out of the search.
pub(crate) async fn of_partition(
    read: &mut Read,
    numbering: Numbering,
    (topic, partition): &(String, u32),
    Behind { after, until }: Behind,
    load: Load,
) -> Result<(Vec<Waiting>, bool), StoreError> {
    let text = numbering.pick(
        "SELECT id, id AS turn, topic, partition, seq, prev, message, name, key, headers, value, at, numbered
         FROM flow_outbox WHERE topic = $1 AND partition = $2 AND id > $3 AND id <= $4 ORDER BY id LIMIT $5",
        "SELECT id, seq AS turn, topic, partition, seq, prev, message, name, key, headers, value, at, numbered
         FROM flow_outbox WHERE topic = $1 AND partition = $2 AND seq > $3 AND seq <= $4 ORDER BY seq LIMIT $5",
    );
    let limit = i64::try_from(load.rows).unwrap_or(i64::MAX);
    let mut rows = read.stream(text, (topic.as_str(), *partition, after, until, limit))?;
    bounded(&mut rows, load).await
}

/// Rows up to the bound, and whether there were no more.
async fn bounded(rows: &mut RowStream<'_, Waiting>, load: Load) -> Result<(Vec<Waiting>, bool), StoreError> {
    let (mut all, mut size) = (Vec::new(), 0);
    while size < load.bytes {
        let Some(row) = rows.next().await? else {
            let whole = all.len() < load.rows;
            return Ok((all, whole));
        };
        size += row.message.size();
        all.push(row);
    }
    Ok((all, false))
}

/// Deletes what the log has confirmed; returns the rows that were still there.
pub(crate) async fn confirm(
    write: &mut Write,
    ids: impl Iterator<Item = i64>,
) -> Result<Vec<i64>, StoreError> {
    let rows = ids.map(|id| (id,).values()).collect();
    // A list of values, which PostgreSQL looks up one by one: a joined one it would compare with each row that waits, where
    // its statistics are of an empty queue.
    let gone: Vec<(i64,)> =
        write.all_rows("DELETE FROM flow_outbox WHERE id IN ({rows}) RETURNING id", (), rows).await?;
    Ok(gone.into_iter().map(|(id,)| id).collect())
}

/// Deletes rows that follow each other by runs, single ones by their ids; says how many were still there.
pub(crate) async fn clear_away(write: &mut Write, runs: &[Run]) -> Result<u64, StoreError> {
    let (long, short): (Vec<Run>, Vec<Run>) = runs.iter().partition(|(first, last)| last - first >= LONG - 1);
    let mut deleted = 0;
    for run in long {
        deleted += write.exec("DELETE FROM flow_outbox WHERE id >= $1 AND id <= $2", run).await?;
    }
    let ids = short.into_iter().flat_map(|(first, last)| first..=last).map(|id| (id,).values()).collect();
    deleted += write.exec_rows("DELETE FROM flow_outbox WHERE id IN ({rows})", (), ids).await?;
    Ok(deleted)
}

/// Whether any row waits.
pub(crate) async fn any(read: &mut Read) -> Result<bool, StoreError> {
    let row: Option<(i64,)> = read.opt("SELECT id FROM flow_outbox ORDER BY id LIMIT 1", ()).await?;
    Ok(row.is_some())
}

/// When the row was written that waits longest.
pub(crate) async fn oldest(read: &mut Read) -> Result<Option<Time>, StoreError> {
    let row: Option<(Time,)> = read.opt("SELECT at FROM flow_outbox ORDER BY id LIMIT 1", ()).await?;
    Ok(row.map(|(at,)| at))
}

/// How many rows wait, counted up to `most`.
pub(crate) async fn count(read: &mut Read, most: i64) -> Result<i64, StoreError> {
    let (n,): (i64,) =
        read.one("SELECT count(*) FROM (SELECT 1 FROM flow_outbox LIMIT $1) AS waiting", (most,)).await?;
    Ok(n)
}

/// Whether any row waits for its number.
pub(crate) async fn any_open(read: &mut Read) -> Result<bool, StoreError> {
    let row: Option<(i64,)> =
        read.opt("SELECT id FROM flow_outbox WHERE seq IS NULL ORDER BY id LIMIT 1", ()).await?;
    Ok(row.is_some())
}
