//! Bringing a backup back.

use super::manifest::{CopiedLog, Manifest};
use super::place::{self, io};
use super::take::blocking;
use super::{BackupError, Progress};
use crate::config::{BusAdapter, Config, DbAdapter};
use crate::node::{Closed, FolderLock};
use artel_bus::segments::check_copy;
use artel_flow::Service;
use artel_message::Time;
use artel_store::Db;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where a node of this configuration keeps what it knows.
struct Folders {
    data: PathBuf,
    log: PathBuf,
    db: PathBuf,
}

impl Folders {
    fn of(config: &Config) -> Result<Folders, BackupError> {
        match (config.bus_adapter(), config.db_adapter()) {
            (Ok(BusAdapter::Segments(log)), Ok(DbAdapter::Sqlite(db))) => {
                Ok(Folders { data: config.node.data_dir.clone(), log, db })
            }
            _ => Err(BackupError::NotEmbedded(
                "a backup is brought back into an embedded node: bus.url segments: and db.url sqlite:"
                    .to_owned(),
            )),
        }
    }

    /// Where a file of the backup goes.
    fn place(&self, file: &Path) -> Option<PathBuf> {
        let below = |part: &str, folder: &Path| file.strip_prefix(part).ok().map(|rest| folder.join(rest));
        below("db", &self.db).or_else(|| below("log", &self.log))
    }
}

/// Copies a backup into the folders that the configuration names, which have to be empty or not there, and reads everything
/// back. Until it is through no node starts there; on an error nothing of it stays.
pub async fn restore(
    backup: &Path,
    config: &Config,
    services: &[Service],
    progress: &Progress,
) -> Result<Manifest, BackupError> {
    let folders = Folders::of(config)?;
    let manifest = Manifest::read(backup)?;
    refuse_newer(&manifest, services)?;
    for folder in [&folders.data, &folders.log, &folders.db] {
        if !place::is_empty(folder)? {
            return Err(BackupError::NotEmpty { path: folder.clone(), unfinished: false });
        }
    }
    refuse_incomplete(backup, &manifest, &folders)?;
    let lock = FolderLock::take(&folders.data).map_err(Box::new)?;
    match copy(backup, &manifest, &folders, progress).await {
        Ok(()) => Ok(manifest),
        Err(error) => Err(give_up(&folders, lock, error)),
    }
}

/// Removes what was brought back, the mark that keeps nodes away last of all: a log without its databases would be run from its
/// beginning by a node that starts on it. Where something can't be removed the mark stays, and the error says so.
fn give_up(folders: &Folders, lock: FolderLock, error: BackupError) -> BackupError {
    let marked = Closed::is_left(&folders.db);
    let removed = place::clear(&folders.log, None).and_then(|()| {
        // The rest of the databases before the mark, and durably.
        place::clear(&folders.db, marked.then_some(Closed::FILE))?;
        if marked {
            Closed::remove(&folders.db).map_err(|error| io("writing to", &folders.db, &error))
        } else {
            Ok(())
        }
    });
    if let Err(left) = removed {
        return BackupError::Left { error: Box::new(error), left: Box::new(left), path: folders.db.clone() };
    }
    // Folders that are empty now; those that are mounted or linked stay.
    let gone = [&folders.log, &folders.db].map(std::fs::remove_dir);
    tracing::debug!(?gone, "what was brought back is removed");
    lock.remove();
    error
}

/// Refuses what this program could not run on.
fn refuse_newer(manifest: &Manifest, services: &[Service]) -> Result<(), BackupError> {
    for database in &manifest.databases {
        let Some(service) = services.iter().find(|service| service.name() == database.service) else {
            continue;
        };
        let sets = service.migration_sets();
        for (component, version, file) in &database.migrations {
            let Some(set) = sets.iter().find(|set| set.component == component) else { continue };
            let works_from = database.works_from(component, *version);
            if !set.works_with(*version, works_from) {
                return Err(BackupError::Newer {
                    service: database.service.clone(),
                    component: component.clone(),
                    file: file.clone(),
                    works_from: works_from.unwrap_or(*version),
                    knows: set.files.len(),
                });
            }
        }
    }
    Ok(())
}

/// Looks at every file's size before anything is written, and for room.
fn refuse_incomplete(backup: &Path, manifest: &Manifest, folders: &Folders) -> Result<(), BackupError> {
    for file in &manifest.files {
        let path = backup.join(&file.path);
        let damaged = |reason: &str| BackupError::Damaged { path: path.clone(), reason: reason.to_owned() };
        let found = std::fs::metadata(&path).map_err(|_| damaged("is missing"))?;
        if found.len() != file.bytes {
            return Err(damaged(&format!("has {} bytes in place of {}", found.len(), file.bytes)));
        }
        if folders.place(&file.path).is_none() {
            return Err(damaged("is no file of a backup"));
        }
    }
    let there = folders.data.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    place::room(there, manifest.bytes())
}

async fn copy(
    backup: &Path,
    manifest: &Manifest,
    folders: &Folders,
    progress: &Progress,
) -> Result<(), BackupError> {
    // Before anything else: whatever is there from now on, no node starts on it.
    place::make(&folders.db)?;
    let now = Time::from_system(std::time::SystemTime::now());
    let closed = Closed::restoring(backup, now);
    closed.leave(&folders.db).map_err(|error| io("writing to", &folders.db, &error))?;
    place::make(&folders.log)?;
    progress.begin("copying", manifest.bytes());
    let (wanted, from, watched) = (manifest.clone(), backup.to_owned(), progress.clone());
    let (db, log) = (folders.db.clone(), folders.log.clone());
    let to = Folders { data: folders.data.clone(), db: db.clone(), log: log.clone() };
    let topics = blocking(move || {
        copy_files(&from, &wanted, &to, &watched)?;
        watched.begin("reading it back", 0);
        Ok(check_copy(&log)?)
    })
    .await?;
    if !topics.iter().map(CopiedLog::of).eq(manifest.topics.iter().cloned()) {
        let reason = "does not hold what its manifest says".to_owned();
        return Err(BackupError::Damaged { path: backup.join("log"), reason });
    }
    for database in &manifest.databases {
        Db::check_copy(&db.join(format!("{}.db", database.service))).await?;
    }
    Closed::remove(&folders.db).map_err(|error| io("writing to", &folders.db, &error))
}

fn copy_files(
    backup: &Path,
    manifest: &Manifest,
    folders: &Folders,
    progress: &Progress,
) -> Result<(), BackupError> {
    let mut touched = BTreeSet::new();
    for file in &manifest.files {
        // Each has its place: that was looked at.
        let Some(to) = folders.place(&file.path) else { continue };
        if let Some(folder) = to.parent()
            && touched.insert(folder.to_owned())
        {
            place::make(folder)?;
        }
        let from = backup.join(&file.path);
        let (bytes, sha256) = place::copy(&from, &to, progress)?;
        if (bytes, &sha256) != (file.bytes, &file.sha256) {
            let reason = "is not what it was: its checksum differs".to_owned();
            return Err(BackupError::Damaged { path: from, reason });
        }
    }
    touched.iter().try_for_each(|folder| place::sync(folder))
}
