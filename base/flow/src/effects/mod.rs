//! Effects: outside calls, made outside any transaction, at least once, each with one idempotency key. Claim, call, store the
//! result, then tell `.done` in the transaction that deletes the row.

mod call;
mod finish;
mod rate;
mod running;

pub(crate) use rate::Rate;

use crate::Failure;
use crate::ctx::{Ctx, Shared};
use crate::outage::{Outage, Whose};
use crate::service::{EffectEntry, EffectKind};
use crate::storage::effects::{self, Claim, Effect};
use crate::wakes::EFFECTS;
use artel_message::{Fault, Time};
use artel_store::Lane;
use rate::Gcra;
use running::Running;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The poll that backs up the waking.
const POLL: Duration = Duration::from_secs(5);
/// How soon an effect that is due but held up is looked at again, where nothing wakes the loop before; it doubles up to the poll,
/// since a look may have to go over all that is held up.
const HELD_UP: Duration = Duration::from_millis(250);
/// Calls of one effect at once, unless it says otherwise.
const WIDTH: usize = 16;
/// Effects in one call of a handler that takes many, unless it says otherwise.
const BATCH: usize = 100;
/// The longest pause between attempts, unless a fault asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Runs one effect's calls until stopped, then waits for those that run.
pub(crate) async fn run(ctx: Ctx, name: &'static str, stop: CancellationToken) {
    let running = Arc::new(Running::default());
    let (tasks, done) = (TaskTracker::new(), CancellationToken::new());
    tasks.spawn({
        let (shared, running, done) = (ctx.shared.clone(), running.clone(), done.clone());
        async move {
            tokio::select! {
                biased;
                () = done.cancelled() => {}
                never = running::renew(&shared, name, &running) => match never {},
            }
        }
    });
    calls(&ctx, name, &running, &stop).await;
    // Claims are renewed for as long as calls run.
    running.none().await;
    done.cancel();
    tasks.close();
    tasks.wait().await;
}

/// Claims and calls until stopped.
async fn calls(ctx: &Ctx, name: &'static str, running: &Arc<Running>, stop: &CancellationToken) {
    let shared = &ctx.shared;
    let Some(entry) = shared.service.effects.get(name) else { return };
    let mut gcra = Gcra::default();
    let mut woken = shared.wake.effects.subscribe();
    let mut held = HELD_UP;
    let of = Whose::Effect(name.to_owned());
    let mut outage = Outage::new(of, "effects wait for the infrastructure", "effects go on");
    // A claim ended in an error: nobody knows whether it holds, and where a node is alone no claim ends by itself.
    let mut doubtful = false;
    while !stop.is_cancelled() {
        woken.borrow_and_update();
        let calls = free(shared, entry, running, &gcra);
        let claimed = match calls {
            0 => Ok(Vec::new()),
            _ => claim(shared, name, entry, calls * entry.batch(), (running, doubtful)).await,
        };
        doubtful = claimed.is_err() || (doubtful && calls == 0);
        if claimed.is_ok() && calls > 0 {
            outage.over();
        }
        match claimed {
            Ok(claimed) if !claimed.is_empty() => {
                held = HELD_UP;
                let calls = claimed.chunks(entry.batch());
                if let Some(rate) = entry.options.rate {
                    gcra.take(rate, shared.now(), calls.len());
                }
                for effects in calls {
                    start(ctx, name, effects.to_vec(), running, entry.options.per_key);
                }
            }
            Ok(_) => idle(shared, name, entry, (calls, &gcra), (&mut woken, &mut held), stop).await,
            Err(failure) => {
                outage.failed(failure);
                let pause = outage.pause(&shared.limits);
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}

impl EffectEntry {
    /// The most effects in one call.
    fn batch(&self) -> usize {
        match self.kind {
            EffectKind::Single(_) => 1,
            EffectKind::Batch(_) => self.options.batch.unwrap_or(BATCH),
        }
    }
}

/// How many calls may begin now.
fn free(shared: &Shared, entry: &EffectEntry, running: &Running, gcra: &Gcra) -> usize {
    let width = entry.options.width.unwrap_or(WIDTH).saturating_sub(running.calls());
    entry.options.rate.map_or(width, |rate| width.min(gcra.free(rate, shared.now())))
}

/// One call, in a task of its own.
fn start(ctx: &Ctx, name: &'static str, effects: Vec<Effect>, running: &Arc<Running>, per_key: bool) {
    let ctx = ctx.clone();
    let place = running.begin(effects.iter().map(|effect| effect.id));
    tokio::spawn(async move {
        call::call(&ctx, name, effects, &place).await;
        drop(place);
        ctx.shared.wake.effects();
        if per_key {
            // The next of a key may be another node's.
            ctx.shared.wake_others(EFFECTS);
        }
    });
}

/// Waits until something may be due.
async fn idle(
    shared: &Shared,
    name: &str,
    entry: &EffectEntry,
    (free, gcra): (usize, &Gcra),
    (woken, held): (&mut watch::Receiver<u64>, &mut Duration),
    stop: &CancellationToken,
) {
    let wait = async {
        match entry.options.rate {
            Some(rate) if free == 0 && gcra.next(rate, shared.now()) > shared.now() => {
                shared.clock.until(gcra.next(rate, shared.now())).await;
            }
            // The end of a call wakes it.
            _ if free == 0 => std::future::pending().await,
            _ => due(shared, name, held).await,
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        _ = woken.changed() => {}
        () = wait => {}
    }
}

async fn due(shared: &Shared, name: &str, held: &mut Duration) {
    let now = shared.now();
    let next = match shared.db.read().await {
        Ok(mut read) => effects::next(&mut read, name, now).await.unwrap_or_default(),
        Err(_) => effects::Next::default(),
    };
    let poll: Time = now + POLL;
    let later = shared.clock.until(next.later.map_or(poll, |due| due.min(poll)));
    if !next.now {
        return later.await;
    }
    // Due but not to be had: behind another of its key, which another node may have.
    tokio::select! {
        () = later => {}
        () = tokio::time::sleep(*held) => *held = (*held * 2).min(POLL),
    }
}

async fn claim(
    shared: &Arc<Shared>,
    name: &str,
    entry: &EffectEntry,
    limit: usize,
    (running, doubtful): (&Running, bool),
) -> Result<Vec<Effect>, Failure> {
    if doubtful {
        let mut write = shared.begin_own(Lane::Background).await?;
        effects::give_back(&mut write, name, shared.node, &running.ids()).await?;
        write.commit().await?;
    }
    let (now, engine) = (shared.now(), effects::engine(&shared.db));
    let per_key = entry.options.per_key && !planted!(IgnoresKeys);
    if !effects::ready(&mut shared.db.read().await?, engine, name, per_key, now).await? {
        return Ok(Vec::new());
    }
    let mut write = shared.begin_own(Lane::Background).await?;
    let claim = Claim {
        name,
        per_key,
        owner: shared.node,
        now,
        lease: if planted!(ClaimEndsAtOnce) { Duration::ZERO } else { shared.limits.effect_lease },
        limit,
    };
    let claimed = effects::claim(&mut write, engine, claim).await?;
    if claimed.len() > limit {
        // Width and rate are promises: better none than more.
        let reason = format!("the database gave {} effects '{name}' in place of {limit}", claimed.len());
        return Err(Failure::Refused(Fault::internal(reason)));
    }
    write.commit().await?;
    Ok(claimed)
}
