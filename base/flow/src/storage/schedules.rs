//! Durable schedules: one row each, moved on by whoever runs it.

use artel_message::Time;
use artel_store::{Read, StoreError, Write};

/// Makes the row of a new schedule; one whose pattern changed starts anew.
pub(crate) async fn begin(write: &mut Write, name: &str, cron: &str, next: Time) -> Result<(), StoreError> {
    write
        .exec(
            "INSERT INTO flow_schedule (name, cron, next) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, next = excluded.next
             WHERE flow_schedule.cron <> excluded.cron",
            (name, cron, next),
        )
        .await?;
    Ok(())
}

pub(crate) async fn list(read: &mut Read) -> Result<Vec<(String, Time)>, StoreError> {
    read.all("SELECT name, next FROM flow_schedule ORDER BY next", ()).await
}

/// Moves a run on; false = another node has run it.
pub(crate) async fn advance(write: &mut Write, name: &str, old: Time, new: Time) -> Result<bool, StoreError> {
    let rows = write
        .exec("UPDATE flow_schedule SET next = $1 WHERE name = $2 AND next = $3", (new, name, old))
        .await?;
    Ok(rows == 1)
}
