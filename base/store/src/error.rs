//! What can go wrong with state, in the classes that callers tell apart.

use artel_message::Fault;
use std::path::PathBuf;
use std::sync::Arc;

/// Which rule of a table a row broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstraintKind {
    ForeignKey,
    NotNull,
    Check,
    Other,
}

/// An error of a store, a database or a statement. It never holds a value that was bound to a statement.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A row with the same key exists. `constraint` names the columns (SQLite) or the index (PostgreSQL).
    #[error("table {table}: a row with the same {constraint} exists already")]
    Unique { table: String, constraint: String },
    #[error("a constraint of a table is broken: {detail}")]
    Constraint { kind: ConstraintKind, detail: String },
    /// The transaction collided with another one; run it again from its start.
    #[error("the transaction collided with another one; run it again")]
    Serialization,
    #[error("no room left for the database '{}'; free space there, or raise its bound, and try again", path.display())]
    Full { path: PathBuf },
    /// The database can't be used now: locked by another process, unreadable, connection lost.
    #[error("the database '{database}' is not available: {reason}")]
    Unavailable { database: String, reason: String },
    /// The server answers and does not take this program: wrong credentials, no such database, a right that is missing.
    /// Waiting does not help, somebody has to change something.
    #[error("the database '{database}' refuses this program: {reason}")]
    Refused { database: String, reason: String },
    #[error("too many transactions wait for the database '{database}' (bound {bound}); try again later")]
    Crowded { database: String, bound: usize },
    #[error("the file '{}' of the database is damaged ({reason}); stop, keep a copy, and restore a backup", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("the database '{database}' is closed")]
    Closed { database: String },
    /// An earlier statement of this transaction failed, so nothing of it can be committed.
    #[error("an earlier statement of this transaction failed: {first}")]
    Latched { first: Arc<StoreError> },
    /// The future of an earlier statement was dropped before its end, so that nobody knows what it did.
    #[error("an earlier statement of this transaction was abandoned before its end")]
    Abandoned,
    #[error("the statement gave no row where one was expected")]
    NoRow,
    #[error("column {column} {reason}")]
    Decode { column: String, reason: String },
    /// A value that no engine stores alike; `position` counts the parameters from 1.
    #[error("parameter {position}: {reason}")]
    Value { position: usize, reason: String },
    /// A statement that is wrong in itself, with the engine's code and message.
    #[error("the statement failed ({code}): {message}")]
    Statement { code: String, message: String },
    #[error(
        "migration {component}/{file} was changed after it had been applied; put its old text back and write the change \
         as a new file with the next number"
    )]
    Checksum { component: String, file: String },
    #[error("migration {component}/{file}: {reason}")]
    Migration { component: String, file: String, reason: String },
    #[error(
        "the database '{database}' is newer than this program: migration {component}/{file} is applied, which works with \
         programs that know {component}/{works_from:04} or later, and this one knows {component} up to {knows:04}; run the \
         newer program, or restore the backup made before it"
    )]
    Newer { database: String, component: String, file: String, works_from: u32, knows: u32 },
    #[error("database URL '{url}': {reason}")]
    Url { url: String, reason: String },
    #[error("service name '{name}': use 1 to 48 of a-z, 0-9, '-' and '_', starting with a letter")]
    Name { name: String },
    #[error(
        "the data folder '{}' is in use by another process{}; stop that one, or choose another folder", path.display(),
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    InUse { path: PathBuf, pid: Option<u32> },
    #[error("the data folder '{}' can't be used: {reason}", path.display())]
    Folder { path: PathBuf, reason: String },
}

impl StoreError {
    /// For [`crate::FromRow`] implementations that convert further than [`crate::Row::get`].
    pub fn decode(column: &str, reason: impl Into<String>) -> StoreError {
        StoreError::Decode { column: column.to_owned(), reason: reason.into() }
    }

    /// The error that began it: what [`StoreError::Latched`] holds, else itself.
    pub fn first(&self) -> &StoreError {
        match self {
            StoreError::Latched { first } => first.first(),
            other => other,
        }
    }

    /// True where the message or request is not to blame: it is tried again without counting (flow, section 3.1).
    pub fn is_infrastructure(&self) -> bool {
        matches!(
            self.first(),
            StoreError::Serialization
                | StoreError::Full { .. }
                | StoreError::Unavailable { .. }
                | StoreError::Refused { .. }
                | StoreError::Crowded { .. }
                | StoreError::Damaged { .. }
                | StoreError::Closed { .. }
        )
    }

    /// True where the whole transaction is to be run again at once.
    pub fn is_rerun(&self) -> bool {
        matches!(self.first(), StoreError::Serialization)
    }

    /// True where a row with the same key exists already.
    pub fn is_unique(&self) -> bool {
        matches!(self.first(), StoreError::Unique { .. })
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        match error.first() {
            StoreError::Unique { table, .. } => {
                Fault::conflict(format!("table {table}: a row with the same key exists already"))
            }
            StoreError::NoRow => Fault::not_found("what is asked for does not exist"),
            StoreError::Value { reason, .. } => Fault::invalid(reason.clone()),
            StoreError::Full { .. } => {
                Fault::storage_full("no room left for the database; free space, then send it again")
            }
            StoreError::Serialization => {
                Fault::unavailable("the database is contended; send it again in a moment")
            }
            StoreError::Crowded { .. } => {
                Fault::unavailable("too many transactions wait for the database; send it again in a moment")
            }
            StoreError::Unavailable { .. } | StoreError::Refused { .. } | StoreError::Closed { .. } => {
                Fault::unavailable("the database is not available; send it again in a moment")
            }
            StoreError::Damaged { .. } => {
                Fault::unavailable("the database is damaged; the log of the process says what to do")
            }
            other => Fault::internal(format!("the database refused a statement of this service: {other}")),
        }
    }
}
