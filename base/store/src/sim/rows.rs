//! Values in, rows out, errors in our classes.

use crate::row::{Cell, CellKind, Place};
use crate::{StoreError, Value, sqlite};
use rusqlite::Connection;
use rusqlite::types::Value as Stored;
use std::borrow::Cow;
use std::sync::Arc;

/// A row, with the names of its columns.
pub(crate) struct SimRow {
    columns: Arc<[String]>,
    values: Vec<Stored>,
}

pub(crate) fn cell<'r>(row: &'r SimRow, place: Place<'_>) -> Result<Cell<'r>, String> {
    let index = match place {
        Place::At(index) => Some(index),
        Place::Named(name) => row.columns.iter().position(|column| column == name),
    };
    let value = index.and_then(|index| row.values.get(index));
    Ok(Cell(match value.ok_or("is not in the result of the statement")? {
        Stored::Null => CellKind::Null,
        Stored::Integer(n) => CellKind::I64(*n),
        Stored::Real(x) => CellKind::F64(*x),
        Stored::Text(text) => CellKind::Text(Cow::Borrowed(text)),
        Stored::Blob(bytes) => CellKind::Bytes(Cow::Borrowed(bytes)),
    }))
}

/// As the other engine does it: by their numbers, those without one in order.
fn bind(
    statement: &mut rusqlite::CachedStatement<'_>,
    name: &str,
    values: Vec<Value>,
) -> Result<(), StoreError> {
    let mut stored = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        let unfit = |reason| StoreError::Value { position: index + 1, reason };
        value.fit().map_err(unfit)?;
        stored.push(to_stored(value).map_err(unfit)?);
    }
    let mut unnamed = 0;
    for index in 1..=statement.parameter_count() {
        let number = statement.parameter_name(index).and_then(|name| name.get(1..)?.parse::<usize>().ok());
        let number = number.unwrap_or_else(|| {
            unnamed += 1;
            unnamed
        });
        if let Some(value) = stored.get(number - 1) {
            statement.raw_bind_parameter(index, value).map_err(|error| failure(name, &error))?;
        }
    }
    Ok(())
}

fn to_stored(value: Value) -> Result<Stored, String> {
    let stored = match value {
        Value::Bool(v) => v.map(|v| Stored::Integer(i64::from(v))),
        Value::I64(v) => v.map(Stored::Integer),
        Value::F64(v) => v.map(Stored::Real),
        Value::Text(v) | Value::Json(v) => v.map(Stored::Text),
        Value::Bytes(v) => v.map(Stored::Blob),
        Value::Uuid(v) => v.map(|v| Stored::Blob(v.as_bytes().to_vec())),
        Value::Unfit(reason) => return Err(reason),
    };
    Ok(stored.unwrap_or(Stored::Null))
}

/// All rows of a statement.
pub(super) fn query(
    connection: &Connection,
    name: &str,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<SimRow>, StoreError> {
    let failed = |error: rusqlite::Error| failure(name, &error);
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    bind(&mut statement, name, values)?;
    let columns: Arc<[String]> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut rows = statement.raw_query();
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let values = (0..columns.len()).map(|index| row.get(index)).collect::<Result<_, _>>();
        all.push(SimRow { columns: columns.clone(), values: values.map_err(failed)? });
    }
    Ok(all)
}

/// Runs it; the number of rows inserted, changed or deleted. What it returns is passed over.
pub(super) fn run(
    connection: &Connection,
    name: &str,
    sql: &str,
    values: Vec<Value>,
) -> Result<u64, StoreError> {
    let before = connection.total_changes();
    query(connection, name, sql, values)?;
    // What triggers change is not counted, as on the other engines.
    let direct = if connection.total_changes() == before { 0 } else { connection.changes() };
    Ok(direct)
}

pub(super) fn failure(name: &str, error: &rusqlite::Error) -> StoreError {
    match error {
        rusqlite::Error::SqliteFailure(failure, message) => {
            let text = message.as_deref().unwrap_or("no message");
            match failure.extended_code & 0xff {
                19 => sqlite::constraint(failure.extended_code, text),
                13 => StoreError::Full { path: name.into() },
                _ => sqlite::statement(failure.extended_code, text),
            }
        }
        other => StoreError::Statement { code: "sim".to_owned(), message: other.to_string() },
    }
}
