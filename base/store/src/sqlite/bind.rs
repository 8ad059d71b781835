//! Values to sqlx's arguments. What PostgreSQL would refuse is refused here too.

use crate::{StoreError, Value};
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, error::BoxDynError};

pub(super) fn arguments(values: impl ExactSizeIterator<Item = Value>) -> Result<SqliteArguments, StoreError> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(values.len(), 0);
    for (index, value) in values.enumerate() {
        let position = index + 1;
        fit(&value).map_err(|reason| StoreError::Value { position, reason })?;
        add(&mut arguments, value)
            .map_err(|error| StoreError::Value { position, reason: error.to_string() })?;
    }
    Ok(arguments)
}

fn add(arguments: &mut SqliteArguments, value: Value) -> Result<(), BoxDynError> {
    match value {
        Value::Bool(v) => arguments.add(v),
        Value::I64(v) => arguments.add(v),
        Value::F64(v) => arguments.add(v),
        Value::Text(v) | Value::Json(v) => arguments.add(v),
        Value::Bytes(v) => arguments.add(v),
        Value::Uuid(v) => arguments.add(v),
        Value::Unfit(reason) => Err(reason.into()),
    }
}

fn fit(value: &Value) -> Result<(), String> {
    match value {
        Value::F64(Some(x)) if x.is_nan() => {
            Err("is not a number, which SQLite would store as null".to_owned())
        }
        Value::Text(Some(text)) if text.as_bytes().contains(&0) => {
            Err("holds the character U+0000, which PostgreSQL does not store".to_owned())
        }
        Value::Json(Some(text)) if has_escaped_nul(text) => {
            Err("holds the character U+0000 (\\u0000), which PostgreSQL does not store".to_owned())
        }
        _ => Ok(()),
    }
}

/// Whether a JSON text holds `\u0000` as an escape (and not as the text after an escaped backslash).
fn has_escaped_nul(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        if rest[at..].starts_with("\\u0000") {
            return true;
        }
        // Past the escape's second character, which is one byte: JSON escapes are ASCII.
        rest = rest.get(at + 2..).unwrap_or("");
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_one_engine_stores_is_refused() {
        for unfit in [
            Value::F64(Some(f64::NAN)),
            Value::Text(Some("a\0b".into())),
            Value::Json(Some(r#""a\u0000""#.into())),
            Value::Unfit("no".into()),
        ] {
            assert!(matches!(arguments(vec![unfit].into_iter()), Err(StoreError::Value { position: 1, .. })));
        }
        assert!(arguments(vec![Value::Json(Some(r#""a\\u0000é""#.into()))].into_iter()).is_ok());
    }
}
