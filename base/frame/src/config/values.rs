//! Typed values of settings: sizes in bytes and lengths of time, each with its text form.

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes: `512KB` counts in thousands, `64KiB` in 1024s, a bare number is bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

/// A length of time at milliseconds: `250ms`, `30s`, `5m`, `12h`, `30d`, or several: `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

/// A text that is no size, or no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {what}")]
pub struct InvalidValue {
    text: String,
    what: &'static str,
}

const A_SIZE: &str = "a size; write it as \"512KB\", \"64MiB\" or a number of bytes";
const A_PERIOD: &str = "a length of time; write it as \"250ms\", \"30s\", \"5m\", \"12h\" or \"30d\"";

/// Largest unit first, so that a value is shown in the largest one that divides it.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1000),
    ("B", 1),
];
const PERIODS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl Size {
    pub const fn bytes(bytes: u64) -> Size {
        Size(bytes)
    }
    pub const fn get(self) -> u64 {
        self.0
    }
    /// As a length in memory; the largest one where this machine cannot address that much.
    pub fn len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Period {
    pub const fn millis(millis: u64) -> Period {
        Period(Duration::from_millis(millis))
    }
    pub const fn get(self) -> Duration {
        self.0
    }
    fn whole_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Digits at the start, then letters: `("64", "MiB", rest)`.
fn number_and_unit(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse().ok()?;
    let rest = text[digits..].trim_start();
    let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
    Some((number, &rest[..letters], rest[letters..].trim_start()))
}

impl FromStr for Size {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Size, InvalidValue> {
        let parse = || {
            let (number, unit, rest) = number_and_unit(text.trim())?;
            let unit = if unit.is_empty() { "B" } else { unit };
            let (_, bytes) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
            if rest.is_empty() { number.checked_mul(*bytes) } else { None }
        };
        parse().map(Size).ok_or_else(|| InvalidValue { text: shortened(text), what: A_SIZE })
    }
}

impl FromStr for Period {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Period, InvalidValue> {
        let parse = || {
            let (mut rest, mut total) = (text.trim(), 0u64);
            while !rest.is_empty() || total == 0 {
                let (number, unit, next) = number_and_unit(rest)?;
                let (_, millis) = PERIODS.iter().find(|(name, _)| *name == unit)?;
                total = total.checked_add(number.checked_mul(*millis)?)?;
                if next.is_empty() {
                    break;
                }
                rest = next;
            }
            Some(Duration::from_millis(total))
        };
        parse().map(Period).ok_or_else(|| InvalidValue { text: shortened(text), what: A_PERIOD })
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// In the largest unit that divides the value.
fn display(value: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match units.iter().find(|(_, unit)| value > 0 && value.is_multiple_of(*unit)) {
        Some((name, unit)) => write!(f, "{}{name}", value / unit),
        None => write!(f, "0{}", units.last().map_or("", |(name, _)| name)),
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(self.0, &SIZES, f)
    }
}
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(self.whole_millis(), &PERIODS, f)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl Serialize for Period {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Size, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(A_SIZE)
            }
            fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }
            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes).map(Size).map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &self))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }
        }
        d.deserialize_any(Text)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Period, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Period;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(A_PERIOD)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Period, E> {
                text.parse().map_err(E::custom)
            }
        }
        d.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_count_in_thousands_or_1024s() {
        for (text, bytes) in [("64MB", 64_000_000), ("1MiB", 1 << 20), ("7", 7), ("2 kib", 2048), ("0", 0)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "MB", "-1MB", "1.5MB", "1MB2", "1 XB", "99999999999TB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn periods_have_units() {
        for (text, millis) in [("30s", 30_000), ("30d", 2_592_000_000), ("1h30m", 5_400_000), ("20ms", 20)] {
            assert_eq!(text.parse(), Ok(Period::millis(millis)), "{text}");
        }
        for text in ["", "30", "s", "1h30", "-5s", "1w", "5 m x"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(value in any::<u64>()) {
            prop_assert_eq!(Size(value).to_string().parse(), Ok(Size(value)));
            let period = Period::millis(value / 100_000_000);
            prop_assert_eq!(period.to_string().parse(), Ok(period));
        }
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (text.parse::<Size>(), text.parse::<Period>());
        }
    }
}
