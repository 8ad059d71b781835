//! What comes after a call: its result is stored, then told and the row deleted in one transaction. All of it waits for the
//! infrastructure as long as it takes: the call was made, and must not be made again for want of a database.

use super::call::pause;
use crate::around::{Call, around};
use crate::ctx::Shared;
use crate::erase::{Ended, encode};
use crate::failure::Class;
use crate::storage::dead::{self, DeadLetter};
use crate::storage::effects::{self, Effect};
use crate::{Failure, Tx};
use artel_message::{Cause, Fault, Headers};
use artel_store::Lane;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// The longest reason that is kept, in characters.
const REASON: usize = 2_000;

/// What came of an effect.
type Ending = Result<Bytes, Fault>;

/// Does `work` until the infrastructure lets it; `None` when the node stops before.
async fn until_done<T, F>(shared: &Shared, name: &str, mut work: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Result<T, Failure>>,
{
    loop {
        match shared.rerun(&mut work).await {
            Ok(value) => return Some(value),
            Err(failure) if failure.class() == Class::Infrastructure => {
                tracing::warn!(effect = name, error = %failure, "what came of an effect waits for the infrastructure");
            }
            Err(failure) => {
                // A mistake of ours: waiting does not mend it, and the claim ends by itself.
                tracing::error!(effect = name, error = %failure, "what came of an effect could not be written");
                return None;
            }
        }
        tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return None,
            () = tokio::time::sleep(shared.limits.outage_pause * 4) => {}
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
    let (ok, body) = match ending {
        Ok(body) => (true, body.clone()),
        Err(fault) => (false, encode(name, fault).unwrap_or_default()),
    };
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
            put_off(shared, name, effect, Duration::ZERO, effect.untold).await;
            false
        }
        None => false,
    }
}

/// Tells `.done` and deletes the row, in one transaction. A failing done handler is tried again later, from the stored
/// result.
pub(super) async fn tell(shared: &Arc<Shared>, name: &'static str, effect: &Effect, ending: &Ending) {
    let told = until_done(shared, name, || async {
        match tell_once(shared, name, effect, ending).await {
            // The handler's own failure is not the infrastructure's.
            Err(failure) if failure.class() != Class::Infrastructure => Ok(Some(failure)),
            result => result.map(|()| None),
        }
    });
    if let Some(Some(failure)) = told.await {
        let untold = effect.untold.saturating_add(1);
        tracing::warn!(effect = name, id = %effect.id, error = %failure, untold, "done handler failed; it is tried again");
        put_off(shared, name, effect, pause(shared.limits.effect_pause, effect, untold), untold).await;
    }
}

async fn tell_once(
    shared: &Arc<Shared>,
    name: &'static str,
    effect: &Effect,
    ending: &Ending,
) -> Result<(), Failure> {
    let mut tx = Tx::begin(shared, Lane::Background).await?;
    if !effects::delete(tx.write(), effect.id).await? {
        tx.rollback().await;
        return Ok(());
    }
    if let Err(fault) = ending {
        let letter = letter(&mut tx, effect, fault);
        dead::insert(tx.write(), letter).await?;
    }
    let Some(done) = shared.service.done.get(name) else {
        if let Err(fault) = ending {
            tracing::warn!(effect = name, id = %effect.id, error = %fault, "effect given up; nobody asked to be told");
        }
        return tx.commit().await;
    };
    let (input, result) = (effect.body.clone(), ending.clone());
    let ended = Ended { id: effect.id, input, result, attempts: effect.attempts };
    let call = Call::new(shared, "done", name, effect.trace.as_deref());
    tx.enter(name, Cause::message(effect.id, effect.made_at), false, call.trace());
    let handled = done(&mut tx, ended);
    let result = around(call, shared.limits.handler_time, handled).await;
    tx.end(result).await
}

fn letter(tx: &mut Tx, effect: &Effect, fault: &Fault) -> DeadLetter {
    tx.enter("dead-letter", Cause::message(effect.id, effect.made_at), false, None);
    let reason = fault.reason.chars().take(REASON);
    DeadLetter {
        id: tx.new_id(),
        group: tx.shared.name().to_owned(),
        topic: "effects".to_owned(),
        partition: 0,
        offset: 0,
        message: effect.id,
        name: Some(effect.name.clone()),
        key: effect.key.clone().map(Bytes::from),
        headers: crate::wire::encode(&Headers::new()),
        value: Some(effect.body.clone()),
        code: fault.code.as_str().to_owned(),
        // Text that any database takes.
        reason: reason.map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect(),
        attempts: effect.attempts,
        at: tx.now(),
        trail: dead::Trail::default(),
    }
}

/// Gives the claim back; the effect is looked at again after `wait`.
pub(super) async fn put_off(
    shared: &Arc<Shared>,
    name: &'static str,
    effect: &Effect,
    wait: Duration,
    untold: u32,
) {
    let due = shared.now() + wait;
    until_done(shared, name, || async {
        let mut write = shared.begin_own(Lane::Background).await?;
        effects::put_off(&mut write, effect.id, shared.node, due, untold).await?;
        write.commit().await?;
        Ok(())
    })
    .await;
    shared.progressed();
}
