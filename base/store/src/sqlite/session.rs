//! One transaction on one connection. However it ends, the connection goes back rolled back or not at all, and only
//! then does the next one get its turn.

use super::{Database, bind, error};
use crate::gate::Permit;
use crate::sql::{ROWS, Template};
use crate::{Engine, StoreError, Value};
use futures::FutureExt;
use futures::stream::{Stream, StreamExt};
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Either, Executor, SqlSafeStr, SqlStr};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

pub(crate) struct Session {
    connection: Option<SqliteConnection>,
    database: Arc<Database>,
    /// A transaction may be open on the connection.
    open: bool,
    broken: bool,
    writer: bool,
    // The writer's turn or a reader's place. Fields are dropped after `Drop::drop`, so the connection is back before
    // the next one gets in.
    _turn: Option<Permit>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if self.broken {
            return; // dropping it closes it
        }
        if self.open {
            // One poll puts the command into the connection's queue, behind what may still run there; the outcome is
            // not awaited. If it ever failed, the next BEGIN would say so and the connection be replaced.
            let _ = connection.execute(sqlx::query("ROLLBACK")).now_or_never();
        }
        self.database.idle(self.writer).put(connection);
    }
}

impl Session {
    /// A write transaction; `permit` is the gate's.
    pub async fn write(database: &Arc<Database>, permit: Permit) -> Result<Session, StoreError> {
        let mut session = Session::new(database, true, Some(permit), None);
        if database.log_is_long() {
            session.bound_log().await;
        }
        session.begin().await?;
        Ok(session)
    }

    /// A read transaction, as soon as one of the readers is free. Its first statement takes the snapshot.
    pub async fn read(database: &Arc<Database>) -> Result<Session, StoreError> {
        let place = Arc::clone(&database.readers).acquire_owned().await.map_err(|_| database.closed())?;
        let mut session = Session::new(database, false, None, Some(place));
        session.begin().await?;
        Ok(session)
    }

    fn new(
        database: &Arc<Database>,
        writer: bool,
        turn: Option<Permit>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Session {
        Session {
            connection: database.idle(writer).take(),
            database: Arc::clone(database),
            open: false,
            broken: false,
            writer,
            _turn: turn,
            _place: place,
        }
    }

    async fn bound_log(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        self.broken = true; // until it is done
        match self.database.bound_log(connection).await {
            Ok(()) => self.broken = false,
            // The connection is replaced before the transaction begins.
            Err(error) => {
                self.failed(error);
                self.connection = None;
            }
        }
    }

    /// A kept connection that turns out broken is replaced once by a new one.
    async fn begin(&mut self) -> Result<(), StoreError> {
        let text = if self.writer { "BEGIN IMMEDIATE" } else { "BEGIN" };
        if self.connection.is_some() {
            match self.control(text).await {
                Err(_) if self.broken => self.connection = None,
                done => return done,
            }
        }
        self.connection = Some(self.database.connect(self.writer).await?);
        self.broken = false;
        self.control(text).await
    }

    /// BEGIN, COMMIT or ROLLBACK.
    async fn control(&mut self, text: &'static str) -> Result<(), StoreError> {
        self.open = true;
        self.execute(text.into_sql_str(), SqliteArguments::default()).await.map(|_| ())
    }

    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.control("COMMIT").await?;
        self.open = false;
        Ok(())
    }

    pub async fn rollback(mut self) -> Result<(), StoreError> {
        self.control("ROLLBACK").await?;
        self.open = false;
        Ok(())
    }

    fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        self.connection.as_mut().ok_or_else(|| self.database.closed())
    }

    fn failed(&mut self, error: sqlx::Error) -> StoreError {
        let classified = error::classify(error, &self.database, self.writer);
        self.broken |= classified.broken;
        classified.error
    }

    async fn execute(&mut self, sql: SqlStr, arguments: SqliteArguments) -> Result<u64, StoreError> {
        let result = self.connection()?.execute(sqlx::query_with(sql, arguments)).await;
        result.map(|done| done.rows_affected()).map_err(|error| self.failed(error))
    }

    /// How many rows the statement inserted, changed or deleted.
    pub async fn run(
        &mut self,
        sql: SqlStr,
        values: impl ExactSizeIterator<Item = Value>,
    ) -> Result<u64, StoreError> {
        let arguments = bind::arguments(values)?;
        self.execute(sql, arguments).await
    }

    pub async fn first(
        &mut self,
        sql: SqlStr,
        values: impl ExactSizeIterator<Item = Value>,
    ) -> Result<Option<SqliteRow>, StoreError> {
        let query = sqlx::query_with(sql, bind::arguments(values)?);
        let result = self.connection()?.fetch_optional(query).await;
        result.map_err(|error| self.failed(error))
    }

    pub async fn rows(
        &mut self,
        sql: SqlStr,
        values: impl ExactSizeIterator<Item = Value>,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let query = sqlx::query_with(sql, bind::arguments(values)?);
        let result = self.connection()?.fetch_all(query).await;
        result.map_err(|error| self.failed(error))
    }

    /// The rows one by one; the connection's thread is at most `rows_ahead` of the settings ahead.
    pub fn stream(
        &mut self,
        sql: SqlStr,
        values: impl ExactSizeIterator<Item = Value>,
    ) -> Result<impl Stream<Item = Result<SqliteRow, StoreError>> + Send + '_, StoreError> {
        let query = sqlx::query_with(sql, bind::arguments(values)?);
        let Session { connection, database, broken, writer, .. } = self;
        let connection = connection.as_mut().ok_or_else(|| database.closed())?;
        let items = connection.fetch_many(query).filter_map(move |item| {
            let row = match item {
                Ok(Either::Left(_)) => None,
                Ok(Either::Right(row)) => Some(Ok(row)),
                Err(error) => {
                    let classified = error::classify(error, database, *writer);
                    *broken |= classified.broken;
                    Some(Err(classified.error))
                }
            };
            futures::future::ready(row)
        });
        Ok(items)
    }

    /// Several statements without parameters, as in a migration.
    pub async fn script(&mut self, sql: SqlStr) -> Result<(), StoreError> {
        let result = self.connection()?.execute(sqlx::raw_sql(sql)).await;
        result.map(|_| ()).map_err(|error| self.failed(error))
    }

    /// Compiles the text without running it. A `{rows}` is tried with 1 to 32 columns.
    pub async fn prepare(&mut self, sql: &'static str) -> Result<(), StoreError> {
        if !sql.contains(ROWS) {
            return self.compile(sql.into_sql_str()).await;
        }
        let template = Template::parse(sql)?;
        let mut refused = Ok(());
        for columns in 1..=32 {
            // A constant of the program with question marks put in.
            let text = AssertSqlSafe(template.expand(Engine::Sqlite, 2, columns)).into_sql_str();
            match self.compile(text).await {
                Ok(()) => return Ok(()),
                Err(error) => refused = Err(error),
            }
        }
        refused
    }

    async fn compile(&mut self, sql: SqlStr) -> Result<(), StoreError> {
        let result = self.connection()?.prepare(sql).await.map(|_| ());
        result.map_err(|error| self.failed(error))
    }
}
