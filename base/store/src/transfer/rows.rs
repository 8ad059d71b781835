//! The rows of a table, as values of the kinds that its columns have.

use super::{Kind, Table};
use crate::row::{Cell, CellKind, Row};
use crate::{Read, StoreError, Value, Values};
use futures::stream::{BoxStream, StreamExt};
use sqlx::{AssertSqlSafe, SqlSafeStr};

/// The rows of a table one by one, in no order.
pub struct TableRows<'t> {
    rows: BoxStream<'t, Result<Row, StoreError>>,
    table: Table,
}

impl Read {
    /// Every row of a table as it was at the first statement of this transaction. `table` names the columns and their kinds.
    pub fn rows_of(&mut self, table: &Table) -> Result<TableRows<'_>, StoreError> {
        // Names of the database's own catalogue, quoted.
        let text = AssertSqlSafe(format!("SELECT {} FROM {}", table.names(), table.quoted()));
        let rows = self.begun().stream(text.into_sql_str(), Values::default())?;
        Ok(TableRows { rows: rows.boxed(), table: table.clone() })
    }

    /// How many rows a table has.
    pub async fn count_of(&mut self, table: &Table) -> Result<u64, StoreError> {
        let text = AssertSqlSafe(format!("SELECT count(*) FROM {}", table.quoted()));
        let session = self.begun().session().await?;
        let row = session.first(text.into_sql_str(), Vec::new().into_iter()).await?;
        let count: i64 = row.ok_or(StoreError::NoRow)?.get(0)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

impl TableRows<'_> {
    /// The next row, its values in the order of the table's columns.
    pub async fn next(&mut self) -> Result<Option<Vec<Value>>, StoreError> {
        let Some(row) = self.rows.next().await.transpose()? else { return Ok(None) };
        let table = &self.table;
        let values = table.columns.iter().enumerate().map(|(at, (name, kind))| {
            let column = || format!("{}.{name}", table.name);
            let cell = row.cell(at).map_err(|reason| StoreError::Decode { column: column(), reason })?;
            value(&cell, *kind).map_err(|reason| StoreError::Decode { column: column(), reason })
        });
        values.collect::<Result<Vec<_>, _>>().map(Some)
    }
}

/// The largest whole number up to which each one is a float of its own.
const EXACT: i64 = 1 << 53;

/// A cell as a value of its column's kind. SQLite keeps a boolean as a number, a UUID as bytes, a document as text or as the number
/// that it is.
fn value(cell: &Cell<'_>, kind: Kind) -> Result<Value, String> {
    Ok(match (kind, &cell.0) {
        (Kind::Bool, CellKind::Null) => Value::Bool(None),
        (Kind::Bool, CellKind::I64(n @ (0 | 1))) => Value::Bool(Some(*n == 1)),
        (Kind::I64, CellKind::Null) => Value::I64(None),
        (Kind::I64, CellKind::I64(n)) => Value::I64(Some(*n)),
        (Kind::F64, CellKind::Null) => Value::F64(None),
        (Kind::F64, CellKind::F64(x)) => Value::F64(Some(*x)),
        #[allow(clippy::cast_precision_loss, reason = "looked at")]
        (Kind::F64, CellKind::I64(n)) if n.abs() <= EXACT => Value::F64(Some(*n as f64)),
        (Kind::Text, CellKind::Null) => Value::Text(None),
        (Kind::Text, CellKind::Text(text)) => Value::Text(Some(text.clone().into_owned())),
        (Kind::Bytes, CellKind::Null) => Value::Bytes(None),
        (Kind::Bytes, CellKind::Bytes(bytes)) => Value::Bytes(Some(bytes.clone().into_owned())),
        (Kind::Uuid, CellKind::Null) => Value::Uuid(None),
        (Kind::Uuid, CellKind::Bytes(bytes)) => {
            Value::Uuid(Some(uuid::Uuid::from_slice(bytes).map_err(|_| "is not the 16 bytes of a uuid")?))
        }
        (Kind::Json, CellKind::Null) => Value::Json(None),
        (Kind::Json, CellKind::Text(text)) => Value::Json(Some(text.clone().into_owned())),
        (Kind::Json, CellKind::I64(n)) => Value::Json(Some(n.to_string())),
        (Kind::Json, CellKind::F64(x)) => Value::Json(Some(serde_json::Value::from(*x).to_string())),
        #[cfg(feature = "postgres")]
        (Kind::Bool, CellKind::Bool(b)) => Value::Bool(Some(*b)),
        #[cfg(feature = "postgres")]
        (Kind::Uuid, CellKind::Uuid(uuid)) => Value::Uuid(Some(*uuid)),
        #[cfg(feature = "postgres")]
        (Kind::Json, CellKind::Json(text)) => Value::Json(Some((*text).to_owned())),
        _ => return Err(format!("holds what is no {kind:?}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    #[test]
    fn what_a_column_holds_has_to_be_of_its_kind() {
        let of = |kind, cell| value(&Cell(cell), kind);
        assert_eq!(of(Kind::Bool, CellKind::I64(1)), Ok(Value::Bool(Some(true))));
        assert_eq!(of(Kind::F64, CellKind::I64(-3)), Ok(Value::F64(Some(-3.0))));
        assert_eq!(of(Kind::Json, CellKind::F64(1.5)), Ok(Value::Json(Some("1.5".into()))));
        for (kind, cell) in [
            (Kind::Bool, CellKind::I64(2)),
            (Kind::I64, CellKind::Text(Cow::Borrowed("7"))),
            (Kind::F64, CellKind::I64(EXACT + 1)),
            (Kind::Text, CellKind::Bytes(Cow::Borrowed(b"a"))),
            (Kind::Uuid, CellKind::Bytes(Cow::Borrowed(b"short"))),
            (Kind::Bytes, CellKind::I64(1)),
        ] {
            assert!(of(kind, cell).is_err(), "{kind:?}");
        }
    }
}
