//! One transaction of one node.

use super::rows::{self, SimRow};
use super::{Handle, IDLE, SimDeed, SimPlan, SimStep, Snapshot, Writer, lost};
use crate::sql::{ROWS, Template};
use crate::{Engine, Lane, StoreError, Value};
use futures::FutureExt;
use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How a text asks for the database's clock, in microseconds.
const CLOCK: &str = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)";

pub(crate) struct Session {
    handle: Arc<Handle>,
    id: u64,
    writes: bool,
    /// The transaction has ended, one way or another.
    ended: bool,
    /// What a transaction that writes has run.
    done: Vec<(String, Vec<Value>)>,
    /// It has run what can't be run again, so that its commit never comes late.
    scripted: bool,
    /// Its commit takes effect after so long.
    late: Option<Duration>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}

impl Session {
    /// A write transaction, when its turn has come.
    pub async fn write(handle: &Arc<Handle>, lane: Lane) -> Result<Session, StoreError> {
        let mut session = Session::new(handle, true);
        session.ask(SimDeed::Begin, "", false).await?;
        let permit = handle.enter(lane).await?;
        if handle.client.0.is_dead() {
            drop(permit);
            std::future::pending::<()>().await;
            return Err(lost(handle.name()));
        }
        let writer = Writer { session: session.id, client: handle.client.0.id, _permit: permit };
        {
            let mut state = handle.database.state();
            state.keep_snapshots(handle.name())?;
            state.writer = Some(writer);
            state.main.execute_batch("BEGIN").map_err(|error| rows::failure(handle.name(), &error))?;
        }
        session.ask(SimDeed::Begin, "", true).await?;
        Ok(session)
    }

    /// A read transaction.
    pub async fn read(handle: &Arc<Handle>) -> Result<Session, StoreError> {
        let mut session = Session::new(handle, false);
        session.ask(SimDeed::Begin, "", false).await?;
        Ok(session)
    }

    fn new(handle: &Arc<Handle>, writes: bool) -> Session {
        let id = handle.client.server().0.sessions.fetch_add(1, Ordering::Relaxed);
        Session {
            handle: handle.clone(),
            id,
            writes,
            ended: false,
            done: Vec::new(),
            scripted: false,
            late: None,
        }
    }

    /// Rolls back what is open and lets the next one in.
    fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let database = &self.handle.database;
        if self.writes {
            database.end(|writer| writer.session == self.id);
        } else {
            database.state().readers.remove(&self.id);
        }
    }

    /// Asks the hook. A transaction that waits for too long is ended by the server.
    async fn ask(&mut self, deed: SimDeed, sql: &str, after: bool) -> Result<(), StoreError> {
        let step = SimStep { database: self.handle.name(), deed, sql, after, writes: self.writes };
        let mut plan = self.handle.client.0.hook.step(step);
        loop {
            plan = match plan {
                SimPlan::Go => return Ok(()),
                SimPlan::Late(after) if deed == SimDeed::Commit && self.writes && !self.scripted => {
                    self.late = Some(after);
                    return Ok(());
                }
                SimPlan::Late(_) => SimPlan::Fail,
                SimPlan::Fail => {
                    self.end();
                    return Err(lost(self.handle.name()));
                }
                SimPlan::Dead => {
                    self.end();
                    std::future::pending().await
                }
                // Nothing is open yet that the server could end.
                SimPlan::Later(later) if deed == SimDeed::Begin && !after => later.await,
                SimPlan::Later(mut later) => match tokio::time::timeout(IDLE, &mut later).await {
                    Ok(plan) => plan,
                    Err(_) => {
                        self.end();
                        later.await
                    }
                },
            };
        }
    }

    /// Whether the transaction is still this session's; a reader waits until nobody writes.
    async fn turn(&mut self) -> Result<(), StoreError> {
        let database = self.handle.database.clone();
        loop {
            let idle = {
                let mut state = database.state();
                if self.ended {
                    return Err(lost(self.handle.name()));
                }
                if self.writes {
                    let mine = state.writer.as_ref().is_some_and(|writer| writer.session == self.id);
                    return if mine { Ok(()) } else { Err(lost(self.handle.name())) };
                }
                if state.readers.contains_key(&self.id) {
                    return Ok(());
                }
                if state.writer.is_none() {
                    state.readers.insert(self.id, Snapshot::Current);
                    return Ok(());
                }
                database.idle.notified()
            };
            idle.await;
        }
    }

    async fn statement<T>(
        &mut self,
        sql: &str,
        work: impl FnOnce(&rusqlite::Connection, &str) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.ask(SimDeed::Statement, sql, false).await?;
        self.turn().await?;
        let done = {
            let state = self.handle.database.state();
            match state.readers.get(&self.id) {
                Some(Snapshot::Kept(kept)) => {
                    let kept = kept.clone();
                    drop(state);
                    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    work(&kept, self.handle.name())
                }
                _ => work(&state.main, self.handle.name()),
            }
        };
        self.ask(SimDeed::Statement, sql, true).await?;
        done
    }

    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.ask(SimDeed::Commit, "", false).await?;
        self.turn().await?;
        if let Some(after) = self.late {
            self.ended = true;
            self.handle.database.commit_late(self.id, std::mem::take(&mut self.done), after);
            return Err(lost(self.handle.name()));
        }
        if self.writes {
            let state = self.handle.database.state();
            state.main.execute_batch("COMMIT").map_err(|error| rows::failure(self.handle.name(), &error))?;
        }
        // Everybody sees it from here on, whether this session is told or not.
        self.end();
        self.ask(SimDeed::Commit, "", true).await
    }

    pub async fn rollback(mut self) -> Result<(), StoreError> {
        self.ask(SimDeed::Rollback, "", false).await?;
        self.end();
        Ok(())
    }

    /// Keeps a statement of a transaction that writes, to be run again if the commit comes late.
    fn keep(&mut self, sql: &str, values: &[Value]) {
        if self.writes {
            self.done.push((sql.to_owned(), values.to_vec()));
        }
    }

    /// As this engine reads it: a text for databases that several nodes share asks for the database's clock, and passes over rows
    /// that somebody else has locked, which here nobody can.
    fn read_as_here<'t>(&self, sql: &'t str) -> Cow<'t, str> {
        if !sql.contains(CLOCK) {
            return Cow::Borrowed(sql);
        }
        let now = self.handle.now().micros().to_string();
        let text = sql.replace(CLOCK, &now).replace(" FOR UPDATE OF e SKIP LOCKED", "");
        let text =
            text.replace("ctid = ANY (ARRAY(SELECT e.ctid", "rowid IN (SELECT at FROM (SELECT e.rowid AS at");
        Cow::Owned(text.replace("= ANY (ARRAY(", "IN (SELECT id FROM ("))
    }

    pub async fn run(&mut self, sql: &str, values: Vec<Value>) -> Result<u64, StoreError> {
        let sql = &*self.read_as_here(sql);
        let kept = values.clone();
        let count = self.statement(sql, |connection, name| rows::run(connection, name, sql, values)).await?;
        self.keep(sql, &kept);
        Ok(count)
    }

    pub async fn rows(&mut self, sql: &str, values: Vec<Value>) -> Result<Vec<SimRow>, StoreError> {
        let sql = &*self.read_as_here(sql);
        let kept = values.clone();
        let rows = self.statement(sql, |connection, name| rows::query(connection, name, sql, values)).await?;
        self.keep(sql, &kept);
        Ok(rows)
    }

    /// Several statements without parameters, as in a migration.
    pub async fn script(&mut self, sql: &str) -> Result<(), StoreError> {
        self.scripted = true;
        self.statement(sql, |connection, name| {
            connection.execute_batch(sql).map_err(|error| rows::failure(name, &error))
        })
        .await
    }

    /// Compiles the text without running it. A `{rows}` is tried with 1 to 32 columns.
    pub async fn prepare(&mut self, sql: &str) -> Result<(), StoreError> {
        let texts: Vec<String> = if sql.contains(ROWS) {
            let template = Template::parse(sql)?;
            (1..=32).map(|columns| template.expand(Engine::Sqlite, 2, columns)).collect()
        } else {
            vec![sql.to_owned()]
        };
        self.statement(sql, |connection, name| {
            let compile = |text: &String| connection.prepare(text).map(drop);
            let mut tried = texts.iter().map(compile);
            let first = tried.next().unwrap_or(Ok(()));
            tried.fold(first, |done, next| done.or(next)).map_err(|error| rows::failure(name, &error))
        })
        .boxed()
        .await
    }
}
