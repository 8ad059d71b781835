//! How often an effect is called: the generic cell rate algorithm (ITU-T I.371), as plain arithmetic.

use artel_message::Time;
use std::time::Duration;

/// So many calls in a second, evenly, after a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

impl Rate {
    /// Microseconds from one call to the next; rounded up, never faster than what was asked for.
    fn interval(self) -> i64 {
        1_000_000i64.div_euclid(i64::from(self.per_second.max(1)))
            + i64::from(1_000_000 % self.per_second.max(1) != 0)
    }

    fn window(self) -> i64 {
        self.interval() * i64::from(self.burst.max(1))
    }
}

/// When the next call of an evenly spaced row would be due.
#[derive(Debug, Default)]
pub(super) struct Gcra {
    due: Option<i64>,
}

impl Gcra {
    /// How far the row reaches. A clock that was set back does not make it reach further than a burst.
    fn due(&self, rate: Rate, now: i64) -> i64 {
        self.due.unwrap_or(now).clamp(now, now + rate.window())
    }

    /// How many calls may be made now.
    pub fn free(&self, rate: Rate, now: Time) -> usize {
        let now = now.micros();
        let left = now + rate.window() - self.due(rate, now);
        usize::try_from(left / rate.interval()).unwrap_or(0)
    }

    /// When the next call may be made.
    pub fn next(&self, rate: Rate, now: Time) -> Time {
        let at = self.due(rate, now.micros()) + rate.interval() - rate.window();
        now.max(Time::from_micros(at))
    }

    pub fn take(&mut self, rate: Rate, now: Time, calls: usize) {
        let calls = i64::try_from(calls).unwrap_or(i64::MAX);
        self.due = Some(self.due(rate, now.micros()).saturating_add(rate.interval().saturating_mul(calls)));
    }
}

/// The wait that a fault asks for, in its detail as `retry_after` in seconds or `retry_after_ms`.
pub(super) fn retry_after(fault: &artel_message::Fault) -> Option<Duration> {
    let detail = fault.detail.as_deref()?;
    let millis = detail.get("retry_after_ms").and_then(serde_json::Value::as_u64).map(Duration::from_millis);
    millis.or_else(|| detail.get("retry_after").and_then(serde_json::Value::as_u64).map(Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whoever takes all that is free as soon as it is free never has more than the rate and a burst in any time, and
        /// nearly that much.
        #[test]
        fn no_window_holds_more_than_the_rate(
            per_second in 1u32..5_000, burst in 1u32..50, steps in proptest::collection::vec(1u64..200_000, 1..200),
        ) {
            let (rate, mut gcra, mut taken) = (Rate { per_second, burst }, Gcra::default(), Vec::new());
            let mut now = Time::from_micros(1_000_000);
            for step in steps {
                let free = gcra.free(rate, now);
                prop_assert_eq!(free > 0, gcra.next(rate, now) == now);
                gcra.take(rate, now, free);
                taken.extend(std::iter::repeat_n(now, free));
                now = now + Duration::from_micros(step);
            }
            for (i, from) in taken.iter().enumerate() {
                for (n, to) in taken[i..].iter().enumerate() {
                    let most = to.since(*from).as_secs_f64() * f64::from(per_second) + f64::from(burst);
                    prop_assert!((n + 1) as f64 <= most + 1e-6, "{} calls in {:?}", n + 1, to.since(*from));
                }
            }
        }

        /// The moment that is named is the first one with a free place.
        #[test]
        fn the_next_place_is_free_when_it_is_said(per_second in 1u32..5_000, burst in 1u32..50) {
            let (rate, mut gcra) = (Rate { per_second, burst }, Gcra::default());
            let now = Time::from_micros(1_000_000);
            gcra.take(rate, now, gcra.free(rate, now));
            prop_assert_eq!(gcra.free(rate, now), 0);
            let next = gcra.next(rate, now);
            prop_assert_eq!(gcra.free(rate, next), 1);
            prop_assert_eq!(gcra.free(rate, next - Duration::from_micros(1)), 0);
        }
    }

    #[test]
    fn a_clock_that_was_set_back_delays_by_a_burst_at_most() {
        let (rate, mut gcra) = (Rate { per_second: 10, burst: 5 }, Gcra::default());
        gcra.take(rate, Time::from_micros(9_000_000_000), 5);
        let now = Time::from_micros(1_000_000);
        assert_eq!(gcra.next(rate, now), now + Duration::from_millis(100));
    }

    #[test]
    fn a_fault_says_when_to_come_again() {
        let of = |detail| retry_after(&artel_message::Fault::unavailable("busy").with(detail));
        assert_eq!(of(serde_json::json!({ "retry_after": 3 })), Some(Duration::from_secs(3)));
        assert_eq!(of(serde_json::json!({ "retry_after_ms": 1500 })), Some(Duration::from_millis(1500)));
        assert_eq!(of(serde_json::json!({ "field": "x" })), None);
    }
}
