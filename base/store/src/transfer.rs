//! Whole tables from one database to another of the other engine, whatever tables there are: rows as typed values, and a
//! database that is filled with them in one transaction.
//!
//! What a column is says its declared type, in the subset that both engines share; a value that does not fit it is refused and
//! not converted.

mod hash;
mod refill;
mod rows;

pub use hash::TableHash;
pub use refill::Refill;
pub use rows::TableRows;

use crate::sql::Sql;
use crate::{Db, StoreError, Values};

/// The types that both engines have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    /// BIGINT; also times, in microseconds.
    I64,
    F64,
    Text,
    Bytes,
    Uuid,
    Json,
}

impl Kind {
    /// Of a type as it was declared, or as PostgreSQL names it.
    fn of(declared: &str) -> Option<Kind> {
        Some(match declared.to_ascii_uppercase().as_str() {
            "BOOLEAN" => Kind::Bool,
            "BIGINT" => Kind::I64,
            "DOUBLE PRECISION" => Kind::F64,
            "TEXT" => Kind::Text,
            "BYTEA" => Kind::Bytes,
            "UUID" => Kind::Uuid,
            "JSONB" => Kind::Json,
            _ => return None,
        })
    }
}

/// A table as it is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    /// In their order.
    pub columns: Vec<(String, Kind)>,
}

impl Table {
    /// Where a column stands in a row.
    pub fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|(name, _)| name == column)
    }

    /// The same columns in the order in which `other` has them, if both have the same ones.
    pub fn ordered_as(&self, other: &Table) -> Option<Table> {
        let same = |(name, _): &(String, Kind)| self.columns.iter().find(|(own, _)| own == name).cloned();
        let columns: Option<Vec<_>> = other.columns.iter().map(same).collect();
        let columns = columns.filter(|columns| columns.len() == self.columns.len())?;
        Some(Table { name: self.name.clone(), columns })
    }

    fn quoted(&self) -> String {
        quoted(&self.name)
    }

    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| quoted(name)).collect::<Vec<_>>().join(", ")
    }
}

/// A name of the database's own tables, as a text takes it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The record of the migrations is each database's own.
const TABLES: Sql = Sql {
    sqlite: "SELECT s.name AS \"table\", c.name AS \"column\", c.type AS declared
         FROM sqlite_schema AS s, pragma_table_info(s.name) AS c
         WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND s.name <> 'artel_migration'
         ORDER BY s.name, c.cid",
    postgres: "SELECT c.relname AS \"table\", a.attname AS \"column\", format_type(a.atttypid, a.atttypmod) AS declared
         FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
             AND NOT a.attisdropped AND c.relname <> 'artel_migration'
         ORDER BY c.relname COLLATE \"C\", a.attnum",
};

impl Db {
    /// Every table of the service, by name, but for the record of its migrations.
    pub async fn tables(&self) -> Result<Vec<Table>, StoreError> {
        let rows: Vec<(String, String, String)> =
            self.read().await?.all(TABLES.pick(self.engine()), Values::default()).await?;
        let mut tables: Vec<Table> = Vec::new();
        for (table, column, declared) in rows {
            let kind = Kind::of(&declared).ok_or_else(|| StoreError::Decode {
                column: format!("{table}.{column}"),
                reason: format!("is of the type {declared}, which only one of the engines has"),
            })?;
            match tables.last_mut() {
                Some(last) if last.name == table => last.columns.push((column, kind)),
                _ => tables.push(Table { name: table, columns: vec![(column, kind)] }),
            }
        }
        Ok(tables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_types_are_those_of_both_engines() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(Kind::of("double precision"), Some(Kind::F64));
        assert_eq!(Kind::of("timestamp with time zone"), None);
    }

    #[test]
    fn columns_are_matched_by_name() {
        let table = |columns: &[(&str, Kind)]| Table {
            name: "t".to_owned(),
            columns: columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect(),
        };
        let here = table(&[("a", Kind::I64), ("b", Kind::Text)]);
        let there = table(&[("b", Kind::Text), ("a", Kind::I64)]);
        assert_eq!(here.ordered_as(&there), Some(there));
        assert_eq!(here.ordered_as(&table(&[("a", Kind::I64)])), None);
        assert_eq!(here.ordered_as(&table(&[("a", Kind::I64), ("c", Kind::Text)])), None);
    }
}
