//! When a message is tried again, and when it is given up.

use super::classes::{Class, Verdict};
use super::state::{Answer, Cause, Delivery, MOST_ATTEMPTS, Receipt};
use artel_message::Time;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// The pause after the first failure; doubled each time.
    pub pause: Duration,
    pub longest: Duration,
    /// Failures that count; those where the provider says when, or that it was too fast, do not.
    pub tries: u32,
    /// From the first attempt on, whatever the cause.
    pub age: Duration,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            pause: Duration::from_secs(10),
            longest: Duration::from_secs(3_600),
            tries: 8,
            age: Duration::from_secs(86_400),
        }
    }
}

/// What is known of the tries so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// Failures that counted, with this one.
    pub counted: u32,
    /// Attempts, with this one, whatever became of them.
    pub made: usize,
    pub first_at: Time,
    /// After which it means nothing any more.
    pub expires_at: Option<Time>,
    /// When another account has a place for it, where that is next.
    pub elsewhere: Option<Time>,
    /// Any number: the pause is spread by up to a fifth to either side.
    pub spread: u64,
}

/// Whether an answer of this class uses up a try. What is wrong with our own account doesn't: messages wait for the repair, as long as
/// they mean something.
pub fn counts(class: Class) -> bool {
    !matches!(class, Class::RetryAfter | Class::Throttled(_) | Class::Config)
}

/// The answer for the state machine: tried again, given up, refused, or lost. `reason` is what [`Verdict`] says.
pub fn answer(policy: &RetryPolicy, verdict: &Verdict, tries: &Tries, now: Time) -> Answer {
    let reason = || format!("{}: {}", verdict.code, verdict.meaning[0]);
    let give_up =
        |why: &str| Answer::Refused { cause: Cause::Temporary, reason: format!("{}; {why}", reason()) };
    match verdict.class {
        Class::Accepted => return Answer::Taken { reference: None, parts: Vec::new() },
        Class::Ambiguous => return Answer::Lost { reason: reason() },
        Class::Suppress | Class::Permanent => {
            return Answer::Refused { cause: Cause::Permanent, reason: reason() };
        }
        Class::Retry | Class::RetryAfter | Class::Throttled(_) | Class::Config => {}
    }
    let most = match verdict.tries {
        0 => policy.tries,
        few => few.min(policy.tries),
    };
    if counts(verdict.class) && tries.counted >= most {
        return give_up("its tries are used up");
    }
    if tries.made >= MOST_ATTEMPTS {
        return give_up(&format!("{MOST_ATTEMPTS} attempts were made"));
    }
    let again = tries.elsewhere.unwrap_or_else(|| now + pause(policy, verdict, tries));
    if tries.expires_at.is_some_and(|expires| again >= expires) {
        return give_up("it would mean nothing any more by the next try");
    }
    if again.since(tries.first_at) > policy.age {
        return give_up("it has been tried for long enough");
    }
    Answer::NotTaken { again, reason: reason() }
}

impl Tries {
    /// Of a leg whose attempt `attempt`, begun at `at`, has failed like this.
    pub fn of(plan: &Delivery, leg: usize, attempt: u32, at: Time, class: Class, spread: u64) -> Tries {
        let made = plan.legs.get(leg).map_or(&[][..], |leg| &leg.attempts);
        // One that a person had sent again begins anew.
        let anew = made.iter().rposition(|attempt| attempt.released).map_or(0, |at| at + 1);
        let others = (1u32..).zip(made).skip(anew).filter(|(number, made)| *number != attempt && made.counts);
        let counted = u32::try_from(others.count()).unwrap_or(u32::MAX);
        Tries {
            counted: counted.saturating_add(u32::from(counts(class))),
            made: made.len().max(attempt as usize),
            elsewhere: None,
            first_at: made.get(anew).map_or(at, |first| first.begun_at),
            expires_at: plan.expires_at,
            spread,
        }
    }
}

/// What a later word of the provider means: tried again, or given up.
pub fn report(policy: &RetryPolicy, verdict: &Verdict, tries: &Tries, now: Time) -> Receipt {
    match answer(policy, verdict, tries, now) {
        Answer::NotTaken { again, reason } => {
            Receipt::Undelivered { again: Some(again), cause: Cause::Temporary, reason }
        }
        Answer::Refused { cause, reason } => Receipt::Undelivered { again: None, cause, reason },
        Answer::Taken { .. } => Receipt::OnItsWay,
        Answer::Lost { reason } => Receipt::Unclear { reason },
    }
}

/// The growing pause, or what the provider says where that is longer. It is spread only upwards there: never before its moment.
fn pause(policy: &RetryPolicy, verdict: &Verdict, tries: &Tries) -> Duration {
    let doubled =
        policy.pause.saturating_mul(1 << tries.counted.saturating_sub(1).min(20)).min(policy.longest);
    let permille = |low: u64| low + tries.spread % 401;
    let spread = |pause: Duration, permille: u64| {
        Duration::from_micros(
            u64::try_from(pause.as_micros()).unwrap_or(u64::MAX).saturating_mul(permille) / 1_000,
        )
    };
    let own = spread(doubled, permille(800));
    match verdict.wait {
        Some(wait) if wait >= doubled => wait + spread(wait.min(Duration::from_secs(60)), tries.spread % 201),
        Some(wait) => own.max(wait),
        None => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::classes::{Answer as Said, Provider, classify};
    use proptest::prelude::*;

    fn at(seconds: u64) -> Time {
        Time::from_millis(1_700_000_000_000) + Duration::from_secs(seconds)
    }

    fn verdict(code: u16) -> Verdict {
        classify(Provider::Smtp, Said::Smtp { code, enhanced: None, text: "", sender: false })
    }

    fn tries(counted: u32) -> Tries {
        Tries { counted, made: 1, first_at: at(0), expires_at: None, elsewhere: None, spread: 200 }
    }

    fn again(answer: &Answer) -> Option<Time> {
        match answer {
            Answer::NotTaken { again, .. } => Some(*again),
            _ => None,
        }
    }

    #[test]
    fn pauses_grow_and_end() {
        let policy = RetryPolicy::default();
        let pauses: Vec<u64> = (1..8)
            .filter_map(|n| again(&answer(&policy, &verdict(451), &tries(n), at(0))))
            .map(|moment| moment.since(at(0)).as_secs())
            .collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640]);
        let over = answer(&policy, &verdict(451), &tries(8), at(0));
        let Answer::Refused { cause: Cause::Temporary, reason } = over else { panic!("{over:?}") };
        assert!(reason.ends_with("its tries are used up"), "{reason}");
    }

    #[test]
    fn each_class_has_its_answer() {
        let policy = RetryPolicy::default();
        let given = |verdict: &Verdict| answer(&policy, verdict, &tries(1), at(0));
        assert!(matches!(given(&verdict(250)), Answer::Taken { .. }));
        assert!(matches!(given(&verdict(554)), Answer::Refused { cause: Cause::Permanent, .. }));
        let lost =
            classify(Provider::Smtp, Said::Broken { stage: crate::domain::classes::Stage::After, text: "" });
        assert!(matches!(given(&lost), Answer::Lost { .. }));
        // Neither "too fast" nor a wrong password uses up a try.
        for code in [421, 535] {
            assert!(again(&answer(&policy, &verdict(code), &tries(99), at(0))).is_some());
        }
        // A row's own number of tries is less than the policy's.
        let queue = classify(Provider::Smpp, Said::Smpp { status: 0x66 });
        assert!(again(&answer(&policy, &queue, &tries(2), at(0))).is_some());
        assert!(again(&answer(&policy, &queue, &tries(3), at(0))).is_none());
    }

    #[test]
    fn what_means_nothing_by_then_is_given_up_now() {
        let late = Tries { expires_at: Some(at(15)), ..tries(2) };
        let given = answer(&RetryPolicy::default(), &verdict(451), &late, at(0));
        assert!(matches!(given, Answer::Refused { cause: Cause::Temporary, .. }));
        let old = answer(&RetryPolicy::default(), &verdict(421), &tries(1), at(90_000));
        assert!(again(&old).is_none());
    }

    #[test]
    fn what_another_account_has_a_place_for_is_not_given_up_for_a_pause() {
        let policy = RetryPolicy::default();
        let given = |elsewhere, counted| {
            let late = Tries { expires_at: Some(at(15)), elsewhere, ..tries(counted) };
            again(&answer(&policy, &verdict(451), &late, at(0)))
        };
        assert_eq!(given(Some(at(0)), 2), Some(at(0)));
        assert_eq!(given(Some(at(14)), 2), Some(at(14)));
        assert_eq!((given(Some(at(15)), 2), given(Some(at(0)), 8)), (None, None));
    }

    #[test]
    fn nothing_is_tried_more_often_than_it_may_be() {
        let given = |made| {
            let tries = Tries { made, ..tries(1) };
            answer(&RetryPolicy::default(), &verdict(421), &tries, at(0))
        };
        assert!(again(&given(MOST_ATTEMPTS - 1)).is_some());
        let Answer::Refused { cause: Cause::Temporary, reason } = given(MOST_ATTEMPTS) else { panic!() };
        assert!(reason.ends_with("50 attempts were made"), "{reason}");
    }

    proptest! {
        #[test]
        fn never_before_the_provider_s_moment_and_within_the_bounds(
            counted in 1..8u32, spread: u64, wait in prop::option::of(0..4_000u64),
        ) {
            let policy = RetryPolicy::default();
            let verdict = Verdict { wait: wait.map(Duration::from_secs), ..verdict(451) };
            let tries = Tries { spread, ..tries(counted) };
            let moment = again(&answer(&policy, &verdict, &tries, at(0))).unwrap();
            let pause = moment.since(at(0));
            let own = Duration::from_secs(10 << (counted - 1));
            prop_assert!(pause >= verdict.wait.unwrap_or_default());
            prop_assert!(pause >= own * 4 / 5 || verdict.wait >= Some(own));
            prop_assert!(pause <= (own * 6 / 5).max(verdict.wait.unwrap_or_default() + Duration::from_secs(12)));
        }
    }
}
