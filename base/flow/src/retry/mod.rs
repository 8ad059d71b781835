//! Parked keys, tried again: any node of the service takes the keys that are due, one transaction for each, which locks the
//! key first.

mod orphans;
mod turn;

pub(crate) use orphans::whose;

use crate::Failure;
use crate::consumer::parking::MESSAGES;
use crate::consumer::reader::Policy;
use crate::consumer::{GroupKind, Reader};
use crate::ctx::Shared;
use crate::failure::Class;
use crate::outage::{Outage, Whose};
use crate::storage::groups::{self, Stored};
use crate::storage::{audit, counts, dead, parked, projections};
use artel_message::Time;
use artel_store::{Engine, Lane};
use futures::{StreamExt, stream};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use turn::turn;
use uuid::Uuid;

/// The poll that backs up the waking.
const POLL: Duration = Duration::from_secs(5);
/// How soon a key that is due, but not to be had, is looked at again.
const HELD_UP: Duration = Duration::from_millis(50);
/// Keys that a round takes of each group.
const ROUND: i64 = 64;
/// How often, and how many rows at once, what is kept for a time is purged.
const PURGE_EVERY: Duration = Duration::from_secs(3600);
const PURGED: i64 = 1_000;
/// A key whose attempt ended with a failure of the infrastructure is left alone for so many of the first pauses after one.
const ASIDE: u32 = 10;
/// So many such failures in one group's round end it.
const TELLING: u32 = 3;
/// Keys tried at once where several transactions can write.
const WIDTH: usize = 4;

/// When a message that fails since then is tried again: it waits about as long again as it has been failing, and has its last
/// try when its time is over.
pub(crate) fn due(shared: &Shared, now: Time, since: Time, policy: Policy) -> Time {
    let limits = &shared.limits;
    let pause =
        now.since(since).clamp(limits.parked_pause, limits.parked_pause_most.max(limits.parked_pause));
    // Up to a quarter on top, so that keys that failed together don't come back together.
    let chance = shared.ids.fresh(now).as_u128() & 0xffff;
    let jitter = pause.mul_f64(f64::from(u16::try_from(chance).unwrap_or(0)) / (4.0 * 65_536.0));
    (now + pause + jitter).min((since + policy.retry_for).max(now + limits.parked_pause))
}

/// Tries parked keys again until stopped.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let of = Whose::Service(shared.name().to_owned());
    let mut outage = Outage::new(of, "parked keys wait for the infrastructure", "parked keys go on");
    let mut purge_at = shared.now();
    let mut aside = Aside::default();
    while !stop.is_cancelled() {
        let now = shared.now();
        let work = async {
            purge(&shared, &mut purge_at).await?;
            round(&shared, &mut aside, &stop).await
        };
        let next = match work.await {
            Ok(next) => {
                outage.over();
                next
            }
            Err(failure) => {
                outage.failed(failure);
                let pause = outage.pause(&shared.limits);
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
                continue;
            }
        };
        let wait = async {
            match next {
                // Another node has it, or its service is being told of it.
                Some(due) if due <= now => tokio::time::sleep(HELD_UP).await,
                Some(due) => shared.clock.until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = shared.wake.parked.notified() => {}
            () = wait => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Deletes the records of what was done by hand whose time is over, and gives letters of older versions their causes.
async fn purge(shared: &Shared, at: &mut Time) -> Result<(), Failure> {
    let now = shared.now();
    if *at <= now {
        tell_orphans(shared).await?;
    }
    while *at <= now {
        let mut write = shared.begin_own(Lane::Background).await?;
        let gone = audit::purge(&mut write, now - shared.limits.audit, PURGED).await?;
        let filled = dead::fill_causes(&mut write, PURGED).await?;
        write.commit().await?;
        if gone + filled == 0 {
            *at = now + PURGE_EVERY;
        }
    }
    Ok(())
}

/// Says which groups have parked keys and are none of this service's any more: nobody tries them.
async fn tell_orphans(shared: &Shared) -> Result<(), Failure> {
    let mut read = shared.db.read().await?;
    let parked = counts::by_group(&mut read, MESSAGES).await?;
    let made = if parked.is_empty() { Vec::new() } else { groups::list(&mut read).await? };
    let versions = projections::list(&mut read).await?;
    drop(read);
    for (group, messages) in parked {
        let of = |name: &str| {
            group.strip_prefix(shared.name()).is_some_and(|rest| rest.strip_prefix('.') == Some(name))
        };
        let stopped = made.iter().any(|made| of(&made.name));
        if whose(shared, &made, &versions, &group).is_none() && !stopped {
            tracing::warn!(
                service = shared.name(),
                group,
                messages,
                "messages are parked of a group that is none of this service's: nobody tries them. Bring the group back under this \
                 name, or drop them (artel parked forget)"
            );
        }
    }
    Ok(())
}

/// Keys whose attempt ended with a failure of the infrastructure, and until when each is left alone.
#[derive(Default)]
struct Aside(HashMap<Uuid, Instant>);

impl Aside {
    fn forget_old(&mut self) {
        let now = Instant::now();
        self.0.retain(|_, until| now < *until);
    }

    fn put(&mut self, key: Uuid, pause: Duration) {
        self.0.insert(key, Instant::now() + pause);
    }
}

/// Tries every key that is due, the longest due first in each group; returns when the next one is. What one key meets (a lock that
/// somebody holds, too little memory) keeps no other from its turn: the first failure is told at the end.
async fn round(
    shared: &Arc<Shared>,
    aside: &mut Aside,
    stop: &CancellationToken,
) -> Result<Option<Time>, Failure> {
    loop {
        aside.forget_old();
        let (mut next, mut went, mut failed) = (None::<Time>, false, None);
        for reader in readers(shared).await? {
            went |= of_group(&reader, aside, stop, &mut failed).await?;
            let soonest = parked::next(&mut shared.db.read().await?, &reader.grp).await?;
            next = next.into_iter().chain(soonest).min();
        }
        if let Some(failure) = failed {
            return Err(failure);
        }
        if !went || stop.is_cancelled() || next.is_none_or(|next| next > shared.now()) {
            return Ok(next);
        }
    }
}

/// One group's keys that are due; true when anything came of them.
async fn of_group(
    reader: &Reader,
    aside: &mut Aside,
    stop: &CancellationToken,
    failed: &mut Option<Failure>,
) -> Result<bool, Failure> {
    let shared = &reader.shared;
    let limit = ROUND.saturating_add(i64::try_from(aside.0.len()).unwrap_or(i64::MAX));
    let due = parked::due(&mut shared.db.read().await?, &reader.grp, shared.now(), limit).await?;
    let width = if shared.db.engine() == Engine::Sqlite { 1 } else { WIDTH };
    let due: Vec<Uuid> = due.into_iter().filter(|id| !aside.0.contains_key(id)).collect();
    let turns = stream::iter(due).map(|id| async move { (id, turn(reader, id, stop).await) });
    let mut turns = std::pin::pin!(turns.buffer_unordered(width));
    let (mut went, mut failures) = (false, 0);
    while let Some((id, done)) = turns.next().await {
        match done {
            Ok(done) => went |= done,
            Err(failure) if failure.class() != Class::Infrastructure => {
                tracing::error!(group = reader.grp, key = %id, error = %failure, "a parked key cannot be tried");
            }
            Err(failure) => {
                // The round says it, as rarely as the others do.
                tracing::debug!(group = reader.grp, key = %id, error = %failure, "a parked key waits for the infrastructure");
                aside.put(id, shared.limits.outage_pause * ASIDE);
                failed.get_or_insert(failure);
                failures += 1;
                // It is hardly about single keys: the rest has its turn in the next round.
                if failures >= TELLING {
                    break;
                }
            }
        }
    }
    Ok(went)
}

/// The groups that have something parked and are not stopped.
async fn readers(shared: &Arc<Shared>) -> Result<Vec<Reader>, Failure> {
    let mut read = shared.db.read().await?;
    let parked = counts::by_group(&mut read, MESSAGES).await?;
    if parked.is_empty() {
        return Ok(Vec::new());
    }
    let made = groups::list(&mut read).await?;
    let readers = parked.into_iter().filter_map(|(grp, _)| {
        let kind = kind_of(shared, &made, &grp)?;
        Some(Reader { shared: shared.clone(), grp, kind })
    });
    Ok(readers.collect())
}

/// Whose handlers a group of this full name runs; none where it is stopped, or there is no such group.
pub(crate) fn kind_of(shared: &Shared, made: &[Stored], grp: &str) -> Option<GroupKind> {
    let service = &shared.service;
    if let Some(events) = service.events.keys().find(|events| service.group_name(events) == grp) {
        return Some(GroupKind::Declared { events: events.clone() });
    }
    if grp == shared.name() {
        return Some(GroupKind::Declared { events: Arc::from("") });
    }
    let name = grp.strip_prefix(shared.name())?.strip_prefix('.')?;
    let group = made.iter().find(|group| group.name == name && group.running)?;
    Some(GroupKind::RunTime { name: Arc::from(name), id: group.id })
}

/// Whether no parked key is due, for tests.
pub(crate) async fn is_idle(shared: &Arc<Shared>) -> Result<bool, Failure> {
    for reader in readers(shared).await? {
        let next = parked::next(&mut shared.db.read().await?, &reader.grp).await?;
        if next.is_some_and(|next| next <= shared.now()) {
            return Ok(false);
        }
    }
    Ok(true)
}
