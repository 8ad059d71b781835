//! [`Store`]: where a URL becomes an engine, once per process.

use crate::sqlite::Database;
use crate::{Db, Engine, StoreError};
use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex;

/// The bounds of a store. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// Readers at the same time, per database; further ones wait.
    pub readers: usize,
    /// How long a background transaction runs before it gives way to a waiting interactive one.
    pub slice: Duration,
    /// Interactive transactions let in before a waiting background one.
    pub fairness: u32,
    /// Transactions that may wait, per database and lane.
    pub waiting: usize,
    /// How long a lock of another program on the file is waited for.
    pub busy_timeout: Duration,
    /// Page cache of the writer, and of each reader.
    pub writer_cache: usize,
    pub reader_cache: usize,
    /// Prepared statements kept per connection.
    pub statements: usize,
    /// Size at which the write-ahead log is emptied even if writers have to wait for readers.
    pub wal_bytes: u64,
    /// Bound of one database file; at it writes fail as on a full disk. `None`: the disk's.
    pub max_bytes: Option<u64>,
}

impl Default for StoreSettings {
    fn default() -> StoreSettings {
        StoreSettings {
            readers: 4,
            slice: Duration::from_millis(20),
            fairness: 8,
            waiting: 4096,
            busy_timeout: Duration::from_secs(5),
            writer_cache: 8 << 20,
            reader_cache: 2 << 20,
            statements: 256,
            wal_bytes: 64 << 20,
            max_bytes: None,
        }
    }
}

/// All databases of this process. Cloning it is cheap.
#[derive(Clone)]
pub struct Store {
    folder: Arc<Path>,
    settings: StoreSettings,
    lock: Arc<FolderLock>,
    open: Arc<Mutex<HashMap<String, Db>>>,
}

impl Store {
    /// Opens `sqlite:FOLDER`, making the folder where it is missing. One process at a time has a folder.
    pub async fn open(url: &str, settings: StoreSettings) -> Result<Store, StoreError> {
        let folder = folder_of(url)?;
        let lock = FolderLock::take(&folder)?;
        Ok(Store { folder: folder.into(), settings, lock: Arc::new(lock), open: Arc::default() })
    }

    /// The engine that the URL named.
    pub fn engine(&self) -> Engine {
        Engine::Sqlite
    }

    /// The database of a service; the same one at each call.
    pub async fn db(&self, service: &str) -> Result<Db, StoreError> {
        check_name(service)?;
        let mut open = self.open.lock().await;
        if let Some(db) = open.get(service) {
            return Ok(db.clone());
        }
        let path = self.folder.join(format!("{service}.db"));
        let database = Database::open(service, path, self.settings.clone(), Arc::clone(&self.lock)).await?;
        let db = Db(database);
        open.insert(service.to_owned(), db.clone());
        Ok(db)
    }

    /// Closes every database, then frees the folder for another process. A crash, or dropping the store and every [`Db`]
    /// of it, frees it too.
    pub async fn close(&self) {
        let open: Vec<Db> = self.open.lock().await.drain().map(|(_, db)| db).collect();
        for db in open {
            db.close().await;
        }
        self.lock.free();
    }
}

fn check_name(name: &str) -> Result<(), StoreError> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let starts = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if starts && name.len() <= 48 && name.bytes().all(fits) {
        return Ok(());
    }
    Err(StoreError::Name { name: name.to_owned() })
}

fn folder_of(url: &str) -> Result<PathBuf, StoreError> {
    let refuse =
        |shown: &str, reason: &str| StoreError::Url { url: shown.to_owned(), reason: reason.to_owned() };
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(refuse(url, "names no engine; write sqlite:FOLDER"));
    };
    match scheme {
        "sqlite" => {}
        // The rest of such a URL may hold a password.
        "postgres" | "postgresql" => {
            return Err(refuse(
                "postgres:…",
                "this program is built without PostgreSQL; use sqlite:FOLDER, or build it with the feature 'postgres'",
            ));
        }
        _ => {
            let shown = format!("{scheme}:…");
            return Err(refuse(&shown, "the engine is not known; write sqlite:FOLDER"));
        }
    }
    let folder = rest.strip_prefix("//").unwrap_or(rest);
    if folder.is_empty() {
        return Err(refuse(url, "names no folder; write sqlite:FOLDER, such as sqlite:data"));
    }
    if folder.contains('?') {
        return Err(refuse(url, "takes no options after '?'; they are settings of the configuration"));
    }
    Ok(PathBuf::from(folder))
}

/// The proof that no other process has the folder: a lock on `FOLDER/.lock`, which holds the owner's pid as text.
pub(crate) struct FolderLock {
    file: std::sync::Mutex<Option<File>>,
}

impl FolderLock {
    fn take(folder: &Path) -> Result<FolderLock, StoreError> {
        let failed =
            |error: std::io::Error| StoreError::Folder { path: folder.to_owned(), reason: error.to_string() };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let path = folder.join(".lock");
        let mut file =
            File::options().create(true).truncate(false).read(true).write(true).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(StoreError::InUse { path: folder.to_owned(), pid });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Only told to a second process; a full disk must not keep the first one from starting.
        if let Err(error) = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())) {
            tracing::debug!(folder = %folder.display(), %error, "the lock file does not hold the pid");
        }
        Ok(FolderLock { file: std::sync::Mutex::new(Some(file)) })
    }

    /// Closing the file gives the lock up.
    fn free(&self) {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_folder_or_are_refused_with_a_sentence() {
        assert_eq!(folder_of("sqlite:data").expect("fits"), Path::new("data"));
        assert_eq!(folder_of("sqlite:///var/lib/artel").expect("fits"), Path::new("/var/lib/artel"));
        for (url, said) in [
            ("data", "names no engine"),
            ("sqlite:", "names no folder"),
            ("sqlite:data?mode=ro", "no options"),
            ("postgres://u:secret@h/d", "built without PostgreSQL"),
            ("mysql://u:secret@h/d", "not known"),
        ] {
            let sentence = folder_of(url).expect_err("is refused").to_string();
            assert!(sentence.contains(said), "{sentence}");
            assert!(!sentence.contains("secret"), "{sentence}");
        }
    }

    #[test]
    fn service_names_are_file_names() {
        assert!(check_name("bridge-2_x").is_ok());
        for name in ["", "-a", "A", "../x", "a/b", "1a"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
