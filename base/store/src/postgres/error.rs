//! PostgreSQL's error codes to our classes (https://www.postgresql.org/docs/current/errcodes-appendix.html).

use super::Server;
use crate::{ConstraintKind, StoreError};
use sqlx::postgres::PgDatabaseError;

/// An error, and whether the connection it came from is to be thrown away.
pub(super) struct Classified {
    pub error: StoreError,
    pub broken: bool,
}

/// Where an error came up.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub server: &'a Server,
    pub database: &'a str,
    pub writer: bool,
}

/// Says what the administrator has to know to the log: on its way to a caller an error loses its reason.
pub(super) fn classify(error: sqlx::Error, origin: Origin<'_>) -> Classified {
    let classified = match &error {
        sqlx::Error::Database(inner) => match inner.try_downcast_ref::<PgDatabaseError>() {
            Some(inner) => by_code(inner, origin),
            None => kept(statement("?", inner.message())),
        },
        sqlx::Error::Io(error) => {
            broken(origin, format!("the connection to {} is lost: {error}", place(origin)))
        }
        sqlx::Error::Tls(error) => refusal(
            origin,
            format!(
                "{} and this machine don't agree on TLS: {error}; check sslmode and sslrootcert in the URL",
                place(origin)
            ),
        ),
        // Nobody knows what became of it: it may have been a COMMIT.
        sqlx::Error::PoolClosed => broken(
            origin,
            "the database was closed, and its transactions did not end within the setting 'close_timeout'"
                .to_owned(),
        ),
        // Not the text of it: a configuration error shows the URL, which may hold the password.
        sqlx::Error::Configuration(_) => Classified {
            error: refused(origin, "the database URL can't be used; check its options".to_owned()),
            broken: true,
        },
        // sqlx itself is confused: nothing of this connection is trusted.
        other => broken(origin, other.to_string()),
    };
    if classified.error.is_infrastructure() && !classified.error.is_rerun() {
        tracing::warn!(database = %origin.database, error = %classified.error, "the database failed");
    }
    classified
}

fn by_code(error: &PgDatabaseError, origin: Origin<'_>) -> Classified {
    let (code, message) = (error.code(), error.message());
    let server = place(origin);
    match code {
        // Serialization failure, deadlock.
        "40001" | "40P01" => kept(StoreError::Serialization),
        // A table changed under a prepared statement: on a new connection it is prepared anew.
        "0A000" if error.routine() == Some("RevalidateCachedQuery") => {
            Classified { error: StoreError::Serialization, broken: true }
        }
        "25006" if origin.writer => broken(
            origin,
            format!("{server} takes no writes, it is a standby; the URL has to name the primary"),
        ),
        "28000" | "28P01" => {
            refusal(origin, format!("{server} refuses the user or the password of the URL ({message})"))
        }
        "3D000" => refusal(origin, format!("{message} on {server}; make it by CREATE DATABASE, or change the URL")),
        "53300" => broken(
            origin,
            format!("all connections of {server} are taken; lower the setting 'connections', or raise max_connections there"),
        ),
        "53100" => kept(StoreError::Full { path: server.into() }),
        "53200" => kept(unavailable(origin, format!("{server} is out of memory"))),
        "55P03" => kept(unavailable(
            origin,
            "another transaction holds a lock longer than the setting 'lock_timeout'".to_owned(),
        )),
        "57014" => kept(unavailable(
            origin,
            "a statement ran longer than the setting 'statement_timeout', or was cancelled by an administrator".to_owned(),
        )),
        "57P01" | "57P02" | "57P03" => {
            broken(origin, format!("{server} is starting, stopping, or ended the connection ({message})"))
        }
        "57P05" | "25P03" => {
            broken(origin, format!("{server} ended a connection that had been silent for too long"))
        }
        "XX001" | "XX002" => Classified {
            error: StoreError::Damaged { path: server.into(), reason: format!("{message}, code {code}") },
            broken: true,
        },
        _ => by_class(error, origin),
    }
}

fn by_class(error: &PgDatabaseError, origin: Origin<'_>) -> Classified {
    let (code, message) = (error.code(), error.message());
    match code.get(..2).unwrap_or(code) {
        "23" => kept(constraint(error)),
        // Their messages quote the value.
        "22" => kept(statement(code, &without_quoted(message))),
        // Connection, a prepared statement that is gone, resources, the server's own files.
        "08" | "26" | "53" | "58" => broken(origin, format!("{}: {message}, code {code}", place(origin))),
        _ => kept(statement(code, message)),
    }
}

fn constraint(error: &PgDatabaseError) -> StoreError {
    let table = || error.table().unwrap_or_default().to_owned();
    let kind = match error.code() {
        "23505" | "23P01" => {
            let constraint = error.constraint().unwrap_or("key").to_owned();
            return StoreError::Unique { table: table(), constraint };
        }
        "23503" => ConstraintKind::ForeignKey,
        "23502" => ConstraintKind::NotNull,
        "23514" => ConstraintKind::Check,
        _ => ConstraintKind::Other,
    };
    StoreError::Constraint { kind, detail: error.message().to_owned() }
}

fn without_quoted(message: &str) -> String {
    message.split('"').enumerate().map(|(at, part)| if at % 2 == 0 { part } else { "…" }).collect()
}

/// HOST:PORT/DATABASE.
fn place(origin: Origin<'_>) -> String {
    origin.server.place.clone()
}

fn statement(code: &str, message: &str) -> StoreError {
    StoreError::Statement { code: format!("postgres {code}"), message: message.to_owned() }
}

pub(super) fn unavailable(origin: Origin<'_>, reason: String) -> StoreError {
    StoreError::Unavailable { database: origin.database.to_owned(), reason }
}

pub(super) fn refused(origin: Origin<'_>, reason: String) -> StoreError {
    StoreError::Refused { database: origin.database.to_owned(), reason }
}

fn kept(error: StoreError) -> Classified {
    Classified { error, broken: false }
}

fn refusal(origin: Origin<'_>, reason: String) -> Classified {
    Classified { error: refused(origin, reason), broken: true }
}

pub(super) fn broken(origin: Origin<'_>, reason: String) -> Classified {
    Classified { error: unavailable(origin, reason), broken: true }
}
