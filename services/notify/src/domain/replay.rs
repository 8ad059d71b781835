//! Which deliveries of many are sent again.

use super::classes::Class;
use super::state::{Delivery, Leg, MOST_ATTEMPTS};
use artel_contract::notify::replay::{FailureClass, ReplayFilter, ReplayRefusal};
use artel_contract::notify::{Mode, State};
use artel_message::Time;

/// A delivery, as far as it is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub plan: &'a Delivery,
    pub template: &'a str,
    pub topic: &'a str,
    /// Of each leg: whether its address is known.
    pub addresses: &'a [bool],
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// It is not meant.
    Other,
    /// These legs are sent again.
    Again(Vec<usize>),
    /// They would be, and can't.
    Refused(Vec<usize>, ReplayRefusal),
}

/// Looks at one.
pub fn look(filter: &ReplayFilter, candidate: &Candidate<'_>, now: Time) -> Looked {
    let Candidate { plan, template, topic, addresses } = *candidate;
    let named = |wanted: &Option<String>, own: &str| wanted.as_deref().is_none_or(|wanted| wanted == own);
    if !named(&filter.template, template) || !named(&filter.topic, topic) || !given_up(filter, plan) {
        return Looked::Other;
    }
    let mut legs: Vec<usize> = (0..plan.legs.len()).filter(|at| fits(filter, &plan.legs[*at])).collect();
    let Some(first) = legs.first().map(|first| plan.legs[*first].channel) else { return Looked::Other };
    if plan.mode == Mode::First {
        // The recipient wanted to hear of it once.
        legs.retain(|at| plan.legs[*at].channel == first);
    }
    if plan.expires_at.is_some_and(|at| at <= now) {
        return Looked::Refused(legs, ReplayRefusal::Expired);
    }
    let reached: Vec<usize> =
        legs.iter().copied().filter(|at| addresses.get(*at).copied().unwrap_or(false)).collect();
    if reached.is_empty() {
        return Looked::Refused(legs, ReplayRefusal::NoAddress);
    }
    let able: Vec<usize> =
        reached.iter().copied().filter(|at| plan.legs[*at].attempts.len() < MOST_ATTEMPTS).collect();
    match able.is_empty() {
        true => Looked::Refused(reached, ReplayRefusal::TooManyAttempts),
        false => Looked::Again(able),
    }
}

/// Where one channel is enough, one that has worked, or still may, is.
fn given_up(filter: &ReplayFilter, plan: &Delivery) -> bool {
    plan.mode == Mode::All || is_meant(filter, plan.state())
}

fn is_meant(filter: &ReplayFilter, state: State) -> bool {
    state == State::Failed || (filter.unknown && state == State::Unknown)
}

fn fits(filter: &ReplayFilter, leg: &Leg) -> bool {
    let last = leg.attempts.last();
    let account = || last.map(|last| last.provider.as_str());
    let class = || last.and_then(|last| last.verdict.as_ref()).and_then(|verdict| class_of(verdict.class));
    let reason = |wanted: &str| {
        leg.reason().is_some_and(|reason| reason.to_lowercase().contains(&wanted.to_lowercase()))
    };
    leg.started
        && is_meant(filter, leg.state())
        && filter.channel.is_none_or(|channel| channel == leg.channel)
        && filter.account.as_deref().is_none_or(|wanted| account() == Some(wanted))
        && filter.class.is_none_or(|wanted| class() == Some(wanted))
        && filter.reason.as_deref().is_none_or(reason)
}

fn class_of(class: Class) -> Option<FailureClass> {
    match class {
        Class::Accepted => None,
        Class::Retry => Some(FailureClass::Retry),
        Class::RetryAfter => Some(FailureClass::RetryAfter),
        Class::Throttled(_) => Some(FailureClass::Throttled),
        Class::Suppress => Some(FailureClass::Suppress),
        Class::Permanent => Some(FailureClass::Permanent),
        Class::Config => Some(FailureClass::Config),
        Class::Ambiguous => Some(FailureClass::Ambiguous),
    }
}

/// The refusal in a sentence.
pub fn said(refusal: ReplayRefusal, plan: &Delivery) -> String {
    match (refusal, plan.expires_at) {
        (ReplayRefusal::Expired, Some(at)) => format!("its time was over at {at}"),
        (ReplayRefusal::Expired, None) => "its time was over".to_owned(),
        (ReplayRefusal::NoAddress, _) => "its address is not kept any more".to_owned(),
        (ReplayRefusal::TooManyAttempts, _) => format!("{MOST_ATTEMPTS} attempts were made"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::state::{Answer, Cause, Happened};
    use artel_contract::notify::Channel;
    use serde_json::json;

    fn at(second: i64) -> Time {
        Time::from_micros(second * 1_000_000)
    }

    fn filter(more: serde_json::Value) -> ReplayFilter {
        let mut all = json!({ "since": at(0) });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn answered(plan: &mut Delivery, leg: usize, answer: Answer) {
        let attempt = plan.legs[leg].next_attempt();
        let provider = format!("account-{leg}");
        plan.apply(&Happened::Begun { leg, attempt, provider }, at(1)).unwrap();
        plan.apply(&Happened::Answered { leg, attempt, answer }, at(1)).unwrap();
    }

    fn refused() -> Answer {
        Answer::Refused { cause: Cause::Permanent, reason: "550: No such mailbox".to_owned() }
    }

    fn lost() -> Answer {
        Answer::Lost { reason: "the link was lost".to_owned() }
    }

    fn plan(mode: Mode, answers: &[(usize, Answer)]) -> Delivery {
        let (mut plan, _) = Delivery::plan(&[Channel::Email, Channel::Sms], mode, None, Some(at(100)), at(0));
        answers.iter().for_each(|(leg, answer)| answered(&mut plan, *leg, answer.clone()));
        plan
    }

    fn looked(plan: &Delivery, more: serde_json::Value) -> Looked {
        let candidate =
            Candidate { plan, template: "shipment", topic: "shipments", addresses: &[true, true] };
        look(&filter(more), &candidate, at(10))
    }

    #[test]
    fn what_fits_is_sent_again_and_nothing_else() {
        let failed = plan(Mode::First, &[(0, refused()), (1, refused())]);
        for (more, legs) in [
            (json!({}), vec![0]),
            (json!({ "channel": "sms" }), vec![1]),
            (json!({ "channel": "push" }), vec![]),
            (json!({ "account": "account-1" }), vec![1]),
            (json!({ "account": "account" }), vec![]),
            (json!({ "reason": "no such MAILBOX" }), vec![0]),
            (json!({ "reason": "450" }), vec![]),
            (json!({ "template": "shipment", "topic": "shipments" }), vec![0]),
            (json!({ "template": "other" }), vec![]),
            (json!({ "topic": "other" }), vec![]),
            // A verdict was not kept.
            (json!({ "class": "permanent" }), vec![]),
        ] {
            let wanted = if legs.is_empty() { Looked::Other } else { Looked::Again(legs) };
            assert_eq!(looked(&failed, more.clone()), wanted, "{more}");
        }
    }

    #[test]
    fn a_second_channel_that_has_it_is_enough_where_one_is() {
        let taken = || Answer::Taken { reference: None, parts: Vec::new() };
        assert_eq!(looked(&plan(Mode::First, &[(0, refused()), (1, taken())]), json!({})), Looked::Other);
        let all = plan(Mode::All, &[(0, refused()), (1, taken())]);
        assert_eq!(looked(&all, json!({})), Looked::Again(vec![0]));
        let all = plan(Mode::All, &[(0, refused()), (1, refused())]);
        assert_eq!(looked(&all, json!({})), Looked::Again(vec![0, 1]));
    }

    #[test]
    fn what_nobody_knows_is_sent_again_only_where_that_was_said() {
        let unknown = plan(Mode::First, &[(0, lost())]);
        assert_eq!(looked(&unknown, json!({})), Looked::Other);
        assert_eq!(looked(&unknown, json!({ "unknown": true })), Looked::Again(vec![0]));
    }

    #[test]
    fn what_can_t_be_sent_any_more_is_refused_with_the_reason() {
        let failed = plan(Mode::First, &[(0, refused()), (1, refused())]);
        let of = |addresses: &[bool], now| {
            let candidate = Candidate { plan: &failed, template: "t", topic: "t", addresses };
            look(&filter(json!({})), &candidate, now)
        };
        assert_eq!(of(&[true, true], at(100)), Looked::Refused(vec![0], ReplayRefusal::Expired));
        assert_eq!(of(&[false, true], at(10)), Looked::Refused(vec![0], ReplayRefusal::NoAddress));
        let mut many = failed.clone();
        let one = many.legs[0].attempts[0].clone();
        many.legs[0].attempts = vec![one; MOST_ATTEMPTS];
        assert_eq!(looked(&many, json!({})), Looked::Refused(vec![0], ReplayRefusal::TooManyAttempts));
        assert!(said(ReplayRefusal::Expired, &failed).starts_with("its time was over at 1970-"));
    }

    /// What the store finds candidates by, apart from their state.
    #[test]
    fn stored_plans_say_in_words_what_they_are_found_by() {
        let text = |plan: &Delivery| serde_json::to_string(plan).unwrap();
        for (answer, word) in [(refused(), "\"failed\""), (lost(), "\"lost\"")] {
            let stored = text(&plan(Mode::All, &[(0, answer)]));
            assert!(stored.contains("\"mode\":\"all\"") && stored.contains(word), "{stored}");
        }
        let unclear = serde_json::to_string(&crate::domain::state::Fact::Unclear).unwrap();
        let given_up = serde_json::to_string(&crate::domain::state::End::GivenUp).unwrap();
        assert_eq!((unclear.as_str(), given_up.as_str()), ("\"unclear\"", "\"given_up\""));
        let exhausted = crate::domain::state::End::Exhausted(String::new());
        assert!(serde_json::to_string(&exhausted).unwrap().contains("\"exhausted\""));
    }
}
