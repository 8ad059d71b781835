//! Effects: outside calls, made outside any transaction, at least once, each with one idempotency key.
//!
//! One loop claims, many at once and a little ahead of need where calls are quick; as many calls as the width allows take from
//! what it claimed (`held.rs`); and what has come of them meanwhile is told to `.done` in the transaction that deletes the rows
//! (`finish.rs`), so that an effect that ends well costs parts of two commits. Where that fails the results are stored first.

mod call;
mod finish;
mod held;
mod pace;
mod rate;
mod renew;
mod told;
mod turn;

pub(crate) use rate::Rate;

use crate::Failure;
use crate::apart::apart;
use crate::ctx::{Ctx, Shared};
use crate::outage::{Outage, Whose};
use crate::service::{EffectEntry, EffectKind};
use crate::storage::claims::{self, Claim};
use crate::storage::effects::{self, Effect};
use crate::wakes::EFFECTS;
use artel_message::{Fault, Time};
use artel_store::Lane;
use finish::{Ended, Over};
use held::{Bounds, Held};
use rate::Gcra;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::watch;
use tokio::time::Instant;
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

/// One effect of a service, as this node works on it.
struct Work {
    ctx: Ctx,
    name: &'static str,
    held: Held,
    calls: TaskTracker,
    /// What is done beside all others of it.
    beside: TaskTracker,
}

impl Work {
    fn new(ctx: Ctx, name: &'static str) -> Option<Work> {
        let shared = &ctx.shared;
        let entry = shared.service.effects.get(name)?;
        let bounds = Bounds {
            width: entry.options.width.unwrap_or(WIDTH),
            batch: entry.batch(),
            lease: shared.members.shared().then_some(shared.limits.effect_lease),
        };
        let (calls, beside) = (TaskTracker::new(), TaskTracker::new());
        Some(Work { name, held: Held::new(bounds), calls, beside, ctx })
    }

    fn entry(&self) -> Option<&EffectEntry> {
        self.ctx.shared.service.effects.get(self.name)
    }

    fn beside(&self, what: impl Future<Output = ()> + Send + 'static) {
        self.beside.spawn(what);
    }

    /// Effects have ended: others may be called now, if they are of the same key by any node.
    fn woken(&self) {
        self.ctx.shared.wake.effect(self.name);
        if self.entry().is_some_and(|entry| entry.options.per_key) {
            self.ctx.shared.wake_elsewhere(EFFECTS);
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

/// Runs one effect's calls until stopped, then waits for those that run.
pub(crate) async fn run(ctx: Ctx, name: &'static str, stop: CancellationToken) {
    let Some(work) = Work::new(ctx, name).map(Arc::new) else { return };
    let (renewing, done) = (TaskTracker::new(), CancellationToken::new());
    renewing.spawn({
        let (work, done) = (work.clone(), done.clone());
        async move {
            tokio::select! {
                biased;
                () = done.cancelled() => {}
                never = renew::renew(&work) => match never {},
            }
        }
    });
    let (ended, come) = mpsc::unbounded_channel();
    let finishing = TaskTracker::new();
    finishing.spawn(finish::run(work.clone(), come));
    calls(&work, &ended, &stop).await;
    leave(&work).await;
    // Claims are renewed until all is over.
    work.calls.close();
    work.calls.wait().await;
    drop(ended);
    finishing.close();
    finishing.wait().await;
    work.beside.close();
    work.beside.wait().await;
    done.cancel();
    renewing.close();
    renewing.wait().await;
}

/// What was claimed and not called is left to others, or to the next start.
async fn leave(work: &Work) {
    let waiting = work.held.give_up(true);
    if let Err(failure) = give_back(work, &waiting).await {
        tracing::debug!(effect = work.name, error = %failure, "claims were not given back; they end by themselves, or with the next start");
    }
}

async fn give_back(work: &Work, ids: &[uuid::Uuid]) -> Result<(), Failure> {
    if ids.is_empty() {
        return Ok(());
    }
    let shared = &work.ctx.shared;
    let mut write = shared.begin_own(Lane::Background).await?;
    claims::give_back(&mut write, shared.node, ids).await?;
    write.commit().await?;
    work.woken();
    shared.wake_elsewhere(EFFECTS);
    shared.progressed();
    Ok(())
}

/// Claims until stopped, and begins calls.
async fn calls(work: &Arc<Work>, ended: &UnboundedSender<Ended>, stop: &CancellationToken) {
    let shared = &work.ctx.shared;
    let Some(rate) = work.entry().map(|entry| entry.options.rate) else { return };
    let (mut gcra, mut held_up) = (Gcra::default(), HELD_UP);
    let Some(mut woken) = shared.wake.of_effect(work.name) else { return };
    let of = Whose::Effect(work.name.to_owned());
    let mut outage = Outage::new(of, "effects wait for the infrastructure", "effects go on");
    let mut looks = Looks::default();
    while !stop.is_cancelled() {
        woken.borrow_and_update();
        let late = work.held.give_up(false);
        looks.doubtful |= give_back(work, &late).await.is_err();
        begin(work, ended);
        let now = shared.now();
        let wanted = work.held.wanted(rate.map(|rate| gcra.free(rate, now)));
        let since = Instant::now();
        match claim(work, wanted, &mut looks).await {
            Ok(claimed) if !claimed.is_empty() => {
                outage.over();
                held_up = HELD_UP;
                if let Some(rate) = rate {
                    gcra.take(rate, shared.now(), claimed.len().div_ceil(work.held.bounds.batch));
                }
                for over in
                    work.held.claimed(claimed, since).into_iter().filter_map(|e| Over::known(work.name, e))
                {
                    // Who finishes lives for longer than this loop.
                    let _ = ended.send(Ended::Over(over));
                }
                begin(work, ended);
            }
            Ok(_) => {
                if wanted > 0 {
                    outage.over();
                }
                // Of the same moment: what was not free then is free later.
                let next = rate.map(|rate| gcra.next(rate, now)).filter(|next| *next > now);
                idle(work, wanted, next, (&mut woken, &mut held_up), stop).await;
            }
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

/// Begins calls for what waits, each in a task of its own, which goes on to the next when it has ended.
fn begin(work: &Arc<Work>, ended: &UnboundedSender<Ended>) {
    for _ in 0..work.held.startable() {
        work.held.enter();
        work.calls.spawn(call::run(work.clone(), ended.clone()));
    }
}

/// Waits until something may be due.
async fn idle(
    work: &Work,
    wanted: usize,
    next: Option<Time>,
    (woken, held_up): (&mut watch::Receiver<u64>, &mut Duration),
    stop: &CancellationToken,
) {
    let shared = &work.ctx.shared;
    // Looked up before the wait, and to its end: a statement that nobody waits for any more costs its connection.
    let due = match next {
        Some(next) if wanted == 0 => Some(Due::At(next)),
        _ if wanted == 0 => None,
        _ => tokio::select! {
            biased;
            () = stop.cancelled() => return,
            due = due(shared, work.name) => Some(due),
        },
    };
    let wait = async {
        match due {
            // The end of a call changes what is held.
            None => std::future::pending().await,
            Some(Due::At(at)) => shared.clock.until(at).await,
            // Behind another of its key, which another node may have.
            Some(Due::HeldUp(at)) => tokio::select! {
                () = shared.clock.until(at) => {}
                () = tokio::time::sleep(*held_up) => *held_up = (*held_up * 2).min(POLL),
            },
        }
    };
    let patience = async {
        match work.held.patience() {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        _ = woken.changed() => {}
        () = work.held.changed.notified() => {}
        () = patience => {}
        () = wait => {}
    }
}

/// When something may be claimed.
enum Due {
    At(Time),
    /// Something is due by now and not to be had, and more is at this moment.
    HeldUp(Time),
}

async fn due(shared: &Shared, name: &str) -> Due {
    let now = shared.now();
    let next = match shared.db.read().await {
        Ok(mut read) => effects::next(&mut read, name, now).await.unwrap_or_default(),
        Err(_) => effects::Next::default(),
    };
    let poll: Time = now + POLL;
    let later = next.later.map_or(poll, |due| due.min(poll));
    if next.now { Due::HeldUp(later) } else { Due::At(later) }
}

/// What the loop knows of earlier claims.
#[derive(Default)]
struct Looks {
    /// A commit ended in an error: nobody knows whether its claims hold, and where a node is alone no claim ends by itself.
    doubtful: bool,
    /// The last claim got all that it wanted: there may be more.
    more: bool,
}

async fn claim(work: &Arc<Work>, wanted: usize, looks: &mut Looks) -> Result<Vec<Effect>, Failure> {
    if wanted == 0 {
        return Ok(Vec::new());
    }
    let more = std::mem::take(&mut looks.more);
    let doubtful = std::mem::replace(&mut looks.doubtful, true);
    let claimed = claim_once(work, wanted, more, doubtful).await?;
    *looks = Looks { doubtful: false, more: claimed.len() == wanted };
    Ok(claimed)
}

async fn claim_once(
    work: &Arc<Work>,
    limit: usize,
    more: bool,
    doubtful: bool,
) -> Result<Vec<Effect>, Failure> {
    let (shared, name) = (&work.ctx.shared, work.name);
    if doubtful {
        let mut write = shared.begin_own(Lane::Background).await?;
        claims::give_back_unknown(&mut write, name, shared.node, &work.held.ids()).await?;
        write.commit().await?;
    }
    let (now, engine) = (shared.now(), claims::engine(&shared.db));
    let per_key = work.entry().is_some_and(|entry| entry.options.per_key) && !planted!(IgnoresKeys);
    // Cheaper than a claim for nothing.
    if !more && !claims::ready(&mut shared.db.read().await?, engine, name, per_key, now).await? {
        return Ok(Vec::new());
    }
    let taken = take(work.clone(), per_key, now, limit);
    // Where there is more than is wanted thousands are called.
    if more { apart(taken).await } else { taken.await }
}

/// The claim itself.
async fn take(work: Arc<Work>, per_key: bool, now: Time, limit: usize) -> Result<Vec<Effect>, Failure> {
    let (shared, name) = (&work.ctx.shared, work.name);
    let engine = claims::engine(&shared.db);
    let mut write = shared.begin_own(Lane::Background).await?;
    let claim = Claim {
        name,
        per_key,
        owner: shared.node,
        now,
        lease: if planted!(ClaimEndsAtOnce) { Duration::ZERO } else { shared.limits.effect_lease },
        limit,
    };
    let claimed = claims::claim(&mut write, engine, claim).await?;
    if claimed.len() > limit {
        // Width and rate are promises: better none than more.
        let reason = format!("the database gave {} effects '{name}' in place of {limit}", claimed.len());
        return Err(Failure::Refused(Fault::internal(reason)));
    }
    write.commit().await?;
    Ok(claimed)
}
