//! Durable timers: a message put off, identified by (message name, key).

use artel_message::Time;
use artel_store::{Args, FromRow, Read, Row, StoreError, Write};
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
            )
                .values()
        })
        .collect();
    write
        .exec_rows(
            "INSERT INTO flow_timer (name, key, ordered_by, due, body, cause, trace, attempts) VALUES {rows}
             ON CONFLICT (name, key) DO UPDATE SET ordered_by = excluded.ordered_by, due = excluded.due, body = excluded.body,
                 cause = excluded.cause, trace = excluded.trace, attempts = excluded.attempts",
            (),
            rows,
        )
        .await?;
    Ok(())
}

/// True when it was pending.
pub(crate) async fn cancel(write: &mut Write, name: &str, key: &str) -> Result<bool, StoreError> {
    Ok(write.exec("DELETE FROM flow_timer WHERE name = $1 AND key = $2", (name, key)).await? == 1)
}

/// When the next one is due.
pub(crate) async fn next(read: &mut Read) -> Result<Option<Time>, StoreError> {
    let row: Option<(Time,)> = read.opt("SELECT due FROM flow_timer ORDER BY due LIMIT 1", ()).await?;
    Ok(row.map(|(due,)| due))
}

/// What is due, oldest first.
pub(crate) async fn due(read: &mut Read, now: Time, limit: i64) -> Result<Vec<Timer>, StoreError> {
    read.all(
        "SELECT name, key, ordered_by, due, body, cause, trace, attempts FROM flow_timer WHERE due <= $1 ORDER BY due LIMIT $2",
        (now, limit),
    )
    .await
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
