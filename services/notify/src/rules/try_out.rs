//! What a rule would do, without doing it.

use super::event::Heading;
use super::read::{planned, settings, unfit};
use super::save::{problems, shown};
use super::{list, rule};
use crate::domain::rules::{Aim, LeftOut, Outcome, Planned, PlannedLeg, Rule};
use crate::recipients;
use artel_contract::notify::rules::{GetRule, TriedLeg, TriedOutcome, TriedRecipient, TriedRule, TryRule};
use artel_flow::Read;
use artel_message::{Fault, Time};
use serde_json::Value;

/// Recipients that are shown.
const SHOWN: usize = 20;

pub async fn try_out(mut read: &Read, query: TryRule) -> Result<TriedRule, Fault> {
    let TryRule { rule: id, body, event, at } = query;
    let body = match body {
        Some(body) => body,
        None => list::get(read, GetRule { rule: id.clone(), version: None }).await?.body,
    };
    let rule = rule(&id, 1, &body)?;
    let problems = problems(&mut read, &rule).await?.iter().map(shown).collect();
    let outcome = match event {
        Some(event) => Some(outcome(read, &rule, &event, at.unwrap_or(read.now())).await?),
        None => None,
    };
    Ok(TriedRule { problems, outcome })
}

async fn outcome(mut read: &Read, rule: &Rule, event: &Value, at: Time) -> Result<TriedOutcome, Fault> {
    let (people, more) = match rule.aim(event) {
        Aim::NotMet => return Ok(TriedOutcome::NotMet),
        Aim::Nobody { reason } => return Ok(TriedOutcome::Missed { reason }),
        Aim::One(given) => {
            if let Some(reason) = unfit(&given) {
                return Ok(TriedOutcome::Missed { reason });
            }
            (recipients::people(&mut read, &[given]).await?, false)
        }
        Aim::All { key } => {
            let mut people = recipients::subscribed(&mut read, &rule.topic, &key, None, SHOWN + 1).await?;
            let more = people.len() > SHOWN;
            people.truncate(SHOWN);
            (people, more)
        }
    };
    let topic = settings(crate::store::topics::settings(&mut read, &rule.topic).await?.as_deref());
    let heading = Heading { message: None, key: String::new(), cause: String::new(), at };
    Ok(match planned(rule, &topic, event, &heading, &people, read.now()) {
        Outcome::Stale { expired_at } => TriedOutcome::Stale { expired_at },
        Outcome::NoKey { reason } => TriedOutcome::Missed { reason },
        Outcome::Planned { planned, .. } => TriedOutcome::Notifies {
            recipients: planned.iter().map(|one| recipient(one, read.now())).collect(),
            more,
        },
    })
}

fn recipient(planned: &Planned, now: Time) -> TriedRecipient {
    let leg = |PlannedLeg { address, not_before }: &PlannedLeg| TriedLeg {
        channel: address.channel(),
        address: Some(address.masked()),
        not_before: Some(*not_before).filter(|from| *from > now),
        why: None,
    };
    let left = |LeftOut { channel, why }: &LeftOut| TriedLeg {
        channel: *channel,
        address: None,
        not_before: None,
        why: Some(why.to_string()),
    };
    TriedRecipient {
        subscriber: planned.subscriber.clone(),
        legs: planned.legs.iter().map(leg).collect(),
        left_out: planned.left_out.iter().map(left).collect(),
        language: planned.language.clone(),
    }
}
