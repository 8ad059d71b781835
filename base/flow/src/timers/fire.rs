//! One round: due timers are taken out and run in one transaction. An effect is queued, an own command is handled, another
//! service's is sent.

use super::failing;
use super::pace::Pace;
use super::taken::Taken;
use crate::around::{Call, around};
use crate::ctx::Shared;
use crate::failure::{Class, RERUNS};
use crate::service::CommandEntry;
use crate::storage::effects::Effect;
use crate::storage::outbox::Outgoing;
use crate::storage::timers::{self, Timer};
use crate::{Failure, Tx};
use artel_message::{Cause, Envelope, Fault, Headers, Time, commands_topic, service_of};
use artel_store::Lane;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A round that has lasted for so long ends with the timer that runs: others wait for its database, and for what it has locked.
const LONGEST: Duration = Duration::from_millis(100);

/// Why a round was rolled back.
struct Broken {
    failure: Failure,
    /// What failed, in order; none where it is the round as a whole.
    at: Vec<Timer>,
    /// How many had gone well before.
    well: usize,
}

impl Broken {
    fn whole(failure: Failure, taken: usize) -> Broken {
        Broken { failure, at: Vec::new(), well: taken / 2 }
    }
}

/// Runs one round of what is due at `now`, and sets the pace for the next.
pub(super) async fn fire(shared: &Arc<Shared>, now: Time, pace: &mut Pace) -> Result<(), Failure> {
    let limit = pace.rows();
    let mut runs = 0;
    let broken = loop {
        match once(shared, now, limit).await {
            Ok(fired) => {
                if fired.cut {
                    pace.failed(fired.due.len(), 0)
                } else {
                    pace.well()
                }
                shared.metrics.timers_fired(shared.name(), &fired.due, shared.now());
                return Ok(());
            }
            Err(broken) if broken.failure.is_contended() && runs < RERUNS => {
                runs += 1;
                shared.metrics.rerun(shared.name());
            }
            Err(broken) => break broken,
        }
    };
    let Broken { failure, at, well } = broken;
    if failure.is_contended() && limit > 1 {
        // Fewer rows at once have fewer others to collide with.
        pace.failed(0, usize::try_from(limit).unwrap_or(1));
        return Ok(());
    }
    if failure.class() == Class::Infrastructure {
        return Err(failure);
    }
    pace.failed(well, at.len());
    match at.as_slice() {
        [timer] => failing::put_off(shared, timer, &failure).await,
        _ => Ok(()),
    }
}

/// What a round did.
struct Fired {
    /// When each was due.
    due: Vec<Time>,
    /// It ended early, because it lasted long or somebody waits for the database.
    cut: bool,
}

/// One attempt of a round.
async fn once(shared: &Arc<Shared>, now: Time, limit: i64) -> Result<Fired, Broken> {
    let start = |failure: Failure| Broken::whole(failure, 0);
    let mut tx = Tx::begin(shared, Lane::Background).await.map_err(start)?;
    let engine = shared.db.engine();
    let taken = timers::take_due(tx.write(), engine, now, limit).await.map_err(|e| start(e.into()))?;
    let only = if taken.len() == 1 { taken.clone() } else { Vec::new() };
    *tx.taken() = Taken::new(taken);
    let mut fired = Vec::new();
    let begun = Instant::now();
    while let Some(timer) = tx.taken().pop() {
        let mut together = vec![timer];
        let mark = tx.mark();
        let result = run(&mut tx, now, &mut together, fired.len()).await;
        if let Err(failure) = tx.verdict(result).and_then(|()| tx.check(mark)) {
            tx.rollback().await;
            return Err(Broken { failure, at: together, well: fired.len() });
        }
        fired.extend(together.iter().map(|timer| timer.due));
        if tx.pressed() || begun.elapsed() >= LONGEST {
            break;
        }
    }
    let mut rest = tx.taken().rest();
    let cut = !rest.is_empty();
    if planted!(TimerNotTaken) {
        let first = |timer: &&Timer| timer.attempts == 0;
        rest.extend(only.iter().filter(first).map(|timer| Timer { attempts: 1, ..timer.clone() }));
    }
    timers::insert(tx.write(), &rest).await.map_err(|e| start(e.into()))?;
    match tx.commit().await {
        Ok(()) => Ok(Fired { due: fired, cut }),
        // What makes a commit fail is nobody's in particular, unless there is one only.
        Err(failure) => Err(Broken { at: only, ..Broken::whole(failure, fired.len()) }),
    }
}

/// Runs the first of `timers`; where its handler takes many, those like it that come next are taken along.
async fn run(tx: &mut Tx, now: Time, timers: &mut Vec<Timer>, index: usize) -> Result<(), Failure> {
    let shared = tx.shared.clone();
    let name = timers[0].name.clone();
    if let Some((stored, _)) = shared.service.effects.get_key_value(name.as_str()) {
        enter(tx, stored, &timers[0], now, timers[0].trace.clone());
        queue(tx, &timers[0], index);
        return Ok(());
    }
    let Some((stored, entry)) = shared.service.commands.get_key_value(name.as_str()) else {
        if service_of(&name) == shared.name() {
            // The timers of a service are kept by one of its nodes, which may be of another version than the one that set it.
            return Err(Failure::Refused(Fault::unavailable(format!(
                "'{name}' is not known to service '{}' on this node; is it of another version?",
                shared.name()
            ))));
        }
        return send(tx, &timers[0], now);
    };
    if entry.batch.is_some() {
        while let Some(timer) = tx.taken().pop_named(&name) {
            timers.push(timer);
        }
    }
    handle(tx, &shared, (stored, entry), timers, now).await
}

async fn handle(
    tx: &mut Tx,
    shared: &Shared,
    (stored, entry): (&'static str, &CommandEntry),
    timers: &[Timer],
    now: Time,
) -> Result<(), Failure> {
    let call = Call::new(shared, "timer", stored, timers[0].trace.as_deref())
        .link(timers.iter().skip(1).filter_map(|timer| timer.trace.as_deref()));
    enter(tx, stored, &timers[0], now, call.trace());
    match &entry.batch {
        Some(batch) => {
            let bodies = timers.iter().map(|timer| (cause(timer), timer.body.clone())).collect();
            around(call, shared.limits.handler_time, batch(tx, bodies)).await
        }
        None => {
            let handled = (entry.handler)(tx, timers[0].body.clone());
            around(call, shared.limits.handler_time, handled).await.map(drop)
        }
    }
}

/// What the ids that are born with a timer derive from. The due time is part of it: a timer that sets itself anew has other
/// ids each time.
pub(super) fn cause(timer: &Timer) -> Cause {
    let key = format!("{}@{}", timer.key, timer.due);
    Cause::keyed(&timer.cause.to_string(), &timer.name, &key, timer.due)
}

/// Sets what runs now; its moment is the round's, also when the round runs again.
fn enter(tx: &mut Tx, handler: &'static str, timer: &Timer, now: Time, trace: Option<String>) {
    tx.enter(handler, cause(timer), false, trace);
    tx.at(now);
}

/// An effect leaves the timers for the effects. `index` keeps the order of a round.
fn queue(tx: &mut Tx, timer: &Timer, index: usize) {
    let effect = Effect {
        id: tx.new_id(),
        name: timer.name.clone(),
        key: timer.order.clone(),
        body: timer.body.clone(),
        trace: timer.trace.clone(),
        made_at: Time::from_micros(tx.now().micros() + i64::try_from(index).unwrap_or(0)),
        attempts: 0,
        untold: 0,
        failed_at: None,
        result: None,
    };
    tx.queue(effect);
}

/// A command of another service leaves through the outbox.
fn send(tx: &mut Tx, timer: &Timer, now: Time) -> Result<(), Failure> {
    let topic = commands_topic(service_of(&timer.name));
    let Some(known) = tx.shared.topics.known(&topic) else {
        return Err(Failure::Refused(tx.shared.topics.absent(&timer.name, &topic)));
    };
    enter(tx, "timer", timer, now, timer.trace.clone());
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
