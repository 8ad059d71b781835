//! The statements that a call over many rows becomes: on SQLite of few sizes with a parameter for each value, on PostgreSQL with an
//! array for each column.

use crate::sql::{self, Template};
use crate::value::{Value, Values};
use crate::{Engine, StoreError};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};
use std::sync::Arc;

/// The most rows of one statement on PostgreSQL: what it does can be cancelled, and is bounded in time, by the statement.
const LISTED: usize = 4_096;

/// One of the statements.
pub(crate) struct Part {
    pub sql: SqlStr,
    /// The values of each column, on PostgreSQL.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "SQLite takes values one by one"))]
    pub lists: Vec<Vec<Value>>,
    pub values: Vec<Value>,
}

/// The statements of one `exec_rows` with their values.
pub(crate) fn split(
    engine: Engine,
    sql: &str,
    fixed: Values,
    rows: Vec<Values>,
) -> Result<Vec<Part>, StoreError> {
    let template = Template::parse(sql)?;
    if template.fixed != fixed.len() {
        return Err(wrong_rows(format!(
            "the text takes {} values beside its rows, not {}",
            template.fixed,
            fixed.len()
        )));
    }
    let columns = rows.first().map_or(0, Values::len);
    if !rows.is_empty() && (columns == 0 || rows.iter().any(|row| row.len() != columns)) {
        return Err(wrong_rows("all rows need the same number of values, at least one".to_owned()));
    }
    match engine {
        Engine::Sqlite => Ok(spelled(&template, &fixed, rows, columns)),
        Engine::Postgres => listed(&template, &fixed, rows, columns),
    }
}

/// A parameter for each value.
fn spelled(template: &Template<'_>, fixed: &Values, rows: Vec<Values>, columns: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text: Option<(usize, Arc<str>)> = None;
    let sizes = sql::chunks(rows.len(), columns, fixed.len());
    let mut rows = rows.into_iter();
    for size in sizes {
        let same = match &text {
            Some((last, same)) if *last == size => Arc::clone(same),
            _ => Arc::from(template.expand(Engine::Sqlite, size, columns)),
        };
        text = Some((size, Arc::clone(&same)));
        let mut values = Vec::with_capacity(size * columns + fixed.len());
        values.extend(rows.by_ref().take(size).flat_map(|row| row.0));
        values.extend(fixed.0.iter().cloned());
        parts.push(Part { sql: constant(same), lists: Vec::new(), values });
    }
    parts
}

/// An array for each column.
fn listed(
    template: &Template<'_>,
    fixed: &Values,
    rows: Vec<Values>,
    columns: usize,
) -> Result<Vec<Part>, StoreError> {
    let types: Vec<&str> = match rows.first() {
        Some(first) => first.0.iter().map(Value::postgres).collect(),
        None => return Ok(Vec::new()),
    };
    let text: Arc<str> = Arc::from(template.listed(&types));
    let mut left = rows.len();
    let mut rows = rows.into_iter();
    let mut parts = Vec::new();
    while left > 0 {
        let size = left.min(LISTED);
        left -= size;
        let mut lists: Vec<Vec<Value>> = (0..columns).map(|_| Vec::with_capacity(size)).collect();
        for (row, position) in rows.by_ref().take(size).zip((1..).step_by(columns)) {
            for ((value, list), position) in row.0.into_iter().zip(&mut lists).zip(position..) {
                value.fit().map_err(|reason| StoreError::Value { position, reason })?;
                let first = list.first().unwrap_or(&value);
                if std::mem::discriminant(first) != std::mem::discriminant(&value) {
                    return Err(wrong_rows("the values of a column are to be of one type".to_owned()));
                }
                list.push(value);
            }
        }
        parts.push(Part { sql: constant(Arc::clone(&text)), lists, values: fixed.0.clone() });
    }
    Ok(parts)
}

/// The text is a constant of the program with parameters put in: no data is in it.
fn constant(text: Arc<str>) -> SqlStr {
    AssertSqlSafe(text).into_sql_str()
}

fn wrong_rows(message: String) -> StoreError {
    StoreError::Statement { code: "rows".to_owned(), message }
}
