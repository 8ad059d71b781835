//! Taking a backup.

use super::cut::{Cut, cut};
use super::manifest::{self, CopiedDatabase, CopiedLog, Head, Manifest};
use super::{BackupError, Progress, place};
use artel_bus::segments::check_copy;
use artel_bus::{BusError, Log, Segments, Topics};
use artel_flow::Clock;
use artel_store::{Db, MigrationStatus, Store};
use std::path::Path;
use std::sync::Arc;

/// What a backup is taken of: an embedded node that runs, or the folders of one that stands.
#[derive(Clone)]
pub struct Source {
    pub log: Arc<Segments>,
    pub store: Store,
    /// The node's name.
    pub node: String,
    pub clock: Clock,
}

/// Copies everything into a folder that is empty or not there yet, reads the copy back, and writes its manifest last. On an error
/// nothing of it stays.
pub async fn take(source: &Source, target: &Path, progress: &Progress) -> Result<Manifest, BackupError> {
    let was_there = target.exists();
    refuse(source, target)?;
    place::make(target)?;
    let taken = copy(source, target, progress).await;
    if taken.is_err() {
        let removed = [target.join("db"), target.join("log")].map(std::fs::remove_dir_all);
        let gone = was_there || std::fs::remove_dir(target).is_ok();
        tracing::debug!(folder = %target.display(), ?removed, gone, "what a failed backup had copied is removed");
    }
    taken
}

fn refuse(source: &Source, target: &Path) -> Result<(), BackupError> {
    let wrong = |reason: &str| BackupError::Target { path: target.to_owned(), reason: reason.to_owned() };
    if !target.is_absolute() {
        return Err(wrong("its path does not begin with '/'"));
    }
    if !place::is_empty(target)? {
        let unfinished = target.join("log").exists() && !target.join(manifest::FILE).exists();
        return Err(BackupError::NotEmpty { path: target.to_owned(), unfinished });
    }
    let own = |folder: &Path| folder.canonicalize().is_ok_and(|folder| target.starts_with(folder));
    if source.store.folder().is_some_and(own) || own(source.log.root()) {
        return Err(wrong("it lies in a folder that is copied"));
    }
    Ok(())
}

async fn copy(source: &Source, target: &Path, progress: &Progress) -> Result<Manifest, BackupError> {
    let (db, log) = (target.join("db"), target.join("log"));
    place::make(&db)?;
    place::make(&log)?;
    let mut dbs = Vec::new();
    for name in source.store.names()? {
        dbs.push(source.store.db(&name).await?);
    }
    refuse_stopped(&source.log).await?;
    progress.begin("looking for room", 0);
    place::room(target, need(source, &dbs).await?)?;
    progress.begin("copying the databases", 0);
    let Cut { at: cut_at, log: frozen, mut copies } = cut(&source.log, &dbs, &db, &source.clock).await?;
    while let Some(copied) = copies.join_next().await {
        copied.map_err(|error| BackupError::Target { path: db.clone(), reason: error.to_string() })??;
    }
    progress.begin("copying the log", frozen.bytes());
    let (into, watched) = (log.clone(), progress.clone());
    let frozen = blocking(move || {
        frozen.copy_to(&into, &|bytes| watched.add(bytes))?;
        Ok(frozen)
    })
    .await?;
    let topics = frozen.topics();
    drop(frozen);
    progress.begin("reading the copy back", 0);
    let mut databases = Vec::new();
    for one in &dbs {
        Db::check_copy(&db.join(format!("{}.db", one.name()))).await?;
        databases.push(describe(one).await?);
    }
    let (into, watched) = (target.to_owned(), progress.clone());
    let (found, files) = blocking(move || {
        let found = check_copy(&log)?;
        place::sync(&db)?;
        place::sync(&into)?;
        Ok((found, manifest::files(&into, &watched)?))
    })
    .await?;
    if found != topics {
        let reason = "does not hold what the log held; is its disk sound?".to_owned();
        return Err(BackupError::Damaged { path: target.join("log"), reason });
    }
    let head = Head {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        node: source.node.clone(),
        cut_at,
        finished_at: source.clock.now(),
    };
    let manifest = Manifest::new(head, databases, topics.iter().map(CopiedLog::of).collect(), files);
    manifest.store(target)?;
    Ok(manifest)
}

/// Refuses a log with a partition that is stopped, before anything is copied: what it holds could not be checked.
async fn refuse_stopped(log: &Segments) -> Result<(), BackupError> {
    for topic in log.list().await? {
        for partition in 0..topic.partitions {
            log.bounds(&topic.name, partition).await?;
        }
    }
    Ok(())
}

/// About how many bytes a copy takes.
async fn need(source: &Source, dbs: &[Db]) -> Result<u64, BackupError> {
    let folder = source.store.folder().unwrap_or(Path::new("."));
    let size = |file: String| std::fs::metadata(folder.join(file)).map_or(0, |file| file.len());
    let files: u64 =
        dbs.iter().map(|db| size(format!("{}.db", db.name())) + size(format!("{}.db-wal", db.name()))).sum();
    let log: u64 = source.log.list().await?.iter().flat_map(|topic| &topic.bytes).sum();
    Ok(files + log + log / 100)
}

async fn describe(db: &Db) -> Result<CopiedDatabase, BackupError> {
    let lines = db.migration_status(&[]).await?;
    let says = |line: &MigrationStatus| Some((line.component.clone(), line.version, line.works_from?));
    let works_from = lines.iter().filter_map(says).collect();
    let migrations = lines.into_iter().map(|line| (line.component, line.version, line.file)).collect();
    Ok(CopiedDatabase { service: db.name().to_owned(), migrations, works_from })
}

/// Runs what blocks on a thread that may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(BusError::Unavailable(error.to_string()).into()))
}
