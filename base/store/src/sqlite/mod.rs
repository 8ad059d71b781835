//! SQLite by sqlx: one writer connection behind a gate, a bounded pool of readers, write-ahead log, synchronous FULL.
//!
//! sqlx runs each connection on a thread of its own that takes commands in order. Transactions are begun and ended by
//! plain statements, not by sqlx's own transaction type: its depth counter stays wrong once SQLite has rolled back by
//! itself (full disk, I/O error), and a dropped statement is followed in that queue by our ROLLBACK either way.

mod bind;
mod cell;
mod copy;
mod error;
mod session;

pub(crate) use cell::cell;
pub(crate) use copy::check;
#[cfg(feature = "sim")]
pub(crate) use error::{constraint, statement};
pub(crate) use session::Session;

use crate::gate::{Gate, Permit, Refused};
use crate::store::{FolderLock, StoreSettings};
use crate::wake::Wakes;
use crate::{Lane, StoreError};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// How often emptying the write-ahead log is tried, 50 ms each, before the writer goes on with a longer one.
const CHECKPOINTS: u32 = 10;

/// Pages in the write-ahead log with which a commit moves them into the file: 16 MB. What is written often is moved once for many commits,
/// and the commit that moves takes some tens of milliseconds longer.
const CHECKPOINT_PAGES: u32 = 4_000;

/// One database file.
pub(crate) struct Database {
    pub name: String,
    pub path: PathBuf,
    pub settings: StoreSettings,
    pub gate: Arc<Gate>,
    pub wakes: Arc<Wakes>,
    readers: Arc<Semaphore>,
    idle_writer: Idle,
    idle_readers: Idle,
    /// Size of the write-ahead log in bytes at which the next writer empties it.
    checkpoint_at: AtomicU64,
    /// Held as long as any handle of the database lives.
    _lock: Arc<FolderLock>,
}

/// Connections that nobody uses at the moment.
#[derive(Default)]
struct Idle(Mutex<Vec<SqliteConnection>>);

impl Idle {
    fn take(&self) -> Option<SqliteConnection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
    fn put(&self, connection: SqliteConnection) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

impl Database {
    /// Opens or makes the file; the writer connects first, so that a crashed process's log is recovered before any
    /// read-only connection looks.
    pub async fn open(
        name: &str,
        path: PathBuf,
        settings: StoreSettings,
        lock: Arc<FolderLock>,
    ) -> Result<Arc<Database>, StoreError> {
        let database = Arc::new(Database {
            name: name.to_owned(),
            path,
            gate: Gate::new(settings.fairness, settings.waiting),
            wakes: Arc::default(),
            readers: Arc::new(Semaphore::new(settings.readers.max(1))),
            idle_writer: Idle::default(),
            idle_readers: Idle::default(),
            checkpoint_at: AtomicU64::new(settings.wal_bytes),
            settings,
            _lock: lock,
        });
        let writer = database.connect(true).await?;
        database.idle_writer.put(writer);
        Ok(database)
    }

    async fn connect(&self, writer: bool) -> Result<SqliteConnection, StoreError> {
        let settings = &self.settings;
        let cache = if writer { settings.writer_cache } else { settings.reader_cache };
        let thread = format!("db-{}-{}", self.name, if writer { "w" } else { "r" });
        let mut options = SqliteConnectOptions::new()
            .filename(&self.path)
            .busy_timeout(settings.busy_timeout)
            .statement_cache_capacity(settings.statements.max(1))
            .thread_name(move |_| thread.clone())
            // Rows cross threads one by one; room for a batch of them spares a wake-up each.
            .row_buffer_size(settings.rows_ahead.max(1))
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full)
            .pragma("cache_size", format!("-{}", cache / 1024))
            .pragma("mmap_size", "0")
            .pragma("trusted_schema", "OFF")
            .disable_statement_logging();
        if writer {
            options = options
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
                .pragma("journal_size_limit", settings.wal_bytes.to_string());
            if let Some(bytes) = settings.max_bytes {
                options = options.pragma("max_page_count", (bytes / 4096).max(1).to_string());
            }
        } else {
            options = options.read_only(true);
        }
        options.connect().await.map_err(|error| error::classify(error, self, writer).error)
    }

    /// The writer's turn, in a lane.
    pub async fn enter(&self, lane: Lane) -> Result<Permit, StoreError> {
        self.gate.enter(lane).await.map_err(|refused| match refused {
            Refused::Closed => self.closed(),
            Refused::Crowded => {
                StoreError::Crowded { database: self.name.clone(), bound: self.settings.waiting }
            }
        })
    }

    fn closed(&self) -> StoreError {
        StoreError::Closed { database: self.name.clone() }
    }

    fn log_bytes(&self) -> u64 {
        std::fs::metadata(self.log_path()).map_or(0, |meta| meta.len())
    }

    /// Empties the write-ahead log when it has outgrown its bound: with overlapping readers SQLite alone never gets to
    /// start it over. Called with the writer's permit held. The connection is for the bin if this future is dropped.
    async fn bound_log(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        // SQLite waits for the readers of a place in its index even when a newer reader, which it needn't wait for, has
        // taken that place meanwhile; so it waits shortly and looks anew, instead of once and long.
        connection.execute("PRAGMA busy_timeout = 50").await?;
        for _ in 0..CHECKPOINTS {
            let row = connection.fetch_one("PRAGMA wal_checkpoint(TRUNCATE)").await?;
            if sqlx::Row::try_get::<i64, _>(&row, 0)? == 0 {
                break;
            }
        }
        let timeout = format!("PRAGMA busy_timeout = {}", self.settings.busy_timeout.as_millis());
        connection.execute(AssertSqlSafe(timeout)).await?; // a number
        let left = self.log_bytes();
        let bound = self.settings.wal_bytes;
        if left > bound {
            tracing::warn!(database = %self.name, bytes = left, "a long read keeps the write-ahead log from being emptied");
        }
        self.checkpoint_at.store(if left > bound { left + bound } else { bound }, Ordering::Relaxed);
        Ok(())
    }

    fn log_is_long(&self) -> bool {
        self.log_bytes() > self.checkpoint_at.load(Ordering::Relaxed)
    }

    fn log_path(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push("-wal");
        PathBuf::from(path)
    }

    /// Waits for the transactions under way, refuses new ones, moves the write-ahead log into the file, and closes.
    pub async fn close(&self) {
        let Ok(_permit) = self.gate.close().await else { return };
        let all = u32::try_from(self.settings.readers.max(1)).unwrap_or(u32::MAX);
        if let Ok(readers) = self.readers.acquire_many(all).await {
            self.readers.close();
            drop(readers);
        }
        while let Some(reader) = self.idle_readers.take() {
            self.log_close(reader.close().await);
        }
        while let Some(mut writer) = self.idle_writer.take() {
            self.log_close(writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.map(|_| ()));
            self.log_close(writer.close().await);
        }
    }

    fn log_close(&self, result: Result<(), sqlx::Error>) {
        if let Err(error) = result {
            tracing::warn!(database = %self.name, %error, "a connection did not close cleanly");
        }
    }

    fn idle(&self, writer: bool) -> &Idle {
        if writer { &self.idle_writer } else { &self.idle_readers }
    }
}
