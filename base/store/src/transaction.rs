//! [`Write`] and [`Read`]: transactions that own their connection, and the statements that run in them.

use crate::gate::Gate;
use crate::late::Begun;
use crate::parts::{self, Part};
use crate::row::{FromRow, Row};
use crate::session::{Rows, Session};
use crate::sql;
use crate::value::{Args, Values};
use crate::{Lane, StoreError};
use futures::stream::{BoxStream, StreamExt};
use sqlx::{SqlSafeStr, SqlStr};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A session and its latch: the first error of a statement stays, and nothing runs or commits after it. SQLite alone
/// would go on after a failed statement, PostgreSQL alone would turn the commit into a silent rollback.
struct Transaction {
    begun: Begun,
    latched: Option<StoreError>,
    /// A statement is under way; found set by the next one, its future was dropped.
    running: bool,
}

impl Transaction {
    fn new(begun: Begun) -> Transaction {
        Transaction { begun, latched: None, running: false }
    }

    fn check(&mut self) -> Result<(), StoreError> {
        if self.running {
            self.running = false;
            self.latched.get_or_insert(StoreError::Abandoned);
        }
        match &self.latched {
            None => Ok(()),
            Some(first) => Err(StoreError::Latched { first: Arc::new(first.clone()) }),
        }
    }

    fn latch<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        self.running = false;
        if let Err(error) = &result {
            self.latched.get_or_insert_with(|| error.clone());
        }
        result
    }

    fn start(&mut self, sql: &'static str, given: usize) -> Result<(), StoreError> {
        self.check()?;
        let counted = sql::check_count(sql, given);
        self.latch(counted)?;
        self.running = true;
        Ok(())
    }

    async fn run(&mut self, sql: &'static str, values: Values) -> Result<u64, StoreError> {
        self.start(sql, values.len())?;
        let result = match self.begun.session().await {
            Ok(session) => session.run(sql.into_sql_str(), values.0.into_iter()).await,
            Err(error) => Err(error),
        };
        self.latch(result)
    }

    async fn first(&mut self, sql: &'static str, values: Values) -> Result<Option<Row>, StoreError> {
        self.start(sql, values.len())?;
        let result = match self.begun.session().await {
            Ok(session) => session.first(sql.into_sql_str(), values.0.into_iter()).await,
            Err(error) => Err(error),
        };
        self.latch(result)
    }

    async fn rows(&mut self, sql: &'static str, values: Values) -> Result<Rows, StoreError> {
        self.start(sql, values.len())?;
        let result = match self.begun.session().await {
            Ok(session) => session.rows(sql.into_sql_str(), values.0.into_iter()).await,
            Err(error) => Err(error),
        };
        self.latch(result)
    }

    fn stream<R: FromRow>(
        &mut self,
        sql: &'static str,
        values: Values,
    ) -> Result<RowStream<'_, R>, StoreError> {
        self.start(sql, values.len())?;
        self.running = false;
        let Transaction { begun, latched, .. } = self;
        match begun.stream(sql.into_sql_str(), values) {
            Ok(rows) => Ok(RowStream { rows, latched, row: PhantomData }),
            Err(error) => {
                latched.get_or_insert_with(|| error.clone());
                Err(error)
            }
        }
    }

    async fn run_rows(
        &mut self,
        sql: &'static str,
        fixed: Values,
        rows: Vec<Values>,
    ) -> Result<u64, StoreError> {
        let parts = self.split(sql, fixed, rows)?;
        let mut affected = 0;
        for part in parts {
            self.running = true;
            let result = match self.begun.session().await {
                Ok(session) => session.run_part(part).await,
                Err(error) => Err(error),
            };
            affected += self.latch(result)?;
        }
        Ok(affected)
    }

    async fn all_rows(
        &mut self,
        sql: &'static str,
        fixed: Values,
        rows: Vec<Values>,
    ) -> Result<Vec<Rows>, StoreError> {
        let parts = self.split(sql, fixed, rows)?;
        let mut out = Vec::with_capacity(parts.len());
        for part in parts {
            self.running = true;
            let result = match self.begun.session().await {
                Ok(session) => session.rows_part(part).await,
                Err(error) => Err(error),
            };
            out.push(self.latch(result)?);
        }
        Ok(out)
    }

    fn split(
        &mut self,
        sql: &'static str,
        fixed: Values,
        rows: Vec<Values>,
    ) -> Result<Vec<Part>, StoreError> {
        self.check()?;
        let parts = parts::split(self.begun.engine(), sql, fixed, rows);
        self.latch(parts)
    }
}

fn decode<R: FromRow>(parts: impl IntoIterator<Item = Rows>) -> Result<Vec<R>, StoreError> {
    let mut out = Vec::new();
    for rows in parts {
        rows.decode(&mut out)?;
    }
    Ok(out)
}

/// The rows of a statement, one by one, in bounded memory.
pub struct RowStream<'t, R> {
    rows: BoxStream<'t, Result<Row, StoreError>>,
    latched: &'t mut Option<StoreError>,
    row: PhantomData<fn() -> R>,
}

impl<R: FromRow> RowStream<'_, R> {
    /// The next row, or `None` after the last one. The stream may be dropped early.
    pub async fn next(&mut self) -> Result<Option<R>, StoreError> {
        match self.rows.next().await {
            None => Ok(None),
            Some(Ok(row)) => R::from_row(&row).map(Some),
            Some(Err(error)) => {
                self.latched.get_or_insert_with(|| error.clone());
                Err(error)
            }
        }
    }
}

/// The statements that give rows, the same for both kinds of transaction.
macro_rules! queries {
    () => {
        /// The first row; [`StoreError::NoRow`] where there is none.
        pub async fn one<R: FromRow>(&mut self, sql: &'static str, args: impl Args) -> Result<R, StoreError> {
            self.opt(sql, args).await?.ok_or(StoreError::NoRow)
        }

        /// The first row, if there is one.
        pub async fn opt<R: FromRow>(
            &mut self,
            sql: &'static str,
            args: impl Args,
        ) -> Result<Option<R>, StoreError> {
            let row = self.inner.first(sql, args.values()).await?;
            row.as_ref().map(R::from_row).transpose()
        }

        /// All rows. Bound them by a LIMIT, or use [`Self::stream`].
        pub async fn all<R: FromRow>(
            &mut self,
            sql: &'static str,
            args: impl Args,
        ) -> Result<Vec<R>, StoreError> {
            decode([self.inner.rows(sql, args.values()).await?])
        }

        /// The rows of a statement with `{rows}`: see [`Write::exec_rows`]. In the order of the statements it is cut
        /// into; within one statement the engine's order.
        pub async fn all_rows<R: FromRow>(
            &mut self,
            sql: &'static str,
            fixed: impl Args,
            rows: Vec<Values>,
        ) -> Result<Vec<R>, StoreError> {
            decode(self.inner.all_rows(sql, fixed.values(), rows).await?)
        }

        /// The rows one by one, for results that don't fit into memory.
        pub fn stream<R: FromRow>(
            &mut self,
            sql: &'static str,
            args: impl Args,
        ) -> Result<RowStream<'_, R>, StoreError> {
            self.inner.stream(sql, args.values())
        }

        /// The first error of a statement in this transaction. After it every statement fails with
        /// [`StoreError::Latched`], and so does the commit.
        pub fn latched(&self) -> Option<&StoreError> {
            self.inner.latched.as_ref()
        }
    };
}

/// A write transaction. It is alone: on SQLite by the writer's gate, on PostgreSQL in effect (SERIALIZABLE). Dropped
/// without [`Write::commit`] it is rolled back, also when the caller's future is dropped in the middle of a statement;
/// dropped in the middle of the commit it is committed whole or not at all.
pub struct Write {
    inner: Transaction,
    gate: Arc<Gate>,
    lane: Lane,
    slice: Duration,
}

impl Write {
    pub(crate) fn new(begun: Begun, gate: Arc<Gate>, lane: Lane, slice: Duration) -> Write {
        Write { inner: Transaction::new(begun), gate, lane, slice }
    }

    queries!();

    /// Runs it; the number of rows inserted, changed or deleted.
    pub async fn exec(&mut self, sql: &'static str, args: impl Args) -> Result<u64, StoreError> {
        self.inner.run(sql, args.values()).await
    }

    /// Runs a statement over many rows: `{rows}` in its text becomes `(…),(…)`, cut into statements of few sizes. It
    /// serves `INSERT INTO t (a, b) VALUES {rows} ON CONFLICT DO NOTHING`, `UPDATE t SET x = v.column2 FROM (VALUES
    /// {rows}) AS v WHERE t.id = v.column1` and `DELETE FROM t WHERE id IN (VALUES {rows})`. `fixed` are the values of
    /// its `$1`, `$2`. Without rows nothing runs. Gives the number of rows affected. With ON CONFLICT DO UPDATE no two rows may
    /// have the same key: SQLite would keep the last one, PostgreSQL refuses.
    pub async fn exec_rows(
        &mut self,
        sql: &'static str,
        fixed: impl Args,
        rows: Vec<Values>,
    ) -> Result<u64, StoreError> {
        self.inner.run_rows(sql, fixed.values(), rows).await
    }

    /// What it goes by was read before it, and has changed since: it can't be committed, and is to run again from its start.
    pub fn outdated(&mut self) -> StoreError {
        let outdated: Result<(), StoreError> = self.inner.latch(Err(StoreError::Serialization));
        outdated.err().unwrap_or(StoreError::Serialization)
    }

    /// Whether this transaction should end at the next message's border: it is a background one, had its slice of time
    /// ([`crate::StoreSettings::slice`]), and somebody waits in the interactive lane.
    pub fn pressed(&self) -> bool {
        self.lane == Lane::Background && self.held() >= self.slice && self.gate.interactive_waits()
    }

    /// For how long it has been under way: since its first statement, where it began late.
    pub fn held(&self) -> Duration {
        self.inner.begun.held()
    }

    /// Whether its first statement was given up while it waited to begin: nothing has run.
    pub fn waited_in_vain(&self) -> bool {
        self.inner.running && matches!(self.inner.begun, Begun::Late(_))
    }

    /// Makes it durable. After an error nobody knows whether it is (unless it is [`StoreError::Latched`]: it isn't).
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.inner.check()?;
        match self.inner.begun {
            Begun::Yes(session, _) => session.commit().await,
            Begun::Late(_) => Ok(()),
        }
    }

    /// Undoes it and waits until that is done.
    pub async fn rollback(self) -> Result<(), StoreError> {
        match self.inner.begun {
            Begun::Yes(session, _) => session.rollback().await,
            Begun::Late(_) => Ok(()),
        }
    }

    pub(crate) async fn script(&mut self, sql: SqlStr) -> Result<(), StoreError> {
        self.inner.check()?;
        self.inner.running = true;
        let result = match self.inner.begun.session().await {
            Ok(session) => session.script(sql).await,
            Err(error) => Err(error),
        };
        self.inner.latch(result)
    }

    pub(crate) async fn session(&mut self) -> Result<&mut Session, StoreError> {
        self.inner.begun.session().await
    }
}

/// A read transaction: all its statements see the state at its first one.
pub struct Read {
    inner: Transaction,
}

impl Read {
    pub(crate) fn new(session: Session) -> Read {
        Read { inner: Transaction::new(Begun::now(session)) }
    }

    /// The same without the bound on how long a statement may run, for the rare one that reads a whole table.
    pub async fn unbounded(mut self) -> Result<Read, StoreError> {
        self.inner.begun.session().await?.take_time().await?;
        Ok(self)
    }

    pub(crate) fn begun(&mut self) -> &mut Begun {
        &mut self.inner.begun
    }

    queries!();
}
