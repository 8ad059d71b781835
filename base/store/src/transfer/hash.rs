//! What a table holds as one number, whatever order its rows come in and whichever engine keeps them.

use crate::{StoreError, Value};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The rows of a table and a checksum of them: two tables with the same rows have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableHash {
    pub rows: u64,
    /// The sum of a part of each row's SHA-256.
    sum: u128,
}

impl TableHash {
    pub fn add(&mut self, row: &[Value]) -> Result<(), StoreError> {
        let mut hash = Sha256::new();
        for value in row {
            put(&mut hash, value)?;
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        self.sum = self.sum.wrapping_add(u128::from_be_bytes(bytes));
        self.rows += 1;
        Ok(())
    }

    /// For people.
    pub fn hex(&self) -> String {
        format!("{:032x}", self.sum)
    }
}

/// Each value with its kind and length before it.
fn put(hash: &mut Sha256, value: &Value) -> Result<(), StoreError> {
    match value {
        Value::Bool(v) => bytes(hash, b'b', v.map(|v| [u8::from(v)])),
        Value::I64(v) => bytes(hash, b'i', v.map(i64::to_be_bytes)),
        // Zero has two signs, and SQLite keeps one.
        Value::F64(v) => bytes(hash, b'f', v.map(|v| (v + 0.0).to_bits().to_be_bytes())),
        Value::Text(v) => bytes(hash, b't', v.as_ref()),
        Value::Bytes(v) => bytes(hash, b'y', v.as_ref()),
        Value::Uuid(v) => bytes(hash, b'u', v.map(uuid::Uuid::into_bytes)),
        Value::Json(None) => bytes(hash, b'j', None::<[u8; 0]>),
        Value::Json(Some(text)) => {
            // As a whole before its parts, which are read without their surroundings.
            let document: &RawValue = parsed(text)?;
            document_put(hash, document.get())?;
        }
        Value::Unfit(reason) => return Err(StoreError::decode("a value", reason.clone())),
    }
    Ok(())
}

fn bytes(hash: &mut Sha256, kind: u8, value: Option<impl AsRef<[u8]>>) {
    hash.update([kind, u8::from(value.is_some())]);
    if let Some(value) = value {
        hash.update((value.as_ref().len() as u64).to_be_bytes());
        hash.update(value.as_ref());
    }
}

/// A document as what it means: engines write numbers, spaces and the order of keys in their own way.
fn document_put(hash: &mut Sha256, text: &str) -> Result<(), StoreError> {
    match text.as_bytes().first() {
        Some(b'{') => {
            let object: BTreeMap<String, &RawValue> = parsed(text)?;
            hash.update(b"{");
            for (key, item) in object {
                bytes(hash, b'k', Some(key));
                document_put(hash, item.get())?;
            }
            hash.update(b"}");
        }
        Some(b'[') => {
            let list: Vec<&RawValue> = parsed(text)?;
            hash.update(b"[");
            list.iter().try_for_each(|item| document_put(hash, item.get()))?;
            hash.update(b"]");
        }
        Some(b'"') => bytes(hash, b't', Some(parsed::<String>(text)?)),
        Some(b't') => hash.update([b'b', 1]),
        Some(b'f') => hash.update([b'b', 0]),
        Some(b'n') => hash.update(b"n"),
        _ => {
            bytes(hash, b'd', Some(decimal(text).ok_or_else(|| no_json("a number's exponent is too long"))?))
        }
    }
    Ok(())
}

fn parsed<'t, T: serde::Deserialize<'t>>(text: &'t str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(no_json)
}

fn no_json(error: impl std::fmt::Display) -> StoreError {
    StoreError::decode("a document", format!("is no JSON: {error}"))
}

/// A number's digits and exponent, the same however it is written: `1.50`, `15e-1` and `0.15E+1` are all `15e-1`. Never a float, which
/// one engine would round and the other not.
fn decimal(text: &str) -> Option<String> {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{part}");
    let digits = all.trim_start_matches('0').trim_end_matches('0');
    if digits.is_empty() {
        return Some("0".to_owned());
    }
    let zeros = all.len() - all.trim_end_matches('0').len();
    let exponent: i64 = exponent.parse().ok()?;
    let moved = i64::try_from(zeros).ok()?.checked_sub(i64::try_from(part.len()).ok()?)?;
    Some(format!("{sign}{digits}e{}", exponent.checked_add(moved)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(rows: &[Vec<Value>]) -> TableHash {
        let mut hash = TableHash::default();
        rows.iter().for_each(|row| hash.add(row).expect("hashed"));
        hash
    }

    fn json(text: &str) -> TableHash {
        of(&[vec![Value::Json(Some(text.to_owned()))]])
    }

    #[test]
    fn documents_count_by_what_they_mean() {
        assert_eq!(json(r#"{"a": 1.0, "b": [1e3, "x"]}"#), json(r#"{"b":[1000,"x"],"a":1}"#));
        assert_ne!(json(r#"{"a":1}"#), json(r#"{"a":"1"}"#));
        assert_ne!(json("[[1],[2]]"), json("[[1,2]]"));
        assert_ne!(json("0.5"), json("0.25"));
        assert_eq!(json(r#"{"a":1,"a":2}"#), json(r#"{"a":2}"#));
        assert_eq!(json("\"\\u00e9\""), json("\"é\""));
    }

    /// What SQLite keeps as it was written, PostgreSQL gives back as a decimal without an exponent.
    #[test]
    fn numbers_are_the_same_however_they_are_written() {
        for (here, there) in [
            ("1e18", "1000000000000000000"),
            ("-9.2e18", "-9200000000000000000"),
            ("1.234567890123456789e18", "1234567890123456789"),
            ("1.8446744073709552e19", "18446744073709552000"),
            ("1.50", "15E-1"),
            ("1e-7", "0.0000001"),
            ("-0.0", "0"),
            ("0e5", "0.000"),
        ] {
            assert_eq!(json(here), json(there), "{here} and {there}");
        }
        for (here, there) in
            [("1e18", "1000000000000000001"), ("1", "-1"), ("10", "1"), ("0.1", "0.10000000000000001")]
        {
            assert_ne!(json(here), json(there), "{here} and {there}");
        }
    }

    #[test]
    fn values_of_other_columns_and_nulls_are_told_apart() {
        let text = |text: &str| Value::Text(Some(text.to_owned()));
        assert_ne!(of(&[vec![text("ab"), text("c")]]), of(&[vec![text("a"), text("bc")]]));
        assert_ne!(of(&[vec![Value::Text(None)]]), of(&[vec![text("")]]));
        assert_ne!(of(&[vec![Value::Bytes(Some(b"a".to_vec()))]]), of(&[vec![text("a")]]));
        assert_eq!(of(&[vec![Value::F64(Some(-0.0))]]), of(&[vec![Value::F64(Some(0.0))]]));
    }

    proptest! {
        #[test]
        fn the_order_of_rows_does_not_count_and_each_of_them_does(
            mut numbers in proptest::collection::vec(any::<i64>(), 1..30), seed: u64,
        ) {
            let row = |n: &i64| vec![Value::I64(Some(*n)), Value::Bool(Some(*n > 0))];
            let whole = of(&numbers.iter().map(row).collect::<Vec<_>>());
            let middle = usize::try_from(seed % numbers.len() as u64).expect("small");
            numbers.rotate_left(middle);
            prop_assert_eq!(whole, of(&numbers.iter().map(row).collect::<Vec<_>>()));
            numbers.pop();
            prop_assert_ne!(whole, of(&numbers.iter().map(row).collect::<Vec<_>>()));
        }
    }
}
