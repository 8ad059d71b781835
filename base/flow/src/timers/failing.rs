//! A timer that fails: later again, then a dead letter. It holds up no other.

use super::fire::cause;
use crate::ctx::Shared;
use crate::failure::Class;
use crate::letters::{self, Own};
use crate::storage::timers::{self, Timer};
use crate::{Failure, Tx};
use artel_store::Lane;
use std::sync::Arc;
use std::time::Duration;

/// A timer whose handler fails is put off, up to this long at a time.
const LONGEST_PUT_OFF: Duration = Duration::from_secs(600);

/// A failing timer gets a later due time; when its tries are used up, a dead letter. What bounds them is the time for which it
/// fails: how late it was before is nobody's failure.
pub(super) async fn put_off(shared: &Arc<Shared>, timer: &Timer, failure: &Failure) -> Result<(), Failure> {
    shared.topics.look_for_missing().await;
    shared.metrics.timer_failed(shared.name());
    let mut told = true;
    while !shared.rerun(|| put_off_once(shared, timer.clone(), failure, told)).await? {
        told = false;
    }
    Ok(())
}

/// False: it has to be done without telling.
async fn put_off_once(
    shared: &Arc<Shared>,
    mut timer: Timer,
    failure: &Failure,
    told: bool,
) -> Result<bool, Failure> {
    let mut tx = Tx::begin(shared, Lane::Background).await?;
    if !timers::take(tx.write(), &timer).await? {
        tx.rollback().await;
        return Ok(true);
    }
    timer.attempts += 1;
    let (now, since) = (tx.now(), *timer.since.get_or_insert(tx.now()));
    let limits = shared.limits.clone();
    let over = timer.attempts >= limits.timer_tries || now.since(since) >= limits.timer_age;
    if over || failure.class() == Class::Never {
        return give_up(tx, &timer, failure, told).await;
    }
    let wait = limits.effect_pause.saturating_mul(2u32.saturating_pow(timer.attempts.min(16)));
    // Up to a tenth on top, so that timers that failed together do not come back together.
    let wait = wait.min(LONGEST_PUT_OFF);
    timer.due = now + wait + wait.mul_f64((cause(&timer).id().as_u128() & 0xff) as f64 / 2550.0);
    timers::insert(tx.write(), std::slice::from_ref(&timer)).await?;
    tx.commit().await?;
    Ok(true)
}

async fn give_up(mut tx: Tx, timer: &Timer, failure: &Failure, told: bool) -> Result<bool, Failure> {
    let shared = tx.shared.clone();
    let cause = cause(timer);
    let own = Own {
        topic: letters::TIMERS,
        cause,
        id: cause.id(),
        name: &timer.name,
        key: Some(&timer.key),
        body: &timer.body,
        kept: letters::of_timer(timer.order.as_deref()),
        code: failure.code(),
        reason: failure.to_string(),
        attempts: timer.attempts,
        since: timer.since,
    };
    if !letters::bury(&mut tx, &own, told).await? {
        tx.rollback().await;
        return Ok(false);
    }
    tx.commit().await?;
    own.count(&shared);
    Ok(true)
}
