//! One transaction on one connection. However it ends, the connection goes back rolled back or not at all, and only then
//! does the next one get its turn.

use super::error;
use super::pool::{Link, Place};
use super::{Database, Turn, bind};
use crate::db::Isolation;
use crate::parts::Part;
use crate::{Lane, StoreError, Value};
use futures::FutureExt;
use futures::stream::{Stream, StreamExt};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{AssertSqlSafe, Connection, Either, Executor, PgConnection, SqlSafeStr, SqlStr};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

pub(crate) struct Session {
    link: Option<Link>,
    pub(super) database: Arc<Database>,
    /// A transaction may be open on the connection.
    pub(super) open: bool,
    /// The connection is not to be used again.
    pub(super) broken: bool,
    /// A statement is under way. Found set when the session is dropped, its future was dropped too.
    busy: bool,
    /// Its statements take as long as they take.
    unbound: bool,
    writer: bool,
    // Dropped after `Drop::drop`, so the connection is back before the next one gets in.
    _turn: Turn,
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut link) = self.link.take() else { return };
        // Closed rather than waited for: the statement may run for long, and the server undoes what is not committed.
        if self.broken || self.busy || self.database.is_cut() {
            return;
        }
        if self.open {
            // One poll sends it, if tokio doesn't think that this task had its share; the answer is read by the next
            // transaction. If it failed BEGIN says so and the connection is replaced.
            let rollback = link.connection().execute(sqlx::raw_sql("ROLLBACK"));
            let _ = tokio::task::coop::unconstrained(rollback).now_or_never();
        }
        self.database.server.pool(self.writer).put(link);
    }
}

impl Session {
    pub async fn write(
        database: &Arc<Database>,
        lane: Lane,
        isolation: Isolation,
    ) -> Result<Session, StoreError> {
        let begin = match isolation {
            Isolation::Serializable => "BEGIN ISOLATION LEVEL SERIALIZABLE, READ WRITE",
            Isolation::ReadCommitted => "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE",
        };
        Session::begin(database, true, lane, begin).await
    }

    /// Its first statement takes the snapshot.
    pub async fn read(database: &Arc<Database>) -> Result<Session, StoreError> {
        Session::begin(database, false, Lane::Interactive, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            .await
    }

    async fn begin(
        database: &Arc<Database>,
        writer: bool,
        lane: Lane,
        begin: &'static str,
    ) -> Result<Session, StoreError> {
        let turn = database.enter(writer, lane).await?;
        let (link, place) = match database.server.pool(writer).take(&database.schema) {
            Ok(kept) => (Some(kept), None),
            Err(place) => (None, Some(place)),
        };
        let mut session = Session {
            link,
            database: Arc::clone(database),
            open: false,
            broken: false,
            busy: false,
            unbound: false,
            writer,
            _turn: turn,
        };
        session.start(begin, place).await?;
        Ok(session)
    }

    /// A kept connection that fails is replaced once by a new one: the server may have ended it.
    async fn start(&mut self, begin: &'static str, mut place: Option<Place>) -> Result<(), StoreError> {
        if self.link.is_some() {
            self.busy = true;
            let kept = self.start_kept(begin).await;
            self.busy = false;
            match kept {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::debug!(database = %self.database.name, %error, "a kept connection is replaced");
                    place = self.link.take().map(Link::into_place);
                }
            }
        }
        let (database, writer) = (Arc::clone(&self.database), self.writer);
        let place = place.ok_or_else(|| database.closed())?;
        self.link =
            Some(database.server.link(place, writer, &database.schema, database.origin(writer)).await?);
        self.control(begin).await
    }

    async fn start_kept(&mut self, begin: &'static str) -> Result<(), sqlx::Error> {
        let database = Arc::clone(&self.database);
        let Some(link) = &mut self.link else { return Ok(()) };
        let work = async {
            link.serve(&database.schema).await?;
            link.connection().execute(sqlx::raw_sql(begin)).await
        };
        database.within(work).await?;
        self.open = true;
        Ok(())
    }

    /// BEGIN, COMMIT or ROLLBACK.
    async fn control(&mut self, text: &'static str) -> Result<(), StoreError> {
        self.open = true;
        self.script(text).await
    }

    pub async fn commit(mut self) -> Result<(), StoreError> {
        let done = self.control("COMMIT").await;
        // These say that the server has undone it.
        self.open = matches!(
            &done,
            Err(error) if !matches!(
                error,
                StoreError::Serialization | StoreError::Unique { .. } | StoreError::Constraint { .. }
            )
        );
        done
    }

    /// For a migration: neither its statements nor its waits for locks are bound in time.
    pub async fn take_time(&mut self) -> Result<(), StoreError> {
        self.unbound = true;
        self.script("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0").await
    }

    pub async fn rollback(mut self) -> Result<(), StoreError> {
        if self.open {
            self.control("ROLLBACK").await?;
            self.open = false;
        }
        Ok(())
    }

    /// Waits for an answer and says what an error means.
    pub(super) async fn answer<T>(
        &mut self,
        ask: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        let Session { link, database, busy, broken, unbound, writer, .. } = self;
        let link = link.as_mut().ok_or_else(|| database.closed())?;
        *busy = true;
        let answer = async {
            let answer = ask(link.connection()).await;
            // After an error the server says that it is ready again, which sqlx leaves to be read: a ROLLBACK could not be
            // sent in one poll.
            if matches!(&answer, Err(sqlx::Error::Database(_))) && link.connection().ping().await.is_err() {
                *broken = true;
            }
            answer
        };
        let answer = if *unbound { database.unless_cut(answer).await } else { database.within(answer).await };
        *busy = false;
        answer.map_err(|error| {
            let classified = error::classify(error, database.origin(*writer));
            *broken |= classified.broken;
            classified.error
        })
    }

    /// The text and the arguments. Prepared statements are found by their text, and their parameters have the types of the
    /// first use: the same text with other types is made another text.
    fn query(
        &mut self,
        sql: SqlStr,
        values: impl ExactSizeIterator<Item = Value>,
    ) -> Result<(SqlStr, PgArguments), StoreError> {
        let (arguments, types) = bind::arguments(values)?;
        self.fitting(sql, arguments, types)
    }

    fn fitting(
        &mut self,
        sql: SqlStr,
        arguments: PgArguments,
        types: u64,
    ) -> Result<(SqlStr, PgArguments), StoreError> {
        let mut text = DefaultHasher::new();
        sql.as_str().hash(&mut text);
        let link = self.link.as_mut().ok_or_else(|| self.database.closed())?;
        if link.fits(text.finish(), types) {
            return Ok((sql, arguments));
        }
        let marked = format!("{}\n-- {types:x}", sql.as_str());
        Ok((AssertSqlSafe(marked).into_sql_str(), arguments)) // the program's text and a number
    }

    /// How many rows the statement inserted, changed or deleted.
    pub async fn run(
        &mut self,
        sql: SqlStr,
        values: impl ExactSizeIterator<Item = Value>,
    ) -> Result<u64, StoreError> {
        let (sql, arguments) = self.query(sql, values)?;
        let done = self
            .answer(async |connection| connection.execute(sqlx::query_with(sql, arguments)).await)
            .await?;
        Ok(done.rows_affected())
    }

    /// One statement of a call over many rows; how many rows it inserted, changed or deleted.
    pub async fn run_listed(&mut self, part: Part) -> Result<u64, StoreError> {
        let (arguments, types) = bind::listed(part.lists, part.values)?;
        let (sql, arguments) = self.fitting(part.sql, arguments, types)?;
        let done = self
            .answer(async |connection| connection.execute(sqlx::query_with(sql, arguments)).await)
            .await?;
        Ok(done.rows_affected())
    }

    pub async fn rows_listed(&mut self, part: Part) -> Result<Vec<PgRow>, StoreError> {
        let (arguments, types) = bind::listed(part.lists, part.values)?;
        let (sql, arguments) = self.fitting(part.sql, arguments, types)?;
        self.answer(async |connection| connection.fetch_all(sqlx::query_with(sql, arguments)).await).await
    }

    pub async fn first(
        &mut self,
        sql: SqlStr,
        values: impl ExactSizeIterator<Item = Value>,
    ) -> Result<Option<PgRow>, StoreError> {
        let (sql, arguments) = self.query(sql, values)?;
        self.answer(async |connection| connection.fetch_optional(sqlx::query_with(sql, arguments)).await)
            .await
    }

    pub async fn rows(
        &mut self,
        sql: SqlStr,
        values: impl ExactSizeIterator<Item = Value>,
    ) -> Result<Vec<PgRow>, StoreError> {
        let (sql, arguments) = self.query(sql, values)?;
        self.answer(async |connection| connection.fetch_all(sqlx::query_with(sql, arguments)).await).await
    }

    /// The rows one by one, as the network brings them. Dropped early, the rest is read and thrown away by the next
    /// statement.
    pub fn stream(
        &mut self,
        sql: SqlStr,
        values: impl ExactSizeIterator<Item = Value>,
    ) -> Result<impl Stream<Item = Result<PgRow, StoreError>> + Send + '_, StoreError> {
        let (sql, arguments) = self.query(sql, values)?;
        let Session { link, database, busy, broken, writer, .. } = self;
        let connection = link.as_mut().map(Link::connection).ok_or_else(|| database.closed())?;
        *busy = true;
        let rows = connection.fetch_many(sqlx::query_with(sql, arguments));
        Ok(futures::stream::unfold(Some((rows, busy, broken)), move |state| {
            let database = Arc::clone(database);
            let origin = *writer;
            async move {
                let (mut rows, busy, broken) = state?;
                loop {
                    let next = async { rows.next().await.transpose() };
                    match database.within(next).await {
                        Ok(Some(Either::Right(row))) => return Some((Ok(row), Some((rows, busy, broken)))),
                        Ok(Some(Either::Left(_))) => {}
                        Ok(None) => {
                            *busy = false;
                            return None;
                        }
                        Err(error) => {
                            let classified = error::classify(error, database.origin(origin));
                            *broken |= classified.broken;
                            return Some((Err(classified.error), None));
                        }
                    }
                }
            }
        }))
    }

    /// Several statements without parameters, as in a migration.
    pub async fn script(&mut self, sql: impl SqlSafeStr) -> Result<(), StoreError> {
        let sql = sql.into_sql_str();
        self.answer(async |connection| connection.execute(sqlx::raw_sql(sql)).await).await.map(|_| ())
    }
}
