//! Time in UTC at microseconds, the resolution that both database engines keep.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

/// A moment: microseconds since 1970-01-01T00:00:00Z. As text it is RFC 3339 in UTC with six digits. RFC 3339 knows
/// the years 0000 to 9999; what lies outside becomes the nearest moment inside, so that every `Time` has a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(i64);

/// A text that is no RFC 3339 moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a time; write it as 2026-01-31T09:30:00Z")]
pub struct InvalidTime(String);

impl Time {
    /// 0000-01-01T00:00:00Z
    pub const MIN: Time = Time(-62_167_219_200_000_000);
    /// 9999-12-31T23:59:59.999999Z
    pub const MAX: Time = Time(253_402_300_799_999_999);

    pub const fn from_micros(micros: i64) -> Time {
        if micros < Time::MIN.0 {
            Time::MIN
        } else if micros > Time::MAX.0 {
            Time::MAX
        } else {
            Time(micros)
        }
    }
    pub const fn from_millis(millis: i64) -> Time {
        Time::from_micros(millis.saturating_mul(1000))
    }
    pub const fn micros(self) -> i64 {
        self.0
    }
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }
    /// The wall clock. Only the process's clock adapter calls this; everything else is given its time.
    pub fn from_system(now: std::time::SystemTime) -> Time {
        match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(d) => Time::from_micros(i64::try_from(d.as_micros()).unwrap_or(i64::MAX)),
            Err(e) => Time::from_micros(i64::try_from(e.duration().as_micros()).map_or(i64::MIN, |m| -m)),
        }
    }
    /// Time passed since `earlier`; zero when it lies ahead.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, d: Duration) -> Time {
        Time::from_micros(self.0.saturating_add(i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, d: Duration) -> Time {
        Time::from_micros(self.0.saturating_sub(i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
    }
}

/// Days since the epoch to (year, month, day), proleptic Gregorian (Hinnant, "chrono-compatible date algorithms").
fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = u32::try_from(doy - (153 * mp + 2) / 5 + 1).unwrap_or(1);
    let month = u32::try_from(if mp < 10 { mp + 3 } else { mp - 9 }).unwrap_or(1);
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

fn days(year: i64, month: u32, day: u32) -> i64 {
    let y = year - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let mp = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let doy = (153 * mp + 2) / 5 + i64::from(day) - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

/// Digits in the place of these bytes.
fn digits(to: &mut [u8], mut number: i64) {
    for place in to.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

impl Time {
    /// Its text, without the detour over `write!`: every event holds several.
    fn text(self) -> [u8; 27] {
        let (secs, micros) = (self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000));
        let (day, sec) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
        let (y, m, d) = civil(day);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        digits(&mut text[0..4], y);
        digits(&mut text[5..7], m.into());
        digits(&mut text[8..10], d.into());
        digits(&mut text[11..13], sec / 3600);
        digits(&mut text[14..16], sec / 60 % 60);
        digits(&mut text[17..19], sec % 60);
        digits(&mut text[20..26], micros);
        text
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Time {
    type Err = InvalidTime;
    /// RFC 3339 with any offset; digits past the sixth of a second are cut. A leap second (`:60`) is the second after
    /// it, as POSIX time has none.
    fn from_str(text: &str) -> Result<Time, InvalidTime> {
        parse(text).ok_or_else(|| InvalidTime(text.chars().take(40).collect()))
    }
}

fn parse(text: &str) -> Option<Time> {
    let b = text.as_bytes();
    if !text.is_ascii() || b.len() < 20 || b[4] != b'-' || b[7] != b'-' || b[13] != b':' || b[16] != b':' {
        return None;
    }
    if !matches!(b[10], b'T' | b't' | b' ') {
        return None;
    }
    let num = |r: std::ops::Range<usize>| -> Option<u32> {
        let part = &text[r];
        if part.bytes().all(|c| c.is_ascii_digit()) { part.parse().ok() } else { None }
    };
    let (year, month, day) = (i64::from(num(0..4)?), num(5..7)?, num(8..10)?);
    let (hour, minute, second) = (num(11..13)?, num(14..16)?, num(17..19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => 31,
    };
    if !(1..=12).contains(&month) || day < 1 || day > length || hour > 23 || minute > 59 {
        return None;
    }
    if second > 60 || second == 60 && minute != 59 {
        return None;
    }
    let mut rest = &text[19..];
    let mut micros = 0i64;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return None;
        }
        for i in 0..6 {
            let digit = if i < digits { i64::from(fraction.as_bytes()[i] - b'0') } else { 0 };
            micros = micros * 10 + digit;
        }
        rest = &fraction[digits..];
    }
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let o = rest.as_bytes();
            if o.len() != 6 || !matches!(o[0], b'+' | b'-') || o[3] != b':' {
                return None;
            }
            let start = text.len() - 6;
            let (h, m) = (i64::from(num(start + 1..start + 3)?), i64::from(num(start + 4..start + 6)?));
            if h > 23 || m > 59 {
                return None;
            }
            (h * 3600 + m * 60) * if o[0] == b'-' { -1 } else { 1 }
        }
    };
    let seconds =
        days(year, month, day) * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)
            - offset;
    let time = Time(seconds * 1_000_000 + micros);
    (Time::MIN..=Time::MAX).contains(&time).then_some(time)
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(std::str::from_utf8(&self.text()).map_err(serde::ser::Error::custom)?)
    }
}
impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("Time")
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests;
