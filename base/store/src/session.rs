//! A transaction on the engine that runs it: an enum, so that no row is boxed and no statement goes through a table of
//! functions.

use crate::parts::Part;
use crate::row::{FromRow, Row, RowKind};
use crate::{Engine, StoreError, Value, sqlite};
use futures::stream::{BoxStream, StreamExt};
use sqlx::SqlStr;
use sqlx::sqlite::SqliteRow;

#[cfg(feature = "postgres")]
use crate::postgres;
#[cfg(feature = "sim")]
use crate::sim;
#[cfg(feature = "postgres")]
use sqlx::postgres::PgRow;

pub(crate) enum Session {
    Sqlite(sqlite::Session),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Session),
    #[cfg(feature = "sim")]
    Sim(sim::Session),
}

/// What a statement gave, before it is decoded.
pub(crate) enum Rows {
    Sqlite(Vec<SqliteRow>),
    #[cfg(feature = "postgres")]
    Postgres(Vec<PgRow>),
    #[cfg(feature = "sim")]
    Sim(Vec<sim::SimRow>),
}

impl Rows {
    pub fn decode<R: FromRow>(self, out: &mut Vec<R>) -> Result<(), StoreError> {
        match self {
            Rows::Sqlite(rows) => extend(out, rows, RowKind::Sqlite),
            #[cfg(feature = "postgres")]
            Rows::Postgres(rows) => extend(out, rows, RowKind::Postgres),
            #[cfg(feature = "sim")]
            Rows::Sim(rows) => extend(out, rows, RowKind::Sim),
        }
    }
}

fn extend<R: FromRow, T>(
    out: &mut Vec<R>,
    rows: Vec<T>,
    kind: impl Fn(T) -> RowKind,
) -> Result<(), StoreError> {
    out.reserve(rows.len());
    for row in rows {
        out.push(R::from_row(&Row(kind(row)))?);
    }
    Ok(())
}

/// The same call on whichever engine it is.
macro_rules! on {
    ($session:expr, $inner:ident => $call:expr) => {
        match $session {
            Session::Sqlite($inner) => $call,
            #[cfg(feature = "postgres")]
            Session::Postgres($inner) => $call,
            #[cfg(feature = "sim")]
            Session::Sim($inner) => $call,
        }
    };
}

impl Session {
    pub fn engine(&self) -> Engine {
        match self {
            Session::Sqlite(_) => Engine::Sqlite,
            #[cfg(feature = "postgres")]
            Session::Postgres(_) => Engine::Postgres,
            #[cfg(feature = "sim")]
            Session::Sim(_) => Engine::Sqlite,
        }
    }

    pub async fn commit(self) -> Result<(), StoreError> {
        on!(self, session => session.commit().await)
    }

    pub async fn rollback(self) -> Result<(), StoreError> {
        on!(self, session => session.rollback().await)
    }

    /// How many rows the statement inserted, changed or deleted.
    pub async fn run(
        &mut self,
        sql: SqlStr,
        values: impl ExactSizeIterator<Item = Value>,
    ) -> Result<u64, StoreError> {
        match self {
            Session::Sqlite(session) => session.run(sql, values).await,
            #[cfg(feature = "postgres")]
            Session::Postgres(session) => session.run(sql, values).await,
            #[cfg(feature = "sim")]
            Session::Sim(session) => session.run(sql.as_str(), values.collect()).await,
        }
    }

    /// One statement of a call over many rows.
    pub async fn run_part(&mut self, part: Part) -> Result<u64, StoreError> {
        match self {
            #[cfg(feature = "postgres")]
            Session::Postgres(session) => session.run_listed(part).await,
            _ => self.run(part.sql, part.values.into_iter()).await,
        }
    }

    /// The same where it gives rows.
    pub async fn rows_part(&mut self, part: Part) -> Result<Rows, StoreError> {
        match self {
            #[cfg(feature = "postgres")]
            Session::Postgres(session) => session.rows_listed(part).await.map(Rows::Postgres),
            _ => self.rows(part.sql, part.values.into_iter()).await,
        }
    }

    pub async fn first(
        &mut self,
        sql: SqlStr,
        values: impl ExactSizeIterator<Item = Value>,
    ) -> Result<Option<Row>, StoreError> {
        match self {
            Session::Sqlite(session) => {
                Ok(session.first(sql, values).await?.map(|row| Row(RowKind::Sqlite(row))))
            }
            #[cfg(feature = "postgres")]
            Session::Postgres(session) => {
                Ok(session.first(sql, values).await?.map(|row| Row(RowKind::Postgres(row))))
            }
            #[cfg(feature = "sim")]
            Session::Sim(session) => {
                let rows = session.rows(sql.as_str(), values.collect()).await?;
                Ok(rows.into_iter().next().map(|row| Row(RowKind::Sim(row))))
            }
        }
    }

    pub async fn rows(
        &mut self,
        sql: SqlStr,
        values: impl ExactSizeIterator<Item = Value>,
    ) -> Result<Rows, StoreError> {
        match self {
            Session::Sqlite(session) => session.rows(sql, values).await.map(Rows::Sqlite),
            #[cfg(feature = "postgres")]
            Session::Postgres(session) => session.rows(sql, values).await.map(Rows::Postgres),
            #[cfg(feature = "sim")]
            Session::Sim(session) => session.rows(sql.as_str(), values.collect()).await.map(Rows::Sim),
        }
    }

    /// The rows one by one, in bounded memory.
    pub fn stream(
        &mut self,
        sql: SqlStr,
        values: impl ExactSizeIterator<Item = Value>,
    ) -> Result<BoxStream<'_, Result<Row, StoreError>>, StoreError> {
        Ok(match self {
            Session::Sqlite(session) => {
                session.stream(sql, values)?.map(|row| row.map(|row| Row(RowKind::Sqlite(row)))).boxed()
            }
            #[cfg(feature = "postgres")]
            Session::Postgres(session) => {
                session.stream(sql, values)?.map(|row| row.map(|row| Row(RowKind::Postgres(row)))).boxed()
            }
            #[cfg(feature = "sim")]
            Session::Sim(session) => {
                let values: Vec<Value> = values.collect();
                let rows = async move { session.rows(sql.as_str(), values).await };
                let row = |row| Ok(Row(RowKind::Sim(row)));
                futures::stream::once(rows)
                    .flat_map(move |rows| match rows {
                        Ok(rows) => futures::stream::iter(rows.into_iter().map(row)).left_stream(),
                        Err(error) => futures::stream::iter([Err(error)]).right_stream(),
                    })
                    .boxed()
            }
        })
    }

    /// For a migration, which takes as long as it takes.
    pub async fn take_time(&mut self) -> Result<(), StoreError> {
        match self {
            Session::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Session::Postgres(session) => session.take_time().await,
            #[cfg(feature = "sim")]
            Session::Sim(_) => Ok(()),
        }
    }

    /// Several statements without parameters, as in a migration.
    pub async fn script(&mut self, sql: SqlStr) -> Result<(), StoreError> {
        match self {
            Session::Sqlite(session) => session.script(sql).await,
            #[cfg(feature = "postgres")]
            Session::Postgres(session) => session.script(sql).await,
            #[cfg(feature = "sim")]
            Session::Sim(session) => session.script(sql.as_str()).await,
        }
    }

    /// Whether the engine takes the text, without running it.
    pub async fn prepare(&mut self, sql: &'static str) -> Result<(), StoreError> {
        on!(self, session => session.prepare(sql).await)
    }
}
