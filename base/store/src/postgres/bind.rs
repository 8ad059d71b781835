//! Values to sqlx's arguments. Each parameter, nulls too, is sent with its type: PostgreSQL would otherwise take those of
//! `IN (VALUES {rows})` for text.

use crate::{StoreError, Value};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo};
use sqlx::{Arguments, Encode, Postgres, Type};
use std::hash::{DefaultHasher, Hash, Hasher};

/// PostgreSQL's bound on parameters of one statement; the protocol counts them in 16 bits.
const PARAMETERS: usize = 65_535;

/// The arguments, and a number that stands for their types.
pub(super) fn arguments(
    values: impl ExactSizeIterator<Item = Value>,
) -> Result<(PgArguments, u64), StoreError> {
    if values.len() > PARAMETERS {
        return Err(StoreError::Statement {
            code: "parameters".to_owned(),
            message: format!("{} are given, and a statement takes {PARAMETERS} at most", values.len()),
        });
    }
    let mut arguments = PgArguments::default();
    arguments.reserve(values.len(), 0);
    let mut types = DefaultHasher::new();
    for (index, value) in values.enumerate() {
        let position = index + 1;
        value.fit().map_err(|reason| StoreError::Value { position, reason })?;
        std::mem::discriminant(&value).hash(&mut types);
        add(&mut arguments, value)
            .map_err(|error| StoreError::Value { position, reason: error.to_string() })?;
    }
    Ok((arguments, types.finish()))
}

fn add(arguments: &mut PgArguments, value: Value) -> Result<(), BoxDynError> {
    match value {
        Value::Bool(v) => arguments.add(v),
        Value::I64(v) => arguments.add(v),
        Value::F64(v) => arguments.add(v),
        Value::Text(v) => arguments.add(v),
        Value::Bytes(v) => arguments.add(v),
        Value::Uuid(v) => arguments.add(v),
        Value::Json(v) => arguments.add(v.map(Document)),
        Value::Unfit(reason) => Err(reason.into()),
    }
}

/// The text of a JSON document, sent as JSONB without being parsed once more here.
struct Document(String);

impl Type<Postgres> for Document {
    fn type_info() -> PgTypeInfo {
        <sqlx::types::JsonValue as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Document {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.push(1); // the version of the binary form
        buffer.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

/// The types that a [`Value`] can have, by the names that PostgreSQL gives them.
pub(super) fn types() -> [PgTypeInfo; 7] {
    [
        <i64 as Type<Postgres>>::type_info(),
        <String as Type<Postgres>>::type_info(),
        <uuid::Uuid as Type<Postgres>>::type_info(),
        <bool as Type<Postgres>>::type_info(),
        <Vec<u8> as Type<Postgres>>::type_info(),
        <f64 as Type<Postgres>>::type_info(),
        Document::type_info(),
    ]
}
