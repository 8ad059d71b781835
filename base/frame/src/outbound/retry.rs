//! Whether and when a call is sent again: its budget, its pauses, and what the other side asks for.

use artel_message::Time;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, Method};
use std::time::{Duration, SystemTime};

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetrySettings {
    /// How often a call is sent at most, the first time included.
    pub attempts: u32,
    /// The longest pause after the first attempt; twice as long after each further one. The pause is drawn from 0 on.
    pub first_pause: Duration,
    pub longest_pause: Duration,
    /// Repeats per call of a host, over many calls: 0.2 is a fifth more load when everything fails.
    pub ratio: f64,
    /// So many repeats may come before there were any calls, and be saved up.
    pub reserve: u32,
}

impl Default for RetrySettings {
    fn default() -> RetrySettings {
        RetrySettings {
            attempts: 3,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
            ratio: 0.2,
            reserve: 3,
        }
    }
}

/// How many repeats a host may still get.
#[derive(Debug)]
pub(super) struct Budget {
    saved: f64,
}

impl Budget {
    pub(super) fn new(settings: &RetrySettings) -> Budget {
        Budget { saved: f64::from(settings.reserve) }
    }

    pub(super) fn called(&mut self, settings: &RetrySettings) {
        self.saved = (self.saved + settings.ratio).min(f64::from(settings.reserve.max(1)));
    }

    pub(super) fn take(&mut self) -> bool {
        // Fifths don't add up to one exactly.
        let there = self.saved > 1.0 - 1e-9;
        if there {
            self.saved = (self.saved - 1.0).max(0.0);
        }
        there
    }
}

/// Where sending again can't do the thing twice (RFC 9110, section 9.2.2).
pub(super) fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE].contains(method)
}

/// Statuses that say "later".
pub(super) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// The pause after attempt `attempt` (from 1), with `random` from 0 to 1.
pub(super) fn pause(settings: &RetrySettings, attempt: u32, random: f64) -> Duration {
    let longest =
        settings.first_pause.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1).min(30)));
    longest.min(settings.longest_pause).mul_f64(random.clamp(0.0, 1.0))
}

/// What `Retry-After` asks for: seconds, or a date (RFC 9110, section 10.2.3). A date that has passed is zero.
pub(super) fn retry_after(headers: &HeaderMap, now: Time) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date: SystemTime = httpdate::parse_http_date(text).ok()?;
    Some(Time::from_system(date).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())])
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = Time::from_micros(784_111_777_000_000);
        let after = |value: &str| retry_after(&headers(value), now);
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after(" 0 "), Some(Duration::ZERO));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(after("Sunday, 06-Nov-94 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        for none in ["", "-1", "1.5", "soon"] {
            assert_eq!(after(none), None, "{none:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    proptest! {
        #[test]
        fn repeats_stay_within_the_budget(asks in prop::collection::vec(0..4_u32, 1..500)) {
            let settings = RetrySettings::default();
            let mut budget = Budget::new(&settings);
            let (mut calls, mut repeats) = (0_u32, 0_u32);
            for wanted in asks {
                budget.called(&settings);
                calls += 1;
                repeats += (0..wanted).filter(|_| budget.take()).count() as u32;
                prop_assert!(f64::from(repeats) <= f64::from(calls) * settings.ratio + f64::from(settings.reserve) + 1e-6);
            }
        }

        #[test]
        fn pauses_grow_to_a_bound(attempt in 1..100_u32, random in 0.0..1.0_f64) {
            let settings = RetrySettings::default();
            prop_assert!(pause(&settings, attempt, random) <= settings.longest_pause);
            prop_assert!(pause(&settings, attempt, 1.0) <= pause(&settings, attempt + 1, 1.0));
            prop_assert!(pause(&settings, attempt, random) <= pause(&settings, attempt, 1.0));
        }
    }
}
