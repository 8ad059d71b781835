//! When a schedule runs: a pattern in a time zone, or a fixed distance.

use artel_message::Time;
use chrono::{DateTime, LocalResult, TimeZone};
use chrono_tz::{GapInfo, Tz};
use croner::Cron;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::time::Duration;

/// When a schedule runs, and what becomes of runs that were missed. A `&str` is [`Schedule::cron`], a `Duration` is
/// [`Schedule::every`].
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    spec: Spec,
    zone: Option<&'static str>,
    pub(crate) missed: Missed,
}

#[derive(Debug, Clone, Copy)]
enum Spec {
    Cron(&'static str),
    Every(Duration),
}

/// What becomes of runs that came due while nobody could run them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// However many there are, it runs once.
    #[default]
    Once,
    /// It does not run, and goes on with the next one that is due. A run is missed when it could not begin within a minute,
    /// or before the next one was due.
    Skip,
    /// Each runs, one after another, the oldest first; of more than this the oldest are left out.
    All(u32),
}

/// The zone of patterns that name none.
const UTC: &str = "UTC";

impl Display for Missed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Missed::Once => f.write_str("once"),
            Missed::Skip => f.write_str("skip"),
            Missed::All(most) => write!(f, "all, up to {most}"),
        }
    }
}

impl Schedule {
    /// Five fields (minute, hour, day of the month, month, day of the week), or six with seconds first; UTC, unless
    /// [`Schedule::zone`] says otherwise.
    pub const fn cron(pattern: &'static str) -> Schedule {
        Schedule { spec: Spec::Cron(pattern), zone: None, missed: Missed::Once }
    }

    /// At every multiple of `distance` since 1970 in UTC, so that all nodes mean the same moments.
    pub const fn every(distance: Duration) -> Schedule {
        Schedule { spec: Spec::Every(distance), zone: None, missed: Missed::Once }
    }

    /// Reads the pattern in the clock of this zone, by its IANA name (`Europe/Berlin`). Where the clock is set forward, a time
    /// that does not exist is the first one that does. Where it is set back, a time that exists twice is the first of the
    /// two; a pattern that means every hour follows the time that passes instead.
    pub const fn zone(mut self, name: &'static str) -> Schedule {
        self.zone = Some(name);
        self
    }

    /// What becomes of missed runs.
    pub const fn missed(mut self, missed: Missed) -> Schedule {
        self.missed = missed;
        self
    }

    /// Fails with a sentence.
    pub(crate) fn parse(&self) -> Result<Recurrence, String> {
        match (self.spec, self.zone) {
            (Spec::Cron(pattern), zone) => {
                let cron = Cron::from_str(pattern).map_err(|e| format!("'{pattern}': {e}"))?;
                let zone = Tz::from_str(zone.unwrap_or(UTC)).map_err(|_| {
                    format!(
                        "'{}' is no time zone; take an IANA name, such as Europe/Berlin",
                        zone.unwrap_or("")
                    )
                })?;
                Ok(Recurrence::Cron { cron: Box::new(cron), zone })
            }
            (Spec::Every(_), Some(zone)) => Err(format!(
                "a fixed distance has no time zone, and '{zone}' is given; take one of both away"
            )),
            (Spec::Every(distance), None) => match i64::try_from(distance.as_micros()) {
                Ok(micros) if micros >= 1_000 => Ok(Recurrence::Every { micros }),
                _ => Err(format!("a distance of {distance:?} is none; take at least a millisecond")),
            },
        }
    }

    /// How it is stored: what is stored in another way starts anew.
    pub(crate) fn text(&self) -> String {
        match self.zone {
            None => self.pattern(),
            Some(zone) => format!("{} {zone}", self.pattern()),
        }
    }

    /// Its pattern, or its distance.
    pub(crate) fn pattern(&self) -> String {
        match self.spec {
            Spec::Cron(pattern) => pattern.to_owned(),
            Spec::Every(distance) => format!("every {distance:?}"),
        }
    }

    pub(crate) fn zone_name(&self) -> &'static str {
        self.zone.unwrap_or(UTC)
    }
}

impl From<&'static str> for Schedule {
    fn from(pattern: &'static str) -> Schedule {
        Schedule::cron(pattern)
    }
}

impl From<Duration> for Schedule {
    fn from(distance: Duration) -> Schedule {
        Schedule::every(distance)
    }
}

/// A schedule that was read.
#[derive(Debug, Clone)]
pub(crate) enum Recurrence {
    Cron { cron: Box<Cron>, zone: Tz },
    Every { micros: i64 },
}

impl Recurrence {
    /// The first run after `now`; `None` where there is none.
    pub fn after(&self, now: Time) -> Option<Time> {
        match self {
            Recurrence::Cron { cron, zone } => {
                let now = DateTime::from_timestamp_micros(now.micros())?.with_timezone(zone);
                let next = if is_hourly(cron) {
                    cron.find_next_occurrence(&now, false).ok()?
                } else {
                    after_local(cron, &now)?
                };
                Some(Time::from_micros(next.timestamp_micros()))
            }
            Recurrence::Every { micros } => Some(Time::from_micros(
                now.micros().div_euclid(*micros).saturating_add(1).saturating_mul(*micros),
            )),
        }
    }
}

/// Where croner keeps that a value fits; it does not give the name away.
const FITS: u8 = 1;

/// Whether a pattern means every hour.
fn is_hourly(cron: &Cron) -> bool {
    cron.pattern.hours.count_set_values(FITS) == 24
}

/// The first run after `now` of a pattern that means times of a day. The pattern is read on the clock on the wall, as if that
/// never changed; what it gives is then looked up in the zone.
fn after_local(cron: &Cron, now: &DateTime<Tz>) -> Option<DateTime<Tz>> {
    let mut local = now.naive_local().and_utc();
    // Within an hour that is repeated, those that have run already are passed over.
    loop {
        local = cron.find_next_occurrence(&local, false).ok()?;
        let at = match now.timezone().from_local_datetime(&local.naive_utc()) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at,
            LocalResult::None => GapInfo::new(&local.naive_utc(), &now.timezone())?.end?,
        };
        if at > *now {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests;
