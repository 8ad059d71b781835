//! Letters of timers and effects, tried again: what was given up becomes a timer or an effect that is due now.

use crate::ctx::Shared;
use crate::letters::Again;
use crate::storage::effects::Effect;
use crate::storage::timers::{self, Timer};
use crate::{DeadLetter, Failure, Tx};
use artel_message::{Fault, service_of};
use std::sync::Arc;

/// How it is named to people.
pub(super) fn named(letter: &DeadLetter) -> String {
    let key = letter.key.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    format!("{} {} {key}", letter.topic, letter.name.as_deref().unwrap_or_default())
}

/// Whether this node could run it.
pub(super) async fn check(shared: &Arc<Shared>, again: &Again, letter: &DeadLetter) -> Result<(), Fault> {
    known(shared, again, letter)?;
    let Again::Timer { .. } = again else { return Ok(()) };
    let (name, key) = identity(letter);
    if timers::is_pending(&mut shared.db.read().await?, &name, &key).await? {
        return Err(pending(&name, &key));
    }
    Ok(())
}

fn known(shared: &Shared, again: &Again, letter: &DeadLetter) -> Result<(), Fault> {
    let name = letter.name.as_deref().unwrap_or_default();
    let service = &shared.service;
    let known = match again {
        Again::Effect { .. } => service.effects.contains_key(name),
        Again::Timer { .. } if service_of(name) != shared.name() => true,
        Again::Timer { .. } => service.effects.contains_key(name) || service.commands.contains_key(name),
    };
    if known && letter.value.is_some() {
        return Ok(());
    }
    Err(Fault::conflict(format!(
        "service '{}' knows no '{name}' on this node; ask a node of another version, or drop the letter",
        shared.name()
    )))
}

fn identity(letter: &DeadLetter) -> (String, String) {
    let key = letter.key.as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
    (letter.name.clone().unwrap_or_default(), key)
}

fn pending(name: &str, key: &str) -> Fault {
    Fault::conflict(format!(
        "a timer {name} '{key}' was set since and is pending; it would be replaced: drop the letter, or wait until it has fired"
    ))
}

pub(super) async fn put_back(tx: &mut Tx, again: Again, letter: DeadLetter) -> Result<(), Failure> {
    let shared = tx.shared.clone();
    known(&shared, &again, &letter).map_err(Failure::Refused)?;
    let (name, key) = identity(&letter);
    let body = letter.value.unwrap_or_default();
    match again {
        Again::Timer { order } => {
            let cause = tx.new_id();
            let (due, trace) = (tx.now(), None);
            let timer =
                Timer { name, key, order, due, body, cause, trace, attempts: 0, since: None, ordinal: 0 };
            if timers::is_set(tx.write(), &timer).await? {
                return Err(Failure::Refused(pending(&timer.name, &timer.key)));
            }
            tx.set(timer);
        }
        Again::Effect { same, result } => {
            // The same id, so that a provider that took the call all the same does not do it twice.
            let id = if same { letter.message } else { tx.new_id() };
            let attempts = if result.is_some() { letter.attempts } else { 0 };
            let (key, made_at) = (letter.key.is_some().then_some(key), tx.now());
            let effect = Effect {
                id,
                name,
                key,
                body,
                trace: None,
                made_at,
                attempts,
                untold: 0,
                failed_at: None,
                result,
            };
            tx.queue(effect);
        }
    }
    tx.count_in(shared.name(), "retried", 1);
    Ok(())
}
