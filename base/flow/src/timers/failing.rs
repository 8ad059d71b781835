//! A timer that fails: later again, then a dead letter. It holds up no other.

use super::fire::cause;
use crate::ctx::Shared;
use crate::failure::Class;
use crate::storage::dead;
use crate::storage::timers::{self, Timer};
use crate::{Failure, Tx};
use artel_message::Headers;
use artel_store::Lane;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A timer whose handler fails is put off, up to this long at a time.
const LONGEST_PUT_OFF: Duration = Duration::from_secs(600);
/// The longest reason that is kept, in characters.
const REASON: usize = 2_000;

/// A failing timer gets a later due time; when its tries are used up, a dead letter.
pub(super) async fn put_off(shared: &Arc<Shared>, timer: &Timer, failure: &Failure) -> Result<(), Failure> {
    shared.rerun(|| put_off_once(shared, timer.clone(), failure)).await
}

async fn put_off_once(shared: &Arc<Shared>, mut timer: Timer, failure: &Failure) -> Result<(), Failure> {
    let mut tx = Tx::begin(shared, Lane::Background).await?;
    if !timers::take(tx.write(), &timer).await? {
        tx.rollback().await;
        return Ok(());
    }
    timer.attempts += 1;
    let (now, since) = (tx.now(), *timer.since.get_or_insert(timer.due));
    let limits = shared.limits.clone();
    let over = timer.attempts >= limits.timer_tries || now.since(since) >= limits.timer_age;
    if over || failure.class() == Class::Never {
        tracing::warn!(
            service = shared.name(), timer = timer.name, key = timer.key, attempts = timer.attempts, error = %failure,
            "timer given up"
        );
        let letter = letter(&mut tx, &timer, failure);
        dead::insert(tx.write(), letter).await?;
    } else {
        let wait = limits.effect_pause.saturating_mul(2u32.saturating_pow(timer.attempts.min(16)));
        // Up to a tenth on top, so that timers that failed together do not come back together.
        let wait = wait.min(LONGEST_PUT_OFF);
        timer.due = now + wait + wait.mul_f64((cause(&timer).id().as_u128() & 0xff) as f64 / 2550.0);
        timers::insert(tx.write(), std::slice::from_ref(&timer)).await?;
    }
    shared.metrics.timer_failed(shared.name());
    tx.commit().await
}

fn letter(tx: &mut Tx, timer: &Timer, failure: &Failure) -> dead::DeadLetter {
    let cause = cause(timer);
    tx.enter("dead-letter", cause, false, None);
    let reason = failure.to_string();
    dead::DeadLetter {
        id: tx.new_id(),
        group: tx.shared.name().to_owned(),
        topic: "timers".to_owned(),
        partition: 0,
        offset: 0,
        message: cause.id(),
        name: Some(timer.name.clone()),
        key: Some(Bytes::from(timer.key.clone())),
        headers: crate::wire::encode(&Headers::new()),
        value: Some(timer.body.clone()),
        code: failure.code().as_str().to_owned(),
        // Text that any database takes.
        reason: reason.chars().take(REASON).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect(),
        attempts: timer.attempts,
        at: tx.now(),
        trail: dead::Trail::default(),
    }
}
