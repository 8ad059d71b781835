//! Durable timers: what is due is run, once, in the transaction that takes it out.

use crate::around::{Call, around};
use crate::ctx::Shared;
use crate::failure::Class;
use crate::storage::effects::{self, Effect};
use crate::storage::outbox::Outgoing;
use crate::storage::timers::{self, Timer};
use crate::storage::{answered, dead};
use crate::{Failure, Tx};
use artel_message::{Cause, Envelope, Headers, Time, commands_topic, service_of};
use artel_store::Lane;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The poll that backs up the waking.
const POLL: Duration = Duration::from_secs(60);
/// How many timers a round takes, and how many rows a purge deletes.
const ROUND: i64 = 200;
/// How often what is kept for a time is purged.
const PURGE_EVERY: Duration = Duration::from_secs(600);
/// A timer whose handler fails is put off, up to this long at a time.
const LONGEST_PUT_OFF: Duration = Duration::from_secs(3600);

/// Fires timers until stopped.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut purge_at = shared.now();
    let mut keeper = shared.held.keeper.subscribe();
    while !stop.is_cancelled() {
        if keeper.borrow_and_update().is_none() {
            // Another node keeps the timers of this service.
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                _ = keeper.changed() => {}
            }
            continue;
        }
        let result = round(&shared, &stop, &mut purge_at).await;
        let next = match result {
            Ok(next) => next.unwrap_or_else(|| shared.now() + POLL).min(purge_at),
            Err(failure) => {
                tracing::warn!(service = shared.name(), error = %failure, "timers wait for the infrastructure");
                shared.now() + shared.limits.outage_pause
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            _ = keeper.changed() => {}
            () = shared.wake.timers.notified() => {}
            () = shared.clock.until(next) => {}
        }
    }
}

/// Fires what is due; returns when the next one is.
async fn round(
    shared: &Arc<Shared>,
    stop: &CancellationToken,
    purge_at: &mut Time,
) -> Result<Option<Time>, Failure> {
    if *purge_at <= shared.now() {
        purge(shared).await?;
        *purge_at = shared.now() + PURGE_EVERY;
    }
    loop {
        let mut read = shared.db.read().await?;
        let due = timers::due(&mut read, shared.now(), ROUND).await?;
        if due.is_empty() || stop.is_cancelled() {
            return Ok(timers::next(&mut read).await?);
        }
        drop(read);
        for timer in due {
            shared.rerun(|| fire(shared, &timer)).await?;
        }
    }
}

/// Takes one timer out and runs it: an effect is queued, an own command is handled, another service's is sent.
async fn fire(shared: &Arc<Shared>, timer: &Timer) -> Result<(), Failure> {
    let mut tx = Tx::begin(shared, Lane::Background).await?;
    if !timers::take(tx.write(), timer).await? && !planted!(TimerNotTaken) {
        tx.rollback().await;
        return Ok(());
    }
    let now = tx.now();
    // The due time is part of the cause: a timer that sets itself anew has other ids each time.
    let cause =
        Cause::keyed(&timer.cause.to_string(), &timer.name, &format!("{}@{}", timer.key, timer.due), now);
    let result = if let Some((stored, _)) = shared.service.effects.get_key_value(timer.name.as_str()) {
        tx.enter(stored, cause, false, timer.trace.clone());
        let effect = Effect {
            id: tx.new_id(),
            name: timer.name.clone(),
            key: timer.order.clone(),
            body: timer.body.clone(),
            trace: timer.trace.clone(),
            made_at: now,
            attempts: 0,
            result: None,
        };
        effects::insert(tx.write(), &effect, now).await.map_err(Failure::from)
    } else if let Some((stored, entry)) = shared.service.commands.get_key_value(timer.name.as_str()) {
        let call = Call::new(shared, "timer", stored, timer.trace.as_deref());
        tx.enter(stored, cause, false, call.trace());
        let handled = (entry.handler)(&mut tx, timer.body.clone());
        around(call, shared.limits.handler_time, handled).await.map(|_| ())
    } else {
        send(&mut tx, timer, cause)
    };
    match tx.end(result).await {
        Ok(()) => {
            shared.wake.effects();
            Ok(())
        }
        Err(failure) if failure.class() == Class::Infrastructure => Err(failure),
        Err(failure) => put_off(shared, timer.clone(), &failure).await,
    }
}

/// A command of another service leaves through the outbox.
fn send(tx: &mut Tx, timer: &Timer, cause: Cause) -> Result<(), Failure> {
    let topic = commands_topic(service_of(&timer.name));
    let Some(known) = tx.shared.topics.known(&topic) else {
        return Err(Failure::Refused(tx.shared.topics.absent(&timer.name, &topic)));
    };
    tx.enter("timer", cause, false, timer.trace.clone());
    let id = tx.new_id();
    let key = Bytes::from(timer.order.clone().unwrap_or_else(|| id.to_string()));
    let envelope = Envelope {
        id,
        name: timer.name.clone(),
        source: Envelope::source_of(tx.shared.name()),
        time: tx.now(),
        trace: timer.trace.as_deref().and_then(|parent| crate::trace::child(parent, id)),
        seq: None,
        prev: None,
        cause: None,
        reply: tx.shared.service.replies.contains_key(timer.name.as_str()),
        extra: Headers::new(),
    };
    let at = tx.now();
    tx.put_raw(Outgoing {
        partition: artel_bus::partition::of_key(&key, known.partitions),
        topic,
        message: id,
        name: timer.name.clone(),
        key: Some(key),
        headers: crate::spans::stored(envelope.to_headers(), &envelope, timer.trace.as_deref()),
        value: Some(timer.body.clone()),
        at,
        numbered: true,
    });
    Ok(())
}

/// A failing timer gets a later due time; when its tries are used up, a dead letter.
async fn put_off(shared: &Arc<Shared>, mut timer: Timer, failure: &Failure) -> Result<(), Failure> {
    let mut tx = Tx::begin(shared, Lane::Background).await?;
    if !timers::take(tx.write(), &timer).await? {
        tx.rollback().await;
        return Ok(());
    }
    timer.attempts += 1;
    if timer.attempts >= shared.limits.effect_tries || failure.class() == Class::Never {
        tracing::warn!(service = shared.name(), timer = timer.name, key = timer.key, error = %failure, "timer given up");
        let now = tx.now();
        let cause =
            Cause::keyed(&timer.cause.to_string(), &timer.name, &format!("{}@{}", timer.key, timer.due), now);
        tx.enter("dead-letter", cause, false, None);
        let letter = dead::DeadLetter {
            id: tx.new_id(),
            group: shared.name().to_owned(),
            topic: "timers".to_owned(),
            partition: 0,
            offset: 0,
            message: cause.id(),
            name: Some(timer.name.clone()),
            key: Some(Bytes::from(timer.key.clone())),
            headers: crate::wire::encode(&Headers::new()),
            value: Some(timer.body.clone()),
            code: failure.code().as_str().to_owned(),
            reason: failure.to_string(),
            attempts: timer.attempts,
            at: now,
        };
        dead::insert(tx.write(), letter).await?;
    } else {
        let wait = shared.limits.effect_pause * 2u32.saturating_pow(timer.attempts.min(16));
        timer.due = tx.now() + wait.min(LONGEST_PUT_OFF);
        timers::insert(tx.write(), std::slice::from_ref(&timer)).await?;
    }
    tx.commit().await
}

/// Deletes what was kept for a time that is over, in bounded rounds.
async fn purge(shared: &Arc<Shared>) -> Result<(), Failure> {
    loop {
        let mut tx = Tx::begin(shared, Lane::Background).await?;
        let now = tx.now();
        let answers = answered::purge(tx.write(), now, ROUND * 5).await?;
        let letters = dead::purge(tx.write(), now - shared.limits.dead, ROUND * 5).await?;
        tx.commit().await?;
        if answers + letters == 0 {
            return Ok(());
        }
    }
}
