//! [`Db`]: one service's database.

use crate::sql::{self, Sql};
use crate::sqlite::{Database, Session};
use crate::{Lane, Read, StoreError, Write};
use artel_message::Time;
use sqlx::{AssertSqlSafe, SqlSafeStr};
use std::sync::Arc;

/// Which engine runs the statements; for [`Sql::pick`] and for the flow's own storage, never for a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

const NOW: Sql = Sql {
    sqlite: "SELECT CAST(unixepoch('subsec') * 1000000 AS BIGINT)",
    postgres: "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
};

/// A service's database: a file of its own on SQLite. Cloning it is cheap.
#[derive(Clone)]
pub struct Db(pub(crate) Arc<Database>);

/// A text that the engine does not take.
#[derive(Debug, Clone)]
pub struct PrepareProblem {
    pub sql: &'static str,
    pub error: StoreError,
}

impl Db {
    /// The service's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn engine(&self) -> Engine {
        Engine::Sqlite
    }

    /// A write transaction, when its turn has come: one at a time, interactive ones first.
    pub async fn begin(&self, lane: Lane) -> Result<Write, StoreError> {
        let permit = self.0.enter(lane).await?;
        let session = Session::write(&self.0, permit).await?;
        Ok(Write::new(session, Arc::clone(&self.0.gate), lane, self.0.settings.slice))
    }

    /// A read transaction, as soon as one of the readers is free. Keep it short: as long as it lives, the write-ahead
    /// log can't be started over.
    pub async fn read(&self) -> Result<Read, StoreError> {
        Session::read(&self.0).await.map(Read::new)
    }

    /// The database's clock; SQLite's has milliseconds.
    pub async fn now(&self) -> Result<Time, StoreError> {
        let (now,) = self.read().await?.one::<(Time,)>(NOW.pick(self.engine()), ()).await?;
        Ok(now)
    }

    /// Compiles every text without running it and gives those that the engine refuses. A service's tests call it with
    /// all their SQL, after migrating. A `{rows}` is tried with 1 to 32 columns.
    pub async fn prepare_all(&self, texts: &[&'static str]) -> Result<Vec<PrepareProblem>, StoreError> {
        let mut write = self.begin(Lane::Interactive).await?;
        let mut problems = Vec::new();
        for &text in texts {
            if let Err(error) = prepare(&mut write, text).await {
                problems.push(PrepareProblem { sql: text, error });
            }
        }
        write.rollback().await?;
        Ok(problems)
    }

    /// Waits for the transactions under way, refuses new ones, and closes the connections.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

async fn prepare(write: &mut Write, text: &'static str) -> Result<(), StoreError> {
    if !text.contains(sql::ROWS) {
        return write.session().prepare(text.into_sql_str()).await;
    }
    let template = sql::Template::parse(text)?;
    let mut refused = Ok(());
    for columns in 1..=32 {
        let expanded = AssertSqlSafe(template.sqlite(2, columns)).into_sql_str();
        match write.session().prepare(expanded).await {
            Ok(()) => return Ok(()),
            Err(error) => refused = Err(error),
        }
    }
    refused
}
