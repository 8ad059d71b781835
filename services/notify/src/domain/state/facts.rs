//! What is known of one attempt. Facts arrive in any order and more than once: the one that says more stays.

use crate::domain::classes::Verdict;
use artel_message::Time;
use serde::{Deserialize, Serialize};

/// What is known of an attempt, ordered by how much it says: knowing two things is knowing the greater one. So the order in which
/// answers and receipts of an attempt arrive can't matter, nor how often they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The request is on its way; nothing was heard yet.
    Open,
    /// The link was lost, or no answer came in time, after the request was written: it may have been taken or not.
    Lost,
    /// The provider did not take it, and may be tried again.
    NotTaken { again: Time },
    /// The provider took it.
    Taken,
    /// The provider took it and does not know what came of it.
    Unclear,
    /// The provider took it, it did not arrive, and another attempt may succeed.
    Undelivered { again: Time },
    /// It did not arrive, and is not tried again.
    Failed { cause: Cause },
    /// It arrived.
    Delivered,
}

/// Why no further attempt follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The tries, or the time in which it means something, are used up.
    Temporary,
    /// The same request can never succeed.
    Permanent,
}

impl Fact {
    /// Whether the provider may have taken the message: two such attempts may be two messages on somebody's screen.
    pub fn may_have_been_taken(self) -> bool {
        matches!(self, Fact::Open | Fact::Lost | Fact::Taken | Fact::Unclear | Fact::Delivered)
    }

    /// When the next attempt may begin, where one may.
    pub fn again(self) -> Option<Time> {
        match self {
            Fact::NotTaken { again } | Fact::Undelivered { again } => Some(again),
            _ => None,
        }
    }
}

/// A part of a long message, which the provider tells of by itself. It may be told to have arrived and to have failed: what was told
/// stays, so that the order in which it is told can't matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What the provider calls it.
    pub reference: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub arrived: bool,
    /// The most that was told but for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fact: Option<Fact>,
}

/// One handing over to a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub provider: String,
    pub begun_at: Time,
    pub fact: Fact,
    /// What the provider calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Of a long message its parts, in order. It has arrived when all of them have, and failed when one has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// In the words of whoever told the fact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A person decided that it be sent again although it may have arrived.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
    /// Its failure used up a try.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counts: bool,
    /// What its answer means, where it was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Box<Verdict>>,
}

impl Attempt {
    pub(super) fn begin(provider: &str, now: Time) -> Attempt {
        Attempt {
            provider: provider.to_owned(),
            begun_at: now,
            fact: Fact::Open,
            reference: None,
            parts: Vec::new(),
            reason: None,
            released: false,
            counts: false,
            verdict: None,
        }
    }

    /// Takes a fact in; false where it says nothing new.
    pub(super) fn learn(&mut self, fact: Fact, reason: Option<&str>) -> bool {
        if fact <= self.fact {
            return false;
        }
        self.fact = fact;
        self.reason = reason.map(str::to_owned);
        true
    }

    /// Keeps what the provider calls it.
    pub(super) fn named(&mut self, reference: &str, parts: &[String]) {
        self.reference.get_or_insert_with(|| reference.to_owned());
        if self.parts.is_empty() {
            let part = |name: &String| Part { reference: name.clone(), arrived: false, fact: None };
            self.parts = parts.iter().map(part).collect();
        }
    }

    /// Takes in a fact about one of its parts, and what follows for the whole; what was learnt of the part, in words. `None`: it has
    /// no such part.
    pub(super) fn learn_part(&mut self, name: &str, fact: Fact, reason: Option<&str>) -> Option<LearntPart> {
        let parts = self.parts.len();
        let at = self.parts.iter().position(|part| part.reference == name)?;
        let part = &mut self.parts[at];
        let before = part.clone();
        match fact {
            Fact::Delivered => part.arrived = true,
            Fact::Open | Fact::Taken => {}
            other => part.fact = part.fact.max(Some(other)),
        }
        let permanent = Some(Fact::Failed { cause: Cause::Permanent });
        let contradicts = part.arrived && part.fact == permanent && fact != Fact::Taken;
        let learnt = *part != before;
        let what = reason.unwrap_or(if fact == Fact::Delivered { "it has arrived" } else { "on its way" });
        let reason = format!("part {} of {parts}: {what}", at + 1);
        let whole = match self.parts.iter().all(|part| part.arrived) {
            true => Fact::Delivered,
            false => self.parts.iter().filter_map(|part| part.fact).max().unwrap_or(Fact::Taken),
        };
        let learnt = self
            .learn(whole, Some(&reason).filter(|_| whole != Fact::Delivered).map(String::as_str))
            || learnt;
        Some(LearntPart { learnt, contradicts, reason })
    }
}

/// What a fact about a part was worth.
pub(super) struct LearntPart {
    pub learnt: bool,
    pub contradicts: bool,
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 3] = ["a", "b", "c"];

    fn long() -> Attempt {
        let mut attempt = Attempt::begin("main", Time::from_millis(0));
        attempt.named("a", &NAMES.map(str::to_owned));
        attempt.learn(Fact::Taken, None);
        attempt
    }

    #[test]
    fn a_long_message_has_arrived_when_all_of_its_parts_have() {
        let mut attempt = long();
        for (name, part, told, fact) in [
            ("c", "3", Fact::Delivered, Fact::Taken),
            ("a", "1", Fact::Taken, Fact::Taken),
            ("a", "1", Fact::Delivered, Fact::Taken),
            ("a", "1", Fact::Delivered, Fact::Taken),
            ("b", "2", Fact::Delivered, Fact::Delivered),
        ] {
            let learnt = attempt.learn_part(name, told, None).unwrap();
            assert_eq!((attempt.fact, &learnt.reason[5..6]), (fact, part));
        }
        assert_eq!(attempt.reason, None);
        assert!(attempt.learn_part("d", Fact::Delivered, None).is_none());
    }

    #[test]
    fn one_part_that_failed_is_named_and_repeats_are_known() {
        let mut attempt = long();
        let failed = Fact::Failed { cause: Cause::Permanent };
        assert!(attempt.learn_part("b", failed, Some("state 5, error 1")).unwrap().learnt);
        assert!(!attempt.learn_part("b", failed, Some("state 5, error 1")).unwrap().learnt);
        assert_eq!(
            (attempt.fact, attempt.reason.as_deref()),
            (failed, Some("part 2 of 3: state 5, error 1"))
        );
        assert!(attempt.learn_part("b", Fact::Delivered, None).unwrap().contradicts);
        assert_eq!(attempt.fact, failed);
    }

    proptest! {
        #[test]
        fn the_order_and_repeats_of_receipts_do_not_matter(
            told in prop::collection::vec((0..3usize, 0..4usize), 0..12).prop_flat_map(|told| {
                let shuffled = Just(told.clone()).prop_shuffle();
                (Just(told), shuffled)
            }),
        ) {
            let facts = [Fact::Taken, Fact::Unclear, Fact::Failed { cause: Cause::Temporary }, Fact::Delivered];
            let (given, shuffled) = told;
            let learn = |order: &[(usize, usize)]| {
                let mut attempt = long();
                for (part, fact) in order {
                    attempt.learn_part(NAMES[*part], facts[*fact], None);
                }
                (attempt.fact, attempt.parts)
            };
            let twice = [shuffled.clone(), shuffled].concat();
            prop_assert_eq!(learn(&given), learn(&twice));
        }
    }
}
