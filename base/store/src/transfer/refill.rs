//! Filling a database with rows from elsewhere, in one transaction.

use super::Table;
use crate::parts;
use crate::value::Values;
use crate::{Db, Engine, Lane, StoreError, Value, Write};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// A transaction that takes everything out of a database's tables and puts other rows in. Dropped, it changed nothing.
pub struct Refill {
    write: Write,
    engine: Engine,
    /// Keys to other tables that are looked at when all rows are there: (table, constraint), quoted.
    put_off: Vec<(String, String)>,
}

/// Keys that are looked at at once, with their tables.
const KEYS: &str = "SELECT quote_ident(c.relname), quote_ident(k.conname) FROM pg_constraint AS k
     JOIN pg_class AS c ON c.oid = k.conrelid
     WHERE k.connamespace = current_schema()::regnamespace AND k.contype = 'f' AND NOT k.condeferrable
     ORDER BY c.relname, k.conname";
/// Counters that columns take their values from: by a default, or as an identity.
const COUNTERS: &str = "SELECT quote_ident(t.relname), quote_ident(a.attname), quote_ident(s.relname)
     FROM pg_depend AS d
     JOIN pg_attrdef AS v ON d.classid = 'pg_attrdef'::regclass AND d.objid = v.oid
     JOIN pg_class AS s ON d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid AND s.relkind = 'S'
     JOIN pg_class AS t ON t.oid = v.adrelid
     JOIN pg_attribute AS a ON a.attrelid = v.adrelid AND a.attnum = v.adnum
     WHERE t.relnamespace = current_schema()::regnamespace
     UNION SELECT quote_ident(t.relname), quote_ident(a.attname), quote_ident(s.relname)
     FROM pg_depend AS d
     JOIN pg_class AS s ON d.classid = 'pg_class'::regclass AND d.objid = s.oid AND s.relkind = 'S'
     JOIN pg_class AS t ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid
     JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
     WHERE d.deptype = 'i' AND t.relnamespace = current_schema()::regnamespace
     ORDER BY 1, 2";

/// A text of names that the database's own catalogue gave, quoted.
fn text(text: String) -> SqlStr {
    AssertSqlSafe(text).into_sql_str()
}

impl Db {
    /// Begins, and empties these tables. On PostgreSQL keys to other tables may be broken until the end. No bound of time holds.
    pub async fn refill(&self, tables: &[Table]) -> Result<Refill, StoreError> {
        let mut write = self.begin_plain(Lane::Interactive).await?;
        write.session().await?.take_time().await?;
        let mut put_off = Vec::new();
        match self.engine() {
            Engine::Sqlite => write.script(text("PRAGMA defer_foreign_keys = ON".to_owned())).await?,
            Engine::Postgres => {
                put_off = write.all(KEYS, ()).await?;
                for (table, key) in &put_off {
                    let change =
                        format!("ALTER TABLE {table} ALTER CONSTRAINT {key} DEFERRABLE INITIALLY DEFERRED");
                    write.script(text(change)).await?;
                }
            }
        }
        for table in tables {
            write.script(text(format!("DELETE FROM {}", table.quoted()))).await?;
        }
        Ok(Refill { write, engine: self.engine(), put_off })
    }
}

impl Refill {
    /// Puts rows in, their values in the order of the table's columns.
    pub async fn insert(&mut self, table: &Table, rows: Vec<Vec<Value>>) -> Result<(), StoreError> {
        let columns = table.columns.len();
        if rows.iter().any(|row| row.len() != columns) {
            let message = format!("a row for {} has not {columns} values", table.name);
            return Err(StoreError::Statement { code: "rows".to_owned(), message });
        }
        let pattern = format!("INSERT INTO {} ({}) VALUES {{rows}}", table.quoted(), table.names());
        let rows = rows.into_iter().map(Values).collect();
        for part in parts::split(self.engine, &pattern, Values::default(), rows)? {
            self.write.session().await?.run_part(part).await?;
        }
        Ok(())
    }

    /// Looks at what was put off, sets counters past the highest value that stands in their columns, and makes it durable.
    pub async fn finish(mut self) -> Result<(), StoreError> {
        if self.engine == Engine::Postgres {
            self.write.script(text("SET CONSTRAINTS ALL IMMEDIATE".to_owned())).await?;
            for (table, key) in &self.put_off {
                let change = format!("ALTER TABLE {table} ALTER CONSTRAINT {key} NOT DEFERRABLE");
                self.write.script(text(change)).await?;
            }
            let counters: Vec<(String, String, String)> = self.write.all(COUNTERS, ()).await?;
            for (table, column, counter) in counters {
                let past = format!(
                    "SELECT setval('{}'::regclass, greatest(max({column}), 1), max({column}) IS NOT NULL) FROM {table}",
                    counter.replace('\'', "''")
                );
                self.write.script(text(past)).await?;
            }
        }
        self.write.commit().await
    }
}
