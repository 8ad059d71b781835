//! Durable timers: what is due is run, once, in the transaction that takes it out. One node at a time keeps the timers of a
//! service; it sleeps until the first one is due and is woken when an earlier one is set.

mod alarm;
mod failing;
mod fire;
mod pace;
mod taken;

pub(crate) use alarm::Alarm;
pub(crate) use taken::Taken;

use crate::Failure;
use crate::Tx;
use crate::ctx::Shared;
use crate::storage::timers;
use crate::storage::{answered, dead};
use artel_message::Time;
use artel_store::Lane;
use pace::Pace;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The poll that backs up the waking by other nodes, and the one of a node that is alone.
const POLL: Duration = Duration::from_secs(2);
const POLL_ALONE: Duration = Duration::from_secs(60);
/// How many rows a purge deletes.
const PURGE: i64 = 1000;
/// How often what is kept for a time is purged.
const PURGE_EVERY: Duration = Duration::from_secs(600);

/// Fires timers until stopped.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut purge_at = shared.now();
    let mut pace = Pace::default();
    let mut keeper = shared.held.keeper.subscribe();
    let poll = if shared.members.shared() { POLL } else { POLL_ALONE };
    while !stop.is_cancelled() {
        if keeper.borrow_and_update().is_none() {
            // Another node keeps the timers of this service.
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                _ = keeper.changed() => {}
            }
            continue;
        }
        // From here on every timer that is set rings: it may be missed by the look that follows.
        shared.wake.timers.awake();
        let next = match round(&shared, &stop, &mut pace, &mut purge_at).await {
            Ok(next) => next.unwrap_or_else(|| shared.now() + poll).min(shared.now() + poll).min(purge_at),
            Err(failure) => {
                tracing::warn!(service = shared.name(), error = %failure, "timers wait for the infrastructure");
                shared.now() + shared.limits.outage_pause
            }
        };
        shared.wake.timers.asleep_until(next);
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            _ = keeper.changed() => {}
            () = shared.wake.timers.rung() => {}
            () = shared.clock.until(next) => {}
        }
    }
}

/// Fires what is due; returns when the next one is.
async fn round(
    shared: &Arc<Shared>,
    stop: &CancellationToken,
    pace: &mut Pace,
    purge_at: &mut Time,
) -> Result<Option<Time>, Failure> {
    if *purge_at <= shared.now() {
        purge(shared).await?;
        *purge_at = shared.now() + PURGE_EVERY;
    }
    let mut keeper = shared.held.keeper.subscribe();
    loop {
        let now = shared.now();
        let mut read = shared.db.read().await?;
        let (due, bytes) = timers::due(&mut read, now, pace.rows()).await?;
        if due == 0 || stop.is_cancelled() || keeper.borrow_and_update().is_none() {
            return Ok(timers::next(&mut read).await?);
        }
        drop(read);
        if pace.fits(due, bytes) {
            fire::fire(shared, now, pace).await?;
        }
    }
}

/// Deletes what was kept for a time that is over, in bounded rounds.
async fn purge(shared: &Arc<Shared>) -> Result<(), Failure> {
    loop {
        let mut tx = Tx::begin(shared, Lane::Background).await?;
        let now = tx.now();
        let answers = answered::purge(tx.write(), now, PURGE).await?;
        let letters = dead::purge(tx.write(), now - shared.limits.dead, PURGE).await?;
        tx.commit().await?;
        if answers + letters == 0 {
            return Ok(());
        }
    }
}
