//! What comes after a call: its result is stored, then told and the row deleted in one transaction. All of it waits for the
//! infrastructure as long as it takes: the call was made, and must not be made again for want of a database.

use super::call::pause;
use crate::around::{Call, around};
use crate::ctx::Shared;
use crate::erase::{Ended, encode};
use crate::failure::Class;
use crate::letters::{self, Own};
use crate::outage::{Outage, Whose};
use crate::storage::effects::{self, Effect, Later};
use crate::{Failure, Tx};
use artel_message::{Cause, Code, Fault, Headers};
use artel_store::Lane;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// What came of an effect.
type Ending = Result<Bytes, Fault>;

/// Does `work` until the infrastructure lets it; `None` when the node stops before.
async fn until_done<T, F>(shared: &Shared, name: &str, mut work: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut outage = Outage::new(
        Whose::Effect(name.to_owned()),
        "what came of an effect waits for the infrastructure",
        "what came of an effect could be written in the end",
    );
    loop {
        let pause = match shared.rerun(&mut work).await {
            Ok(value) => {
                outage.over();
                return Some(value);
            }
            Err(failure) if failure.class() == Class::Infrastructure => {
                outage.failed(failure);
                outage.pause(&shared.limits)
            }
            Err(failure) => {
                // A mistake of ours: waiting does not mend it, and the claim ends by itself.
                tracing::error!(effect = name, error = %failure, "what came of an effect could not be written");
                return None;
            }
        };
        tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return None,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Stores the result; false = another one was first, or the node stops.
pub(super) async fn store(
    shared: &Arc<Shared>,
    name: &'static str,
    effect: &Effect,
    ending: &Ending,
) -> bool {
    let (ok, body) = stored_form(name, ending);
    let stored = until_done(shared, name, || async {
        let mut write = shared.begin_own(Lane::Background).await?;
        let first = effects::store_result(&mut write, effect.id, ok, &body).await?;
        write.commit().await?;
        Ok(first)
    });
    match stored.await {
        Some(true) => true,
        Some(false) => {
            shared.metrics.effect_late(shared.name(), name);
            tracing::info!(effect = name, id = %effect.id, "another result of this effect came first; this one is dropped");
            // Where the claim is still ours, it is told from what is stored.
            let effect = Effect { failed_at: None, ..effect.clone() };
            put_off(shared, name, &effect, Duration::ZERO).await;
            false
        }
        None => false,
    }
}

fn stored_form(name: &'static str, ending: &Ending) -> (bool, Bytes) {
    match ending {
        Ok(body) => (true, body.clone()),
        Err(fault) => (false, encode(name, fault).unwrap_or_default()),
    }
}

/// What came of telling.
enum Told {
    Done,
    /// The handler of what is given up on fails: the letter has to be written without it.
    Deaf,
    /// The done handler fails.
    Failed(Failure),
}

/// Tells `.done` and deletes the row, in one transaction. A failing done handler is tried again later, from the stored
/// result; in the end a letter keeps that result.
pub(super) async fn tell(shared: &Arc<Shared>, name: &'static str, effect: &Effect, ending: &Ending) {
    let mut deaf = false;
    let failure = loop {
        let told = until_done(shared, name, || async {
            match tell_once(shared, name, effect, ending, !deaf).await {
                // The handler's own failure is not the infrastructure's.
                Err(failure) if failure.class() != Class::Infrastructure => Ok(Told::Failed(failure)),
                result => result,
            }
        });
        match told.await {
            Some(Told::Deaf) => deaf = true,
            Some(Told::Failed(failure)) => break failure,
            Some(Told::Done) | None => return,
        }
    };
    shared.topics.look_for_missing().await;
    let now = shared.now();
    let (untold, since) = (effect.untold.saturating_add(1), effect.failed_at.unwrap_or(now));
    let effect = &Effect { untold, failed_at: Some(since), ..effect.clone() };
    let limits = &shared.limits;
    let over = untold >= limits.effect_tries || now.since(since) >= limits.effect_age;
    if over || failure.class() == Class::Never {
        return keep_untold(shared, name, effect, ending, &failure).await;
    }
    tracing::warn!(effect = name, id = %effect.id, error = %failure, untold, "done handler failed; it is tried again");
    put_off(shared, name, effect, pause(limits.effect_pause, effect, untold)).await;
}

async fn tell_once(
    shared: &Arc<Shared>,
    name: &'static str,
    effect: &Effect,
    ending: &Ending,
    told: bool,
) -> Result<Told, Failure> {
    let mut tx = Tx::begin(shared, Lane::Background).await?;
    if !effects::delete(tx.write(), effect.id).await? {
        tx.rollback().await;
        return Ok(Told::Done);
    }
    if planted!(ToldApart) {
        tx.commit().await?;
        tx = Tx::begin(shared, Lane::Background).await?;
    }
    let given_up = ending.as_ref().err().map(|fault| Own {
        kept: letters::of_effect(name, &effect.body, None),
        ..own(effect, fault.code, fault.reason.clone())
    });
    if let Some(own) = &given_up
        && !letters::bury(&mut tx, own, told).await?
    {
        tx.rollback().await;
        return Ok(Told::Deaf);
    }
    if let Some(done) = shared.service.done.get(name) {
        let (input, result) = (effect.body.clone(), ending.clone());
        let ended = Ended { id: effect.id, input, result, attempts: effect.attempts };
        let call = Call::new(shared, "done", name, effect.trace.as_deref());
        tx.enter(name, cause(effect), false, call.trace());
        let handled = done(&mut tx, ended);
        let result = around(call, shared.limits.handler_time, handled).await;
        tx.end(result).await?;
    } else {
        tx.commit().await?;
    }
    given_up.iter().for_each(|own| own.count(shared));
    Ok(Told::Done)
}

/// Nobody can be told what came of an effect: a letter keeps it, from which the done handler can be run again.
async fn keep_untold(
    shared: &Arc<Shared>,
    name: &'static str,
    effect: &Effect,
    ending: &Ending,
    failure: &Failure,
) {
    let reason = format!("its done handler fails ({} tries), the call has ended: {failure}", effect.untold);
    let result = stored_form(name, ending);
    let own = Own {
        kept: letters::of_effect(name, &effect.body, Some(&result)),
        ..own(effect, failure.code(), reason)
    };
    let mut told = true;
    loop {
        let kept = until_done(shared, name, || async {
            let mut tx = Tx::begin(shared, Lane::Background).await?;
            let there = effects::delete(tx.write(), effect.id).await?;
            if !there || !letters::bury(&mut tx, &own, told).await? {
                tx.rollback().await;
                return Ok(!there);
            }
            tx.commit().await?;
            own.count(shared);
            Ok(true)
        });
        match kept.await {
            Some(false) => told = false,
            Some(true) | None => return,
        }
    }
}

/// What ids of its done handler, and of its letter, derive from.
fn cause(effect: &Effect) -> Cause {
    Cause::message(effect.id, effect.made_at)
}

fn own(effect: &Effect, code: Code, reason: String) -> Own<'_> {
    Own {
        topic: letters::EFFECTS,
        cause: cause(effect),
        id: effect.id,
        name: &effect.name,
        key: effect.key.as_deref(),
        body: &effect.body,
        kept: Headers::new(),
        code,
        reason,
        attempts: effect.attempts,
        since: effect.failed_at,
    }
}

/// Gives the claim back; the effect is looked at again after `wait`.
pub(super) async fn put_off(shared: &Arc<Shared>, name: &'static str, effect: &Effect, wait: Duration) {
    let later = Later { due: shared.now() + wait, untold: effect.untold, failed_at: effect.failed_at };
    until_done(shared, name, || async {
        let mut write = shared.begin_own(Lane::Background).await?;
        effects::put_off(&mut write, effect.id, shared.node, &later).await?;
        write.commit().await?;
        Ok(())
    })
    .await;
    shared.progressed();
}
