//! Simulated databases, for tests: the same SQL on SQLite in memory, in the caller's thread, where a [`SimHook`] decides before
//! and after each step whether it goes on, waits, fails, or never returns. A [`SimServer`] outlives the nodes that use it, as a
//! database server does, and several nodes may share it; each of them has a [`SimClient`].
//!
//! One writer at a time has a database. A reader waits while somebody's transaction is open, and keeps its snapshot afterwards.
//! So what a writer sees is always what was committed last: collisions of transactions are left to the tests on PostgreSQL.

mod rows;
mod session;

pub(crate) use rows::{SimRow, cell};
pub(crate) use session::Session;

use crate::gate::{Gate, Permit};
use crate::wake::{Wakes, Woken};
use crate::{Lane, StoreError, Value};
use artel_message::Time;
use futures::future::BoxFuture;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// What a session is about to do, or has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimDeed {
    Begin,
    Statement,
    Commit,
    Rollback,
}

/// A place at which a hook is asked.
#[derive(Debug, Clone, Copy)]
pub struct SimStep<'a> {
    pub database: &'a str,
    pub deed: SimDeed,
    /// The statement; empty for the other deeds.
    pub sql: &'a str,
    /// Whether it is done already.
    pub after: bool,
    /// Whether the transaction is one that writes.
    pub writes: bool,
}

/// What becomes of a step.
pub enum SimPlan {
    Go,
    /// It fails as when the connection is lost: the transaction is gone. After a commit: it is committed, and nobody is told.
    Fail,
    /// Of a commit: it fails, and takes effect after so long. Until then readers see what was before, and writers wait.
    Late(Duration),
    /// Decided later.
    Later(BoxFuture<'static, SimPlan>),
    /// The process has died: nothing of it goes on, and the server ends its session.
    Dead,
}

/// What decides about the steps of one node.
pub trait SimHook: Send + Sync {
    /// Asked twice for each step.
    fn step(&self, step: SimStep<'_>) -> SimPlan;
    /// The clock of the database.
    fn now(&self) -> Time;
}

/// How long a transaction may be silent before the server ends it.
const IDLE: Duration = Duration::from_secs(3);

/// Databases that outlive the nodes that use them. Cloning it is cheap.
#[derive(Clone, Default)]
pub struct SimServer(Arc<Server>);

#[derive(Default)]
struct Server {
    databases: Mutex<BTreeMap<String, Arc<Database>>>,
    sessions: AtomicU64,
    clients: AtomicU64,
}

/// One database.
pub(crate) struct Database {
    name: String,
    gate: Arc<Gate>,
    wakes: Arc<Wakes>,
    /// A transaction that writes has ended.
    idle: Notify,
    state: Mutex<State>,
}

struct State {
    main: Connection,
    writer: Option<Writer>,
    /// A commit that its session was not told of is still under way.
    late: bool,
    /// Reading sessions that have seen something, and what they see.
    readers: BTreeMap<u64, Snapshot>,
}

/// Whose transaction is open.
struct Writer {
    session: u64,
    client: u64,
    _permit: Permit,
}

enum Snapshot {
    /// What is there now: nobody has written since.
    Current,
    Kept(Arc<Mutex<Connection>>),
}

/// One node's way to a [`SimServer`].
#[derive(Clone)]
pub struct SimClient(Arc<Client>);

pub(crate) struct Client {
    server: SimServer,
    id: u64,
    hook: Arc<dyn SimHook>,
    shared: bool,
    dead: AtomicBool,
}

impl SimServer {
    pub fn new() -> SimServer {
        SimServer::default()
    }

    /// A node's way here; `shared` = other nodes may use the same databases.
    pub fn client(&self, hook: Arc<dyn SimHook>, shared: bool) -> SimClient {
        let id = self.0.clients.fetch_add(1, Ordering::Relaxed);
        SimClient(Arc::new(Client { server: self.clone(), id, hook, shared, dead: AtomicBool::new(false) }))
    }

    fn databases(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Database>>> {
        self.0.databases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn database(&self, name: &str) -> Result<Arc<Database>, StoreError> {
        if let Some(database) = self.databases().get(name) {
            return Ok(database.clone());
        }
        let main = Connection::open_in_memory().map_err(|error| rows::failure(name, &error))?;
        main.set_prepared_statement_cache_capacity(512);
        let settings = "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cache_spill = OFF";
        main.execute_batch(settings).map_err(|error| rows::failure(name, &error))?;
        let database = Arc::new(Database {
            name: name.to_owned(),
            gate: Gate::new(8, 4096),
            wakes: Arc::default(),
            idle: Notify::new(),
            state: Mutex::new(State { main, writer: None, late: false, readers: BTreeMap::new() }),
        });
        self.databases().insert(name.to_owned(), database.clone());
        Ok(database)
    }

    /// Runs statements without a node, such as those that prepare a test. Nobody's transaction may be open.
    pub fn script(&self, name: &str, sql: &str) -> Result<(), StoreError> {
        let database = self.database(name)?;
        let mut state = database.state();
        state.keep_snapshots(name)?;
        state.main.execute_batch(sql).map_err(|error| rows::failure(name, &error))
    }

    /// What is committed, for whoever judges in the end: the rows of a query as they would be read by a node.
    pub fn rows(&self, name: &str, sql: &str) -> Result<Vec<crate::Row>, StoreError> {
        let database = self.database(name)?;
        let state = database.state();
        let rows = rows::query(&state.main, name, sql, Vec::new())?;
        Ok(rows.into_iter().map(|row| crate::Row(crate::row::RowKind::Sim(row))).collect())
    }

    /// Whether a transaction that writes is open.
    pub fn is_busy(&self, name: &str) -> bool {
        let busy = |database: &Arc<Database>| {
            let state = database.state();
            state.writer.is_some() || state.late
        };
        self.databases().get(name).is_some_and(busy)
    }

    /// A copy of what is committed. Nobody's transaction may be open.
    pub fn copy(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let database = self.database(name)?;
        let state = database.state();
        state.main.serialize("main").map(|data| data.to_vec()).map_err(|error| rows::failure(name, &error))
    }

    /// Puts a copy in the place of what is there. Nobody's transaction may be open.
    pub fn restore(&self, name: &str, copy: &[u8]) -> Result<(), StoreError> {
        let database = self.database(name)?;
        let mut state = database.state();
        state.keep_snapshots(name)?;
        state.main.flush_prepared_statement_cache();
        let restored = state.main.deserialize_read_exact("main", copy, copy.len(), false);
        restored.map_err(|error| rows::failure(name, &error))
    }
}

impl SimClient {
    /// The process has died: its transactions are rolled back, and it does nothing any more.
    pub fn die(&self) {
        self.0.dead.store(true, Ordering::Relaxed);
        let databases: Vec<Arc<Database>> = self.0.server.databases().values().cloned().collect();
        for database in databases {
            database.end(|writer| writer.client == self.0.id);
        }
    }

    pub(crate) fn server(&self) -> &SimServer {
        &self.0.server
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.0.shared
    }
}

impl Client {
    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }
}

/// A database as one node has it.
pub(crate) struct Handle {
    pub database: Arc<Database>,
    pub client: SimClient,
}

impl Handle {
    pub fn name(&self) -> &str {
        &self.database.name
    }

    pub fn is_shared(&self) -> bool {
        self.client.is_shared()
    }

    pub fn now(&self) -> Time {
        self.client.0.hook.now()
    }

    pub fn gate(&self) -> &Arc<Gate> {
        &self.database.gate
    }

    pub fn wake(&self, channel: &str) {
        if !self.client.0.is_dead() {
            self.database.wakes.wake(channel);
        }
    }

    pub fn woken(&self, channel: &str) -> Woken {
        self.database.wakes.woken(channel)
    }

    async fn enter(&self, lane: Lane) -> Result<Permit, StoreError> {
        self.database.gate.enter(lane).await.map_err(|_| lost(self.name()))
    }
}

impl Database {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rolls back the open transaction, if it is such a one.
    fn end(&self, which: impl FnOnce(&Writer) -> bool) {
        let mut state = self.state();
        if state.writer.as_ref().is_some_and(which) {
            if !state.main.is_autocommit() {
                // A rollback in memory has no reason to fail; a transaction that stays open is seen at the next BEGIN.
                let _ = state.main.execute_batch("ROLLBACK");
            }
            let writer = state.writer.take();
            drop(state);
            drop(writer);
            self.idle.notify_waiters();
        }
    }
}

/// A statement that was run, to be run again.
type Done = (String, Vec<Value>);

impl Database {
    /// Ends the open transaction for its session, and commits it after a while.
    fn commit_late(self: &Arc<Self>, session: u64, done: Vec<Done>, after: Duration) {
        let permit = {
            let mut state = self.state();
            let Some(writer) = state.writer.take_if(|writer| writer.session == session) else { return };
            // As in `end`.
            let _ = state.main.execute_batch("ROLLBACK");
            state.late = true;
            writer._permit
        };
        self.idle.notify_waiters();
        let database = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let mut state = database.state();
            let again = state.again(&database.name, done);
            state.late = false;
            drop(state);
            drop(permit);
            // Nobody has written meanwhile, so that what succeeded succeeds again.
            assert!(again.is_ok(), "a late commit of {} failed: {again:?}", database.name);
        });
    }
}

impl State {
    fn again(&mut self, name: &str, done: Vec<Done>) -> Result<(), StoreError> {
        self.keep_snapshots(name)?;
        self.main.execute_batch("BEGIN").map_err(|error| rows::failure(name, &error))?;
        for (sql, values) in done {
            rows::query(&self.main, name, &sql, values)?;
        }
        self.main.execute_batch("COMMIT").map_err(|error| rows::failure(name, &error))
    }

    /// Gives the readers a copy of what they see, before it changes.
    fn keep_snapshots(&mut self, name: &str) -> Result<(), StoreError> {
        if !self.readers.values().any(|snapshot| matches!(snapshot, Snapshot::Current)) {
            return Ok(());
        }
        let failed = |error: rusqlite::Error| rows::failure(name, &error);
        let copy = self.main.serialize("main").map_err(failed)?;
        let mut kept = Connection::open_in_memory().map_err(failed)?;
        kept.deserialize_read_exact("main", &copy[..], copy.len(), true).map_err(failed)?;
        let kept = Arc::new(Mutex::new(kept));
        for snapshot in self.readers.values_mut() {
            if matches!(snapshot, Snapshot::Current) {
                *snapshot = Snapshot::Kept(kept.clone());
            }
        }
        Ok(())
    }
}

fn lost(name: &str) -> StoreError {
    StoreError::Unavailable { database: name.to_owned(), reason: "the connection was lost".to_owned() }
}
