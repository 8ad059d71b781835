//! Money: integer minor units and a currency, never a float.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A currency or asset code: three to eight capital letters or digits (`RUB`, `USD`, `USDT`; ISO 4217 where it has one).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 8]);

impl Currency {
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        std::str::from_utf8(&self.0[..len]).unwrap_or("")
    }
}

impl FromStr for Currency {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        if !(3..=8).contains(&s.len()) || !s.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
            return Err(format!(
                "'{}' is not a currency; use 3 to 8 capital letters or digits such as RUB or USDT",
                s.chars().take(16).collect::<String>()
            ));
        }
        let mut code = [0u8; 8];
        code[..s.len()].copy_from_slice(s.as_bytes());
        Ok(Currency(code))
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}
impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}
impl JsonSchema for Currency {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("Currency")
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[A-Z0-9]{3,8}$" })
    }
}

/// An amount in minor units (kopecks, cents) of one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Money {
    pub minor: i64,
    pub currency: Currency,
}

impl Money {
    pub fn new(minor: i64, currency: Currency) -> Money {
        Money { minor, currency }
    }

    /// The sum, or `None` on overflow or where the currencies differ.
    pub fn checked_add(self, other: Money) -> Option<Money> {
        (self.currency == other.currency)
            .then(|| self.minor.checked_add(other.minor))
            .flatten()
            .map(|minor| Money { minor, ..self })
    }

    /// The difference, or `None` on overflow or where the currencies differ.
    pub fn checked_sub(self, other: Money) -> Option<Money> {
        (self.currency == other.currency)
            .then(|| self.minor.checked_sub(other.minor))
            .flatten()
            .map(|minor| Money { minor, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rub() -> Currency {
        "RUB".parse().unwrap()
    }

    #[test]
    fn a_currency_is_three_to_eight_capitals_or_digits() {
        for code in ["RUB", "USDT", "1INCH", "ABCDEFGH"] {
            let currency: Currency = code.parse().unwrap();
            assert_eq!(currency.as_str(), code);
            assert_eq!(serde_json::to_string(&currency).unwrap(), format!("{code:?}"));
        }
        for wrong in ["", "RU", "rub", "ABCDEFGHI", "RU B", "РУБ", "RUB\0"] {
            assert!(wrong.parse::<Currency>().is_err(), "{wrong:?}");
            assert!(serde_json::from_value::<Currency>(wrong.into()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn money_is_two_fields_in_json() {
        let money = Money::new(-1050, rub());
        let json = serde_json::json!({ "minor": -1050, "currency": "RUB" });
        assert_eq!(serde_json::to_value(money).unwrap(), json);
        assert_eq!(serde_json::from_value::<Money>(json).unwrap(), money);
        let fraction = serde_json::json!({ "minor": 10.5, "currency": "RUB" });
        assert!(serde_json::from_value::<Money>(fraction).is_err());
    }

    #[test]
    fn currencies_do_not_mix_and_sums_do_not_wrap() {
        let (a, b) = (Money::new(1, rub()), Money::new(1, "USD".parse().unwrap()));
        assert_eq!((a.checked_add(b), a.checked_sub(b)), (None, None));
        assert_eq!(Money::new(i64::MAX, rub()).checked_add(a), None);
        assert_eq!(Money::new(i64::MIN, rub()).checked_sub(a), None);
    }

    proptest! {
        #[test]
        fn a_difference_undoes_a_sum(a: i64, b: i64) {
            let (x, y) = (Money::new(a, rub()), Money::new(b, rub()));
            match x.checked_add(y) {
                Some(sum) => prop_assert_eq!(sum.checked_sub(y), Some(x)),
                None => prop_assert!(a.checked_add(b).is_none()),
            }
        }
    }
}
