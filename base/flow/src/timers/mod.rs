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
use crate::ctx::Shared;
use crate::outage::{Outage, Whose};
use crate::storage::timers;
use crate::storage::{answered, dead};
use artel_message::Time;
use artel_store::{Lane, StoreError};
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
const PURGE_AGAIN: Duration = Duration::from_secs(10);

/// When what is kept for a time is purged next, and how that went.
struct Purging {
    at: Time,
    outage: Outage,
}

/// Fires timers until stopped.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut pace = Pace::default();
    let mut keeper = shared.held.keeper.subscribe();
    let poll = if shared.members.shared() { POLL } else { POLL_ALONE };
    let of = || Whose::Service(shared.name().to_owned());
    let mut outage = Outage::new(of(), "timers wait for the infrastructure", "timers go on");
    let mut purging = Purging {
        at: shared.now(),
        outage: Outage::new(
            of(),
            "what is kept for a time is deleted later",
            "what was kept for a time is deleted again",
        ),
    };
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
        let next = match round(&shared, &stop, &mut pace, &mut purging).await {
            Ok(next) => {
                outage.over();
                next.unwrap_or_else(|| shared.now() + poll).min(shared.now() + poll).min(purging.at)
            }
            Err(failure) => {
                outage.failed(failure);
                shared.now() + outage.pause(&shared.limits)
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
    purging: &mut Purging,
) -> Result<Option<Time>, Failure> {
    let mut keeper = shared.held.keeper.subscribe();
    loop {
        let now = shared.now();
        let mut read = shared.db.read().await?;
        let (due, bytes) = timers::due(&mut read, now, pace.rows()).await?;
        if stop.is_cancelled() || keeper.borrow_and_update().is_none() {
            return Ok(timers::next(&mut read).await?);
        }
        let purges = purging.at <= now;
        if due == 0 && !purges {
            return Ok(timers::next(&mut read).await?);
        }
        drop(read);
        if due > 0 && pace.fits(due, bytes) {
            fire::fire(shared, now, pace).await?;
        }
        if purges {
            purge(shared, purging).await;
        }
    }
}

/// Deletes some of what was kept for a time that is over; timers fire in between. What can't be deleted now waits.
async fn purge(shared: &Shared, purging: &mut Purging) {
    let purged = async {
        let mut write = shared.begin_own(Lane::Background).await?;
        let now = shared.now();
        let answers = answered::purge(&mut write, now, PURGE).await?;
        let letters = dead::purge(&mut write, now - shared.limits.dead, PURGE).await?;
        write.commit().await?;
        Ok::<_, StoreError>(answers + letters)
    };
    match purged.await {
        Ok(gone) => {
            purging.outage.over();
            if gone == 0 {
                purging.at = shared.now() + PURGE_EVERY;
            }
        }
        Err(error) => {
            purging.outage.failed(error);
            purging.at = shared.now() + PURGE_AGAIN;
        }
    }
}
