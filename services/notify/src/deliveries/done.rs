//! What came of effects of sending: of many in one transaction.

use super::begin;
use super::desk::Desk;
use super::effects::{Attempted, Ended, Leg, Outcome, Sending};
use super::feedback::{self, Heard};
use super::key;
use super::receipts;
use super::steps::{self, Tell, Telling};
use crate::domain::state::{self, Answer, Happened};
use crate::store::deliveries::{self, Stored};
use crate::store::references::{self, Reference};
use artel_contract::notify::DeliveryId;
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
    let (mut told, mut heard, mut over) = (Vec::with_capacity(all.len()), Vec::new(), Vec::new());
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
                over.push((leg, fault));
                continue;
            }
        };
        if let Outcome::Attempt(attempted) = &outcome {
            heard.push(Heard::of(leg.delivery, leg.leg, attempted));
            named.extend(names(leg, attempted));
            if desk.tells_by_key(&attempted.account) {
                let name = key::of(leg.delivery, leg.leg, attempted.attempt);
                by_key.push(attempted.named(leg.delivery, leg.leg, name));
            }
        }
        told.extend(tell(leg, outcome, now));
    }
    told.extend(given_up(tx, &over).await?);
    let stepped = steps::apply(tx, known, told).await?;
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
    first.into_iter().chain(further).map(move |name| attempted.named(leg.delivery, leg.leg, name.clone()))
}

fn tell(leg: Leg, outcome: Outcome, now: Time) -> Option<Telling> {
    let at = leg.leg as usize;
    let tell = match outcome {
        Outcome::Nothing => return None,
        Outcome::PutOff(wait) => Tell::Happened(Happened::PutOff { leg: at, wait }, now),
        Outcome::GivenUp(reason) => Tell::Happened(Happened::GivenUp { leg: at, reason }, now),
        Outcome::Expired => Tell::Happened(Happened::Expired, now),
        Outcome::Suppressed(reason) => Tell::Happened(Happened::Suppressed { leg: at, reason }, now),
        Outcome::Attempt(attempt) => Tell::Attempt { leg: at, attempt, retried: false },
    };
    Some(Telling { delivery: leg.delivery, tell })
}

/// The flow gave these effects up: they were tried for as long as they may be. Of an attempt that was cut off in the middle nobody knows
/// whether it was sent.
async fn given_up(tx: &mut Tx, all: &[(Leg, Fault)]) -> Result<Vec<Telling>, Fault> {
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let mut ids: Vec<DeliveryId> = all.iter().map(|(leg, _)| leg.delivery).collect();
    ids.sort_unstable();
    ids.dedup();
    let stored: BTreeMap<DeliveryId, Stored> =
        deliveries::load(tx, &ids).await?.into_iter().map(|one| (one.id, one)).collect();
    let (open, now) = (begin::open(tx).await?, tx.now());
    let tell = |(leg, fault): &(Leg, Fault)| {
        let of = stored.get(&leg.delivery)?.plan.legs.get(leg.leg as usize)?;
        let attempt = of.next_attempt();
        let tell = match open.get(&(leg.delivery, leg.leg, attempt)) {
            Some((at, account)) => cut_off(leg, attempt, (*at, account), fault),
            None => Tell::Happened(gave_up(leg, of.attempts.last(), fault), now),
        };
        Some(Telling { delivery: leg.delivery, tell })
    };
    Ok(all.iter().filter_map(tell).collect())
}

/// What is said of an effect that was given up.
const LONG_ENOUGH: &str = "it was tried for as long as it may be";

fn cut_off(leg: &Leg, attempt: u32, (begun_at, account): (Time, &str), fault: &Fault) -> Tell {
    let (account, reason) = (account.to_owned(), format!("{LONG_ENOUGH}: {}", fault.reason));
    let answer = Answer::Lost { reason };
    let attempt = Attempted { attempt, account, begun_at, answer, counts: false, verdict: None };
    Tell::Attempt { leg: leg.leg as usize, attempt, retried: false }
}

fn gave_up(leg: &Leg, last: Option<&state::Attempt>, fault: &Fault) -> Happened {
    let reason = match last.and_then(|last| last.reason.as_ref()) {
        Some(last) => format!("{last}; {LONG_ENOUGH}"),
        None => format!("{LONG_ENOUGH}: {}", fault.reason),
    };
    Happened::GivenUp { leg: leg.leg as usize, reason }
}
