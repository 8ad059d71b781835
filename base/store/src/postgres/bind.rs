//! Values to sqlx's arguments. Each parameter, nulls too, is sent with its type: PostgreSQL would otherwise take those of
//! `IN (VALUES {rows})` for text.

use crate::{StoreError, Value};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgHasArrayType, PgTypeInfo};
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

/// An array for each column of the rows, then the other values.
pub(super) fn listed(lists: Vec<Vec<Value>>, values: Vec<Value>) -> Result<(PgArguments, u64), StoreError> {
    let mut arguments = PgArguments::default();
    arguments.reserve(lists.len() + values.len(), 0);
    let mut types = DefaultHasher::new();
    let mut position = 0;
    for list in lists {
        position += 1;
        list.first().map(std::mem::discriminant).hash(&mut types);
        add_list(&mut arguments, list)
            .map_err(|error| StoreError::Value { position, reason: error.to_string() })?;
    }
    for value in values {
        position += 1;
        value.fit().map_err(|reason| StoreError::Value { position, reason })?;
        std::mem::discriminant(&value).hash(&mut types);
        add(&mut arguments, value)
            .map_err(|error| StoreError::Value { position, reason: error.to_string() })?;
    }
    Ok((arguments, types.finish()))
}

/// Values of one type, which has been checked, as one array.
fn add_list(arguments: &mut PgArguments, list: Vec<Value>) -> Result<(), BoxDynError> {
    macro_rules! all {
        ($kind:ident) => {
            arguments.add(
                list.into_iter()
                    .map(|value| if let Value::$kind(v) = value { v } else { None })
                    .collect::<Vec<_>>(),
            )
        };
    }
    match list.first() {
        Some(Value::Bool(_)) => all!(Bool),
        Some(Value::F64(_)) => all!(F64),
        Some(Value::Text(_)) => all!(Text),
        Some(Value::Bytes(_)) => all!(Bytes),
        Some(Value::Uuid(_)) => all!(Uuid),
        Some(Value::Json(_)) => arguments.add(
            list.into_iter()
                .map(|value| if let Value::Json(v) = value { v.map(Document) } else { None })
                .collect::<Vec<_>>(),
        ),
        Some(Value::I64(_)) | None => all!(I64),
        Some(Value::Unfit(reason)) => Err(reason.clone().into()),
    }
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

impl PgHasArrayType for Document {
    fn array_type_info() -> PgTypeInfo {
        <sqlx::types::JsonValue as PgHasArrayType>::array_type_info()
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
