//! Which account of a channel takes a message, and what comes after an answer: by class, breaker and pace.

use super::breaker::{Allowed, Breaker};
use super::classes::{Class, Scope, Verdict};
use super::pace::Pace;
use super::state::Why;
use artel_message::Time;
use serde::{Deserialize, Serialize};

/// An account at a provider: what is paced and what breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub name: String,
    pub pace: Pace,
    pub breaker: Breaker,
}

/// Who takes a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The account at this index.
    Use(usize),
    /// None right now; the earliest is free at this moment.
    Wait { until: Time, why: Why },
    /// There is no account that has not refused this message already.
    None,
}

/// What comes after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the provider has it.
    Done,
    /// Another account right away; where there is none, later.
    Other,
    /// Later, over whichever account is the first one then.
    Later,
    /// Nothing by itself: ask the provider.
    Ask,
    /// Nothing: no account would take it.
    Over,
}

/// The first account, in the order of preference, that works and is not at its pace. `refused` are the indices of those that have
/// refused this message in this round.
pub fn look(accounts: &[Account], refused: &[usize], now: Time) -> Choice {
    let mut wait: Option<(Time, Why)> = None;
    for (at, account) in accounts.iter().enumerate().filter(|(at, _)| !refused.contains(at)) {
        let (until, why) = match (account.breaker.look(now), account.pace.next(now)) {
            (Allowed::At(until), _) => (until, Why::Breaker),
            (Allowed::Yes, until) if until > now => (until, Why::Pace),
            (Allowed::Yes, _) => return Choice::Use(at),
        };
        if wait.is_none_or(|(earliest, _)| until < earliest) {
            wait = Some((until, why));
        }
    }
    wait.map_or(Choice::None, |(until, why)| Choice::Wait { until, why })
}

/// When the first of the accounts that have not refused a message has a place for it: `now` at the earliest.
pub fn free_at(accounts: &[Account], refused: &[usize], now: Time) -> Option<Time> {
    let others = accounts.iter().enumerate().filter(|(at, _)| !refused.contains(at));
    let free = |(_, account): (usize, &Account)| match account.breaker.look(now) {
        Allowed::At(until) => until,
        Allowed::Yes => account.pace.next(now).max(now),
    };
    others.map(free).min()
}

/// What comes after an answer of this class. An ambiguous one never goes to another account: it might arrive twice.
pub fn after(class: Class) -> Next {
    match class {
        Class::Accepted => Next::Done,
        // About this very message or its recipient: another account would only go round a limit that has its reason.
        Class::RetryAfter | Class::Throttled(Scope::Recipient) => Next::Later,
        Class::Retry | Class::Config | Class::Throttled(_) => Next::Other,
        Class::Ambiguous => Next::Ask,
        Class::Suppress | Class::Permanent => Next::Over,
    }
}

impl Account {
    pub fn new(name: &str, pace: Pace, breaker: Breaker) -> Account {
        Account { name: name.to_owned(), pace, breaker }
    }

    /// Takes the place of a message; false where it has none now.
    pub fn take(&mut self, now: Time) -> bool {
        let free = self.breaker.look(now) == Allowed::Yes && self.pace.take(now).is_ok();
        if free {
            self.breaker.take(now);
        }
        free
    }

    /// Takes in what came of a message. True where the account goes out of use by it.
    pub fn heard(&mut self, verdict: &Verdict, now: Time) -> bool {
        if verdict.provider.is_the_recipient_s() {
            return false;
        }
        match verdict.class {
            // About one recipient: the account as a whole is not at fault.
            Class::Throttled(Scope::Recipient) => {}
            _ if verdict.slow => {
                self.pace.slow_down(now, verdict.wait);
            }
            Class::Accepted => self.pace.went_well(now),
            _ => {}
        }
        let out = self.breaker.heard(verdict.class, now);
        if let (Class::Config, Some(wait)) = (verdict.class, verdict.wait) {
            self.breaker.rest(now + wait);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::breaker::BreakerSettings;
    use crate::domain::classes::{Answer, Provider, Stage, busy, classify};
    use crate::domain::pace::Limits;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Time {
        Time::from_millis(1_700_000_000_000 + seconds * 1000)
    }

    fn accounts(rates: &[u64]) -> Vec<Account> {
        let one = |rate: &u64| {
            let pace = Pace::new(Limits::per_second(*rate, 1));
            Account::new("a", pace, Breaker::new(BreakerSettings::default()))
        };
        rates.iter().map(one).collect()
    }

    /// Looks, and takes the place that is found.
    fn choose(accounts: &mut [Account], refused: &[usize], now: Time) -> Choice {
        let choice = look(accounts, refused, now);
        if let Choice::Use(at) = choice {
            assert!(accounts[at].take(now));
        }
        choice
    }

    fn twilio(status: u16, code: &str) -> Verdict {
        let code = Some(code).filter(|code| !code.is_empty());
        classify(Provider::Twilio, Answer::Http { status, code, retry_after: None, host: "" })
    }

    #[test]
    fn the_first_one_that_is_free_takes_it() {
        let mut two = accounts(&[1, 1]);
        assert_eq!(choose(&mut two, &[], at(0)), Choice::Use(0));
        assert_eq!(choose(&mut two, &[], at(0)), Choice::Use(1));
        assert_eq!(choose(&mut two, &[], at(0)), Choice::Wait { until: at(1), why: Why::Pace });
        assert_eq!(choose(&mut two, &[0], at(1)), Choice::Use(1));
        assert_eq!(choose(&mut two, &[0, 1], at(1)), Choice::None);
    }

    #[test]
    fn one_that_is_misconfigured_is_passed_over_until_it_is_tried_again() {
        let mut two = accounts(&[100, 100]);
        assert!(two[0].heard(&twilio(401, "20003"), at(0)));
        assert_eq!(choose(&mut two, &[], at(1)), Choice::Use(1));
        assert_eq!(choose(&mut two, &[1], at(1)), Choice::Wait { until: at(60), why: Why::Breaker });
        assert_eq!(choose(&mut two, &[], at(60)), Choice::Use(0));
    }

    #[test]
    fn one_that_names_a_moment_rests_until_then() {
        let mut one = accounts(&[100]);
        // Blocked for frequent errors: knocking earlier is what it is blocked for.
        let blocked = classify(
            Provider::Smsc,
            Answer::Http { status: 200, code: Some("4"), retry_after: None, host: "" },
        );
        assert!(one[0].heard(&blocked, at(0)));
        assert_eq!(choose(&mut one, &[], at(60)), Choice::Wait { until: at(3_600), why: Why::Breaker });
        assert_eq!(choose(&mut one, &[], at(3_600)), Choice::Use(0));
    }

    #[test]
    fn one_that_says_too_fast_rests_and_goes_more_slowly() {
        let mut two = accounts(&[100, 100]);
        two[0].heard(&twilio(429, "20429"), at(0));
        assert_eq!(choose(&mut two, &[], at(0)), Choice::Use(1));
        assert_eq!(two[0].pace.rate(), 50_000);
        // One recipient's limit is not the account's.
        let mut one = accounts(&[100]);
        let device = classify(
            Provider::WebPush,
            Answer::Http { status: 429, code: None, retry_after: None, host: "" },
        );
        one[0].heard(&device, at(0));
        assert_eq!((one[0].pace.rate(), choose(&mut one, &[], at(0))), (100_000, Choice::Use(0)));
    }

    #[test]
    fn whoever_subscribes_takes_nothing_out_of_use() {
        let mut one = accounts(&[100]);
        let hour = Some(std::time::Duration::from_secs(3_600));
        for status in [400, 401, 403, 404, 429, 500, 503] {
            let said = Answer::Http { status, code: None, retry_after: hour, host: "push.example.com" };
            for _ in 0..10 {
                assert!(!one[0].heard(&classify(Provider::WebPush, said), at(0)), "{status}");
            }
            assert_eq!(look(&one, &[], at(0)), Choice::Use(0), "{status}");
        }
        let hung = classify(Provider::WebPush, Answer::Broken { stage: Stage::After, text: "" });
        assert!((0..10).all(|_| !one[0].heard(&hung, at(0))));
        assert_eq!(look(&one, &[], at(0)), Choice::Use(0));
    }

    #[test]
    fn our_own_queue_is_no_failure_of_the_account() {
        let mut one = accounts(&[100]);
        assert!((0..100).all(|_| !one[0].heard(&busy(Provider::Smtp), at(0))));
        assert_eq!((one[0].pace.rate(), look(&one, &[], at(0))), (100_000, Choice::Use(0)));
    }

    #[test]
    fn what_may_have_arrived_goes_nowhere_else() {
        assert_eq!(after(Class::Ambiguous), Next::Ask);
        for provider in Provider::ALL {
            for row in provider.rows() {
                let other = after(row.class) == Next::Other;
                let certain = !matches!(row.class, Class::Accepted | Class::Ambiguous);
                assert!(!other || certain, "{:?}", row.key);
            }
        }
    }

    proptest! {
        #[test]
        fn a_message_is_never_sent_over_a_resting_or_a_refusing_account(
            events in prop::collection::vec((0..4i64, 0..3usize, 0..5u8), 0..200),
            refused in prop::collection::vec(0..3usize, 0..3),
        ) {
            let mut three = accounts(&[2, 5, 1]);
            let mut now = 0;
            for (wait, which, what) in events {
                now += wait;
                let verdict = [twilio(201, ""), twilio(429, ""), twilio(500, ""), twilio(401, "")];
                if let Some(verdict) = verdict.get(usize::from(what)) {
                    three[which].heard(verdict, at(now));
                    continue;
                }
                let before = three.clone();
                let free = free_at(&three, &refused, at(now));
                match choose(&mut three, &refused, at(now)) {
                    Choice::Use(chosen) => {
                        prop_assert_eq!(free, Some(at(now)));
                        prop_assert!(!refused.contains(&chosen));
                        prop_assert_eq!(before[chosen].breaker.look(at(now)), Allowed::Yes);
                        prop_assert!(before[chosen].pace.next(at(now)) <= at(now));
                    }
                    Choice::Wait { until, .. } => prop_assert!(until > at(now) && free == Some(until)),
                    Choice::None => prop_assert!(free.is_none() && (0..3).all(|i| refused.contains(&i))),
                }
            }
        }
    }
}
