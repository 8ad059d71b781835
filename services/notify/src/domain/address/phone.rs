//! Phone numbers in E.164: a plus and up to fifteen digits.

use super::BadAddress;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A number as `+79161234567`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Phone(String);

/// ITU-T E.164: at most fifteen digits; no country has numbers of fewer than seven with its code.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

impl FromStr for Phone {
    type Err = BadAddress;

    /// Spaces, hyphens, points and brackets between the digits are let through. The plus is not guessed: `8 916 …` and
    /// `916 …` are different numbers in different countries.
    fn from_str(text: &str) -> Result<Phone, BadAddress> {
        let wrong = |reason: String| Err(BadAddress::new("phone", reason));
        let Some(rest) = text.trim().strip_prefix('+') else {
            return wrong("does not begin with '+' and the country's code, such as +79161234567".to_owned());
        };
        if let Some(bad) = rest.chars().find(|c| !c.is_ascii_digit() && !" -.()\u{a0}".contains(*c)) {
            let shown =
                if bad.is_control() { format!("U+{:04X}", u32::from(bad)) } else { format!("'{bad}'") };
            return wrong(format!("holds {shown}; use digits only"));
        }
        let digits: String = rest.chars().filter(char::is_ascii_digit).collect();
        if digits.starts_with('0') {
            return wrong("has a country's code that begins with 0".to_owned());
        }
        if !DIGITS.contains(&digits.len()) {
            return wrong(format!("has {} digits; a number has 7 to 15", digits.len()));
        }
        Ok(Phone(format!("+{digits}")))
    }
}

impl Phone {
    /// With the plus.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the plus, as SMPP and Russian providers want it.
    pub fn digits(&self) -> &str {
        &self.0[1..]
    }

    /// The country's code and the last two digits.
    pub fn masked(&self) -> String {
        let digits = self.digits();
        let shown = if digits.starts_with(['1', '7']) { 1 } else { 2 };
        format!("+{}***{}", &digits[..shown], &digits[digits.len() - 2..])
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
/// Masked: debugging texts get into logs.
impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}
string_form!(Phone, BadAddress);
