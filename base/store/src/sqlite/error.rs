//! SQLite's result codes to our classes (https://www.sqlite.org/rescode.html).

use super::Database;
use crate::{ConstraintKind, StoreError};

/// An error, and whether the connection it came from is to be thrown away.
pub(super) struct Classified {
    pub error: StoreError,
    pub broken: bool,
}

/// Says what the administrator has to know to the log: on its way to a caller an error loses path and code.
pub(super) fn classify(error: sqlx::Error, database: &Database, writer: bool) -> Classified {
    let classified = match &error {
        sqlx::Error::Database(inner) => {
            let code = inner.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(1);
            by_code(code, inner.message(), database, writer)
        }
        // The worker's thread is gone, or sqlx itself is confused: nothing of this connection is trusted.
        other => Classified { error: unavailable(database, other.to_string()), broken: true },
    };
    if classified.error.is_infrastructure() {
        tracing::warn!(database = %database.name, error = %classified.error, "the database failed");
    }
    classified
}

fn by_code(code: i32, message: &str, database: &Database, writer: bool) -> Classified {
    const SHM_SIZE: i32 = 4874; // SQLITE_IOERR_SHMSIZE: the log's index could not grow
    let (error, broken) = match code & 0xff {
        5 | 6 => (unavailable(database, "it is locked; another program holds its file".to_owned()), false),
        13 => (StoreError::Full { path: database.path.clone() }, false),
        10 if code == SHM_SIZE => (StoreError::Full { path: database.path.clone() }, true),
        11 | 26 => (
            StoreError::Damaged { path: database.path.clone(), reason: format!("{message}, code {code}") },
            true,
        ),
        19 => (constraint(code, message), false),
        // A statement that writes, in a read transaction.
        8 if !writer => (statement(code, message), false),
        // Out of memory, read only, I/O, can't open, locking protocol, authorisation.
        7 | 8 | 10 | 14 | 15 | 23 => (unavailable(database, format!("{message}, code {code}")), true),
        // An open transaction where none should be: an abandoned ROLLBACK never reached the connection.
        1 if message.contains("within a transaction") => (unavailable(database, message.to_owned()), true),
        _ => (statement(code, message), false),
    };
    Classified { error, broken }
}

pub(crate) fn statement(code: i32, message: &str) -> StoreError {
    StoreError::Statement { code: format!("sqlite {code}"), message: message.to_owned() }
}

fn unavailable(database: &Database, reason: String) -> StoreError {
    StoreError::Unavailable { database: database.name.clone(), reason }
}

pub(crate) fn constraint(code: i32, message: &str) -> StoreError {
    let detail = message.split_once("constraint failed: ").map_or(message, |(_, detail)| detail);
    let kind = match code >> 8 {
        // UNIQUE, PRIMARYKEY, ROWID
        8 | 6 | 10 => {
            let columns = detail.split(", ").map(|c| c.rsplit_once('.').map_or(c, |(_, c)| c));
            let table = detail.split_once('.').map_or("", |(table, _)| table);
            return StoreError::Unique {
                table: table.to_owned(),
                constraint: columns.collect::<Vec<_>>().join(", "),
            };
        }
        3 => ConstraintKind::ForeignKey,
        5 => ConstraintKind::NotNull,
        1 => ConstraintKind::Check,
        _ => ConstraintKind::Other,
    };
    StoreError::Constraint { kind, detail: message.to_owned() }
}
