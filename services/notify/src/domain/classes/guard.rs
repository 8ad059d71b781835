//! The guard against a wrong environment: when suddenly many tokens are refused, it is more likely that we send with the wrong key,
//! or to the other environment, than that all these people removed the app. Then nothing is removed, and somebody is told. It is over
//! when answers show that it is: time alone shows nothing, for a wrong key looks healthy as soon as nothing is sent.

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
    /// A spike is over with so many answers in a row of which fewer than half that share are refused, a window after it began at the
    /// earliest.
    pub healthy: u64,
}

impl Default for GuardSettings {
    fn default() -> GuardSettings {
        GuardSettings { window: Duration::from_secs(600), least: 20, percent: 30, healthy: 50 }
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

/// A spike that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    pub since: Time,
    /// Tokens that were kept because of it.
    pub kept: u64,
}

const SLOTS: i64 = 10;

/// Counts answers and refused tokens of one account over a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    settings: GuardSettings,
    /// (slot, answers, refused): the window in ten slots, the oldest first.
    slots: Vec<(i64, u64, u64)>,
    /// While nothing is removed.
    closed: Option<Closed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Closed {
    since: Time,
    /// Tokens that were kept because of it.
    kept: u64,
    /// Of the row that is counted now: answers, and refused tokens among them.
    row: (u64, u64),
}

impl Guard {
    pub fn new(settings: GuardSettings) -> Guard {
        Guard { settings, slots: Vec::new(), closed: None }
    }

    /// An answer that was not about a refused token; the spike that is over by it.
    pub fn other(&mut self, now: Time) -> Option<Over> {
        self.count(now, 0);
        self.in_row(0, now)
    }

    /// A token was refused as gone, malformed or foreign.
    pub fn refused(&mut self, now: Time) -> Removal {
        self.count(now, 1);
        let (answers, refused) = self.sums();
        let spike = refused >= self.settings.least.max(1)
            && refused.saturating_mul(100) >= answers.saturating_mul(self.settings.percent);
        match &mut self.closed {
            None if !spike => Removal::Remove,
            None => {
                self.closed = Some(Closed { since: now, kept: 1, row: (0, 0) });
                Removal::Alarm
            }
            Some(closed) => {
                closed.kept = closed.kept.saturating_add(1);
                self.in_row(1, now);
                Removal::Keep
            }
        }
    }

    /// Since when nothing is removed, and how many tokens were kept because of it.
    pub fn closed(&self) -> Option<(Time, u64)> {
        self.closed.map(|closed| (closed.since, closed.kept))
    }

    /// A person looked: tokens are removed again, and counting begins anew.
    pub fn open(&mut self) {
        *self = Guard::new(self.settings);
    }

    /// Counts an answer of the row that shows whether a spike is over. A refused one never ends a row well, so that the token that it is
    /// about stays.
    fn in_row(&mut self, refused: u64, now: Time) -> Option<Over> {
        let GuardSettings { window, percent, healthy, .. } = self.settings;
        let closed = self.closed.as_mut()?;
        closed.row = (closed.row.0.saturating_add(1), closed.row.1.saturating_add(refused));
        let (answers, gone) = closed.row;
        if gone.saturating_mul(200) >= healthy.max(1).saturating_mul(percent) {
            // However the row goes on, it is none.
            closed.row = (0, 0);
            return None;
        }
        let over = refused == 0 && answers >= healthy && now.since(closed.since) >= window;
        let over = over.then_some(Over { since: closed.since, kept: closed.kept })?;
        self.open();
        Some(over)
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
        assert_eq!(guard.refused(at(90_000)), Removal::Keep, "time alone does not open it");
        guard.open();
        assert_eq!(guard.refused(at(90_001)), Removal::Remove);
    }

    /// A guard that closes with the first refused token, and opens with ten answers of which one is refused at most.
    fn closed() -> Guard {
        let settings = GuardSettings { window: Duration::from_secs(600), least: 1, percent: 40, healthy: 10 };
        let mut guard = Guard::new(settings);
        assert_eq!(guard.refused(at(0)), Removal::Alarm);
        guard
    }

    #[test]
    fn it_opens_with_answers_that_are_healthy_and_not_before_its_window() {
        let mut guard = closed();
        for i in 1..100 {
            assert_eq!(guard.other(at(i)), None, "the spike may have been a short one");
        }
        assert_eq!(
            guard.refused(at(700)),
            Removal::Keep,
            "the token that is refused is kept whatever follows"
        );
        assert_eq!(guard.other(at(700)), Some(Over { since: at(0), kept: 2 }));
        assert_eq!(guard.closed(), None);
        // Counted anew: what was refused in the spike says nothing any more.
        for i in 0..100 {
            assert_eq!(guard.other(at(701 + i)), None);
        }
        assert_eq!(guard.refused(at(801)), Removal::Remove);
    }

    #[test]
    fn it_stays_closed_while_many_are_refused_and_while_nothing_is_heard() {
        let mut guard = closed();
        for i in 0..500 {
            // One in four: more than half the share.
            match i % 4 {
                0 => assert_eq!(guard.refused(at(1_000 + i)), Removal::Keep),
                _ => assert_eq!(guard.other(at(1_000 + i)), None),
            }
        }
        assert_eq!(guard.refused(at(90_000)), Removal::Keep);
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
            let mut guard = Guard::new(GuardSettings { window: Duration::from_secs(600), least: 5, percent: 30, healthy: 50 });
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
