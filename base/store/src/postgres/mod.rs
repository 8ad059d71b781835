//! PostgreSQL by sqlx: a schema per service, and one budget of connections for the whole process.
//!
//! The budget is cut into writers and readers, each behind a gate with two lanes. A connection keeps what it was made for:
//! writers plan without whole scans of tables (a scan of a small table takes a lock on all of it, and SERIALIZABLE
//! transactions that have nothing to do with each other would collide), and a connection stays with the schema it served
//! last, because its prepared statements are bound to it. Transactions are begun and ended by plain statements, as on SQLite.
//! A proxy that gives each transaction another connection (PgBouncer's transaction mode) can't stand in between.

mod bind;
mod cell;
mod error;
mod hub;
mod pool;
mod prepare;
mod session;

pub(crate) use cell::cell;
pub(crate) use session::Session;

use crate::gate::{Gate, Permit, Refused, Slots};
use crate::store::{Connections, StoreSettings};
use crate::wake::Wakes;
use crate::{Lane, StoreError, Woken};
use error::Origin;
use hub::Hub;
use pool::{Link, Place, Pool};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The oldest server that has what is used here, as `server_version_num` counts.
const OLDEST: u32 = 130_000;

/// More transactions than there can be at a time in one database.
const MEMBERS: u32 = 1 << 20;

/// One server as this process sees it: its connections, over all services.
pub(crate) struct Server {
    options: PgConnectOptions,
    /// HOST:PORT/DATABASE, for messages.
    pub place: String,
    settings: StoreSettings,
    writers: Arc<Gate>,
    readers: Arc<Gate>,
    writer_pool: Pool,
    reader_pool: Pool,
    hub: Arc<Hub>,
    /// Where the hub's task runs.
    runtime: tokio::runtime::Handle,
}

/// What an answer may take longer than the server's own bound.
const GRACE: Duration = Duration::from_secs(5);

async fn within<T>(
    bound: Option<Duration>,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let Some(bound) = bound else { return answer.await };
    tokio::time::timeout(bound, answer).await.unwrap_or_else(|_| {
        let text = format!("no answer within {} s", bound.as_secs());
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text)))
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        self.hub.abort();
    }
}

/// How the budget is cut: writers and readers; one more is for wake-ups.
fn budget(connections: usize) -> (Slots, Slots) {
    let shared = connections.saturating_sub(1).max(2);
    let readers = (shared / 3).max(1);
    let writers = shared - readers;
    let background = if writers == 1 { 1 } else { writers - (writers / 4).max(1) };
    (Slots { all: writers, background }, Slots { all: readers, background: readers })
}

impl Server {
    /// Connects once, so that what is wrong with the URL is told now.
    pub async fn connect(url: &str, settings: StoreSettings) -> Result<Arc<Server>, StoreError> {
        let refuse =
            |reason: &str| StoreError::Url { url: "postgres:…".to_owned(), reason: reason.to_owned() };
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            refuse("can't be read; write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with '%40' for a '@' in the password")
        })?;
        let Some(database) = options.get_database() else {
            return Err(refuse("names no database; write postgres://USER:PASSWORD@HOST:PORT/DATABASE"));
        };
        let place = format!("{}:{}/{database}", options.get_host(), options.get_port());
        let name = options.get_application_name().unwrap_or("artel").to_owned();
        let options = options
            .application_name(&name)
            .statement_cache_capacity(settings.statements.max(1))
            .disable_statement_logging();
        let (writers, readers) = budget(settings.connections);
        let server = Arc::new(Server {
            options,
            place,
            writers: Gate::with_slots(writers, settings.fairness, settings.waiting),
            readers: Gate::with_slots(readers, settings.fairness, settings.waiting),
            writer_pool: Pool::new(writers.all),
            reader_pool: Pool::new(readers.all),
            hub: Arc::new(Hub::new()),
            runtime: tokio::runtime::Handle::current(),
            settings,
        });
        if let Err(place) = server.writer_pool.take("pg_catalog") {
            let origin = server.origin("postgres", true);
            let link = server.link(place, true, &Arc::from("pg_catalog"), origin).await?;
            server.end(link).await;
        }
        Ok(server)
    }

    fn origin<'a>(&'a self, database: &'a str, writer: bool) -> Origin<'a> {
        Origin { server: self, database, writer }
    }

    /// The pools' connections.
    pub fn connections(&self) -> Connections {
        let mut now =
            Connections { open: 0, used: 0, max: self.writer_pool.slots() + self.reader_pool.slots() };
        for pool in [&self.writer_pool, &self.reader_pool] {
            let (open, idle) = pool.counts();
            now.open += open;
            now.used += open.saturating_sub(idle);
        }
        now
    }

    fn pool(&self, writer: bool) -> &Pool {
        if writer { &self.writer_pool } else { &self.reader_pool }
    }

    /// A new connection.
    async fn link(
        &self,
        place: Place,
        writer: bool,
        schema: &Arc<str>,
        origin: Origin<'_>,
    ) -> Result<Link, StoreError> {
        let connecting = self.connect_and_set(writer);
        let connection = match tokio::time::timeout(self.settings.connect_timeout, connecting).await {
            Ok(connected) => connected.map_err(|error| unreachable(error, origin))?,
            Err(_) => {
                let after = self.settings.connect_timeout.as_secs_f32();
                let reason = format!("{} can't be reached: no answer within {after} s", self.place);
                return Err(error::broken(origin, reason).error);
            }
        };
        if let Some(version) = connection.server_version_num()
            && version < OLDEST
        {
            let reason = format!(
                "{} runs version {}; version 13 is the oldest that will do",
                self.place,
                version / 10_000
            );
            return Err(error::refused(origin, reason));
        }
        let mut link = Link::new(connection, place);
        self.within(link.serve(schema)).await.map_err(|error| error::classify(error, origin).error)?;
        Ok(link)
    }

    async fn connect_and_set(&self, writer: bool) -> Result<sqlx::PgConnection, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        let settings = &self.settings;
        let (scans, idle) =
            (if writer { "off" } else { "on" }, settings.idle_in_transaction_timeout.as_millis());
        let (statement, lock) = (settings.statement_timeout.as_millis(), settings.lock_timeout.as_millis());
        let keepalive = settings.keepalive.as_secs().max(1);
        // Without scans a plan that can't avoid one seems so dear that it would be compiled: jit is off.
        let text = format!(
            "SET enable_seqscan = {scans}; SET jit = off; SET idle_in_transaction_session_timeout = {idle}; \
             SET statement_timeout = {statement}; SET lock_timeout = {lock}; SET tcp_keepalives_idle = {keepalive}; \
             SET tcp_keepalives_interval = {keepalive}; SET tcp_keepalives_count = 3"
        );
        connection.execute(sqlx::raw_sql(AssertSqlSafe(text))).await?; // numbers
        // A statement of a caller who is gone ends soon. Not every system has it, and it only spares the server's time.
        if let Err(error) =
            connection.execute(sqlx::raw_sql("SET client_connection_check_interval = 1000")).await
        {
            tracing::debug!(%error, "the server can't look for callers that are gone");
        }
        Ok(connection)
    }

    /// Bounds the wait for an answer: a server that lost its power says nothing, not even that the time is over.
    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let bound = self.settings.statement_timeout;
        within((!bound.is_zero()).then(|| bound + GRACE), answer).await
    }

    pub async fn close(&self) {
        self.hub.close().await;
        for pool in [&self.writer_pool, &self.reader_pool] {
            for link in pool.drain(None) {
                self.end(link).await;
            }
        }
    }

    async fn end(&self, link: Link) {
        if let Err(error) = within(Some(GRACE), link.into_connection().close()).await {
            tracing::debug!(server = %self.place, %error, "a connection did not close cleanly");
        }
    }
}

/// At connecting: an error of the network means that nobody is there.
fn unreachable(error: sqlx::Error, origin: Origin<'_>) -> StoreError {
    match error {
        // So sqlx gives what rustls says about certificates.
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            error::classify(sqlx::Error::Tls(error.into()), origin).error
        }
        sqlx::Error::Io(error) => {
            let reason = format!(
                "{} can't be reached: {error}; is the server running, and is it the right address?",
                origin.server.place
            );
            error::broken(origin, reason).error
        }
        other => error::classify(other, origin).error,
    }
}

/// One service's schema.
pub(crate) struct Database {
    pub name: String,
    schema: Arc<str>,
    server: Arc<Server>,
    wakes: Arc<Wakes>,
    /// One permit for each transaction under way.
    members: Arc<Semaphore>,
    phase: watch::Sender<Phase>,
}

/// How far closing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Open,
    /// Transactions under way end, and none begins.
    Closing,
    /// What is under way is given up on.
    Cut,
}

/// The right to begin a transaction; dropped after the connection is back.
struct Turn {
    _permit: Permit,
    _member: OwnedSemaphorePermit,
}

impl Database {
    pub async fn open(server: &Arc<Server>, name: &str) -> Result<Arc<Database>, StoreError> {
        let database = Arc::new(Database {
            name: name.to_owned(),
            schema: format!("artel_{name}").into(),
            server: Arc::clone(server),
            wakes: Arc::default(),
            members: Arc::new(Semaphore::new(MEMBERS as usize)),
            phase: watch::Sender::new(Phase::Open),
        });
        database.make_schema().await?;
        server.hub.add(&database.schema, &database.wakes);
        Ok(database)
    }

    /// Several nodes may start at once, and who may not make schemas may use one that is there.
    async fn make_schema(self: &Arc<Self>) -> Result<(), StoreError> {
        let mut session =
            Session::write(self, Lane::Interactive, crate::db::Isolation::ReadCommitted).await?;
        // Without the lock first: a node may be at its migrations for long.
        let there = format!("SELECT 1 FROM pg_namespace WHERE nspname = '{}'", self.schema);
        let text = format!(
            "DO $do$ BEGIN \
             IF NOT EXISTS ({there}) THEN PERFORM pg_advisory_xact_lock({key}); \
             IF NOT EXISTS ({there}) THEN CREATE SCHEMA \"{schema}\"; END IF; END IF; \
             END $do$",
            key = self.lock_key(),
            schema = self.schema
        );
        // The name is checked: no quotes in it.
        match session.script(AssertSqlSafe(text)).await {
            Ok(()) => session.commit().await,
            Err(StoreError::Statement { code, .. }) if code == "postgres 42501" => {
                let server = &self.server;
                let (user, place) = (server.options.get_username(), &server.place);
                let reason = format!(
                    "user '{user}' may not make the schema {} on {place}; GRANT CREATE ON DATABASE to it, or make the schema \
                     for it",
                    self.schema
                );
                Err(error::refused(self.origin(true), reason))
            }
            Err(error) => Err(error),
        }
    }

    /// What several nodes lock while they change the schema (FNV-1a of its name).
    pub fn lock_key(&self) -> i64 {
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        self.schema.bytes().fold(0xcbf2_9ce4_8422_2325, hash).cast_signed()
    }

    fn origin(&self, writer: bool) -> Origin<'_> {
        self.server.origin(&self.name, writer)
    }

    pub fn writers(&self) -> &Arc<Gate> {
        &self.server.writers
    }

    pub fn slice(&self) -> Duration {
        self.server.settings.slice
    }

    fn closed(&self) -> StoreError {
        StoreError::Closed { database: self.name.clone() }
    }

    /// In this process at once, in the others through the server.
    pub fn wake(&self, channel: &'static str) {
        self.wakes.wake(channel);
        self.wake_elsewhere(channel);
    }

    pub fn wake_elsewhere(&self, channel: &'static str) {
        self.server.hub.start(&self.server);
        self.server.hub.send(&self.schema, channel);
    }

    pub fn woken(&self, channel: &'static str) -> Woken {
        self.server.hub.start(&self.server);
        self.wakes.woken(channel)
    }

    /// Waits for a place in the budget.
    async fn enter(&self, writer: bool, lane: Lane) -> Result<Turn, StoreError> {
        let gate = if writer { &self.server.writers } else { &self.server.readers };
        let permit = tokio::select! {
            biased;
            () = self.reached(Phase::Closing) => return Err(self.closed()),
            entered = gate.enter(lane) => entered.map_err(|refused| match refused {
                Refused::Closed => self.closed(),
                Refused::Crowded => {
                    StoreError::Crowded { database: self.name.clone(), bound: self.server.settings.waiting }
                }
            })?,
        };
        let member = Arc::clone(&self.members).try_acquire_owned().map_err(|_| self.closed())?;
        Ok(Turn { _permit: permit, _member: member })
    }

    /// Returns when closing is as far as that.
    async fn reached(&self, phase: Phase) {
        // Can't fail: the sender is here.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// Waits for an answer, no longer than the server's bound, and not at all once this database is given up on.
    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        self.unless_cut(self.server.within(answer)).await
    }

    async fn unless_cut<T>(
        &self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        tokio::select! {
            biased;
            () = self.reached(Phase::Cut) => Err(sqlx::Error::PoolClosed),
            answer = answer => answer,
        }
    }

    /// Waits for the transactions under way up to `close_timeout`, refuses new ones, and closes the connections.
    pub async fn close(&self) {
        let is_first = self.phase.send_if_modified(|now| {
            let is_first = *now == Phase::Open;
            *now = if is_first { Phase::Closing } else { *now };
            is_first
        });
        if !is_first {
            return;
        }
        let bound = self.server.settings.close_timeout;
        match tokio::time::timeout(bound, self.members.acquire_many(MEMBERS)).await {
            Ok(Ok(all)) => all.forget(),
            // Nobody closes it.
            Ok(Err(_)) => {}
            Err(_) => {
                let left = MEMBERS as usize - self.members.available_permits();
                tracing::warn!(database = %self.name, server = %self.server.place, transactions = left,
                    "transactions did not end within {bound:?} (close_timeout); their connections are dropped, and the \
                     server undoes what they did");
                self.phase.send_replace(Phase::Cut);
            }
        }
        for pool in [&self.server.writer_pool, &self.server.reader_pool] {
            for link in pool.drain(Some(&self.schema)) {
                self.server.end(link).await;
            }
        }
    }

    /// Whether a connection that comes back now would be kept by nobody.
    fn is_cut(&self) -> bool {
        *self.phase.borrow() == Phase::Cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_leaves_something_to_each() {
        for connections in 0..100 {
            let (writers, readers) = budget(connections);
            assert!(writers.all >= 1 && readers.all >= 1 && writers.background >= 1);
            assert!(writers.all + readers.all < connections.max(3));
            assert!(writers.all == 1 || writers.background < writers.all, "{connections}");
        }
        let sixteen = (Slots { all: 10, background: 8 }, Slots { all: 5, background: 5 });
        assert_eq!(budget(16), sixteen);
    }
}
