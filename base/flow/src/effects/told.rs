//! Telling what came of effects, in the transaction that deletes their rows: of many at once, or of one.

use super::Work;
use super::finish::Over;
use crate::around::{Call, around};
use crate::ctx::Shared;
use crate::erase::{Ended, encode};
use crate::failure::Class;
use crate::letters::{self, Own};
use crate::service::DoneKind;
use crate::storage::effects::{self, Effect};
use crate::{Failure, Tx};
use artel_message::{Cause, Code, Fault, Headers};
use artel_store::Lane;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What came of an effect.
pub(super) type Ending = Result<Bytes, Fault>;

/// What came of telling.
pub(super) enum Told {
    /// Others waited for so long.
    Done(Duration),
    /// Of some there is no row any more, or one with a result that came first.
    Gone,
    /// The handler of what is given up on fails for the one behind so many: its letter has to be written without it.
    Deaf(usize),
    /// The done handler fails: for the one behind so many, where that is known.
    Failed(Option<usize>, Failure),
}

/// Tells of all of these and deletes their rows, in one transaction, which begins when `after` is cancelled. The rows come last, so that
/// what a handler computes before its first statement holds up nobody; where it runs `again` they come first: a claim that is renewed
/// while its row is not locked makes the transaction collide, and would each time that the handler takes longer than a renewal.
pub(super) async fn together(
    work: &Work,
    all: &[Over],
    after: &CancellationToken,
    again: bool,
) -> Result<Told, Failure> {
    match once(work, all, after, again || planted!(ToldApart)).await {
        // What is wrong with the transaction as a whole is nobody's in particular.
        Err(failure) if failure.class() != Class::Infrastructure => Ok(Told::Failed(None, failure)),
        result => result,
    }
}

async fn once(
    work: &Work,
    all: &[Over],
    after: &CancellationToken,
    rows_first: bool,
) -> Result<Told, Failure> {
    let shared = &work.ctx.shared;
    let mut tx = Tx::begin_late(shared, Lane::Background, after.clone());
    if rows_first && !delete(&mut tx, all).await? {
        tx.rollback().await;
        return Ok(Told::Gone);
    }
    if planted!(ToldApart) {
        tx.commit().await?;
        tx = Tx::begin(shared, Lane::Background).await?;
    }
    let told = match shared.service.done.get(work.name) {
        Some(DoneKind::Batch(_)) => many(work, &mut tx, all).await,
        _ => each(work, &mut tx, all).await,
    };
    match told {
        Ok(None) => {}
        Ok(Some(broken)) => {
            tx.rollback().await;
            return Ok(broken);
        }
        Err(failure) => {
            tx.rollback().await;
            return Err(failure);
        }
    }
    if !rows_first && !delete(&mut tx, all).await? {
        tx.rollback().await;
        return Ok(Told::Gone);
    }
    let (held, commits) = (tx.write().held(), Instant::now());
    tx.commit().await?;
    for over in all {
        given_up(work.name, over).iter().for_each(|own| own.count(shared));
    }
    Ok(Told::Done(held + commits.elapsed()))
}

/// Deletes the rows of all of these; false: some are gone, or have a result that came first.
async fn delete(tx: &mut Tx, all: &[Over]) -> Result<bool, Failure> {
    let ids = |stored: bool| all.iter().filter(move |over| over.stored == stored).map(|over| over.effect.id);
    let deleted =
        effects::delete_open(tx.write(), ids(false)).await? + effects::delete(tx.write(), ids(true)).await?;
    Ok(deleted == all.len() as u64 || planted!(TellsGone))
}

/// Each by itself, in order; what keeps them from being told, if anything does.
async fn each(work: &Work, tx: &mut Tx, all: &[Over]) -> Result<Option<Told>, Failure> {
    let shared = &work.ctx.shared;
    for (index, over) in all.iter().enumerate() {
        if !bury(work, tx, over).await? {
            return Ok(Some(Told::Deaf(index)));
        }
        let Some(DoneKind::Single(done)) = shared.service.done.get(work.name) else { continue };
        let call = Call::new(shared, "done", work.name, over.effect.trace.as_deref());
        tx.enter(work.name, cause(&over.effect), false, call.trace());
        let mark = tx.mark();
        let handled = done(tx, ended(over));
        let result = around(call, shared.limits.handler_time, handled).await;
        match tx.verdict(result).and_then(|()| tx.check(mark)) {
            Ok(()) => {}
            Err(failure) if failure.class() == Class::Infrastructure => return Err(failure),
            Err(failure) => return Ok(Some(Told::Failed(Some(index), failure))),
        }
    }
    Ok(None)
}

/// All with one call of the handler.
async fn many(work: &Work, tx: &mut Tx, all: &[Over]) -> Result<Option<Told>, Failure> {
    let shared = &work.ctx.shared;
    for (index, over) in all.iter().enumerate() {
        if !bury(work, tx, over).await? {
            return Ok(Some(Told::Deaf(index)));
        }
    }
    let (Some(DoneKind::Batch(done)), Some(first)) = (shared.service.done.get(work.name), all.first()) else {
        return Ok(None);
    };
    let call = Call::new(shared, "done", work.name, first.effect.trace.as_deref())
        .link(all.iter().skip(1).filter_map(|over| over.effect.trace.as_deref()));
    tx.enter(work.name, cause(&first.effect), false, call.trace());
    let mark = tx.mark();
    let handled = done(tx, all.iter().map(ended).collect());
    let result = around(call, shared.limits.handler_time, handled).await;
    tx.verdict(result).and_then(|()| tx.check(mark))?;
    Ok(None)
}

fn ended(over: &Over) -> Ended {
    let Effect { id, body, attempts, .. } = &over.effect;
    Ended { id: *id, input: body.clone(), result: over.ending.clone(), attempts: *attempts }
}

/// Writes the letter of one that was given up; false: who is told of that fails.
async fn bury(work: &Work, tx: &mut Tx, over: &Over) -> Result<bool, Failure> {
    match given_up(work.name, over) {
        Some(own) => letters::bury(tx, &own, !over.deaf).await,
        None => Ok(true),
    }
}

fn given_up<'a>(name: &str, over: &'a Over) -> Option<Own<'a>> {
    let (effect, fault) = (&over.effect, over.ending.as_ref().err()?);
    Some(Own {
        kept: letters::of_effect(name, &effect.body, None),
        ..own(effect, fault.code, fault.reason.clone())
    })
}

/// Nobody can be told what came of an effect: a letter keeps it, from which the done handler can be run again. False: it has to be
/// done without telling of the letter.
pub(super) async fn keep_untold(
    shared: &Arc<Shared>,
    name: &str,
    over: &Over,
    failure: &Failure,
    told: bool,
) -> Result<bool, Failure> {
    let effect = &over.effect;
    let reason = format!("its done handler fails ({} tries), the call has ended: {failure}", effect.untold);
    let result = stored_form(name, &over.ending);
    let own = Own {
        kept: letters::of_effect(name, &effect.body, Some(&result)),
        ..own(effect, failure.code(), reason)
    };
    let mut tx = Tx::begin(shared, Lane::Background).await?;
    let there = effects::delete(tx.write(), std::iter::once(effect.id)).await? == 1;
    if !there || !letters::bury(&mut tx, &own, told).await? {
        tx.rollback().await;
        return Ok(!there);
    }
    tx.commit().await?;
    own.count(shared);
    Ok(true)
}

pub(super) fn stored_form(name: &str, ending: &Ending) -> (bool, Bytes) {
    match ending {
        Ok(body) => (true, body.clone()),
        Err(fault) => (false, encode(name, fault).unwrap_or_default()),
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
