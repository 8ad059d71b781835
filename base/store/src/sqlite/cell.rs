//! sqlx's values to cells, by the storage class that SQLite gives and never by a conversion.

use crate::row::{Cell, CellKind};
use sqlx::sqlite::{SqliteRow, SqliteValueRef};
use sqlx::{Decode, Row, TypeInfo, ValueRef};
use std::borrow::Cow;

pub(crate) fn cell<'r>(
    row: &'r SqliteRow,
    index: impl sqlx::ColumnIndex<SqliteRow>,
) -> Result<Cell<'r>, String> {
    let value = row.try_get_raw(index).map_err(|_| "is not in the result of the statement".to_owned())?;
    kind(value).map(Cell).map_err(|error| format!("can't be read: {error}"))
}

fn kind(value: SqliteValueRef<'_>) -> Result<CellKind<'_>, sqlx::error::BoxDynError> {
    if value.is_null() {
        return Ok(CellKind::Null);
    }
    let class = value.type_info();
    Ok(match class.name() {
        "INTEGER" => CellKind::I64(Decode::<sqlx::Sqlite>::decode(value)?),
        "REAL" => CellKind::F64(Decode::<sqlx::Sqlite>::decode(value)?),
        "TEXT" => CellKind::Text(Cow::Borrowed(Decode::<sqlx::Sqlite>::decode(value)?)),
        "BLOB" => CellKind::Bytes(Cow::Borrowed(Decode::<sqlx::Sqlite>::decode(value)?)),
        other => return Err(format!("storage class {other}").into()),
    })
}
