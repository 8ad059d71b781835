//! How fast an account may send: GCRA with a rate that learns. It is lowered by half when the provider says "too fast" (421, 454, 429,
//! 0x58) and raised in small steps while nothing is said.

use artel_message::Time;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Bounds of an account's pace. Rates are messages in a thousand seconds, so that slow ones are whole numbers too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Never faster than this.
    pub most: u64,
    /// Never lowered below this.
    pub least: u64,
    /// How many may go at once after a rest; at least one.
    pub burst: u32,
    /// After "too fast" nothing goes for this long; doubled each time it is said again, up to `longest_pause`.
    pub pause: Duration,
    pub longest_pause: Duration,
    /// How long nothing must be said before the rate is raised, by a twentieth of `most` each time.
    pub calm: Duration,
}

impl Limits {
    /// `rate` messages a second.
    pub fn per_second(rate: u64, burst: u32) -> Limits {
        let most = rate.max(1).saturating_mul(1_000);
        Limits {
            most,
            least: (most / 100).max(1),
            burst: burst.max(1),
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            calm: Duration::from_secs(5),
        }
    }
}

/// The pace of one account, or of one recipient, domain or operator over it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Of the account as a whole.
    whole: Limits,
    /// Of this node's share.
    limits: Limits,
    /// Messages in a thousand seconds, now.
    rate: u64,
    /// When the account would be at rest again: GCRA's theoretical arrival time.
    rest_at: Time,
    /// Nothing goes before this moment.
    paused_until: Time,
    /// When the rate was last lowered or raised.
    changed_at: Time,
    /// How often in a row it was said.
    said: u32,
}

impl Pace {
    pub fn new(limits: Limits) -> Pace {
        let limits = Limits {
            most: limits.most.max(1),
            least: limits.least.clamp(1, limits.most.max(1)),
            burst: limits.burst.max(1),
            ..limits
        };
        let rest = Time::MIN;
        let rate = limits.most;
        Pace { whole: limits, limits, rate, rest_at: rest, paused_until: rest, changed_at: rest, said: 0 }
    }

    /// Messages in a thousand seconds, now.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// Keeps to the share of one among so many who send over the same account. What was learnt stays: half as fast is half of the
    /// share. All together are never faster than the whole, but for a burst that has fewer places than there are nodes.
    pub fn divide(&mut self, nodes: u32, now: Time) {
        let (nodes, whole, before) = (u64::from(nodes.max(1)), self.whole, self.limits.most);
        let most = (whole.most / nodes).max(1);
        if most == before {
            return;
        }
        let burst = whole.burst / u32::try_from(nodes).unwrap_or(u32::MAX);
        self.limits = Limits { most, least: (whole.least / nodes).max(1), burst: burst.max(1), ..whole };
        let rate = u128::from(self.rate) * u128::from(most) / u128::from(before);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX).clamp(self.limits.least, most);
        let learnt = self.changed_at;
        self.set_rate(rate, now);
        self.changed_at = learnt;
    }

    /// Whether it goes as fast as it may.
    pub fn is_at_full_speed(&self) -> bool {
        self.rate == self.limits.most
    }

    /// When the next message may go; `now` or earlier = at once.
    pub fn next(&self, now: Time) -> Time {
        let tolerance = self.interval().saturating_mul(u64::from(self.limits.burst - 1));
        let earliest = self.rest_at.max(now) - Duration::from_micros(tolerance);
        earliest.max(self.paused_until)
    }

    /// Takes the place of one message, or says when there is one.
    pub fn take(&mut self, now: Time) -> Result<(), Time> {
        let next = self.next(now);
        if next > now {
            return Err(next);
        }
        self.rest_at = self.rest_at.max(now) + Duration::from_micros(self.interval());
        Ok(())
    }

    /// The provider says "too fast", and perhaps for how long. Said several times within a pause (by requests that were under way
    /// together) it counts once. Gives the moment from which something may go again.
    pub fn slow_down(&mut self, now: Time, wait: Option<Duration>) -> Time {
        if now >= self.paused_until {
            let lowered = (self.rate / 2).max(self.limits.least);
            self.set_rate(lowered, now);
            let doubled = self.limits.pause.saturating_mul(1 << self.said.min(16));
            self.paused_until = now + doubled.min(self.limits.longest_pause);
            self.said = self.said.saturating_add(1);
        }
        self.paused_until = self.paused_until.max(now + wait.unwrap_or_default());
        self.paused_until
    }

    /// A message was taken without complaint.
    pub fn went_well(&mut self, now: Time) {
        if now.since(self.changed_at) < self.limits.calm || now < self.paused_until {
            return;
        }
        self.said = 0;
        if !self.is_at_full_speed() {
            let step = (self.limits.most / 20).max(1);
            self.set_rate(self.rate.saturating_add(step).min(self.limits.most), now);
        }
    }

    /// Microseconds between two messages, rounded up: never faster than the rate.
    fn interval(&self) -> u64 {
        1_000_000_000u64.div_ceil(self.rate)
    }

    /// What was taken of the burst stays taken: the time until rest is stretched with the interval.
    fn set_rate(&mut self, rate: u64, now: Time) {
        let before = self.interval();
        let owed = u64::try_from(self.rest_at.since(now).as_micros()).unwrap_or(u64::MAX);
        self.rate = rate;
        let stretched = u128::from(owed) * u128::from(self.interval());
        let stretched = u64::try_from(stretched.div_ceil(u128::from(before))).unwrap_or(u64::MAX);
        self.rest_at = now + Duration::from_micros(stretched);
        self.changed_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: i64) -> Time {
        Time::from_millis(1_700_000_000_000 + millis)
    }

    #[test]
    fn a_burst_goes_and_then_one_after_the_other() {
        let mut pace = Pace::new(Limits::per_second(10, 3));
        assert!((0..3).all(|_| pace.take(at(0)).is_ok()));
        assert_eq!(pace.take(at(0)), Err(at(100)));
        assert_eq!(pace.take(at(99)), Err(at(100)));
        assert_eq!(pace.take(at(100)), Ok(()));
        assert_eq!(pace.next(at(100)), at(200));
    }

    #[test]
    fn too_fast_halves_it_once_for_all_that_was_under_way() {
        let mut pace = Pace::new(Limits::per_second(100, 1));
        for i in 0..20 {
            assert_eq!(pace.slow_down(at(i), None), at(1000));
        }
        assert_eq!(pace.rate(), 50_000);
        // Said again after the pause: half of it, and the pause is twice as long.
        assert_eq!(pace.slow_down(at(1000), None), at(3000));
        assert_eq!(pace.rate(), 25_000);
        // The provider's own wait is kept where it is longer.
        assert_eq!(pace.slow_down(at(3000), Some(Duration::from_secs(30))), at(33_000));
        assert_eq!(pace.take(at(32_999)), Err(at(33_000)));
        for i in 0..100 {
            pace.slow_down(at(100_000 * (i + 1)), None);
        }
        assert_eq!(pace.rate(), 1_000, "a hundredth of the most is the least");
        assert_eq!(pace.slow_down(at(100_000_000), None), at(100_060_000), "a minute is the longest pause");
    }

    #[test]
    fn a_burst_that_was_taken_stays_taken_when_it_gets_slower() {
        let mut pace = Pace::new(Limits::per_second(1, 20));
        assert!((0..20).all(|_| pace.take(at(0)).is_ok()));
        pace.slow_down(at(0), None);
        assert_eq!(pace.next(at(1000)), at(2000));
    }

    #[test]
    fn a_share_of_it_follows_the_nodes_and_keeps_what_was_learnt() {
        let mut pace = Pace::new(Limits::per_second(100, 30));
        pace.divide(1, at(0));
        assert_eq!(pace, Pace::new(Limits::per_second(100, 30)));
        pace.divide(3, at(0));
        assert_eq!((pace.rate(), pace.is_at_full_speed()), (33_333, true));
        let taken = (0..100).take_while(|_| pace.take(at(0)).is_ok()).count();
        assert_eq!(taken, 10, "the burst is divided too");
        pace.slow_down(at(0), None);
        assert_eq!(pace.rate(), 16_666);
        pace.divide(2, at(0));
        assert_eq!((pace.rate(), pace.is_at_full_speed()), (24_999, false));
        pace.divide(1, at(0));
        assert_eq!(pace.rate(), 49_998);
        // More nodes than messages a second: each has its turn.
        let mut slow = Pace::new(Limits::per_second(1, 1));
        slow.divide(4, at(0));
        assert_eq!(
            (slow.take(at(0)), slow.take(at(3_999)), slow.take(at(4_000))),
            (Ok(()), Err(at(4_000)), Ok(()))
        );
    }

    #[test]
    fn it_recovers_slowly() {
        let mut pace = Pace::new(Limits::per_second(100, 1));
        pace.slow_down(at(0), None);
        let mut now = 0;
        while !pace.is_at_full_speed() {
            now += 100;
            pace.went_well(at(now));
        }
        // Ten steps of a twentieth, five seconds each.
        assert_eq!(now, 50_000);
        let stored = serde_json::to_string(&pace).unwrap();
        assert_eq!(serde_json::from_str::<Pace>(&stored).unwrap(), pace);
    }

    #[derive(Debug, Clone)]
    enum Event {
        Send,
        Slow(Option<u64>),
        Well,
    }

    fn histories() -> impl Strategy<Value = Vec<(u64, Event)>> {
        let event = prop_oneof![
            12 => Just(Event::Send),
            1 => prop::option::of(0..20u64).prop_map(Event::Slow),
            4 => Just(Event::Well),
        ];
        prop::collection::vec(
            (prop_oneof![8 => Just(0u64), 3 => 0..300u64, 1 => 0..20_000u64], event),
            0..300,
        )
    }

    proptest! {
        #[test]
        fn never_faster_than_the_most_over_any_window(
            history in histories(), rate in 1..200u64, burst in 1..20u32,
        ) {
            let mut pace = Pace::new(Limits::per_second(rate, burst));
            let (mut now, mut sent) = (0i64, Vec::new());
            for (wait, event) in history {
                now += wait as i64;
                match event {
                    Event::Send => if pace.take(at(now)).is_ok() { sent.push(now) },
                    Event::Slow(wait) => {
                        let until = pace.slow_down(at(now), wait.map(Duration::from_secs));
                        prop_assert_eq!(pace.take(at(now)).is_ok(), until <= at(now));
                    }
                    Event::Well => pace.went_well(at(now)),
                }
                prop_assert!((rate * 10..=rate * 1000).contains(&pace.rate()));
            }
            for first in 0..sent.len() {
                for last in first..sent.len() {
                    let allowed = (sent[last] - sent[first]) as u64 * rate / 1000 + u64::from(burst);
                    prop_assert!((last - first + 1) as u64 <= allowed, "{} in {} ms", last - first + 1, sent[last] - sent[first]);
                }
            }
        }

        #[test]
        fn nodes_together_are_never_faster_than_the_whole(
            nodes in prop::collection::vec(1..6u32, 1..6), rate in 5..200u64,
        ) {
            let whole = Limits::per_second(rate, 1);
            let (mut now, mut sent) = (0i64, 0u64);
            let mut all: Vec<Pace> = (0..6).map(|_| Pace::new(whole)).collect();
            for living in &nodes {
                all.iter_mut().for_each(|pace| pace.divide(*living, at(now)));
                let until = now + 2_000;
                while now < until {
                    now += 1;
                    let living = usize::try_from(*living).unwrap();
                    sent += all.iter_mut().take(living).filter_map(|pace| pace.take(at(now)).ok()).count() as u64;
                }
            }
            // One place more for each node and change.
            let bursts = nodes.iter().map(|living| u64::from(*living)).sum::<u64>();
            prop_assert!(sent <= rate * 2 * nodes.len() as u64 + bursts, "{} in {} ms", sent, now);
        }

        #[test]
        fn what_next_says_is_true(history in histories()) {
            let mut pace = Pace::new(Limits::per_second(20, 4));
            let mut now = 0i64;
            for (wait, event) in history {
                now += wait as i64;
                match event {
                    Event::Send => { let _ = pace.take(at(now)); }
                    Event::Slow(wait) => { pace.slow_down(at(now), wait.map(Duration::from_secs)); }
                    Event::Well => pace.went_well(at(now)),
                }
                let next = pace.next(at(now)).max(at(now));
                let before = Time::from_micros(next.micros() - 1);
                prop_assert!(before < at(now) || pace.clone().take(before).is_err());
                prop_assert_eq!(pace.clone().take(next), Ok(()));
            }
        }

        #[test]
        fn it_always_comes_back_to_full_speed(history in histories()) {
            let mut pace = Pace::new(Limits::per_second(20, 4));
            let mut now = 0i64;
            for (wait, event) in history {
                now += wait as i64;
                if let Event::Slow(wait) = event {
                    pace.slow_down(at(now), wait.map(Duration::from_secs));
                }
            }
            for _ in 0..200 {
                now += 5_000;
                pace.went_well(at(now));
            }
            prop_assert!(pace.is_at_full_speed());
        }
    }
}
