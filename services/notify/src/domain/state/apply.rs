//! One step: what happened, to what became of it.

use super::facts::LearntPart;
use super::{
    Action, Answer, Attempt, Cause, Change, Decision, Delivery, End, Entry, Fact, Found, Happened, Leg,
    MOST_ATTEMPTS, Receipt, Refused, Step, Wait,
};
use artel_contract::notify::State;
use artel_message::Time;

/// What was learnt in a step, for the audit.
#[derive(Default)]
struct Told {
    repeated: bool,
    contradicts: bool,
    reason: Option<String>,
    by: Option<String>,
    /// Beyond what follows from changes of state.
    actions: Vec<Action>,
    changes: Vec<Change>,
}

impl Told {
    fn because(reason: impl Into<String>) -> Told {
        Told { reason: Some(reason.into()), ..Told::default() }
    }
}

impl Delivery {
    /// Takes in what happened. Facts that were known, or that say less than what is known, give a step without changes and actions
    /// ([`Step::is_repeat`]); control that does not fit is refused, and nothing is changed.
    pub fn apply(&mut self, happened: &Happened, now: Time) -> Result<Step, Refused> {
        // What is over waits for nothing: it would wait for ever.
        let over = self.expires_at.is_some_and(|at| at <= now);
        let happened = match happened {
            Happened::PutOff { .. } if over => &Happened::Expired,
            happened => happened,
        };
        let from = self.state();
        let index = happened.leg();
        let leg_from = match index {
            Some(at) => self.legs.get(at).ok_or(Refused::NoLeg { leg: at })?.state(),
            None => from,
        };
        let mut told = self.take(happened, now)?;
        let mut changes = std::mem::take(&mut told.changes);
        if let Some(leg) = index {
            let to = self.legs[leg].state();
            if to != leg_from {
                changes.push(Change { leg, channel: self.legs[leg].channel, from: leg_from, to });
            }
        }
        let mut actions = self.follow(&mut changes, now);
        actions.append(&mut told.actions);
        let to = self.state();
        let audit = Entry {
            at: now,
            what: happened.name().to_owned(),
            channel: index.map(|leg| self.legs[leg].channel),
            attempt: happened.attempt(),
            from: leg_from,
            to: index.map_or(to, |leg| self.legs[leg].state()),
            reason: told.reason,
            by: told.by,
            repeated: told.repeated,
            contradicts: told.contradicts,
        };
        Ok(Step { from, to, changes, actions, audit })
    }

    /// Whether this attempt of a leg may begin, and why not.
    pub fn may_begin(&self, leg: usize, attempt: u32, now: Time) -> Result<(), Refused> {
        if let Some(at) = self.expires_at.filter(|at| *at <= now) {
            return Err(Refused::TooLate { at });
        }
        let leg = self.legs.get(leg).ok_or(Refused::NoLeg { leg })?;
        let Some(due) = leg.due().filter(|_| leg.started) else {
            return Err(Refused::WrongState { state: leg.state(), what: "an attempt" });
        };
        if attempt != leg.next_attempt() {
            return Err(Refused::WrongAttempt { attempt, next: leg.next_attempt() });
        }
        if leg.attempts.len() >= MOST_ATTEMPTS {
            return Err(Refused::TooMany);
        }
        if now < due {
            return Err(Refused::TooEarly { until: due });
        }
        Ok(())
    }

    fn take(&mut self, happened: &Happened, now: Time) -> Result<Told, Refused> {
        match happened {
            Happened::PutOff { leg, wait } => put_off(&mut self.legs[*leg], *leg, *wait, now),
            Happened::Begun { leg, attempt, provider } => {
                self.may_begin(*leg, *attempt, now)?;
                Ok(begin(&mut self.legs[*leg], provider, now))
            }
            Happened::Answered { leg, attempt, answer } => {
                let leg = &mut self.legs[*leg];
                if let Answer::Taken { reference: Some(reference), parts } = answer {
                    attempt_of(leg, *attempt)?.named(reference, parts);
                }
                let (fact, reason) = answered(answer);
                learn(leg, *attempt, fact, reason)
            }
            Happened::Receipt { leg, attempt, receipt, reference } => {
                let (leg, (fact, reason)) = (&mut self.legs[*leg], receipt_fact(receipt));
                match reference.as_deref() {
                    Some(name) => learn_part(leg, *attempt, name, fact, reason),
                    None => learn(leg, *attempt, fact, reason),
                }
            }
            Happened::Asked { leg, attempt, found } => asked(&mut self.legs[*leg], *attempt, found, now),
            Happened::NoReceipt { leg } => Ok(self.no_receipt(*leg, now)),
            Happened::Suppressed { leg, reason } => suppress(&mut self.legs[*leg], reason),
            Happened::GivenUp { leg, reason } => give_up(&mut self.legs[*leg], reason),
            Happened::Superseded { by } => self.end_all(&End::Superseded(by.clone()), "superseding it"),
            Happened::Expired => self.end_all(&End::Expired, "its going out of date"),
            Happened::Decided { leg, decision, by, why } => {
                let over = self.expires_at.filter(|at| *at <= now && *decision == Decision::SendAgain);
                match over {
                    Some(at) => Err(Refused::TooLate { at }),
                    None => {
                        let told = decide(&mut self.legs[*leg], *leg, *decision, by, now)?;
                        Ok(Told { reason: why.clone(), ..told })
                    }
                }
            }
        }
    }

    fn end_all(&mut self, end: &End, what: &'static str) -> Result<Told, Refused> {
        let state = self.state();
        let mut told = Told::because(end.reason());
        match self.end_waiting(None, end, &mut told.changes) {
            true => Ok(told),
            false => Err(Refused::WrongState { state, what }),
        }
    }

    /// The patience is over: the next channel begins beside this one, which is not tried again.
    fn no_receipt(&mut self, leg: usize, now: Time) -> Told {
        let mut told = Told::because("no receipt in time");
        let this = &mut self.legs[leg];
        if this.gave_way || this.attempts.is_empty() || this.state().is_final() {
            told.repeated = true;
            return told;
        }
        this.gave_way = true;
        if this.is_waiting() {
            this.end = Some(End::NotNeeded);
        }
        told.actions.extend(self.next_channel(now));
        told
    }
}

fn put_off(leg: &mut Leg, index: usize, wait: Wait, now: Time) -> Result<Told, Refused> {
    let state = leg.state();
    if !leg.is_waiting() || !leg.started {
        return Err(Refused::WrongState { state, what: "putting it off" });
    }
    let mut told = Told { repeated: leg.wait == Some(wait), ..Told::default() };
    leg.wait = Some(wait);
    // A leg that waited before moves no state, so its new moment has to be told here.
    if state == State::Scheduled && !told.repeated {
        let at = leg.due().unwrap_or(wait.until).max(now);
        told.actions.push(Action::Send { leg: index, attempt: leg.next_attempt(), at });
    }
    Ok(told)
}

fn begin(leg: &mut Leg, provider: &str, now: Time) -> Told {
    leg.wait = None;
    leg.attempts.push(Attempt::begin(provider, now));
    Told::because(provider)
}

fn attempt_of(leg: &mut Leg, attempt: u32) -> Result<&mut Attempt, Refused> {
    let made = leg.attempts.len();
    let at = usize::try_from(attempt).unwrap_or(usize::MAX).checked_sub(1);
    at.and_then(|at| leg.attempts.get_mut(at)).ok_or(Refused::NoAttempt { attempt, made })
}

fn learn(leg: &mut Leg, attempt: u32, fact: Fact, reason: Option<&str>) -> Result<Told, Refused> {
    let one = attempt_of(leg, attempt)?;
    let known = one.fact;
    let learnt = one.learn(fact, reason);
    stays_ended(leg);
    Ok(Told {
        repeated: !learnt,
        contradicts: contradict(known, fact),
        reason: reason.map(str::to_owned),
        ..Told::default()
    })
}

/// The same of what the provider calls so: a part, or the whole where it has none of that name.
fn learn_part(
    leg: &mut Leg,
    attempt: u32,
    name: &str,
    fact: Fact,
    reason: Option<&str>,
) -> Result<Told, Refused> {
    let Some(part) = attempt_of(leg, attempt)?.learn_part(name, fact, reason) else {
        return learn(leg, attempt, fact, reason);
    };
    stays_ended(leg);
    let LearntPart { learnt, contradicts, reason } = part;
    Ok(Told { repeated: !learnt, contradicts, ..Told::because(reason) })
}

/// A leg that has given way, or was ended while an attempt was under way, is not tried again.
fn stays_ended(leg: &mut Leg) {
    if leg.is_waiting() {
        let gave_way = leg.gave_way.then_some(End::NotNeeded);
        leg.end = leg.held.take().or(gave_way);
    }
}

/// One says that it arrived, the other one that it never can.
fn contradict(known: Fact, told: Fact) -> bool {
    let permanent = |fact| fact == Fact::Failed { cause: Cause::Permanent };
    (known == Fact::Delivered && permanent(told)) || (permanent(known) && told == Fact::Delivered)
}

fn answered(answer: &Answer) -> (Fact, Option<&str>) {
    match answer {
        Answer::Taken { .. } => (Fact::Taken, None),
        Answer::NotTaken { again, reason } => (Fact::NotTaken { again: *again }, Some(reason)),
        Answer::Refused { cause, reason } => (Fact::Failed { cause: *cause }, Some(reason)),
        Answer::Lost { reason } => (Fact::Lost, Some(reason)),
    }
}

fn receipt_fact(receipt: &Receipt) -> (Fact, Option<&str>) {
    match receipt {
        Receipt::OnItsWay => (Fact::Taken, None),
        Receipt::Delivered => (Fact::Delivered, None),
        Receipt::Undelivered { again: Some(again), reason, .. } => {
            (Fact::Undelivered { again: *again }, Some(reason))
        }
        Receipt::Undelivered { again: None, cause, reason } => (Fact::Failed { cause: *cause }, Some(reason)),
        Receipt::Refused(verdict) => {
            (Fact::Failed { cause: Cause::Permanent }, Some(verdict.meaning[0].as_str()))
        }
        Receipt::Unclear { reason } => (Fact::Unclear, Some(reason)),
    }
}

fn asked(leg: &mut Leg, attempt: u32, found: &Found, now: Time) -> Result<Told, Refused> {
    match found {
        Found::Known(receipt) => {
            let (fact, reason) = receipt_fact(receipt);
            learn(leg, attempt, fact, reason)
        }
        Found::Nothing => {
            learn(leg, attempt, Fact::NotTaken { again: now }, Some("the provider never got it"))
        }
        Found::CantSay => {
            attempt_of(leg, attempt)?;
            Ok(Told { repeated: true, ..Told::because("the provider can't say") })
        }
    }
}

fn suppress(leg: &mut Leg, reason: &str) -> Result<Told, Refused> {
    if !leg.is_waiting() {
        return Err(Refused::WrongState { state: leg.state(), what: "suppressing it" });
    }
    leg.end = Some(End::Suppressed(reason.to_owned()));
    Ok(Told::because(reason))
}

fn give_up(leg: &mut Leg, reason: &str) -> Result<Told, Refused> {
    if !leg.is_waiting() || !leg.started {
        return Err(Refused::WrongState { state: leg.state(), what: "giving it up" });
    }
    leg.end = Some(End::Exhausted(reason.to_owned()));
    Ok(Told::because(reason))
}

fn decide(leg: &mut Leg, index: usize, decision: Decision, by: &str, now: Time) -> Result<Told, Refused> {
    let state = leg.state();
    let told = Told { by: Some(by.to_owned()), ..Told::default() };
    let wrong = |what| Err(Refused::WrongState { state, what });
    match decision {
        Decision::SendAgain => {
            let failed = state == State::Failed && leg.started;
            if state != State::Unknown && !failed {
                return wrong("sending it again");
            }
            if leg.attempts.len() >= MOST_ATTEMPTS {
                return Err(Refused::TooMany);
            }
            (leg.end, leg.held) = (None, None);
            leg.gave_way = false;
            leg.wait = None;
            if let Some(last) = leg.attempts.last_mut() {
                last.released = true;
            }
            // Given up before its first attempt: no state tells that it is to be sent.
            let first = leg.attempts.is_empty();
            let send = Action::Send {
                leg: index,
                attempt: leg.next_attempt(),
                at: leg.due().unwrap_or(now).max(now),
            };
            Ok(Told { actions: if first { vec![send] } else { Vec::new() }, ..told })
        }
        Decision::Arrived => {
            if state != State::Unknown {
                return wrong("taking it as arrived");
            }
            let last = leg.next_attempt() - 1;
            attempt_of(leg, last)?.learn(Fact::Delivered, Some("a person says so"));
            Ok(told)
        }
        Decision::GiveUp => {
            if !matches!(state, State::Accepted | State::Scheduled | State::Unknown) {
                return wrong("giving it up");
            }
            leg.end = Some(End::GivenUp);
            Ok(told)
        }
    }
}

impl Happened {
    /// The leg that is meant, where one is.
    pub fn leg(&self) -> Option<usize> {
        match self {
            Happened::PutOff { leg, .. }
            | Happened::Begun { leg, .. }
            | Happened::Answered { leg, .. }
            | Happened::Receipt { leg, .. }
            | Happened::Asked { leg, .. }
            | Happened::NoReceipt { leg }
            | Happened::Suppressed { leg, .. }
            | Happened::GivenUp { leg, .. }
            | Happened::Decided { leg, .. } => Some(*leg),
            Happened::Superseded { .. } | Happened::Expired => None,
        }
    }

    fn attempt(&self) -> Option<u32> {
        match self {
            Happened::Begun { attempt, .. }
            | Happened::Answered { attempt, .. }
            | Happened::Receipt { attempt, .. }
            | Happened::Asked { attempt, .. } => Some(*attempt),
            _ => None,
        }
    }

    /// Its name in the audit trail.
    pub fn name(&self) -> &'static str {
        match self {
            Happened::PutOff { .. } => "put_off",
            Happened::Begun { .. } => "begun",
            Happened::Answered { .. } => "answered",
            Happened::Receipt { .. } => "receipt",
            Happened::Asked { .. } => "asked",
            Happened::NoReceipt { .. } => "no_receipt",
            Happened::Suppressed { .. } => "suppressed",
            Happened::GivenUp { .. } => "given_up",
            Happened::Superseded { .. } => "superseded",
            Happened::Expired => "expired",
            Happened::Decided { .. } => "decided",
        }
    }
}
