//! Durable timers: a message put off, identified by (message name, key).

use artel_message::Time;
use artel_store::{Args, Engine, FromRow, Read, Row, Sql, StoreError, Write};
use bytes::Bytes;
use std::collections::BTreeMap;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timer {
    pub name: String,
    pub key: String,
    /// What orders it among others of its name: the message's own key.
    pub order: Option<String>,
    pub due: Time,
    pub body: Bytes,
    /// What set it: the ids born when it fires derive from it.
    pub cause: Uuid,
    pub trace: Option<String>,
    pub attempts: u32,
    /// When it failed first, if it did.
    pub since: Option<Time>,
    /// Its place among those that were set with it.
    pub ordinal: u32,
}

impl FromRow for Timer {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Timer {
            name: row.get("name")?,
            key: row.get("key")?,
            order: row.get("ordered_by")?,
            due: row.get("due")?,
            body: row.get("body")?,
            cause: row.get("cause")?,
            trace: row.get("trace")?,
            attempts: row.get("attempts")?,
            since: row.get("since")?,
            ordinal: row.get("ordinal")?,
        })
    }
}

/// Sets timers; one with the same name and key is replaced, and of several in one transaction the last counts.
pub(crate) async fn insert(write: &mut Write, timers: &[Timer]) -> Result<(), StoreError> {
    let last: BTreeMap<(&str, &str), &Timer> =
        timers.iter().map(|t| ((t.name.as_str(), t.key.as_str()), t)).collect();
    let rows = last
        .into_values()
        .map(|t| {
            (
                t.name.as_str(),
                t.key.as_str(),
                t.order.clone(),
                t.due,
                t.body.clone(),
                t.cause,
                t.trace.clone(),
                t.attempts,
                t.since,
                t.ordinal,
            )
                .values()
        })
        .collect();
    write
        .exec_rows(
            "INSERT INTO flow_timer (name, key, ordered_by, due, body, cause, trace, attempts, since, ordinal)
             VALUES {rows}
             ON CONFLICT (name, key) DO UPDATE SET ordered_by = excluded.ordered_by, due = excluded.due, body = excluded.body,
                 cause = excluded.cause, trace = excluded.trace, attempts = excluded.attempts, since = excluded.since,
                 ordinal = excluded.ordinal",
            (),
            rows,
        )
        .await?;
    Ok(())
}

const PENDING: &str = "SELECT due FROM flow_timer WHERE name = $1 AND key = $2";

pub(crate) async fn is_pending(read: &mut Read, name: &str, key: &str) -> Result<bool, StoreError> {
    let row: Option<(Time,)> = read.opt(PENDING, (name, key)).await?;
    Ok(row.is_some())
}

/// Whether one of the same identity is pending.
pub(crate) async fn is_set(write: &mut Write, timer: &Timer) -> Result<bool, StoreError> {
    let row: Option<(Time,)> = write.opt(PENDING, (timer.name.as_str(), timer.key.as_str())).await?;
    Ok(row.is_some())
}

/// True when it was pending.
pub(crate) async fn cancel(write: &mut Write, name: &str, key: &str) -> Result<bool, StoreError> {
    Ok(write.exec("DELETE FROM flow_timer WHERE name = $1 AND key = $2", (name, key)).await? == 1)
}

/// When the next one is due.
pub(crate) async fn next(read: &mut Read) -> Result<Option<Time>, StoreError> {
    let row: Option<(Time,)> =
        read.opt("SELECT due FROM flow_timer ORDER BY due, ordinal LIMIT 1", ()).await?;
    Ok(row.map(|(due,)| due))
}

/// How many are due, up to `limit`, and how many bytes their messages have.
pub(crate) async fn due(read: &mut Read, now: Time, limit: i64) -> Result<(i64, i64), StoreError> {
    read.one(
        "SELECT count(*), CAST(coalesce(sum(size), 0) AS BIGINT)
         FROM (SELECT length(body) AS size FROM flow_timer WHERE due <= $1 ORDER BY due, ordinal LIMIT $2) AS d",
        (now, limit),
    )
    .await
}

/// Takes out what is due, oldest first. On SQLite only the holder of the writer calls it; on PostgreSQL rows that another
/// transaction is changing at this moment are passed over.
pub(crate) async fn take_due(
    write: &mut Write,
    engine: Engine,
    now: Time,
    limit: i64,
) -> Result<Vec<Timer>, StoreError> {
    const TAKE: Sql = Sql {
        sqlite: "DELETE FROM flow_timer
         WHERE rowid IN (SELECT rowid FROM flow_timer WHERE due <= $1 ORDER BY due, ordinal LIMIT $2)
         RETURNING name, key, ordered_by, due, body, cause, trace, attempts, since, ordinal",
        postgres: "DELETE FROM flow_timer WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM flow_timer WHERE due <= $1 ORDER BY due, ordinal LIMIT $2 FOR UPDATE SKIP LOCKED))
         RETURNING name, key, ordered_by, due, body, cause, trace, attempts, since, ordinal",
    };
    let mut taken: Vec<Timer> = write.all(TAKE.pick(engine), (now, limit)).await?;
    // What a DELETE returns comes in any order.
    taken.sort_by(|a, b| (a.due, a.ordinal, &a.name, &a.key).cmp(&(b.due, b.ordinal, &b.name, &b.key)));
    Ok(taken)
}

/// Takes one timer out, if it still stands as it was read.
pub(crate) async fn take(write: &mut Write, timer: &Timer) -> Result<bool, StoreError> {
    let rows = write
        .exec(
            "DELETE FROM flow_timer WHERE name = $1 AND key = $2 AND due = $3 AND attempts = $4",
            (timer.name.as_str(), timer.key.as_str(), timer.due, timer.attempts),
        )
        .await?;
    Ok(rows == 1)
}

/// How many are pending, up to `most`.
pub(crate) async fn count(read: &mut Read, most: i64) -> Result<i64, StoreError> {
    let (n,): (i64,) =
        read.one("SELECT count(*) FROM (SELECT 1 FROM flow_timer LIMIT $1) AS t", (most,)).await?;
    Ok(n)
}
