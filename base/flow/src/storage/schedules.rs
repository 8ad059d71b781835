//! Durable schedules: one row each, moved on by whoever runs it.

use artel_message::Time;
use artel_store::{FromRow, Read, StoreError, Write};

/// A schedule as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub name: String,
    /// When it runs next.
    pub next: Time,
    /// When it ran last.
    pub ran_at: Option<Time>,
    /// Runs that came due and never were.
    pub missed: i64,
    /// The run that was tried in time, or asked for, and is not done yet.
    pub began: Option<Time>,
}

/// What moves a schedule on.
pub(crate) struct Step {
    /// When it was due.
    pub old: Time,
    pub new: Time,
    /// When it ran, if it does.
    pub ran_at: Option<Time>,
    /// Runs that will never be.
    pub missed: u32,
}

impl FromRow for Row {
    fn from_row(row: &artel_store::Row) -> Result<Self, StoreError> {
        Ok(Row {
            name: row.get("name")?,
            next: row.get("next")?,
            ran_at: row.get("ran_at")?,
            missed: row.get("missed")?,
            began: row.get("began")?,
        })
    }
}

/// Makes the row of a new schedule; one whose pattern changed starts anew.
pub(crate) async fn begin(write: &mut Write, name: &str, cron: &str, next: Time) -> Result<(), StoreError> {
    write
        .exec(
            "INSERT INTO flow_schedule (name, cron, next) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, next = excluded.next, began = NULL
             WHERE flow_schedule.cron <> excluded.cron",
            (name, cron, next),
        )
        .await?;
    Ok(())
}

pub(crate) async fn list(read: &mut Read) -> Result<Vec<Row>, StoreError> {
    read.all("SELECT name, next, ran_at, missed, began FROM flow_schedule ORDER BY next", ()).await
}

pub(crate) async fn one(read: &mut Read, name: &str) -> Result<Option<Row>, StoreError> {
    read.opt("SELECT name, next, ran_at, missed, began FROM flow_schedule WHERE name = $1", (name,)).await
}

/// Moves a schedule on, and says when it ran, if it does; false = another node has moved it.
pub(crate) async fn advance(write: &mut Write, name: &str, step: Step) -> Result<bool, StoreError> {
    let rows = write
        .exec(
            "UPDATE flow_schedule SET next = $1, ran_at = coalesce($2, ran_at), missed = missed + $3,
                 began = NULL
             WHERE name = $4 AND next = $5",
            (step.new, step.ran_at, step.missed, name, step.old),
        )
        .await?;
    Ok(rows == 1)
}

/// Makes a schedule due now; false = there is none of that name, or it is due already. Its run was asked for, so it is not
/// missed however late somebody comes to it.
pub(crate) async fn hasten(write: &mut Write, name: &str, now: Time) -> Result<bool, StoreError> {
    let rows = write
        .exec("UPDATE flow_schedule SET next = $1, began = $1 WHERE name = $2 AND next > $1", (now, name))
        .await?;
    Ok(rows == 1)
}

/// Notes that the run that is due now was tried.
pub(crate) async fn note_begun(write: &mut Write, name: &str, due: Time) -> Result<(), StoreError> {
    write.exec("UPDATE flow_schedule SET began = next WHERE name = $1 AND next = $2", (name, due)).await?;
    Ok(())
}
