//! Durable schedules: each run once across all nodes; a missed run runs once. Patterns are read in UTC.

use crate::around::{Call, around};
use crate::ctx::Shared;
use crate::service::ScheduleEntry;
use crate::storage::schedules;
use crate::{Failure, Tx};
use artel_message::{Cause, Time};
use artel_store::Lane;
use chrono::DateTime;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The poll that backs up the clock.
const POLL: Duration = Duration::from_secs(60);

impl ScheduleEntry {
    /// The first run after `now`; `None` when the pattern has none.
    fn after(&self, now: Time) -> Option<Time> {
        let now = DateTime::from_timestamp_micros(now.micros())?;
        let next = self.cron.find_next_occurrence(&now, false).ok()?;
        Some(Time::from_micros(next.timestamp_micros()))
    }
}

/// Makes the rows of the service's schedules.
pub(crate) async fn begin(shared: &Arc<Shared>) -> Result<(), Failure> {
    shared.rerun(|| begin_once(shared)).await
}

async fn begin_once(shared: &Arc<Shared>) -> Result<(), Failure> {
    let mut tx = Tx::begin(shared, Lane::Interactive).await?;
    let now = tx.now();
    for schedule in &shared.service.schedules {
        if let Some(next) = schedule.after(now) {
            schedules::begin(tx.write(), schedule.name, schedule.text, next).await?;
        }
    }
    tx.commit().await
}

/// Runs schedules until stopped. A missed run runs once.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    if shared.service.schedules.is_empty() {
        return;
    }
    let mut keeper = shared.held.keeper.subscribe();
    while !stop.is_cancelled() {
        if keeper.borrow_and_update().is_none() {
            // Another node keeps the schedules of this service.
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                _ = keeper.changed() => {}
            }
            continue;
        }
        let next = match round(&shared).await {
            Ok(next) => next,
            Err(failure) => {
                tracing::warn!(service = shared.name(), error = %failure, "a schedule failed; it is tried again");
                shared.now() + shared.limits.outage_pause * 4
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            _ = keeper.changed() => {}
            () = shared.clock.until(next) => {}
        }
    }
}

async fn round(shared: &Arc<Shared>) -> Result<Time, Failure> {
    let mut read = shared.db.read().await?;
    let rows = schedules::list(&mut read).await?;
    drop(read);
    let mut earliest = shared.now() + POLL;
    for (name, due) in rows {
        let Some(schedule) = shared.service.schedules.iter().find(|s| s.name == name) else { continue };
        if due > shared.now() {
            earliest = earliest.min(due);
            continue;
        }
        match shared.rerun(|| run_one(shared, schedule, due)).await {
            Ok(None) => {}
            Ok(Some(next)) => earliest = earliest.min(next),
            Err(failure) => {
                tracing::warn!(service = shared.name(), schedule = name, error = %failure, "a schedule failed; it is tried again");
                earliest = earliest.min(shared.now() + shared.limits.outage_pause * 4);
            }
        }
    }
    Ok(earliest)
}

/// Runs what is due and moves the schedule on, in one transaction; `None` = another node has run it.
async fn run_one(shared: &Arc<Shared>, schedule: &ScheduleEntry, due: Time) -> Result<Option<Time>, Failure> {
    let mut tx = Tx::begin(shared, Lane::Background).await?;
    let now = tx.now();
    let next = schedule.after(now).unwrap_or(now + POLL);
    if !schedules::advance(tx.write(), schedule.name, due, next).await? {
        tx.rollback().await;
        return Ok(None);
    }
    tx.enter(schedule.name, Cause::keyed("schedule", schedule.name, &due.to_string(), due), false, None);
    let call = Call::new(shared, "schedule", schedule.name, None);
    let handled = (schedule.handler)(&mut tx, ());
    let result = around(call, shared.limits.handler_time, handled).await;
    tx.end(result).await?;
    Ok(Some(next))
}
