//! The circuit breaker of a host, as plain arithmetic: closed while calls succeed, open when too many of the last ones
//! failed, half open to try with one call at a time.

use artel_message::Time;
use std::time::Duration;

const PARTS: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerSettings {
    /// What counts as the last calls.
    pub window: Duration,
    /// Fewer calls in the window than these say nothing.
    pub least_calls: u32,
    /// The circuit opens when this part of them failed, from 0 to 1.
    pub failure_ratio: f64,
    /// How long nothing is called then; twice as long after each trial that fails.
    pub open_for: Duration,
    pub longest_open: Duration,
    /// Trials that have to succeed before it closes.
    pub trials: u32,
}

impl Default for BreakerSettings {
    fn default() -> BreakerSettings {
        BreakerSettings {
            window: Duration::from_secs(10),
            least_calls: 10,
            failure_ratio: 0.5,
            open_for: Duration::from_secs(2),
            longest_open: Duration::from_secs(60),
            trials: 2,
        }
    }
}

/// Permission for one call; what came of it is told to [`Breaker::done`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Permit {
    era: u64,
    trial: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Good,
    Bad,
    /// Given up by the caller: says nothing about the host.
    Unknown,
}

#[derive(Debug)]
enum State {
    Closed,
    Open { until: Time },
    HalfOpen { good: u32, running: bool },
}

#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    state: State,
    /// Changes with the state: an answer to an earlier one is no news.
    era: u64,
    /// How often in a row it opened.
    opened: u32,
    parts: [(i64, u32, u32); PARTS],
}

impl Breaker {
    pub(super) fn new(settings: BreakerSettings) -> Breaker {
        Breaker { settings, state: State::Closed, era: 0, opened: 0, parts: [(i64::MIN, 0, 0); PARTS] }
    }

    /// May the host be called? If not, after what time it may be tried.
    pub(super) fn ask(&mut self, now: Time) -> Result<Permit, Duration> {
        if let State::Open { until } = self.state {
            if now < until {
                return Err(until.since(now));
            }
            self.enter(State::HalfOpen { good: 0, running: false });
        }
        match &mut self.state {
            State::HalfOpen { running: true, .. } => Err(self.settings.open_for),
            State::HalfOpen { running, .. } => {
                *running = true;
                Ok(Permit { era: self.era, trial: true })
            }
            _ => Ok(Permit { era: self.era, trial: false }),
        }
    }

    pub(super) fn done(&mut self, permit: Permit, outcome: Outcome, now: Time) {
        if permit.era != self.era {
            return;
        }
        match (&mut self.state, outcome) {
            (State::HalfOpen { running, .. }, Outcome::Unknown) => *running = false,
            (State::HalfOpen { .. }, Outcome::Bad) => self.open(now),
            (State::HalfOpen { good, running }, Outcome::Good) => {
                (*good, *running) = (*good + 1, false);
                if *good >= self.settings.trials {
                    self.opened = 0;
                    self.parts = [(i64::MIN, 0, 0); PARTS];
                    self.enter(State::Closed);
                }
            }
            (State::Closed, Outcome::Good | Outcome::Bad) => {
                self.count(outcome, now);
                let (good, bad) = self.counts(now);
                let all = good + bad;
                if all >= self.settings.least_calls
                    && f64::from(bad) >= f64::from(all) * self.settings.failure_ratio
                    && bad > 0
                {
                    self.open(now);
                }
            }
            _ => {}
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed)
    }

    fn open(&mut self, now: Time) {
        let settings = &self.settings;
        let longer = settings.open_for.saturating_mul(2_u32.saturating_pow(self.opened.min(20)));
        let until = now + longer.min(settings.longest_open);
        self.opened += 1;
        self.enter(State::Open { until });
    }

    fn enter(&mut self, state: State) {
        self.era += 1;
        self.state = state;
    }

    fn part(&self, now: Time) -> i64 {
        let window = i64::try_from(self.settings.window.as_micros()).unwrap_or(i64::MAX);
        now.micros().div_euclid((window / PARTS as i64).max(1))
    }

    fn count(&mut self, outcome: Outcome, now: Time) {
        let part = self.part(now);
        let slot = &mut self.parts[part.rem_euclid(PARTS as i64) as usize];
        if slot.0 != part {
            *slot = (part, 0, 0);
        }
        match outcome {
            Outcome::Good => slot.1 += 1,
            Outcome::Bad => slot.2 += 1,
            Outcome::Unknown => {}
        }
    }

    fn counts(&self, now: Time) -> (u32, u32) {
        let oldest = self.part(now).saturating_sub(PARTS as i64);
        let recent = self.parts.iter().filter(|(part, ..)| *part > oldest);
        recent.fold((0, 0), |(good, bad), part| (good + part.1, bad + part.2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Time {
        Time::from_micros(0) + SECOND * u32::try_from(seconds).unwrap()
    }

    fn fail(breaker: &mut Breaker, count: u32, now: Time) {
        for _ in 0..count {
            let permit = breaker.ask(now).unwrap();
            breaker.done(permit, Outcome::Bad, now);
        }
    }

    #[test]
    fn it_opens_tries_and_closes() {
        let mut breaker = Breaker::new(BreakerSettings::default());
        fail(&mut breaker, 9, at(0));
        let slow = breaker.ask(at(0)).unwrap();
        fail(&mut breaker, 1, at(0));
        assert_eq!(breaker.ask(at(1)), Err(SECOND));
        let trial = breaker.ask(at(2)).unwrap();
        assert!(breaker.ask(at(2)).is_err(), "one trial at a time");
        // The answer to a call from before it opened is no news.
        breaker.done(slow, Outcome::Bad, at(2));
        breaker.done(trial, Outcome::Good, at(2));
        let trial = breaker.ask(at(2)).unwrap();
        breaker.done(trial, Outcome::Good, at(2));
        assert!(!breaker.is_open());
        fail(&mut breaker, 9, at(3));
        assert!(!breaker.is_open(), "it begins anew");
    }

    #[test]
    fn a_failed_trial_opens_it_for_longer_and_one_given_up_does_not() {
        let mut breaker = Breaker::new(BreakerSettings::default());
        fail(&mut breaker, 10, at(0));
        let trial = breaker.ask(at(2)).unwrap();
        breaker.done(trial, Outcome::Unknown, at(2));
        let trial = breaker.ask(at(2)).unwrap();
        breaker.done(trial, Outcome::Bad, at(2));
        assert_eq!(breaker.ask(at(2)), Err(SECOND * 4));
        for opened in 0..40 {
            let now = at(100 * (opened + 1));
            let trial = breaker.ask(now).unwrap();
            breaker.done(trial, Outcome::Bad, now);
        }
        assert_eq!(breaker.ask(at(4000)), Err(SECOND * 60));
    }

    #[test]
    fn old_failures_are_forgotten() {
        let mut breaker = Breaker::new(BreakerSettings::default());
        fail(&mut breaker, 9, at(0));
        fail(&mut breaker, 9, at(20));
        assert!(!breaker.is_open());
    }

    proptest! {
        /// Whatever happens: closed with few failures in the last window, never two trials at once, and it always
        /// comes to ask again.
        #[test]
        fn it_agrees_with_counting(steps in prop::collection::vec((0..3_000_000_u64, 0..10_u8), 1..300)) {
            let settings = BreakerSettings::default();
            let mut breaker = Breaker::new(settings);
            let mut now = at(0);
            let mut history: Vec<(Time, bool)> = Vec::new();
            for (pause, kind) in steps {
                now = now + Duration::from_micros(pause / 3);
                let was_open = breaker.is_open();
                let Ok(permit) = breaker.ask(now) else {
                    prop_assert!(was_open);
                    let later = now + settings.longest_open;
                    let trial = breaker.ask(later);
                    prop_assert!(trial.is_ok());
                    breaker.done(trial.unwrap(), Outcome::Unknown, later);
                    continue;
                };
                if permit.trial {
                    prop_assert!(breaker.ask(now).is_err(), "a second trial");
                }
                let bad = kind < 4;
                breaker.done(permit, if bad { Outcome::Bad } else { Outcome::Good }, now);
                history.push((now, bad));
                if !was_open && breaker.is_open() {
                    // Every failure that could count, against the least that is needed.
                    let recent = history.iter().filter(|(t, _)| now.since(*t) <= settings.window);
                    let (all, failed) = recent.fold((0, 0), |(all, failed), (_, bad)| (all + 1, failed + u32::from(*bad)));
                    prop_assert!(all >= settings.least_calls && failed >= settings.least_calls / 2, "{failed} of {all}");
                }
            }
        }
    }
}
