//! The guard against a wrong environment: when suddenly many tokens are refused, it is more likely that we send with the wrong key,
//! or to the other environment, than that all these people removed the app. Then nothing is removed, and somebody is told.

use artel_message::Time;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When a spike is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardSettings {
    /// How far back it looks.
    pub window: Duration,
    /// Fewer refused tokens than this are no spike.
    pub least: u64,
    /// A spike is this share of all answers, in percent.
    pub percent: u64,
}

impl Default for GuardSettings {
    fn default() -> GuardSettings {
        GuardSettings { window: Duration::from_secs(600), least: 20, percent: 30 }
    }
}

/// What to do with a refused token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    Remove,
    /// Keep it, and tell somebody: this is the first one of a spike.
    Alarm,
    /// Keep it: a spike is on.
    Keep,
}

const SLOTS: i64 = 10;

/// Counts answers and refused tokens of one account over a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    settings: GuardSettings,
    /// (slot, answers, refused): the window in ten slots, the oldest first.
    slots: Vec<(i64, u64, u64)>,
    /// Since when nothing is removed.
    closed: Option<Time>,
    /// Tokens that were kept because of it.
    kept: u64,
}

impl Guard {
    pub fn new(settings: GuardSettings) -> Guard {
        Guard { settings, slots: Vec::new(), closed: None, kept: 0 }
    }

    /// An answer that was not about a refused token.
    pub fn other(&mut self, now: Time) {
        self.count(now, 0);
    }

    /// A token was refused as gone, malformed or foreign.
    pub fn refused(&mut self, now: Time) -> Removal {
        self.count(now, 1);
        let (answers, refused) = self.sums();
        let spike = refused >= self.settings.least.max(1)
            && refused.saturating_mul(100) >= answers.saturating_mul(self.settings.percent);
        match (self.closed, spike) {
            (None, false) => Removal::Remove,
            (None, true) => {
                self.closed = Some(now);
                self.kept = 1;
                Removal::Alarm
            }
            (Some(_), _) => {
                self.kept = self.kept.saturating_add(1);
                Removal::Keep
            }
        }
    }

    /// Since when nothing is removed, and how many tokens were kept because of it.
    pub fn closed(&self) -> Option<(Time, u64)> {
        self.closed.map(|since| (since, self.kept))
    }

    /// A person looked: tokens are removed again, and counting begins anew. It never opens by itself, because a wrong key looks
    /// healthy as soon as nothing is sent.
    pub fn open(&mut self) {
        *self = Guard::new(self.settings);
    }

    fn count(&mut self, now: Time, refused: u64) {
        let micros = i64::try_from(self.settings.window.as_micros()).unwrap_or(i64::MAX);
        let slot = now.micros().div_euclid((micros / SLOTS).max(1));
        self.slots.retain(|(at, _, _)| *at > slot - SLOTS && *at <= slot);
        match self.slots.iter_mut().find(|(at, _, _)| *at == slot) {
            Some((_, answers, gone)) => {
                *answers = answers.saturating_add(1);
                *gone = gone.saturating_add(refused);
            }
            None => self.slots.push((slot, 1, refused)),
        }
    }

    fn sums(&self) -> (u64, u64) {
        self.slots.iter().fold((0, 0), |(answers, refused), (_, a, r)| (answers + a, refused + r))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn tokens_go_one_by_one_and_stay_when_they_all_go() {
        let mut guard = Guard::new(GuardSettings::default());
        // One in ten, for an hour: people remove apps.
        for i in 0..3600 {
            if i % 10 == 0 {
                assert_eq!(guard.refused(at(i)), Removal::Remove);
            } else {
                guard.other(at(i));
            }
        }
        // Then the wrong key: the alarm comes once, before much is lost.
        let answers: Vec<Removal> = (0..1000).map(|i| guard.refused(at(3600 + i / 10))).collect();
        let removed = answers.iter().filter(|a| **a == Removal::Remove).count();
        assert!(removed < 250, "{removed}");
        assert_eq!(answers.iter().filter(|a| **a == Removal::Alarm).count(), 1);
        assert_eq!(guard.closed().map(|(_, kept)| kept), Some(1000 - removed as u64));
        assert_eq!(guard.refused(at(90_000)), Removal::Keep, "only a person opens it");
        guard.open();
        assert_eq!(guard.refused(at(90_001)), Removal::Remove);
    }

    #[test]
    fn a_few_are_no_spike() {
        let mut guard = Guard::new(GuardSettings::default());
        for i in 0..19 {
            assert_eq!(guard.refused(at(i)), Removal::Remove);
        }
        assert_eq!(guard.refused(at(19)), Removal::Alarm);
    }

    proptest! {
        #[test]
        fn never_more_than_the_share_and_the_least_are_removed_within_a_slot(answers: Vec<bool>) {
            let mut guard = Guard::new(GuardSettings { window: Duration::from_secs(600), least: 5, percent: 30 });
            let (mut all, mut removed) = (0u64, 0u64);
            for refused in answers {
                all += 1;
                if !refused {
                    guard.other(at(0));
                } else if guard.refused(at(0)) == Removal::Remove {
                    removed += 1;
                    prop_assert!(removed < 5 || removed * 100 < all * 30);
                }
            }
        }
    }
}
