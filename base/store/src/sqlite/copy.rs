//! A copy of a database that is in use, and looking a copy over.

use super::{Database, error};
use crate::StoreError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Executor, Row};
use std::path::Path;
use std::time::Duration;

/// Between two looks at whether the copy has begun.
const LOOK: Duration = Duration::from_millis(1);

impl Database {
    /// Writes the state of one moment into a new file, which is durable on return. `begun` is called once that moment is over.
    pub async fn copy_to(&self, path: &Path, begun: impl FnOnce() + Send) -> Result<(), StoreError> {
        let Some(name) = path.to_str() else {
            return Err(failed(path, "its name is not UTF-8"));
        };
        // A connection of its own: no reader waits for it.
        let mut connection = self.connect(false).await?;
        let copied = {
            // It begins its read transaction before it writes anything.
            let copying = connection.execute(sqlx::query("VACUUM INTO ?").bind(name.to_owned()));
            tokio::pin!(copying);
            let early = loop {
                tokio::select! {
                    done = &mut copying => break Some(done),
                    () = tokio::time::sleep(LOOK) => {
                        if std::fs::metadata(path).is_ok_and(|file| file.len() > 0) {
                            break None;
                        }
                    }
                }
            };
            begun();
            match early {
                Some(done) => done,
                None => copying.await,
            }
        };
        self.log_close(connection.close().await);
        copied.map_err(|error| match error::classify(error, self, false).error {
            StoreError::Full { .. } => StoreError::Full { path: path.to_owned() },
            error => error,
        })?;
        std::fs::File::open(path).and_then(|file| file.sync_all()).map_err(|e| failed(path, &e.to_string()))
    }
}

/// Reads a whole database file that nobody has open: pages, indexes, constraints. Changes nothing.
pub(crate) async fn check(path: &Path) -> Result<(), StoreError> {
    let damaged = |reason: String| StoreError::Damaged { path: path.to_owned(), reason };
    let options = SqliteConnectOptions::new().filename(path).read_only(true).disable_statement_logging();
    let mut connection: SqliteConnection =
        options.connect().await.map_err(|error| damaged(error.to_string()))?;
    let rows = connection.fetch_all("PRAGMA integrity_check").await;
    let closed = connection.close().await;
    let rows = rows.map_err(|error| damaged(error.to_string()))?;
    closed.map_err(|error| damaged(error.to_string()))?;
    let said: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    if said.iter().map(String::as_str).eq(["ok"]) {
        return Ok(());
    }
    Err(damaged(said.first().cloned().unwrap_or_else(|| "it can't be looked over".to_owned())))
}

fn failed(path: &Path, reason: &str) -> StoreError {
    StoreError::Folder { path: path.to_owned(), reason: reason.to_owned() }
}
