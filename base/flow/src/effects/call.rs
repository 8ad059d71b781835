//! The call itself, and what its outcome leads to: a result, another try later, or giving up.

use super::finish::{self, Ended, Over};
use super::rate::retry_after;
use super::{LONGEST_PAUSE, Work};
use crate::Failure;
use crate::around::{Call, around};
use crate::ctx::{Ctx, EffectCall, Shared};
use crate::service::{EffectEntry, EffectKind};
use crate::storage::effects::{Effect, Later};
use artel_message::{Code, Time};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// Calls what waits, one call after another, as long as there is something. It has a place.
pub(super) async fn run(work: Arc<Work>, ended: UnboundedSender<Ended>) {
    let place = Place(&work);
    while let Some(effects) = work.held.take() {
        call(&work, effects, &ended).await;
        // A call may have waited for nothing at all.
        tokio::task::coop::consume_budget().await;
    }
    drop(place);
}

struct Place<'a>(&'a Work);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.held.leave();
    }
}

async fn call(work: &Arc<Work>, effects: Vec<Effect>, ended: &UnboundedSender<Ended>) {
    let Some(entry) = work.entry() else { return };
    let (known, open): (Vec<Effect>, Vec<Effect>) = effects.into_iter().partition(|e| e.result.is_some());
    for over in known.into_iter().filter_map(|effect| Over::known(work.name, effect)) {
        // Its done handler has failed before: it has this place for as long as it takes, and holds up no others.
        Box::pin(finish::alone(work, over)).await;
    }
    if open.is_empty() {
        return;
    }
    let outcomes = outcomes(&work.ctx, work.name, entry, &open).await;
    for (effect, outcome) in open.into_iter().zip(outcomes) {
        let (id, outcome) = (effect.id, conclude(work, entry, effect, outcome));
        work.held.ended(id, outcome.bytes());
        // Who finishes lives for as long as anybody calls.
        let _ = ended.send(outcome);
    }
}

/// One outcome for each.
async fn outcomes(
    ctx: &Ctx,
    name: &'static str,
    entry: &EffectEntry,
    effects: &[Effect],
) -> Vec<Result<Bytes, Failure>> {
    let limit = ctx.shared.limits.effect_time;
    let span = Call::new(&ctx.shared, "effect", name, effects[0].trace.as_deref())
        .link(effects.iter().skip(1).filter_map(|effect| effect.trace.as_deref()));
    let of = |effect: &Effect| EffectCall { key: effect.id, attempt: effect.attempts };
    match &entry.kind {
        EffectKind::Single(handler) => {
            let mut ctx = ctx.clone();
            ctx.call = Some(of(&effects[0]));
            vec![around(span, limit, handler(&ctx, effects[0].body.clone())).await]
        }
        EffectKind::Batch(handler) => {
            let bodies = effects.iter().map(|effect| (of(effect), effect.body.clone())).collect();
            match around(span, limit, handler(ctx, bodies)).await {
                Ok(outcomes) => outcomes,
                Err(failure) => effects.iter().map(|_| Err(failure.clone())).collect(),
            }
        }
    }
}

fn conclude(work: &Work, entry: &EffectEntry, mut effect: Effect, outcome: Result<Bytes, Failure>) -> Ended {
    let shared = &work.ctx.shared;
    let ending = match outcome {
        Ok(body) => Ok(body),
        Err(failure) => {
            shared.metrics.effect_failed(shared.name(), work.name);
            let since = *effect.failed_at.get_or_insert(shared.now());
            if let Some(pause) = again(shared, entry, &effect, since, &failure) {
                tracing::debug!(effect = work.name, id = %effect.id, error = %failure, ?pause, "effect is tried again");
                let (id, due) = (effect.id, shared.now() + pause);
                return Ended::Again(Later { id, due, untold: effect.untold, failed_at: effect.failed_at });
            }
            Err(failure.into_fault())
        }
    };
    // From here on it is the done handler that may fail.
    effect.failed_at = None;
    Ended::Over(Over::fresh(effect, ending))
}

/// How long to wait before the next try; `None` = it is given up. What bounds the tries is the time for which it fails: how long
/// it waited before is nobody's failure.
fn again(
    shared: &Shared,
    entry: &EffectEntry,
    effect: &Effect,
    since: Time,
    failure: &Failure,
) -> Option<Duration> {
    let limits = &shared.limits;
    let tries = entry.options.tries.unwrap_or(limits.effect_tries);
    let never = match failure {
        Failure::Refused(fault) => fault.code.is_final(),
        Failure::Undecodable(_) => true,
        _ => false,
    };
    let age = shared.now().since(since);
    if never || effect.attempts >= tries || age >= limits.effect_age {
        return None;
    }
    let wanted = match failure {
        Failure::Refused(fault) if matches!(fault.code, Code::Unavailable | Code::Exhausted) => {
            retry_after(fault)
        }
        _ => None,
    };
    let pause = pause(limits.effect_pause, effect, effect.attempts);
    // One that would wait beyond the bound has its last try at it.
    Some(pause.max(wanted.unwrap_or_default()).min(limits.effect_age - age))
}

/// Doubles with each attempt, up to an hour. Up to a tenth on top, from the id, so that effects that failed together do not
/// come back together.
pub(super) fn pause(first: Duration, effect: &Effect, attempts: u32) -> Duration {
    let pause = first.saturating_mul(2u32.saturating_pow(attempts.clamp(1, 17) - 1)).min(LONGEST_PAUSE);
    pause + pause.mul_f64((effect.id.as_u128() & 0xff) as f64 / 2550.0)
}
