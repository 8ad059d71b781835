//! [`Db`]: one service's database.

use crate::late::{Begun, Late};
#[cfg(feature = "postgres")]
use crate::postgres;
use crate::session::Session;
#[cfg(feature = "sim")]
use crate::sim;
use crate::sql::Sql;
use crate::{Lane, Read, StoreError, Woken, Write, sqlite};
use artel_message::Time;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Which engine runs the statements; for [`Sql::pick`] and for the flow's own storage, never for a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// How a write transaction is kept apart from others at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    Serializable,
    ReadCommitted,
}

const NOW: Sql = Sql {
    sqlite: "SELECT CAST(unixepoch('subsec') * 1000000 AS BIGINT)",
    postgres: "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
};

/// A service's database: a file of its own on SQLite, a schema of its own on PostgreSQL. Cloning it is cheap.
#[derive(Clone)]
pub struct Db(pub(crate) Backend);

#[derive(Clone)]
pub(crate) enum Backend {
    Sqlite(Arc<sqlite::Database>),
    #[cfg(feature = "postgres")]
    Postgres(Arc<postgres::Database>),
    #[cfg(feature = "sim")]
    Sim(Arc<sim::Handle>),
}

/// How long a simulated background transaction runs before it gives way.
#[cfg(feature = "sim")]
const SIM_SLICE: std::time::Duration = std::time::Duration::from_millis(20);

/// A text that the engine does not take.
#[derive(Debug, Clone)]
pub struct PrepareProblem {
    pub sql: &'static str,
    pub error: StoreError,
}

impl Db {
    /// The service's name.
    pub fn name(&self) -> &str {
        match &self.0 {
            Backend::Sqlite(database) => &database.name,
            #[cfg(feature = "postgres")]
            Backend::Postgres(database) => &database.name,
            #[cfg(feature = "sim")]
            Backend::Sim(handle) => handle.name(),
        }
    }

    pub fn engine(&self) -> Engine {
        match &self.0 {
            Backend::Sqlite(_) => Engine::Sqlite,
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => Engine::Postgres,
            #[cfg(feature = "sim")]
            Backend::Sim(_) => Engine::Sqlite,
        }
    }

    /// Whether other processes may use the same database. It decides who gives the numbers of messages, whether work is leased,
    /// and whose clock counts; never which text is run.
    pub fn is_shared(&self) -> bool {
        match &self.0 {
            Backend::Sqlite(_) => false,
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => true,
            #[cfg(feature = "sim")]
            Backend::Sim(handle) => handle.is_shared(),
        }
    }

    /// A write transaction that behaves as if it were alone, when its turn has come; interactive ones first. On SQLite it
    /// is alone. On PostgreSQL it is SERIALIZABLE: any statement of it, and the commit, may fail with
    /// [`StoreError::Serialization`], and then the whole of it is run again from [`Db::begin`] on.
    pub async fn begin(&self, lane: Lane) -> Result<Write, StoreError> {
        self.begin_at(lane, Isolation::Serializable).await
    }

    /// A write transaction that sees, statement by statement, what others have committed meanwhile (READ COMMITTED on
    /// PostgreSQL, the same as [`Db::begin`] on SQLite). For the runtime's own work, which orders itself by the rows that
    /// it changes: a read that is followed by a write loses what another one wrote in between.
    pub async fn begin_plain(&self, lane: Lane) -> Result<Write, StoreError> {
        self.begin_at(lane, Isolation::ReadCommitted).await
    }

    /// As [`Db::begin`], for work that computes before its first statement: with that it begins, and not before `after` is cancelled. Until
    /// then it has no connection and holds nobody up.
    pub fn begin_late(&self, lane: Lane, after: CancellationToken) -> Write {
        self.write(Begun::Late(Late::new(self, lane, after)), lane)
    }

    async fn begin_at(&self, lane: Lane, isolation: Isolation) -> Result<Write, StoreError> {
        Ok(self.write(Begun::now(self.session(lane, isolation).await?), lane))
    }

    fn write(&self, begun: Begun, lane: Lane) -> Write {
        let (gate, slice) = match &self.0 {
            Backend::Sqlite(database) => (&database.gate, database.settings.slice),
            #[cfg(feature = "postgres")]
            Backend::Postgres(database) => (database.writers(), database.slice()),
            #[cfg(feature = "sim")]
            Backend::Sim(handle) => (handle.gate(), SIM_SLICE),
        };
        Write::new(begun, Arc::clone(gate), lane, slice)
    }

    /// Begins a write transaction.
    pub(crate) async fn session(&self, lane: Lane, isolation: Isolation) -> Result<Session, StoreError> {
        match &self.0 {
            Backend::Sqlite(database) => {
                let _ = isolation; // there is one writer at a time
                let permit = database.enter(lane).await?;
                Ok(Session::Sqlite(sqlite::Session::write(database, permit).await?))
            }
            #[cfg(feature = "postgres")]
            Backend::Postgres(database) => {
                Ok(Session::Postgres(postgres::Session::write(database, lane, isolation).await?))
            }
            #[cfg(feature = "sim")]
            Backend::Sim(handle) => Ok(Session::Sim(sim::Session::write(handle, lane).await?)),
        }
    }

    /// A read transaction, as soon as one of the readers is free. Keep it short: as long as it lives, SQLite's write-ahead
    /// log can't be started over, and PostgreSQL can't clean up.
    pub async fn read(&self) -> Result<Read, StoreError> {
        let session = match &self.0 {
            Backend::Sqlite(database) => Session::Sqlite(sqlite::Session::read(database).await?),
            #[cfg(feature = "postgres")]
            Backend::Postgres(database) => Session::Postgres(postgres::Session::read(database).await?),
            #[cfg(feature = "sim")]
            Backend::Sim(handle) => Session::Sim(sim::Session::read(handle).await?),
        };
        Ok(Read::new(session))
    }

    /// The database's clock; SQLite's has milliseconds.
    pub async fn now(&self) -> Result<Time, StoreError> {
        #[cfg(feature = "sim")]
        if let Backend::Sim(handle) = &self.0 {
            return Ok(handle.now());
        }
        let (now,) = self.read().await?.one::<(Time,)>(NOW.pick(self.engine()), ()).await?;
        Ok(now)
    }

    /// Compiles every text without running it and gives those that the engine refuses. A service's tests call it with
    /// all their SQL, after migrating. A `{rows}` is tried with 1 to 32 columns. PostgreSQL is given every type that a
    /// [`crate::Value`] can have where it doesn't know a parameter's by itself, and columns that no
    /// [`crate::Column`] reads are a problem too.
    pub async fn prepare_all(&self, texts: &[&'static str]) -> Result<Vec<PrepareProblem>, StoreError> {
        let mut write = self.begin_plain(Lane::Interactive).await?;
        let mut problems = Vec::new();
        for &text in texts {
            if let Err(error) = write.session().await?.prepare(text).await {
                problems.push(PrepareProblem { sql: text, error });
            }
        }
        write.rollback().await?;
        Ok(problems)
    }

    /// Wakes whoever waits on that channel of this database, in this process at once and in the others shortly after. To be
    /// called after the commit: who wakes up has to see what it is about. It only makes things quicker, see [`Woken`].
    pub fn wake(&self, channel: &'static str) {
        match &self.0 {
            Backend::Sqlite(database) => database.wakes.wake(channel),
            #[cfg(feature = "postgres")]
            Backend::Postgres(database) => database.wake(channel),
            #[cfg(feature = "sim")]
            Backend::Sim(handle) => handle.wake(channel),
        }
    }

    /// The same, without those who wait in this process.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "sim")),
        expect(unused_variables, reason = "a file has one process")
    )]
    pub fn wake_elsewhere(&self, channel: &'static str) {
        match &self.0 {
            // A file has one process.
            Backend::Sqlite(_) => {}
            #[cfg(feature = "postgres")]
            Backend::Postgres(database) => database.wake_elsewhere(channel),
            // Its nodes are all in this process.
            #[cfg(feature = "sim")]
            Backend::Sim(handle) => handle.wake(channel),
        }
    }

    /// The wake-ups of that channel from now on, from every process that uses this database.
    pub fn woken(&self, channel: &'static str) -> Woken {
        match &self.0 {
            Backend::Sqlite(database) => database.wakes.woken(channel),
            #[cfg(feature = "postgres")]
            Backend::Postgres(database) => database.woken(channel),
            #[cfg(feature = "sim")]
            Backend::Sim(handle) => handle.woken(channel),
        }
    }

    /// What processes that change the same tables lock against each other; a file has one process.
    pub(crate) fn lock_key(&self) -> Option<i64> {
        match &self.0 {
            Backend::Sqlite(_) => None,
            #[cfg(feature = "postgres")]
            Backend::Postgres(database) => Some(database.lock_key()),
            #[cfg(feature = "sim")]
            Backend::Sim(_) => None,
        }
    }

    /// Writes the state of one moment into a new file of its own, durable on return, beside whatever goes on. `begun` is called
    /// once that moment is over: who keeps all writers out until then knows what the copy holds. SQLite alone; PostgreSQL has
    /// tools for it.
    pub async fn copy_to(&self, path: &Path, begun: impl FnOnce() + Send) -> Result<(), StoreError> {
        match &self.0 {
            Backend::Sqlite(database) => database.copy_to(path, begun).await,
            #[cfg(feature = "postgres")]
            Backend::Postgres(database) => Err(StoreError::Unavailable {
                database: database.name.clone(),
                reason: "a database on PostgreSQL is copied by its own tools, such as pg_dump".to_owned(),
            }),
            #[cfg(feature = "sim")]
            Backend::Sim(_) => Err(StoreError::Unavailable {
                database: self.name().to_owned(),
                reason: "a simulated database is copied by its server".to_owned(),
            }),
        }
    }

    /// Looks a file over that [`Db::copy_to`] wrote and nobody has open: [`StoreError::Damaged`] says what is wrong.
    pub async fn check_copy(path: &Path) -> Result<(), StoreError> {
        sqlite::check(path).await
    }

    /// Waits for the transactions under way, refuses new ones, and closes the connections.
    pub async fn close(&self) {
        match &self.0 {
            Backend::Sqlite(database) => database.close().await,
            #[cfg(feature = "postgres")]
            Backend::Postgres(database) => database.close().await,
            #[cfg(feature = "sim")]
            Backend::Sim(_) => {}
        }
    }
}
