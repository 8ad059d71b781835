//! Values to sqlx's arguments.

use crate::{StoreError, Value};
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, error::BoxDynError};

pub(super) fn arguments(values: impl ExactSizeIterator<Item = Value>) -> Result<SqliteArguments, StoreError> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(values.len(), 0);
    for (index, value) in values.enumerate() {
        let position = index + 1;
        value.fit().map_err(|reason| StoreError::Value { position, reason })?;
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
