//! What becomes of a message, as plain decisions.

use artel_contract::bridge::Status;

/// What can be learnt of a message. Facts arrive in any order and more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    Produced,
    /// Its consuming was given up, or the log refuses it for ever.
    GivenUp,
    Consumed,
}

/// The status after a fact: it never goes back. A message that one consumer gave up and that another one, or a later try,
/// consumed is consumed, whichever is heard of first.
pub fn after(status: Status, fact: Fact) -> Status {
    let reached = match fact {
        Fact::Produced => Status::Produced,
        Fact::GivenUp => Status::Failed,
        Fact::Consumed => Status::Consumed,
    };
    if rank(reached) > rank(status) { reached } else { status }
}

fn rank(status: Status) -> u8 {
    match status {
        Status::Accepted => 0,
        Status::Produced => 1,
        Status::Failed => 2,
        Status::Consumed => 3,
    }
}

/// Whether nothing will change any more, so that a copy may be kept.
pub fn is_final(status: Status, produced: bool) -> bool {
    status == Status::Consumed && produced
}

/// The number a status is stored as.
pub fn code(status: Status) -> i64 {
    match status {
        Status::Accepted => 0,
        Status::Produced => 1,
        Status::Consumed => 2,
        Status::Failed => 3,
    }
}

/// The status of a stored number.
pub fn status(code: i64) -> Option<Status> {
    [Status::Accepted, Status::Produced, Status::Consumed, Status::Failed]
        .into_iter()
        .find(|s| self::code(*s) == code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FACTS: [Fact; 3] = [Fact::Produced, Fact::GivenUp, Fact::Consumed];

    fn facts() -> impl Strategy<Value = Vec<Fact>> {
        proptest::collection::vec(proptest::sample::select(FACTS.to_vec()), 0..12)
    }

    fn end(facts: &[Fact]) -> Status {
        facts.iter().fold(Status::Accepted, |status, fact| after(status, *fact))
    }

    proptest! {
        #[test]
        fn the_order_of_facts_does_not_matter(facts in facts(), seed in any::<u64>()) {
            let mut other = facts.clone();
            let length = other.len().max(1);
            for i in 0..other.len() {
                other.swap(i, (seed as usize).wrapping_mul(i + 1) % length);
            }
            prop_assert_eq!(end(&facts), end(&other));
        }

        #[test]
        fn a_fact_told_again_changes_nothing(facts in facts()) {
            let twice: Vec<Fact> = facts.iter().flat_map(|f| [*f, *f]).collect();
            prop_assert_eq!(end(&facts), end(&twice));
        }

        #[test]
        fn what_is_consumed_stays_so(facts in facts()) {
            prop_assert_eq!(facts.iter().fold(Status::Consumed, |s, f| after(s, *f)), Status::Consumed);
        }
    }

    #[test]
    fn what_is_given_up_failed_until_it_is_consumed() {
        for facts in
            [&[Fact::GivenUp][..], &[Fact::GivenUp, Fact::Produced], &[Fact::Produced, Fact::GivenUp]]
        {
            assert_eq!(end(facts), Status::Failed, "{facts:?}");
        }
        assert_eq!(end(&[Fact::GivenUp, Fact::Consumed]), Status::Consumed);
    }

    #[test]
    fn every_status_survives_its_number() {
        for s in [Status::Accepted, Status::Produced, Status::Consumed, Status::Failed] {
            assert_eq!(status(code(s)), Some(s));
        }
        assert_eq!(status(9), None);
    }
}
