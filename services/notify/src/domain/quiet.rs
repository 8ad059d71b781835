//! Quiet hours in the recipient's own time zone.
//!
//! A window is a part of the wall clock's day. What is quiet is decided by what the clock on the recipient's wall shows: an hour that
//! is shown twice in autumn is quiet both times, and one that is left out in spring is never quiet.

use artel_contract::notify::Channel;
use artel_message::Time;
use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeZone, Timelike, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

const DAY: u16 = 24 * 60;
const WEEK: usize = 7 * 24 * 60;

/// From one minute of the day up to, and without, another one. Where `to` is not after `from` it goes on into the next
/// day; it belongs to the day on which it begins. `00:00` to `00:00` is the whole day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// `HH:MM`
    #[serde(with = "clock")]
    pub from: u16,
    #[serde(with = "clock")]
    pub to: u16,
    /// On which it begins; every day when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// Why windows can't be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadWindows {
    #[error("windows: leave less than an hour of the week; nothing could ever be sent")]
    NoTimeLeft,
    #[error("windows: there are {0}; 50 are the most")]
    TooMany(usize),
    #[error("zone: '{0}' is no time zone; use a name such as Europe/Moscow")]
    NoZone(String),
}

/// Windows that were checked: some of each week is left.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Window>", into = "Vec<Window>")]
pub struct QuietHours(Vec<Window>);

impl QuietHours {
    pub fn new(windows: Vec<Window>) -> Result<QuietHours, BadWindows> {
        if windows.len() > 50 {
            return Err(BadWindows::TooMany(windows.len()));
        }
        let hours = QuietHours(windows);
        // An hour in one piece, so that no change of the clocks can take all of it for long.
        let mut run = 0;
        let free = (0..2 * WEEK).any(|minute| {
            let (day, minute) = ((minute / usize::from(DAY)) % 7, minute % usize::from(DAY));
            let quiet = hours.covers(day, u16::try_from(minute).unwrap_or_default());
            run = if quiet { 0 } else { run + 1 };
            run >= 60
        });
        if free { Ok(hours) } else { Err(BadWindows::NoTimeLeft) }
    }

    pub fn windows(&self) -> &[Window] {
        &self.0
    }

    /// Whether a minute of a weekday (0 = Monday) is quiet.
    fn covers(&self, day: usize, minute: u16) -> bool {
        self.left(day, minute) > 0
    }

    /// Minutes until the last of the windows that cover this minute ends, by the wall clock; 0 where none does.
    fn left(&self, day: usize, minute: u16) -> u16 {
        let before = (day + 6) % 7;
        let of = |window: &Window| {
            let wraps = window.to <= window.from;
            let today = window.begins_on(day) && minute >= window.from && (wraps || minute < window.to);
            let since_yesterday = window.begins_on(before) && wraps && minute < window.to;
            match (today, since_yesterday) {
                (true, _) => window.to + if wraps { DAY } else { 0 } - minute,
                (false, true) => window.to - minute,
                (false, false) => 0,
            }
        };
        self.0.iter().map(of).max().unwrap_or(0)
    }
}

impl Window {
    fn begins_on(&self, day: usize) -> bool {
        const DAYS: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
        self.days.is_empty() || self.days.contains(&DAYS[day % 7])
    }
}

impl TryFrom<Vec<Window>> for QuietHours {
    type Error = BadWindows;
    fn try_from(windows: Vec<Window>) -> Result<QuietHours, BadWindows> {
        QuietHours::new(windows)
    }
}
impl From<QuietHours> for Vec<Window> {
    fn from(hours: QuietHours) -> Vec<Window> {
        hours.0
    }
}

/// What a delivery keeps of its recipient's quiet hours, so that whatever begins later respects them too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiet {
    pub hours: QuietHours,
    /// That keep them.
    pub channels: Vec<Channel>,
}

impl Quiet {
    /// The first moment from `now` on at which a channel may be used.
    pub fn not_before(&self, channel: Channel, now: Time, zone: Tz) -> Time {
        let keeps = self.channels.contains(&channel);
        if keeps { not_before(now, zone, &self.hours, false) } else { now }
    }
}

/// A zone by its name in the time zone database.
pub fn zone(name: &str) -> Result<Tz, BadWindows> {
    name.parse().map_err(|_| BadWindows::NoZone(name.chars().take(60).collect()))
}

/// The first moment from `now` on at which it is not quiet in `zone`; `now` itself where it is not, or what is sent is critical.
pub fn not_before(now: Time, zone: Tz, hours: &QuietHours, critical: bool) -> Time {
    if critical || hours.0.is_empty() {
        return now;
    }
    // Each round ends a window or passes a change of the clock; three weeks have fewer than this of both, and within them there is
    // a free minute.
    let mut at = now;
    for _ in 0..2_000 {
        let Some(local) = local(at, zone) else { return now };
        let day = local.weekday().num_days_from_monday() as usize;
        let minute = u16::try_from(local.hour() * 60 + local.minute()).unwrap_or_default();
        let left = hours.left(day, minute);
        if left == 0 {
            return at;
        }
        // Up to the end by the wall clock, in steps of at most half an hour, so that no change of the clock is stepped over:
        // where one lies within the step, it ends there.
        let seconds = i64::from(left) * 60 - i64::from(local.second());
        let part = i64::from(local.nanosecond() / 1000);
        let step = (seconds * 1_000_000 - part).min(30 * 60 * 1_000_000);
        let next = Time::from_micros(at.micros() + step);
        at = change(at, next, zone).unwrap_or(next);
    }
    at
}

fn local(at: Time, zone: Tz) -> Option<NaiveDateTime> {
    let utc = DateTime::from_timestamp_micros(at.micros())?.naive_utc();
    Some(zone.from_utc_datetime(&utc).naive_local())
}

fn offset(at: Time, zone: Tz) -> i32 {
    let utc = DateTime::from_timestamp_micros(at.micros()).unwrap_or_default().naive_utc();
    zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()
}

/// The second at which the clock is changed between two moments that lie close to each other.
fn change(from: Time, to: Time, zone: Tz) -> Option<Time> {
    let before = offset(from, zone);
    if before == offset(to, zone) {
        return None;
    }
    let (mut low, mut high) = (from.micros(), to.micros());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match offset(Time::from_micros(middle), zone) == before {
            true => low = middle,
            false => high = middle,
        }
    }
    Some(Time::from_micros(high))
}

impl From<Weekday> for Day {
    fn from(day: Weekday) -> Day {
        match day {
            Weekday::Mon => Day::Mon,
            Weekday::Tue => Day::Tue,
            Weekday::Wed => Day::Wed,
            Weekday::Thu => Day::Thu,
            Weekday::Fri => Day::Fri,
            Weekday::Sat => Day::Sat,
            Weekday::Sun => Day::Sun,
        }
    }
}

/// Minutes of the day as `HH:MM`.
mod clock {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(minute: &u16, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:02}:{:02}", minute / 60, minute % 60))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || {
            D::Error::custom(format!(
                "'{}' is no time of day; write it as 22:30",
                text.chars().take(20).collect::<String>()
            ))
        };
        let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
        let number = |text: &str, below: u16| {
            let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|n: &u16| digits && *n < below)
        };
        match (number(hour, 24), number(minute, 60)) {
            (Some(hour), Some(minute)) => Ok(hour * 60 + minute),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(from: &str, to: &str, days: &[&str]) -> Window {
        serde_json::from_value(serde_json::json!({ "from": from, "to": to, "days": days })).unwrap()
    }

    fn hours(windows: &[Window]) -> QuietHours {
        QuietHours::new(windows.to_vec()).unwrap()
    }

    fn next(now: &str, zone_name: &str, windows: &[Window]) -> String {
        let at = not_before(now.parse().unwrap(), zone(zone_name).unwrap(), &hours(windows), false);
        at.to_string().replace(".000000", "")
    }

    #[test]
    fn the_night_ends_in_the_morning_of_the_recipient() {
        let night = [window("22:00", "08:00", &[])];
        // Moscow is three hours ahead.
        assert_eq!(next("2026-01-10T20:30:00Z", "Europe/Moscow", &night), "2026-01-11T05:00:00Z");
        assert_eq!(next("2026-01-10T18:59:59Z", "Europe/Moscow", &night), "2026-01-10T18:59:59Z");
        assert_eq!(next("2026-01-10T19:00:00Z", "Europe/Moscow", &night), "2026-01-11T05:00:00Z");
        let now: Time = "2026-01-10T20:30:00.5Z".parse().unwrap();
        let moscow = zone("Europe/Moscow").unwrap();
        assert_eq!(not_before(now, moscow, &hours(&night), true), now, "what is critical goes at once");
        assert_eq!(not_before(now, moscow, &hours(&night), false).to_string(), "2026-01-11T05:00:00.000000Z");
    }

    #[test]
    fn windows_that_meet_are_one() {
        let both = [
            window("22:00", "00:00", &[]),
            window("00:00", "07:00", &[]),
            window("06:30", "09:00", &["sun"]),
        ];
        // The 10th of January 2026 is a Saturday.
        assert_eq!(next("2026-01-10T22:10:00Z", "Etc/UTC", &both), "2026-01-11T09:00:00Z");
        assert_eq!(next("2026-01-09T22:10:00Z", "Etc/UTC", &both), "2026-01-10T07:00:00Z");
        let weekend = [window("00:00", "00:00", &["sat", "sun"])];
        assert_eq!(next("2026-01-10T00:00:00Z", "Etc/UTC", &weekend), "2026-01-12T00:00:00Z");
    }

    #[test]
    fn an_hour_that_comes_twice_is_quiet_twice_and_one_that_is_left_out_never() {
        // Berlin, the 25th of October 2026: 03:00 becomes 02:00 at 01:00Z.
        let short = [window("02:00", "02:30", &[])];
        assert_eq!(next("2026-10-25T00:10:00Z", "Europe/Berlin", &short), "2026-10-25T00:30:00Z");
        assert_eq!(next("2026-10-25T01:10:00Z", "Europe/Berlin", &short), "2026-10-25T01:30:00Z");
        let over = [window("02:50", "03:10", &[])];
        // 02:50 summer time; at 03:00 the clock goes back to 02:00, which is free.
        assert_eq!(next("2026-10-25T00:55:00Z", "Europe/Berlin", &over), "2026-10-25T01:00:00Z");
        // The 29th of March 2026: 02:00 becomes 03:00 at 01:00Z.
        let gap = [window("01:30", "02:30", &[])];
        assert_eq!(next("2026-03-29T00:40:00Z", "Europe/Berlin", &gap), "2026-03-29T01:00:00Z");
        let night = [window("22:00", "08:00", &[])];
        assert_eq!(next("2026-03-28T23:00:00Z", "Europe/Berlin", &night), "2026-03-29T06:00:00Z");
    }

    #[test]
    fn windows_that_leave_nothing_are_refused() {
        let week = vec![window("00:00", "00:00", &[])];
        assert_eq!(QuietHours::new(week), Err(BadWindows::NoTimeLeft));
        let nearly = vec![window("00:30", "00:00", &[])];
        assert_eq!(QuietHours::new(nearly), Err(BadWindows::NoTimeLeft));
        assert!(QuietHours::new(vec![window("01:00", "00:00", &[])]).is_ok());
        assert_eq!(
            zone("Mars/Base").unwrap_err().to_string(),
            "zone: 'Mars/Base' is no time zone; use a name such as Europe/Moscow"
        );
        for wrong in ["24:00", "7:00", "07:60", "0700", "+7:00", "late"] {
            let window = serde_json::json!({ "from": wrong, "to": "08:00" });
            let error = serde_json::from_value::<Window>(window).unwrap_err().to_string();
            assert!(error.contains("is no time of day"), "{error}");
        }
    }

    #[test]
    fn they_are_stored_as_people_write_them() {
        let json = serde_json::json!([{ "from": "22:00", "to": "08:05", "days": ["mon"] }]);
        let hours: QuietHours = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&hours).unwrap(), json);
    }

    /// What is quiet, said once more and in another way: by what the wall clock shows and the windows' own words.
    fn is_quiet(at: Time, zone: Tz, windows: &[Window]) -> bool {
        let local = local(at, zone).unwrap();
        let minute = u16::try_from(local.hour() * 60 + local.minute()).unwrap();
        let on = |window: &Window, day: Weekday| window.days.is_empty() || window.days.contains(&day.into());
        let (today, yesterday) = (local.weekday(), local.weekday().pred());
        windows.iter().any(|w| {
            if w.from < w.to {
                on(w, today) && (w.from..w.to).contains(&minute)
            } else {
                (on(w, today) && minute >= w.from) || (on(w, yesterday) && minute < w.to)
            }
        })
    }

    fn windows() -> impl Strategy<Value = Vec<Window>> {
        let days = prop::collection::vec(
            prop::sample::select(vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun]),
            0..4,
        );
        let minute = prop_oneof![0..DAY, (0..96u16).prop_map(|q| q * 15)];
        let one = (minute.clone(), minute, days).prop_map(|(from, to, days)| Window { from, to, days });
        prop::collection::vec(one, 0..4)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn it_is_the_first_minute_that_is_not_quiet(
            windows in windows(),
            name in prop::sample::select(vec![
                "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca",
                "Europe/Moscow", "America/St_Johns", "Pacific/Apia", "Asia/Tehran",
            ]),
            // Around changes of the clock of 2026, and anywhere.
            start in prop_oneof![
                1_774_656_000i64..1_774_915_200, 1_792_800_000i64..1_793_059_200, 1_775_250_000i64..1_775_300_000,
                1_741_400_000i64..1_741_600_000, 1_325_200_000i64..1_325_300_000, 1_262_304_000i64..1_900_000_000,
            ],
        ) {
            let Ok(hours) = QuietHours::new(windows.clone()) else { return Ok(()) };
            let tz = zone(name).unwrap();
            // Offsets of 2010 to 2030 are whole minutes, so quiet begins and ends with one.
            let now = Time::from_millis(start * 1000);
            let mut at = now;
            while is_quiet(at, tz, &windows) {
                at = Time::from_micros((at.micros().div_euclid(60_000_000) + 1) * 60_000_000);
            }
            prop_assert_eq!(not_before(now, tz, &hours, false), at);
        }
    }
}
