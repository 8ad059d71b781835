//! Durable schedules: each run once across all nodes, also over restarts. What was missed runs once, not at all, or all of
//! it, as the schedule says.

mod list;
mod plan;
mod when;

pub use list::Scheduled;
pub(crate) use when::Recurrence;
pub use when::{Missed, Schedule};

use crate::around::{Call, around};
use crate::ctx::Shared;
use crate::outage::{Outage, Whose};
use crate::service::ScheduleEntry;
use crate::storage::schedules::{self, Row, Step};
use crate::{Failure, Tx};
use artel_message::{Cause, Time};
use artel_store::{Lane, StoreError};
use plan::{Plan, plan_apart};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The poll that backs up the clock and the waking.
const POLL: Duration = Duration::from_secs(60);
/// The longest pause before a schedule that fails is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// One run of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// When it was due.
    pub due: Time,
    /// Further runs that have come due since and that this one stands for.
    pub missed: u32,
}

/// What handlers of schedules may take: `()` or [`Run`].
pub trait OfRun: Send + 'static {
    fn of(run: Run) -> Self;
}

impl OfRun for () {
    fn of(_: Run) {}
}

impl OfRun for Run {
    fn of(run: Run) -> Run {
        run
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
        if let Some(next) = schedule.recurrence.after(now) {
            schedules::begin(tx.write(), schedule.name, &schedule.schedule.text(), next).await?;
        }
    }
    tx.commit().await
}

/// What has failed, and when it is tried again. Kept in memory: whoever takes over tries at once.
type Failing = BTreeMap<&'static str, (u32, Time)>;

/// Runs schedules until stopped.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    if shared.service.schedules.is_empty() {
        return;
    }
    let mut keeper = shared.held.schedules.subscribe();
    let mut failing = Failing::new();
    let of = Whose::Service(shared.name().to_owned());
    let mut outage = Outage::new(of, "schedules wait for the infrastructure", "schedules go on");
    while !stop.is_cancelled() {
        if keeper.borrow_and_update().is_none() && !planted!(ScheduleOnAll) {
            // Another node keeps the schedules of this service.
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                _ = keeper.changed() => {}
            }
            continue;
        }
        let next = match round(&shared, &mut failing, &stop).await {
            Ok(next) => {
                outage.over();
                next
            }
            Err(failure) => {
                outage.failed(failure);
                shared.now() + outage.pause(&shared.limits)
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            _ = keeper.changed() => {}
            // Somebody wants one to run now, whatever failed before.
            () = shared.wake.schedules.notified() => failing.clear(),
            () = shared.clock.until(next) => {}
        }
    }
}

/// Runs what is due, one run of each schedule: one with many runs to make up for holds up no other. Returns when to look again.
async fn round(
    shared: &Arc<Shared>,
    failing: &mut Failing,
    stop: &CancellationToken,
) -> Result<Time, Failure> {
    let rows = schedules::list(&mut shared.db.read().await?).await?;
    let mut earliest = shared.now() + POLL;
    for Row { name, mut next, .. } in rows {
        let Some(schedule) = shared.service.schedules.iter().find(|s| s.name == name) else { continue };
        let failed = failing.get(schedule.name);
        if let Some((_, again)) = failed {
            next = next.max(*again);
        }
        if next > shared.now() {
            earliest = earliest.min(next);
            continue;
        }
        if stop.is_cancelled() {
            return Ok(earliest);
        }
        match run_due(shared, schedule, failed.is_some()).await {
            Ok(next) => {
                failing.remove(schedule.name);
                earliest = earliest.min(next);
            }
            Err(failure) => {
                shared.topics.look_for_missing().await;
                let (times, again) = failing.entry(schedule.name).or_insert((0, shared.now()));
                let pause = (shared.limits.outage_pause * 4).saturating_mul(2u32.saturating_pow(*times));
                (*times, *again) = ((*times + 1).min(16), shared.now() + pause.min(LONGEST_PAUSE));
                tracing::warn!(
                    service = shared.name(), schedule = name, error = %failure, again = %again,
                    "a schedule failed; it is tried again"
                );
                earliest = earliest.min(*again);
            }
        }
    }
    Ok(earliest)
}

/// Does what one schedule has to do next; returns when it is due again, which may be now.
async fn run_due(shared: &Arc<Shared>, schedule: &ScheduleEntry, failed: bool) -> Result<Time, Failure> {
    let now = shared.now();
    let row = schedules::one(&mut shared.db.read().await?, schedule.name).await?;
    let (due, began) = match row {
        Some(row) if row.next <= now => (row.next, failed || row.began == Some(row.next)),
        Some(row) => return Ok(row.next),
        None => return Ok(now + POLL),
    };
    let missed = schedule.schedule.missed;
    let Some(plan) = plan_apart(&schedule.recurrence, missed, due, (now, began)).await else {
        return Ok(now + POLL);
    };
    let done = shared.rerun(|| run_one(shared, schedule, due, now, plan)).await;
    if done.is_err() && plan.run && !began {
        // Whoever takes over has to know; where this can't be written this node still does.
        if let Err(error) = note_begun(shared, schedule.name, due).await {
            tracing::debug!(schedule = schedule.name, %error, "it is not noted that a run was tried");
        }
    }
    done.map(|()| plan.next)
}

async fn note_begun(shared: &Shared, name: &str, due: Time) -> Result<(), StoreError> {
    let mut write = shared.begin_own(Lane::Background).await?;
    schedules::note_begun(&mut write, name, due).await?;
    write.commit().await
}

/// Moves the schedule on and runs it, in one transaction. Where another node has moved it nothing happens.
async fn run_one(
    shared: &Arc<Shared>,
    schedule: &ScheduleEntry,
    due: Time,
    now: Time,
    plan: Plan,
) -> Result<(), Failure> {
    let mut tx = Tx::begin(shared, Lane::Background).await?;
    let ran_at = plan.run.then_some(now);
    let step = Step { old: due, new: plan.next, ran_at, missed: plan.missed };
    if !schedules::advance(tx.write(), schedule.name, step).await? && !planted!(ScheduleOnAll) {
        tx.rollback().await;
        return Ok(());
    }
    if planted!(ScheduleMovedApart) {
        tx.commit().await?;
        tx = Tx::begin(shared, Lane::Background).await?;
    }
    if plan.run {
        tx.enter(schedule.name, Cause::keyed("schedule", schedule.name, &due.to_string(), due), false, None);
        tx.at(now);
        let call = Call::new(shared, "schedule", schedule.name, None);
        let handled = (schedule.handler)(&mut tx, Run { due, missed: plan.missed });
        let result = around(call, shared.limits.handler_time, handled).await;
        tx.end(result).await?;
    } else {
        tx.commit().await?;
    }
    if plan.missed > 0 {
        tracing::info!(
            service = shared.name(), schedule = schedule.name, %due, missed = plan.missed, run = plan.run,
            "runs of a schedule were missed"
        );
        shared.metrics.schedule_missed(shared.name(), schedule.name, plan.missed);
    }
    Ok(())
}
