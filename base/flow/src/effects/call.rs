//! The call itself, and what its outcome leads to: a result, another try later, or giving up.

use super::LONGEST_PAUSE;
use super::finish;
use super::rate::retry_after;
use super::running::Place;
use crate::Failure;
use crate::around::{Call, around};
use crate::ctx::{Ctx, EffectCall, Shared};
use crate::erase::decode;
use crate::service::{EffectEntry, EffectKind};
use crate::storage::effects::Effect;
use artel_message::{Code, Fault, Time};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Makes the call for those whose result is not known yet, and tells what came of each.
pub(super) async fn call(ctx: &Ctx, name: &'static str, effects: Vec<Effect>, place: &Place) {
    let shared = &ctx.shared;
    let Some(entry) = shared.service.effects.get(name) else { return };
    let (known, open): (Vec<Effect>, Vec<Effect>) = effects.into_iter().partition(|e| e.result.is_some());
    for effect in known {
        let result = match effect.result.clone() {
            Some((false, body)) => decode::<Fault>(name, &body).map_or_else(|e| Err(e.into_fault()), Err),
            Some((true, body)) => Ok(body),
            None => continue,
        };
        finish::tell(shared, name, &effect, &result).await;
        place.over(effect.id);
    }
    if open.is_empty() {
        return;
    }
    let outcomes = outcomes(ctx, name, entry, &open).await;
    for (effect, outcome) in open.into_iter().zip(outcomes) {
        let id = effect.id;
        conclude(shared, name, entry, effect, outcome).await;
        place.over(id);
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

async fn conclude(
    shared: &Arc<Shared>,
    name: &'static str,
    entry: &EffectEntry,
    mut effect: Effect,
    outcome: Result<Bytes, Failure>,
) {
    let result = match outcome {
        Ok(body) => Ok(body),
        Err(failure) => {
            shared.metrics.effect_failed(shared.name(), name);
            let since = *effect.failed_at.get_or_insert(shared.now());
            if let Some(pause) = again(shared, entry, &effect, since, &failure) {
                tracing::debug!(effect = name, id = %effect.id, error = %failure, ?pause, "effect is tried again");
                return finish::put_off(shared, name, &effect, pause).await;
            }
            Err(failure.into_fault())
        }
    };
    if finish::store(shared, name, &effect, &result).await {
        // From here on it is the done handler that may fail.
        let effect = Effect { failed_at: None, ..effect };
        finish::tell(shared, name, &effect, &result).await;
    }
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
