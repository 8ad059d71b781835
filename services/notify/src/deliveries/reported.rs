//! What providers tell later of messages that were not delivered, with their reason: the table of their answers says what it means,
//! the policy what follows.

use crate::domain::classes::Verdict;
use crate::domain::retry::{self, RetryPolicy, Tries};
use crate::domain::state::{Delivery, Fact, Found, Happened, Receipt};
use artel_contract::notify::DeliveryId;
use artel_message::Time;

/// What happened by the policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    pub happened: Happened,
    /// The leg and the attempt that it is news of, and whether that uses up a try.
    pub news: Option<(usize, u32, bool)>,
}

/// The reason, where one was told.
pub fn reason(happened: &Happened) -> Option<&Verdict> {
    match happened {
        Happened::Receipt { receipt: Receipt::Refused(verdict), .. }
        | Happened::Asked { found: Found::Known(Receipt::Refused(verdict)), .. } => Some(verdict),
        _ => None,
    }
}

/// What a reason makes of what happened.
pub fn decide(
    id: DeliveryId,
    plan: &Delivery,
    happened: &Happened,
    verdict: &Verdict,
    (policy, now): (&RetryPolicy, Time),
) -> Option<Reported> {
    let (leg, attempt) = match happened {
        Happened::Receipt { leg, attempt, .. } | Happened::Asked { leg, attempt, .. } => (*leg, *attempt),
        _ => return None,
    };
    let made = plan.legs.get(leg).and_then(|leg| leg.attempts.get((attempt as usize).checked_sub(1)?));
    // Told again it is no news: another moment would be another attempt.
    let known = made.is_some_and(|made| matches!(made.fact, Fact::Undelivered { .. } | Fact::Failed { .. }));
    if known {
        return Some(Reported { happened: with(happened, Receipt::OnItsWay), news: None });
    }
    let at = made.map_or(now, |made| made.begun_at);
    let tries = Tries::of(plan, leg, attempt, at, verdict.class, id.uuid().as_u128() as u64);
    let receipt = retry::report(policy, verdict, &tries, now);
    let counts =
        matches!(receipt, Receipt::Undelivered { again: Some(_), .. }) && retry::counts(verdict.class);
    Some(Reported { happened: with(happened, receipt), news: Some((leg, attempt, counts)) })
}

/// The same, told like this.
fn with(happened: &Happened, receipt: Receipt) -> Happened {
    match happened {
        Happened::Receipt { leg, attempt, reference, .. } => {
            Happened::Receipt { leg: *leg, attempt: *attempt, receipt, reference: reference.clone() }
        }
        Happened::Asked { leg, attempt, .. } => {
            Happened::Asked { leg: *leg, attempt: *attempt, found: Found::Known(receipt) }
        }
        other => other.clone(),
    }
}
