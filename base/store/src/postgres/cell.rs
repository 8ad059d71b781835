//! sqlx's values to cells, by the column's type and never by a conversion.

use crate::row::{Cell, CellKind};
use sqlx::postgres::{PgRow, PgValueFormat, PgValueRef};
use sqlx::{Decode, Postgres, Row, TypeInfo, ValueRef};
use std::borrow::Cow;

pub(crate) fn cell<'r>(row: &'r PgRow, index: impl sqlx::ColumnIndex<PgRow>) -> Result<Cell<'r>, String> {
    let value = row.try_get_raw(index).map_err(|_| "is not in the result of the statement".to_owned())?;
    kind(value).map(Cell).map_err(|error| format!("can't be read: {error}"))
}

/// The types that [`kind`] reads.
pub(super) fn is_read(type_name: &str) -> bool {
    matches!(
        type_name,
        "INT8"
            | "INT4"
            | "INT2"
            | "TEXT"
            | "VARCHAR"
            | "NAME"
            | "BYTEA"
            | "UUID"
            | "BOOL"
            | "FLOAT8"
            | "JSONB"
    )
}

fn kind(value: PgValueRef<'_>) -> Result<CellKind<'_>, sqlx::error::BoxDynError> {
    if value.is_null() {
        return Ok(CellKind::Null);
    }
    let class = value.type_info();
    Ok(match class.name() {
        "INT8" => CellKind::I64(Decode::<Postgres>::decode(value)?),
        "INT4" => CellKind::I64(i64::from(<i32 as Decode<Postgres>>::decode(value)?)),
        "INT2" => CellKind::I64(i64::from(<i16 as Decode<Postgres>>::decode(value)?)),
        "TEXT" | "VARCHAR" | "NAME" => CellKind::Text(Cow::Borrowed(Decode::<Postgres>::decode(value)?)),
        "BYTEA" => CellKind::Bytes(Cow::Borrowed(Decode::<Postgres>::decode(value)?)),
        "UUID" => CellKind::Uuid(Decode::<Postgres>::decode(value)?),
        "BOOL" => CellKind::Bool(Decode::<Postgres>::decode(value)?),
        "FLOAT8" => CellKind::F64(Decode::<Postgres>::decode(value)?),
        "JSONB" => CellKind::Json(document(&value)?),
        other => return Err(unread(other).into()),
    })
}

/// The text of a document; its binary form has a version before it.
fn document<'r>(value: &PgValueRef<'r>) -> Result<&'r str, sqlx::error::BoxDynError> {
    let bytes = value.as_bytes()?;
    let text = match value.format() {
        PgValueFormat::Text => bytes,
        PgValueFormat::Binary => bytes.strip_prefix(&[1]).ok_or("the form of this JSONB is not known")?,
    };
    Ok(std::str::from_utf8(text)?)
}

/// What to do about a column whose type the other engine doesn't have.
pub(super) fn unread(type_name: &str) -> String {
    let instead = match type_name {
        "NUMERIC" => "sum and avg of a BIGINT give it: write CAST(sum(x) AS BIGINT)",
        "FLOAT4" => "declare it DOUBLE PRECISION",
        "JSON" => "declare it JSONB",
        "TIMESTAMP" | "TIMESTAMPTZ" | "DATE" | "TIME" => "times are BIGINT, microseconds since 1970",
        _ => "use BIGINT, DOUBLE PRECISION, BOOLEAN, TEXT, BYTEA, UUID or JSONB, or cast it to one of them",
    };
    format!("its type {type_name} is not read on both engines; {instead}")
}
