//! Effects: outside calls, made outside any transaction, at least once, each with one idempotency key. Claim, call, store the
//! result, then tell `.done` in the transaction that deletes the row.

use crate::around::{Call, around};
use crate::ctx::{Ctx, EffectCall, Shared};
use crate::erase::{Ended, decode, encode};
use crate::service::EffectEntry;
use crate::storage::effects::{self, Claim, Effect};
use crate::{Failure, Tx};
use artel_message::{Cause, Fault};
use artel_store::{Lane, StoreError};
use bytes::Bytes;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// The poll that backs up the waking.
const POLL: Duration = Duration::from_secs(5);
/// How soon an effect that is due but held up is looked at again.
const HELD_UP: Duration = Duration::from_millis(20);
/// How long a claim holds without being renewed.
const LEASE: Duration = Duration::from_secs(30);
/// Calls of one effect at once, unless it says otherwise.
const WIDTH: usize = 16;
/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Runs one effect's calls until stopped, then waits for those that run.
pub(crate) async fn run(ctx: Ctx, name: &'static str, stop: CancellationToken) {
    let shared = ctx.shared.clone();
    let running = Arc::new(AtomicUsize::new(0));
    let tasks = TaskTracker::new();
    let mut woken = shared.wake.effects.subscribe();
    while !stop.is_cancelled() {
        woken.borrow_and_update();
        let Some(entry) = shared.service.effects.get(name) else { return };
        let free = entry.options.width.unwrap_or(WIDTH).saturating_sub(running.load(Ordering::Relaxed));
        let claimed = if free == 0 { Ok(Vec::new()) } else { claim(&shared, name, entry, free).await };
        match claimed {
            Ok(claimed) if claimed.is_empty() => idle(&shared, name, &mut woken, &stop).await,
            Ok(claimed) => {
                for effect in claimed {
                    running.fetch_add(1, Ordering::Relaxed);
                    let (ctx, running) = (ctx.clone(), running.clone());
                    tasks.spawn(async move {
                        if let Err(failure) = call(&ctx, name, effect).await {
                            tracing::warn!(effect = name, error = %failure, "effect waits for the infrastructure");
                        }
                        running.fetch_sub(1, Ordering::Relaxed);
                        ctx.shared.wake.effects();
                    });
                }
            }
            Err(failure) => {
                tracing::warn!(effect = name, error = %failure, "effects wait for the infrastructure");
                idle(&shared, name, &mut woken, &stop).await;
            }
        }
    }
    tasks.close();
    tasks.wait().await;
}

/// Waits until something may be due.
async fn idle(shared: &Shared, name: &str, woken: &mut watch::Receiver<u64>, stop: &CancellationToken) {
    let next = match shared.db.read().await {
        Ok(mut read) => effects::next(&mut read, name).await.ok().flatten(),
        Err(_) => None,
    };
    let poll = shared.now() + POLL;
    let due = next.map_or(poll, |due| due.min(poll));
    let wait = async {
        if due <= shared.now() {
            // Due but not to be had: behind another of its key, or no place free.
            tokio::time::sleep(HELD_UP).await;
        } else {
            shared.clock.until(due).await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        _ = woken.changed() => {}
        () = wait => {}
    }
}

async fn claim(
    shared: &Arc<Shared>,
    name: &str,
    entry: &EffectEntry,
    free: usize,
) -> Result<Vec<Effect>, Failure> {
    let mut write = shared.begin_own(Lane::Background).await?;
    let now = shared.now();
    let claim = Claim {
        name,
        per_key: entry.options.per_key,
        owner: shared.node,
        now,
        until: now + LEASE,
        limit: free,
    };
    let claimed = effects::claim(&mut write, shared.db.engine(), claim).await?;
    write.commit().await?;
    Ok(claimed)
}

/// Makes the call, unless its result is known already, and tells what came of it.
async fn call(ctx: &Ctx, name: &'static str, effect: Effect) -> Result<(), Failure> {
    let shared = &ctx.shared;
    let Some(entry) = shared.service.effects.get(name) else { return Ok(()) };
    let result = match effect.result.clone() {
        Some((true, body)) => Ok(body),
        Some((false, body)) => Err(decode::<Fault>(name, &body)?),
        None => match renewed(ctx, name, entry, &effect).await {
            Ok(body) => Ok(body),
            Err(failure) if may_retry(shared, entry, &effect, &failure) => {
                return put_off(shared, &effect).await;
            }
            Err(failure) => Err(failure.into_fault()),
        },
    };
    if effect.result.is_none() {
        let (ok, body) = match &result {
            Ok(body) => (true, body.clone()),
            Err(fault) => (false, encode(name, fault)?),
        };
        let mut write = shared.begin_own(Lane::Background).await?;
        let first = effects::store_result(&mut write, effect.id, ok, &body).await?;
        write.commit().await?;
        if !first {
            tracing::info!(effect = name, id = %effect.id, "another result of this effect came first; this one is dropped");
            return Ok(());
        }
    }
    finish(shared, name, &effect, result).await
}

fn may_retry(shared: &Shared, entry: &EffectEntry, effect: &Effect, failure: &Failure) -> bool {
    let tries = entry.options.tries.unwrap_or(shared.limits.effect_tries);
    let never = matches!(failure, Failure::Refused(fault) if fault.code.is_final());
    !never && !matches!(failure, Failure::Undecodable(_)) && effect.attempts < tries
}

/// The call itself, with its claim renewed while it runs.
async fn renewed(
    ctx: &Ctx,
    name: &'static str,
    entry: &EffectEntry,
    effect: &Effect,
) -> Result<Bytes, Failure> {
    let shared = &ctx.shared;
    let mut ctx = ctx.clone();
    ctx.call = Some(EffectCall { key: effect.id, attempt: effect.attempts });
    let call = Call::new(shared, "effect", name, effect.trace.as_deref());
    let work = around(call, shared.limits.effect_time, (entry.handler)(&ctx, effect.body.clone()));
    tokio::select! {
        biased;
        result = work => result,
        never = renew(shared, name, effect.id) => match never {},
    }
}

/// Renews the claim for as long as the call runs beside it; trouble with that is none of the call's.
async fn renew(shared: &Shared, name: &str, id: Uuid) -> Infallible {
    loop {
        tokio::time::sleep(LEASE / 3).await;
        let renewed = async {
            let mut write = shared.begin_own(Lane::Background).await?;
            let ours = effects::renew(&mut write, id, shared.node, shared.now() + LEASE).await?;
            write.commit().await?;
            Ok::<_, StoreError>(ours)
        };
        match renewed.await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(effect = name, %id, "the claim was lost while the call ran"),
            Err(error) => tracing::warn!(effect = name, %id, %error, "the claim could not be renewed"),
        }
    }
}

async fn put_off(shared: &Arc<Shared>, effect: &Effect) -> Result<(), Failure> {
    let pause = (shared.limits.effect_pause * 2u32.saturating_pow(effect.attempts.min(16).saturating_sub(1)))
        .min(LONGEST_PAUSE);
    let mut write = shared.begin_own(Lane::Background).await?;
    // Up to a tenth on top, from the id, so that effects that failed together do not come back together.
    let jitter = pause.mul_f64(f64::from(u16::try_from(effect.id.as_u128() & 0xff).unwrap_or(0)) / 2550.0);
    effects::put_off(&mut write, effect.id, shared.node, shared.now() + pause + jitter).await?;
    write.commit().await?;
    shared.progressed();
    Ok(())
}

/// Tells `.done` and deletes the row, in one transaction. A failing done handler is tried again from the stored result.
async fn finish(
    shared: &Arc<Shared>,
    name: &'static str,
    effect: &Effect,
    result: Result<Bytes, Fault>,
) -> Result<(), Failure> {
    shared.rerun(|| finish_once(shared, name, effect, result.clone())).await
}

async fn finish_once(
    shared: &Arc<Shared>,
    name: &'static str,
    effect: &Effect,
    result: Result<Bytes, Fault>,
) -> Result<(), Failure> {
    let mut tx = Tx::begin(shared, Lane::Background).await?;
    if !effects::delete(tx.write(), effect.id).await? {
        tx.rollback().await;
        return Ok(());
    }
    if let Some(done) = shared.service.done.get(name) {
        let ended = Ended { id: effect.id, input: effect.body.clone(), result, attempts: effect.attempts };
        let call = Call::new(shared, "done", name, effect.trace.as_deref());
        tx.enter(name, Cause::message(effect.id, effect.made_at), false, call.trace());
        let handled = done(&mut tx, ended);
        let result = around(call, shared.limits.handler_time, handled).await;
        if let Err(failure) = tx.verdict(result) {
            tx.rollback().await;
            if failure.is_contended() {
                return Err(failure);
            }
            tracing::warn!(effect = name, id = %effect.id, error = %failure, "done handler failed; it is tried again");
            return put_off(shared, effect).await;
        }
    } else if let Err(fault) = &result {
        tracing::warn!(effect = name, id = %effect.id, error = %fault, "effect given up; nobody asked to be told");
    }
    tx.commit().await
}
