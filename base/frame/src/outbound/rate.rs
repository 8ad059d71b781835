//! Rates: the generic cell rate algorithm (ITU-T I.371), as plain arithmetic.

use artel_message::Time;
use std::time::Duration;

/// So many calls in a time, evenly, after a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Calls in `per`, at least 1.
    pub calls: u32,
    pub per: Duration,
    /// How many may come at once, at least 1.
    pub burst: u32,
}

impl Rate {
    pub fn per_second(calls: u32) -> Rate {
        Rate { calls, per: Duration::from_secs(1), burst: 1 }
    }

    pub fn burst(self, burst: u32) -> Rate {
        Rate { burst, ..self }
    }

    /// Microseconds from one call to the next.
    pub(super) fn interval(&self) -> i64 {
        let per = i64::try_from(self.per.as_micros()).unwrap_or(i64::MAX);
        // Rounded up: never faster than what was asked for.
        (per / i64::from(self.calls.max(1))).max(1) + i64::from(per % i64::from(self.calls.max(1)) != 0)
    }

    fn tolerance(&self) -> i64 {
        self.interval().saturating_mul(i64::from(self.burst.max(1)) - 1)
    }
}

/// When the next call of an evenly spaced row would be due.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gcra {
    due: Option<i64>,
}

impl Gcra {
    /// Takes a place. It may be used after the time that is given; `Err` gives the same and takes no place when that
    /// is longer than `most`.
    pub(super) fn take(&mut self, rate: &Rate, now: Time, most: Duration) -> Result<Duration, Duration> {
        let now = now.micros();
        let due = self.due.unwrap_or(now).max(now);
        let wait = due.saturating_sub(rate.tolerance()).saturating_sub(now).max(0);
        let wait = Duration::from_micros(wait.unsigned_abs());
        if wait > most {
            return Err(wait);
        }
        self.due = Some(due.saturating_add(rate.interval()));
        Ok(wait)
    }
}

/// How long the `n`th taker (from 1) of a window that nodes share has to wait. A window begins at a multiple of its
/// length, and gives as many places as the rate has in it; further takers come back in the next one.
pub(super) fn shared_wait(rate: &Rate, n: i64, window: Duration, now: Time) -> SharedWait {
    let length = i64::try_from(window.as_micros()).unwrap_or(i64::MAX).max(1);
    let begin = now.micros().div_euclid(length).saturating_mul(length);
    let places = (length / rate.interval()).max(1);
    let ahead = (n - i64::from(rate.burst.max(1))).max(0);
    let full = n > places;
    let at = if full { length } else { ahead.saturating_mul(rate.interval()).min(length) };
    let wait = begin.saturating_add(at).saturating_sub(now.micros()).max(0);
    SharedWait { wait: Duration::from_micros(wait.unsigned_abs()), full }
}

/// What a taker of a shared window has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SharedWait {
    pub(super) wait: Duration,
    /// There was no place any more: after the wait another window has begun.
    pub(super) full: bool,
}

/// Long enough to have a place, and at least a second.
pub(super) fn window(rate: &Rate) -> Duration {
    Duration::from_micros(rate.interval().unsigned_abs()).max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// In any stretch of time there are at most the burst and one call for each interval.
        #[test]
        fn no_stretch_of_time_has_more_calls_than_the_rate(
            calls in 1..200_u32, per_ms in 1..5_000_u64, burst in 1..20_u32,
            pauses in prop::collection::vec(0..2_000_000_i64, 1..200),
        ) {
            let rate = Rate { calls, per: Duration::from_millis(per_ms), burst };
            let mut gcra = Gcra::default();
            let (mut now, mut made) = (1_000_000_i64, Vec::new());
            for pause in pauses {
                now += pause / 100;
                if let Ok(wait) = gcra.take(&rate, Time::from_micros(now), Duration::from_secs(1)) {
                    made.push(now + i64::try_from(wait.as_micros()).unwrap());
                }
            }
            for (first, begin) in made.iter().enumerate() {
                for (last, end) in made.iter().enumerate().skip(first) {
                    let count = i64::try_from(last - first + 1).unwrap();
                    let allowed = i64::from(burst) + (end - begin) / rate.interval();
                    prop_assert!(count <= allowed, "{count} calls in {} µs", end - begin);
                }
            }
        }

        /// Who comes no faster than the rate never waits.
        #[test]
        fn the_whole_rate_can_be_used(calls in 1..200_u32, per_ms in 1..5_000_u64, burst in 1..20_u32) {
            let rate = Rate { calls, per: Duration::from_millis(per_ms), burst };
            let mut gcra = Gcra::default();
            for n in 0..500 {
                let now = Time::from_micros(n * rate.interval());
                prop_assert_eq!(gcra.take(&rate, now, Duration::ZERO), Ok(Duration::ZERO));
            }
        }

        /// A refusal names the time after which there is a place.
        #[test]
        fn after_the_wait_there_is_a_place(calls in 1..50_u32, burst in 1..5_u32, taken in 1..50_u32) {
            let rate = Rate::per_second(calls).burst(burst);
            let mut gcra = Gcra::default();
            let now = Time::from_micros(0);
            for _ in 0..taken {
                let _ = gcra.take(&rate, now, Duration::from_secs(10));
            }
            if let Err(wait) = gcra.take(&rate, now, Duration::ZERO) {
                prop_assert!(gcra.take(&rate, now + wait, Duration::ZERO).is_ok());
            }
        }

        /// Takers of a shared window wait in order, and no more than its places are used before its end.
        #[test]
        fn a_shared_window_gives_no_more_places_than_it_has(calls in 1..500_u32, burst in 1..20_u32, at in 0..999_999_i64) {
            let rate = Rate::per_second(calls).burst(burst);
            let (window, now) = (window(&rate), Time::from_micros(5_000_000 + at));
            let waits: Vec<Duration> = (1..=1_000).map(|n| shared_wait(&rate, n, window, now).wait).collect();
            prop_assert!(waits.is_sorted());
            let end = Duration::from_micros((1_000_000 - at).unsigned_abs());
            let within = waits.iter().filter(|wait| **wait < end).count();
            prop_assert!(within <= calls as usize, "{within} of {calls}");
        }
    }
}
