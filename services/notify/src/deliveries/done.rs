//! What came of effects of sending: of many in one transaction.

use super::desk::Desk;
use super::effects::{Attempted, Ended, Leg, Outcome, Sending, index};
use super::feedback::{self, Heard};
use super::key;
use super::receipts;
use super::steps::{self, Stepped, Tell, Telling};
use crate::domain::state::{Answer, Cause, Happened};
use crate::store::deliveries;
use crate::store::references::{self, Reference};
use artel_contract::notify::dead::{EmailGivenUp, GivenUp, PushGivenUp, SmsGivenUp};
use artel_contract::notify::{Channel, DeliveryId, Mode, State};
use artel_flow::{EffectDone, Tx};
use artel_message::{Fault, Time};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use uuid::Uuid;

pub type Work<'a> = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + 'a>>;

/// The done handler of one kind of effect.
pub fn told<E: Sending>(
    desk: &Arc<Desk>,
) -> impl for<'a> Fn(&'a mut Tx, Vec<EffectDone<E>>) -> Work<'a> + Send + Sync + use<E> {
    let desk = desk.clone();
    move |tx, all| {
        let desk = desk.clone();
        Box::pin(async move {
            let all = all.into_iter().map(|done| (done.input.leg(), done.result)).collect();
            all_of(tx, &desk, all).await
        })
    }
}

async fn all_of(tx: &mut Tx, desk: &Desk, all: Vec<(Leg, Result<Ended, Fault>)>) -> Result<(), Fault> {
    let now = tx.now();
    let legs: Vec<(DeliveryId, u32)> = all.iter().map(|(leg, _)| (leg.delivery, leg.leg)).collect();
    let known = desk.kept(all.iter().map(|(leg, _)| leg.delivery));
    let mut begun: BTreeMap<Uuid, i64> = BTreeMap::new();
    let (mut told, mut heard) = (Vec::with_capacity(all.len()), Vec::new());
    let (mut named, mut by_key) = (Vec::new(), Vec::new());
    for (leg, result) in all {
        let outcome = match result {
            Ok(ended) => {
                for row in ended.begun {
                    *begun.entry(row).or_default() += 1;
                }
                ended.outcome
            }
            Err(fault) => {
                told.extend(given_up(tx, leg, &fault).await?);
                continue;
            }
        };
        if let Outcome::Attempt(attempted) = &outcome {
            heard.push(Heard::of(leg.delivery, leg.leg, attempted));
            named.extend(names(leg, attempted));
            if desk.tells_by_key(&attempted.account) {
                let name = key::of(leg.delivery, leg.leg, attempted.attempt);
                by_key.push(reference(leg, attempted, name));
            }
        }
        told.extend(tell(leg, outcome, now));
    }
    let stepped = steps::apply(tx, known, told).await?;
    bury(tx, &stepped);
    feedback::learn(tx, &desk.guards, &stepped, heard).await?;
    deliveries::ended(tx, begun.into_iter()).await?;
    if !named.is_empty() {
        references::insert(tx, &named).await?;
    }
    named.append(&mut by_key);
    if !named.is_empty() {
        receipts::take_early(tx, &named).await?;
    }
    desk.places.free(legs);
    Ok(())
}

/// What the provider calls an attempt that it has taken, and its parts.
fn names(leg: Leg, attempted: &Attempted) -> impl Iterator<Item = Reference> {
    let (first, parts) = match &attempted.answer {
        Answer::Taken { reference, parts } => (reference.as_ref(), &parts[..]),
        _ => (None, &[][..]),
    };
    let further = parts.iter().filter(move |part| Some(*part) != first);
    first.into_iter().chain(further).map(move |name| reference(leg, attempted, name.clone()))
}

fn reference(leg: Leg, attempted: &Attempted, reference: String) -> Reference {
    let Attempted { account, attempt, .. } = attempted;
    let Leg { delivery, leg, .. } = leg;
    Reference { account: account.clone(), reference, delivery, leg, attempt: *attempt }
}

fn tell(leg: Leg, outcome: Outcome, now: Time) -> Option<Telling> {
    let at = leg.leg as usize;
    let tell = match outcome {
        Outcome::Nothing => return None,
        Outcome::PutOff(wait) => Tell::Happened(Happened::PutOff { leg: at, wait }, now),
        Outcome::Expired => Tell::Happened(Happened::Expired, now),
        Outcome::Suppressed(reason) => Tell::Happened(Happened::Suppressed { leg: at, reason }, now),
        Outcome::Attempt(attempt) => Tell::Attempt { leg: at, attempt, retried: false },
    };
    Some(Telling { delivery: leg.delivery, tell })
}

/// The flow gave the effect up: it was tried for as long as it may be. Whether its last attempt was sent nobody knows, where it
/// was cut off in the middle of it.
async fn given_up(tx: &mut Tx, leg: Leg, fault: &Fault) -> Result<Option<Telling>, Fault> {
    let Some(stored) = deliveries::load(tx, &[leg.delivery]).await?.pop() else { return Ok(None) };
    let at = leg.leg as usize;
    let Some(attempt) = stored.plan.legs.get(at).map(|leg| leg.next_attempt()) else { return Ok(None) };
    let cut_off = !matches!(fault.code, artel_message::Code::Unavailable);
    let reason = format!("it was tried for as long as it may be: {}", fault.reason);
    let answer = match cut_off {
        true => Answer::Lost { reason },
        false => Answer::Refused { cause: Cause::Temporary, reason },
    };
    let attempt = Attempted {
        attempt,
        account: "none".to_owned(),
        begun_at: tx.now(),
        answer,
        counts: false,
        verdict: None,
    };
    Ok(Some(Telling { delivery: leg.delivery, tell: Tell::Attempt { leg: at, attempt, retried: false } }))
}

/// What is given up on is told where operators look for it: `notify.<channel>-dlq`. Where another channel goes on, nothing is given up.
pub(super) fn bury(tx: &mut Tx, stepped: &[Stepped]) {
    let now = tx.now();
    for Stepped { stored, moved, .. } in stepped {
        let over = stored.plan.mode == Mode::All || stored.plan.state() == State::Failed;
        for (at, _) in moved.iter().filter(|(_, state)| over && *state == State::Failed) {
            let leg = &stored.plan.legs[*at];
            let given = GivenUp {
                leg: index(*at),
                subscriber: stored.subscriber.clone(),
                address: stored.content.address(*at).map_or_else(String::new, |address| address.masked()),
                template: stored.content.template.clone(),
                topic: stored.content.topic.clone(),
                lane: stored.content.lane,
                attempts: leg.next_attempt() - 1,
                account: leg.attempts.last().map(|last| last.provider.clone()),
                reason: leg.reason().unwrap_or_default().to_owned(),
                cause: stored.content.cause.clone(),
                at: now,
            };
            match leg.channel {
                Channel::Email => tx.publish(EmailGivenUp { delivery: stored.id, given }),
                Channel::Sms => tx.publish(SmsGivenUp { delivery: stored.id, given }),
                Channel::Push => tx.publish(PushGivenUp { delivery: stored.id, given }),
            }
        }
    }
}
