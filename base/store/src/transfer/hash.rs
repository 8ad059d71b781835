//! What a table holds as one number, whatever order its rows come in and whichever engine keeps them.

use crate::{StoreError, Value};
use serde_json::Value as Document;
use sha2::{Digest, Sha256};

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
            let document: Document = serde_json::from_str(text)
                .map_err(|error| StoreError::decode("a document", format!("is no JSON: {error}")))?;
            document_put(hash, &document);
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
fn document_put(hash: &mut Sha256, document: &Document) {
    match document {
        Document::Null => hash.update(b"n"),
        Document::Bool(b) => hash.update([b'b', u8::from(*b)]),
        Document::Number(n) => match whole(n) {
            Some(n) => bytes(hash, b'i', Some(n.to_be_bytes())),
            None => bytes(hash, b'f', Some(n.as_f64().unwrap_or(0.0).to_bits().to_be_bytes())),
        },
        Document::String(text) => bytes(hash, b't', Some(text)),
        Document::Array(list) => {
            hash.update(b"[");
            list.iter().for_each(|item| document_put(hash, item));
            hash.update(b"]");
        }
        Document::Object(object) => {
            let mut keys: Vec<&String> = object.keys().collect();
            keys.sort_unstable();
            hash.update(b"{");
            for key in keys {
                bytes(hash, b'k', Some(key));
                document_put(hash, &object[key]);
            }
            hash.update(b"}");
        }
    }
}

/// The whole number that it is, also where it was written as `1.0` or `1e3`.
fn whole(number: &serde_json::Number) -> Option<i128> {
    if let Some(n) = number.as_i64() {
        return Some(i128::from(n));
    }
    if let Some(n) = number.as_u64() {
        return Some(i128::from(n));
    }
    let x = number.as_f64().filter(|x| x.fract() == 0.0 && x.abs() < 1e18)?;
    #[allow(clippy::cast_possible_truncation, reason = "a whole number that fits")]
    Some(x as i128)
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
