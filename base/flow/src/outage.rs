//! What fails until something outside works again. A line at each try would bury the first one, so there is one at the first
//! failure, at the second, the fourth and so on, and one when it works again.

use crate::Limits;
use std::fmt::Display;
use std::time::Duration;
use tokio::time::Instant;

/// What works again for less than that before it fails once more has the same trouble still: its lines stay rare.
const CALM: Duration = Duration::from_secs(60);

/// Whose work it is; a field of each line.
#[derive(Debug, Clone)]
pub(crate) enum Whose {
    Service(String),
    Group(String),
    Effect(String),
    Node,
}

/// One work of a loop, as far as it has been failing.
#[derive(Debug)]
pub(crate) struct Outage {
    whose: Whose,
    waits: &'static str,
    goes_on: &'static str,
    /// Failures since it worked, and since when.
    tries: u32,
    since: Option<Instant>,
    /// Failures since it was calm.
    times: u32,
    /// When it last worked again.
    worked: Option<Instant>,
    /// Whether a line was written since it worked.
    told: bool,
}

impl Outage {
    /// Of work that has not failed yet, with the words for that it waits, and that it goes on.
    pub fn new(whose: Whose, waits: &'static str, goes_on: &'static str) -> Outage {
        Outage { whose, waits, goes_on, tries: 0, since: None, times: 0, worked: None, told: false }
    }

    /// Notes a try that failed.
    pub fn failed(&mut self, error: impl Display) {
        if self.worked.take().is_some_and(|worked| worked.elapsed() >= CALM) {
            self.times = 0;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        self.tries = self.tries.saturating_add(1);
        self.times = self.times.saturating_add(1);
        if self.times.is_power_of_two() {
            self.told = true;
            let (service, group, effect) = self.whose.fields();
            tracing::warn!(
                service, group, effect, %error, tries = self.tries, lasted_ms = millis(since.elapsed()),
                "{}", self.waits
            );
        }
    }

    /// How long to wait for the next try: twice as long each time, up to ten times the first pause.
    pub fn pause(&self, limits: &Limits) -> Duration {
        pause(limits, self.tries)
    }

    /// Notes that it works.
    pub fn over(&mut self) {
        let Some(since) = self.since.take() else { return };
        let tries = std::mem::take(&mut self.tries);
        self.worked = Some(Instant::now());
        if std::mem::take(&mut self.told) {
            let (service, group, effect) = self.whose.fields();
            tracing::info!(
                service,
                group,
                effect,
                tries,
                lasted_ms = millis(since.elapsed()),
                "{}",
                self.goes_on
            );
        }
    }
}

impl Whose {
    fn fields(&self) -> (Option<&str>, Option<&str>, Option<&str>) {
        match self {
            Whose::Service(name) => (Some(name), None, None),
            Whose::Group(name) => (None, Some(name), None),
            Whose::Effect(name) => (None, None, Some(name)),
            Whose::Node => (None, None, None),
        }
    }
}

/// The pause behind so many failures in a row.
pub(crate) fn pause(limits: &Limits, failures: u32) -> Duration {
    limits.outage_pause * 10.min(1 << failures.saturating_sub(1).min(4))
}

/// A length of time as lines of the log have it.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_ten_times_the_first() {
        let limits = Limits { outage_pause: Duration::from_millis(3), ..Limits::default() };
        let pauses: Vec<u128> = (0..8).map(|failures| pause(&limits, failures).as_millis()).collect();
        assert_eq!(pauses, [3, 3, 6, 12, 24, 30, 30, 30]);
    }
}
