//! Steps: what happened to deliveries, many at once, to rows, events and what follows.

#[cfg(test)]
mod tests;

use super::bury::bury;
use super::effects::{About, Attempted, act};
use super::reported;
use crate::NotifySettings;
use crate::domain::classes::Verdict;
use crate::domain::retry::RetryPolicy;
use crate::domain::state::{Action, Entry, Happened, Refused, Step};
use crate::store::deliveries::{self, Changes, Stored, Update};
use artel_contract::notify::{DeliveryChanged, DeliveryId, State};
use artel_flow::Tx;
use artel_message::{Fault, Time};
use std::collections::BTreeMap;

/// Something that happened to a delivery.
#[derive(Debug, Clone)]
pub struct Telling {
    pub delivery: DeliveryId,
    pub tell: Tell,
}

/// What it is.
#[derive(Debug, Clone)]
pub enum Tell {
    Happened(Happened, Time),
    /// A whole attempt. `retried`: the effect that made it makes the next one too, so none is queued.
    Attempt {
        leg: usize,
        attempt: Attempted,
        retried: bool,
    },
}

/// A delivery after its steps.
#[derive(Debug)]
pub struct Stepped {
    pub stored: Stored,
    /// What did not fit, in order.
    pub refused: Vec<Refused>,
}

struct Work {
    stored: Stored,
    before: (State, Vec<State>),
    trail: Vec<Entry>,
    actions: Vec<Action>,
    refused: Vec<Refused>,
}

/// Applies what happened, in order; several may be about one delivery. `known` are deliveries as they were read before, where that
/// is so; where one has changed since, the transaction runs again. What is about no delivery is passed over.
pub async fn apply(tx: &mut Tx, known: Vec<Stored>, told: Vec<Telling>) -> Result<Vec<Stepped>, Fault> {
    let mut of: BTreeMap<DeliveryId, Vec<Tell>> = BTreeMap::new();
    for telling in told {
        of.entry(telling.delivery).or_default().push(telling.tell);
    }
    let mut known: BTreeMap<DeliveryId, Stored> = known.into_iter().map(|one| (one.id, one)).collect();
    let missing: Vec<DeliveryId> = of.keys().copied().filter(|id| !known.contains_key(id)).collect();
    if !missing.is_empty() {
        known.extend(deliveries::load(tx, &missing).await?.into_iter().map(|one| (one.id, one)));
    }
    let (now, policy) = (tx.now(), tx.settings::<NotifySettings>().policy());
    let work: Vec<Work> =
        of.iter().filter_map(|(id, tells)| Some(step(known.remove(id)?, tells, now, &policy))).collect();
    let changed = work.iter().filter(|work| !work.trail.is_empty());
    let changes = Changes::of(changed.map(|work| Update {
        id: work.stored.id,
        rev: work.stored.rev,
        plan: &work.stored.plan,
        trail: &work.trail,
    }))?;
    let stepped = work.into_iter().map(|work| finish(tx, work)).collect();
    if !deliveries::update(tx, changes).await? {
        return Err(tx.outdated().into());
    }
    Ok(stepped)
}

fn step(stored: Stored, tells: &[Tell], now: Time, policy: &RetryPolicy) -> Work {
    let before = (stored.plan.state(), stored.plan.legs.iter().map(|leg| leg.state()).collect());
    let mut work = Work { stored, before, trail: Vec::new(), actions: Vec::new(), refused: Vec::new() };
    for tell in tells {
        match tell {
            Tell::Happened(happened, at) => match reported::reason(happened) {
                Some(verdict) => work.reported(happened, verdict, *at, policy),
                None => work.tell(happened, *at),
            },
            Tell::Attempt { leg, attempt, retried } => work.attempt(*leg, attempt, *retried, now),
        }
    }
    work
}

impl Work {
    fn tell(&mut self, happened: &Happened, at: Time) {
        let step = self.stored.plan.apply(happened, at);
        self.take(step);
    }

    fn take(&mut self, step: Result<Step, Refused>) {
        match step {
            Ok(step) => {
                // A provider that repeats itself does not fill the trail; one that contradicts itself is on record.
                if !step.is_repeat() || step.audit.contradicts {
                    self.trail.push(step.audit);
                }
                self.actions.extend(step.actions);
            }
            Err(refused) => self.refused.push(refused),
        }
    }

    /// A provider's reason why it was not delivered.
    fn reported(&mut self, happened: &Happened, verdict: &Verdict, at: Time, policy: &RetryPolicy) {
        let Stored { id, plan, .. } = &self.stored;
        let Some(reported) = reported::decide(*id, plan, happened, verdict, (policy, at)) else { return };
        let refused = self.refused.len();
        self.tell(&reported.happened, at);
        if self.refused.len() == refused
            && let Some((leg, attempt, counts)) = reported.news
        {
            self.stored.plan.judged(leg, attempt, counts, Some(verdict.clone()));
        }
    }

    fn attempt(&mut self, leg: usize, attempted: &Attempted, retried: bool, now: Time) {
        let Attempted { attempt, account, begun_at, answer, counts, verdict } = attempted;
        let next = self.stored.plan.legs.get(leg).map(|leg| leg.next_attempt());
        let new = next == Some(*attempt);
        if new {
            let step = self.stored.plan.was_begun(leg, *attempt, account, *begun_at);
            self.take(step);
        }
        let (refused, set) = (self.refused.len(), self.actions.len());
        let answered = Happened::Answered { leg, attempt: *attempt, answer: answer.clone() };
        self.tell(&answered, now.max(*begun_at));
        if self.refused.len() == refused && verdict.is_some() {
            self.stored.plan.judged(leg, *attempt, *counts, verdict.clone());
        }
        match (new, retried) {
            (true, true) => {
                let own = |action: &Action| matches!(action, Action::Send { leg: of, .. } if *of == leg);
                let rest = self.actions.split_off(set);
                self.actions.extend(rest.into_iter().filter(|action| !own(action)));
            }
            // Whoever stored it first counted on this effect, which ends here, for the next one.
            (false, false) => self.actions.extend(self.stored.plan.send(leg, now)),
            // Somebody else told of it meanwhile and ended the effect: what follows is for another one.
            (false, true) | (true, false) => {}
        }
    }

    fn moved(&self) -> Vec<(usize, State)> {
        let states = self.stored.plan.legs.iter().map(|leg| leg.state()).enumerate();
        states.filter(|(leg, state)| self.before.1.get(*leg) != Some(state)).collect()
    }
}

/// Tells of the changes and sets what follows.
fn finish(tx: &mut Tx, mut work: Work) -> Stepped {
    let now = tx.now();
    if !work.trail.is_empty() {
        work.stored.rev += 1;
        work.stored.changed_at = now;
    }
    let moved = work.moved();
    let Stored { id, plan, subscriber, content, recipient, .. } = &work.stored;
    let state = plan.state();
    for (leg, leg_state) in &moved {
        let leg = &plan.legs[*leg];
        tx.publish(DeliveryChanged {
            delivery: *id,
            state,
            channel: Some(leg.channel),
            leg_state: Some(*leg_state),
            subscriber: subscriber.clone(),
            cause: content.cause.clone(),
            reason: leg.reason().map(str::to_owned),
            at: now,
        });
    }
    // Of several for one leg the last counts.
    let mut last: BTreeMap<(u8, usize), Action> = BTreeMap::new();
    for action in std::mem::take(&mut work.actions) {
        let key = match &action {
            Action::Send { leg, .. } => (0, *leg),
            Action::AskProvider { leg, .. } => (1, *leg),
            Action::AwaitReceipt { leg, .. } => (2, *leg),
        };
        last.insert(key, action);
    }
    let actions: Vec<Action> = last.into_values().collect();
    act(tx, About { id: *id, content, recipient }, plan, &actions);
    bury(tx, &work.stored, work.before.0, &moved);
    Stepped { stored: work.stored, refused: work.refused }
}
