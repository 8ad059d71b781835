//! A delivery as others see it.

use super::replay::REFUSED;
use crate::domain::classes::{self, explain};
use crate::domain::state::{self, Entry};
use crate::store::deliveries::{Stored, Whole};
use artel_contract::notify::decisions::{
    Explained, ExplainedAttempt, ExplainedDecision, ExplainedLeg, Language, LeftOut,
};
use artel_contract::notify::{Delivery, Leg, Moment, State};

/// All that is known of it; addresses are masked.
pub fn delivery(stored: &Stored, trail: &[Entry]) -> Delivery {
    let Stored { id, rev, plan, subscriber, accepted_at, changed_at, content, .. } = stored;
    Delivery {
        id: *id,
        revision: u64::try_from(*rev).unwrap_or(0),
        state: plan.state(),
        subscriber: subscriber.clone(),
        template: content.template.clone(),
        topic: content.topic.clone(),
        lane: content.lane,
        legs: (0..plan.legs.len()).map(|at| leg(stored, at)).collect(),
        timeline: trail.iter().map(moment).collect(),
        accepted_at: *accepted_at,
        changed_at: *changed_at,
        expires_at: plan.expires_at,
        attachments: content.attachments.as_ref().map_or_else(Vec::new, |set| set.files.clone()),
    }
}

fn leg(stored: &Stored, at: usize) -> Leg {
    let leg = &stored.plan.legs[at];
    let due = leg.due().filter(|due| leg.started && *due > artel_message::Time::MIN);
    Leg {
        channel: leg.channel,
        state: leg.state(),
        address: stored.content.address(at).map_or_else(String::new, |address| address.masked()),
        attempts: leg.next_attempt() - 1,
        provider: leg.attempts.last().map(|last| last.provider.clone()),
        reason: leg.reason().map(str::to_owned),
        next_at: due,
    }
}

fn moment(entry: &Entry) -> Moment {
    let by = entry.by.as_ref().map(|by| format!("{} by {by}", entry.what));
    let what = by.unwrap_or_else(|| entry.what.clone());
    let what = match &entry.reason {
        Some(reason) => format!("{what}: {reason}"),
        None => what,
    };
    Moment { at: entry.at, what, channel: entry.channel, state: Some(entry.to) }
}

/// Why it was, or was not, tried again.
pub fn explained(whole: &Whole, language: Language) -> Explained {
    let Stored { id, plan, content, .. } = &whole.stored;
    let left_out = |left: &super::content::LeftOut| LeftOut { channel: left.channel, why: left.why.clone() };
    Explained {
        delivery: *id,
        state: plan.state(),
        left_out: content.left_out.iter().map(left_out).collect(),
        legs: plan.legs.iter().map(|leg| explained_leg(leg, language)).collect(),
        decisions: whole.trail.iter().filter_map(|entry| explained_decision(entry, language)).collect(),
    }
}

/// What a person decided, or would have, where a line of the audit is about that.
fn explained_decision(entry: &Entry, language: Language) -> Option<ExplainedDecision> {
    let by = entry.by.clone()?;
    let what = match (&*entry.what, entry.to) {
        (REFUSED, _) => ["not sent again", "не отправлено ещё раз"],
        (_, State::Delivered) => ["taken as arrived", "считается доставленным"],
        (_, State::Failed) => ["given up", "отправка прекращена"],
        _ => ["sent again", "отправлено ещё раз"],
    };
    let what = match language {
        Language::En => format!("{} by {by}", what[0]),
        Language::Ru => format!("{}, решил {by}", what[1]),
    };
    let what = entry.reason.as_ref().map_or_else(|| what.clone(), |reason| format!("{what}: {reason}"));
    Some(ExplainedDecision { at: entry.at, channel: entry.channel, by, what })
}

fn explained_leg(leg: &state::Leg, language: Language) -> ExplainedLeg {
    let told = match language {
        Language::En => classes::Language::English,
        Language::Ru => classes::Language::Russian,
    };
    let attempts = (1u32..).zip(&leg.attempts).map(|(number, attempt)| ExplainedAttempt {
        attempt: number,
        account: attempt.provider.clone(),
        at: attempt.begun_at,
        why: match (&attempt.verdict, &attempt.reason, language) {
            (Some(verdict), _, _) => explain(verdict, told),
            (None, Some(reason), _) => reason.clone(),
            (None, None, Language::En) => "the provider has it, so there was nothing to try again".to_owned(),
            (None, None, Language::Ru) => "сообщение у провайдера, повторять было нечего".to_owned(),
        },
    });
    ExplainedLeg {
        channel: leg.channel,
        state: leg.state(),
        reason: leg.reason().map(str::to_owned),
        attempts: attempts.collect(),
    }
}
