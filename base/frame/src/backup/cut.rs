//! One moment of all databases and of the log.

use super::BackupError;
use artel_bus::Segments;
use artel_bus::segments::Snapshot;
use artel_flow::Clock;
use artel_message::Time;
use artel_store::{Db, Lane, StoreError, Write};
use std::path::Path;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// How long writers that are kept out already wait for the last one, and how often that is tried.
const PATIENCE: Duration = Duration::from_secs(2);
const TRIES: u32 = 15;
const PAUSE: Duration = Duration::from_secs(1);

/// What was begun at that moment.
pub(super) struct Cut {
    pub at: Time,
    pub log: Snapshot,
    /// Each ends when its database is copied.
    pub copies: JoinSet<Result<(), StoreError>>,
}

/// Begins the copies of all databases into the folder, as `NAME.db`. Whatever a database names of the log, the snapshot has:
/// nothing is committed between them.
pub(super) async fn cut(
    log: &Segments,
    dbs: &[Db],
    folder: &Path,
    clock: &Clock,
) -> Result<Cut, BackupError> {
    let held = keep_out(dbs).await?;
    let mut copies = JoinSet::new();
    let mut moments = Vec::with_capacity(dbs.len());
    for db in dbs {
        let (begun, moment) = oneshot::channel();
        let (db, path) = (db.clone(), folder.join(format!("{}.db", db.name())));
        copies.spawn(async move {
            let tell = move || {
                // Nobody waits any more where the backup was given up.
                let _ = begun.send(());
            };
            db.copy_to(&path, tell).await
        });
        moments.push(moment);
    }
    for moment in moments {
        // One that fails before it begins says why when it is awaited.
        let _ = moment.await;
    }
    let (frozen, at) = (log.freeze().await, clock.now());
    for write in held {
        write.rollback().await?;
    }
    Ok(Cut { at, log: frozen?, copies })
}

/// Takes the writer's turn in every database. While one of them takes its time, the others go on.
async fn keep_out(dbs: &[Db]) -> Result<Vec<Write>, BackupError> {
    let mut slow = "";
    for _ in 0..TRIES {
        let mut held = Vec::with_capacity(dbs.len());
        let all = async {
            for db in dbs {
                slow = db.name();
                held.push(db.begin(Lane::Interactive).await?);
            }
            Ok::<_, StoreError>(())
        };
        match tokio::time::timeout(PATIENCE, all).await {
            Ok(Ok(())) => return Ok(held),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => drop(held),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(BackupError::Busy { database: slow.to_owned() })
}
