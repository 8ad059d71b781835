//! What is given up on is told where operators look for it: `notify.<channel>-dlq`.

use super::effects::index;
use crate::domain::state::Delivery;
use crate::store::deliveries::Stored;
use artel_contract::notify::dead::{EmailGivenUp, GivenUp, PushGivenUp, SmsGivenUp};
use artel_contract::notify::{Channel, Mode, State};
use artel_flow::Tx;

/// The legs that are given up by a step. Where one channel is enough, nothing is before all of it has failed; then it is every channel
/// that did, whichever of them ended last.
fn given_up(plan: &Delivery, before: State, moved: &[(usize, State)]) -> Vec<usize> {
    let failed = |at: &usize| plan.legs[*at].started && plan.legs[*at].state() == State::Failed;
    let moved = moved.iter().map(|(at, _)| *at).filter(failed);
    match (plan.mode, plan.state()) {
        (Mode::First, State::Failed) if before != State::Failed => {
            (0..plan.legs.len()).filter(failed).collect()
        }
        (Mode::First, State::Failed) | (Mode::All, _) => moved.collect(),
        (Mode::First, _) => Vec::new(),
    }
}

/// Writes the letters of a step that has led from `before` to what is stored.
pub(super) fn bury(tx: &mut Tx, stored: &Stored, before: State, moved: &[(usize, State)]) {
    for at in given_up(&stored.plan, before, moved) {
        letter(tx, stored, at);
    }
}

fn letter(tx: &mut Tx, stored: &Stored, at: usize) {
    let leg = &stored.plan.legs[at];
    let given = GivenUp {
        leg: index(at),
        subscriber: stored.subscriber.clone(),
        address: stored.content.address(at).map_or_else(String::new, |address| address.masked()),
        template: stored.content.template.clone(),
        topic: stored.content.topic.clone(),
        lane: stored.content.lane,
        attempts: leg.next_attempt() - 1,
        account: leg.attempts.last().map(|last| last.provider.clone()),
        reason: leg.reason().unwrap_or_default().to_owned(),
        cause: stored.content.cause.clone(),
        at: tx.now(),
    };
    match leg.channel {
        Channel::Email => tx.publish(EmailGivenUp { delivery: stored.id, given }),
        Channel::Sms => tx.publish(SmsGivenUp { delivery: stored.id, given }),
        Channel::Push => tx.publish(PushGivenUp { delivery: stored.id, given }),
    }
}
