//! The circuit breaker of an account: closed = in use, open = left alone, half open = one message at a time tries whether it
//! works again.

use super::classes::Class;
use artel_message::Time;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When it opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerSettings {
    /// Failures in a row.
    pub failures: u32,
    /// How long it is left alone the first time; doubled each time it fails again, up to `longest`.
    pub rest: Duration,
    pub longest: Duration,
    /// The same where our account or settings are at fault: nobody mends those in seconds.
    pub config_rest: Duration,
    /// Successes in a row that close it again.
    pub successes: u32,
}

impl Default for BreakerSettings {
    fn default() -> BreakerSettings {
        BreakerSettings {
            failures: 5,
            rest: Duration::from_secs(5),
            longest: Duration::from_secs(300),
            config_rest: Duration::from_secs(60),
            successes: 2,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Circuit {
    Closed {
        failures: u32,
    },
    Open {
        until: Time,
    },
    /// `probe` = since when a message is under way.
    HalfOpen {
        probe: Option<Time>,
        successes: u32,
    },
}

/// What a message over this account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    Yes,
    /// Not before this moment.
    At(Time),
}

/// The circuit breaker of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    settings: BreakerSettings,
    circuit: Circuit,
    /// How often in a row it was opened.
    opened: u32,
}

/// What a class says about the account. Answers about the address or the message speak for it: it works.
fn works(class: Class) -> Option<bool> {
    match class {
        Class::Accepted | Class::Suppress | Class::Permanent => Some(true),
        Class::Retry | Class::Ambiguous | Class::Config => Some(false),
        // The pace sees to these.
        Class::RetryAfter | Class::Throttled(_) => None,
    }
}

impl Breaker {
    pub fn new(settings: BreakerSettings) -> Breaker {
        Breaker { settings, circuit: Circuit::Closed { failures: 0 }, opened: 0 }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.circuit, Circuit::Closed { .. })
    }

    /// Whether a message may go, without taking the place.
    pub fn look(&self, now: Time) -> Allowed {
        match self.circuit {
            Circuit::Closed { .. } => Allowed::Yes,
            Circuit::Open { until } if now < until => Allowed::At(until),
            Circuit::Open { .. } => Allowed::Yes,
            // A probe whose result never came is forgotten after the first rest's time.
            Circuit::HalfOpen { probe: Some(since), .. } if now < since + self.settings.rest => {
                Allowed::At(since + self.settings.rest)
            }
            Circuit::HalfOpen { .. } => Allowed::Yes,
        }
    }

    /// The same, and takes the place of the probe where there is one to take.
    pub fn take(&mut self, now: Time) -> Allowed {
        let allowed = self.look(now);
        if allowed == Allowed::Yes {
            self.circuit = match self.circuit {
                Circuit::Open { .. } => Circuit::HalfOpen { probe: Some(now), successes: 0 },
                Circuit::HalfOpen { successes, .. } => Circuit::HalfOpen { probe: Some(now), successes },
                closed => closed,
            };
        }
        allowed
    }

    /// What came of a message. True where the account goes out of use by it, so that somebody is told.
    pub fn heard(&mut self, class: Class, now: Time) -> bool {
        match (works(class), self.circuit) {
            (None, Circuit::HalfOpen { successes, .. }) => {
                self.circuit = Circuit::HalfOpen { probe: None, successes };
                false
            }
            // Whatever was under way when it opened says nothing new.
            (None, _) | (_, Circuit::Open { .. }) => false,
            (Some(true), Circuit::Closed { .. }) => {
                self.circuit = Circuit::Closed { failures: 0 };
                self.opened = 0;
                false
            }
            (Some(true), Circuit::HalfOpen { successes, .. }) => {
                let successes = successes + 1;
                self.circuit = match successes >= self.settings.successes {
                    true => Circuit::Closed { failures: 0 },
                    false => Circuit::HalfOpen { probe: None, successes },
                };
                false
            }
            (Some(false), Circuit::Closed { failures })
                if class != Class::Config && failures + 1 < self.settings.failures =>
            {
                self.circuit = Circuit::Closed { failures: failures + 1 };
                false
            }
            (Some(false), _) => {
                self.open(class, now);
                true
            }
        }
    }

    fn open(&mut self, class: Class, now: Time) {
        let first = if class == Class::Config { self.settings.config_rest } else { self.settings.rest };
        let doubled = first.saturating_mul(1 << self.opened.min(16)).min(self.settings.longest.max(first));
        self.opened = self.opened.saturating_add(1);
        self.circuit = Circuit::Open { until: now + doubled };
    }

    /// While it is left alone: at least until this moment, such as one that the provider named.
    pub fn rest(&mut self, least: Time) {
        if let Circuit::Open { until } = &mut self.circuit {
            *until = least.max(*until);
        }
    }

    /// A person put the account right.
    pub fn close(&mut self) {
        *self = Breaker::new(self.settings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::classes::Scope;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Time {
        Time::from_millis(1_700_000_000_000 + seconds * 1000)
    }

    fn breaker() -> Breaker {
        Breaker::new(BreakerSettings::default())
    }

    fn failed(breaker: &mut Breaker, times: u32, now: Time) -> bool {
        (0..times).fold(false, |_, _| breaker.heard(Class::Retry, now))
    }

    #[test]
    fn it_opens_after_failures_in_a_row() {
        let mut one = breaker();
        assert!(!failed(&mut one, 4, at(0)));
        one.heard(Class::Permanent, at(0));
        assert!(!failed(&mut one, 4, at(0)), "an answer about the message says that the account works");
        assert!(failed(&mut one, 1, at(0)));
        assert_eq!(one.take(at(4)), Allowed::At(at(5)));
        assert!(!failed(&mut one, 20, at(4)), "it is told once");
        assert_eq!(one.take(at(5)), Allowed::Yes);
        assert_eq!(one.take(at(5)), Allowed::At(at(10)), "one probe at a time");
    }

    #[test]
    fn a_probe_that_works_brings_it_back_and_one_that_fails_does_not() {
        let mut one = breaker();
        failed(&mut one, 5, at(0));
        one.take(at(5));
        assert!(one.heard(Class::Retry, at(6)));
        assert_eq!(one.take(at(15)), Allowed::At(at(16)), "twice as long");
        assert_eq!(one.take(at(16)), Allowed::Yes);
        one.heard(Class::Accepted, at(17));
        assert!(!one.is_closed());
        assert_eq!(one.take(at(17)), Allowed::Yes);
        one.heard(Class::Accepted, at(18));
        assert!(one.is_closed());
        // It opens at once for a longer time where our own settings are wrong.
        assert!(one.heard(Class::Config, at(20)));
        assert!(matches!(one.look(at(79)), Allowed::At(_)));
        one.close();
        assert!(one.is_closed());
    }

    #[test]
    fn throttling_is_no_failure() {
        let mut one = breaker();
        for _ in 0..100 {
            assert!(!one.heard(Class::Throttled(Scope::Account), at(0)));
        }
        assert!(one.is_closed());
    }

    proptest! {
        #[test]
        fn nothing_goes_while_it_rests_and_something_goes_afterwards(
            events in prop::collection::vec((0..20i64, 0..6u8), 0..200),
        ) {
            let mut one = breaker();
            let mut now = 0;
            for (wait, what) in events {
                now += wait;
                let class = [Class::Accepted, Class::Retry, Class::Config, Class::Ambiguous, Class::RetryAfter];
                match class.get(usize::from(what)) {
                    Some(class) => { one.heard(*class, at(now)); }
                    None => { one.take(at(now)); }
                }
                if let Allowed::At(until) = one.look(at(now)) {
                    prop_assert!(until > at(now) && until <= at(now + 300));
                    prop_assert_eq!(one.look(until), Allowed::Yes, "it is never shut for good");
                }
            }
        }
    }
}
