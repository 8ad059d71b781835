//! [`Store`]: where a URL becomes an engine, once per process.

use crate::db::Backend;
#[cfg(feature = "postgres")]
use crate::postgres;
#[cfg(feature = "sim")]
use crate::sim::{Handle, SimClient};
use crate::sqlite;
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
    /// SQLite: readers at the same time, per database; further ones wait.
    pub readers: usize,
    /// How long a background transaction runs before it gives way to a waiting interactive one.
    pub slice: Duration,
    /// Interactive transactions let in before a waiting background one.
    pub fairness: u32,
    /// Transactions that may wait, per lane (and per database on SQLite); further ones are refused as
    /// [`StoreError::Crowded`].
    pub waiting: usize,
    /// SQLite: how long a lock of another program on the file is waited for.
    pub busy_timeout: Duration,
    /// SQLite: rows of a statement that are read before they are asked for. Each crosses threads, so many small ones at once are
    /// quick; where rows are large it is the memory of a read.
    pub rows_ahead: usize,
    /// SQLite: page cache of the writer, and of each reader.
    pub writer_cache: usize,
    pub reader_cache: usize,
    /// Prepared statements kept per connection.
    pub statements: usize,
    /// SQLite: size at which the write-ahead log is emptied even if writers have to wait for readers.
    pub wal_bytes: u64,
    /// SQLite: bound of one database file; at it writes fail as on a full disk. `None`: the disk's.
    pub max_bytes: Option<u64>,
    /// PostgreSQL: connections of this process, over all services; at least 3. One is for wake-ups, a third of the others is
    /// for [`Db::read`], and the rest for write transactions, of which a quarter is for requests alone. So a long read never
    /// keeps a writer out, nor background work a request.
    pub connections: usize,
    /// PostgreSQL: how long a connection may take until it can be used.
    pub connect_timeout: Duration,
    /// PostgreSQL: how long one statement may run. Migrations are not bound by it.
    pub statement_timeout: Duration,
    /// PostgreSQL: how long a statement may wait for another transaction's lock. Migrations are not bound by it.
    pub lock_timeout: Duration,
    /// PostgreSQL: how long a transaction may be silent before the server ends it. A process that hangs would otherwise hold
    /// its locks for ever.
    pub idle_in_transaction_timeout: Duration,
    /// PostgreSQL: silence after which the server asks whether this machine still lives; after three times that it ends the
    /// connection and frees its locks.
    pub keepalive: Duration,
    /// PostgreSQL: how long closing waits for the transactions of a service. After that their connections are dropped, and the
    /// server undoes them.
    pub close_timeout: Duration,
}

impl Default for StoreSettings {
    fn default() -> StoreSettings {
        StoreSettings {
            readers: 4,
            slice: Duration::from_millis(20),
            fairness: 8,
            waiting: 4096,
            busy_timeout: Duration::from_secs(5),
            rows_ahead: 2048,
            writer_cache: 8 << 20,
            reader_cache: 2 << 20,
            statements: 256,
            wal_bytes: 64 << 20,
            max_bytes: None,
            connections: 16,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(60),
            lock_timeout: Duration::from_secs(10),
            idle_in_transaction_timeout: Duration::from_secs(30),
            keepalive: Duration::from_secs(10),
            close_timeout: Duration::from_secs(10),
        }
    }
}

/// How many connections serve the services now, beside the one for wake-ups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Connections that exist, idle or in use.
    pub open: usize,
    /// Those in use.
    pub used: usize,
    /// As many as there may be.
    pub max: usize,
}

/// All databases of this process. Cloning it is cheap.
#[derive(Clone)]
pub struct Store {
    source: Source,
    open: Arc<Mutex<HashMap<String, Db>>>,
}

#[derive(Clone)]
enum Source {
    Sqlite {
        folder: Arc<Path>,
        settings: Arc<StoreSettings>,
        lock: Arc<FolderLock>,
    },
    #[cfg(feature = "postgres")]
    Postgres(Arc<postgres::Server>),
    #[cfg(feature = "sim")]
    Sim(SimClient),
}

impl Store {
    /// Opens `sqlite:FOLDER`, making the folder where it is missing; one process at a time has a folder. Or connects to
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full` (built with the feature `postgres`), where each
    /// service has the schema `artel_<service>`. It does not wait for a server that can't be reached: that is
    /// [`StoreError::Unavailable`], and calling it again is worth it. [`StoreError::Refused`] is not: wrong password, no such
    /// database.
    pub async fn open(url: &str, settings: StoreSettings) -> Result<Store, StoreError> {
        let source = match engine_of(url)? {
            #[cfg(feature = "postgres")]
            Engine::Postgres => Source::Postgres(postgres::Server::connect(url, settings).await?),
            _ => {
                let folder = folder_of(url)?;
                let lock = Arc::new(FolderLock::take(&folder)?);
                Source::Sqlite { folder: folder.into(), settings: Arc::new(settings), lock }
            }
        };
        Ok(Store { source, open: Arc::default() })
    }

    /// The engine that the URL named.
    pub fn engine(&self) -> Engine {
        match &self.source {
            Source::Sqlite { .. } => Engine::Sqlite,
            #[cfg(feature = "postgres")]
            Source::Postgres(_) => Engine::Postgres,
            #[cfg(feature = "sim")]
            Source::Sim(_) => Engine::Sqlite,
        }
    }

    /// Whether other processes may use the same databases.
    pub fn is_shared(&self) -> bool {
        match &self.source {
            Source::Sqlite { .. } => false,
            #[cfg(feature = "postgres")]
            Source::Postgres(_) => true,
            #[cfg(feature = "sim")]
            Source::Sim(client) => client.is_shared(),
        }
    }

    /// The simulated databases of one node.
    #[cfg(feature = "sim")]
    pub fn simulated(client: SimClient) -> Store {
        Store { source: Source::Sim(client), open: Arc::default() }
    }

    /// The folder of the databases; `None` where they are on a server.
    pub fn folder(&self) -> Option<&Path> {
        match &self.source {
            Source::Sqlite { folder, .. } => Some(folder),
            #[cfg(feature = "postgres")]
            Source::Postgres(_) => None,
            #[cfg(feature = "sim")]
            Source::Sim(_) => None,
        }
    }

    /// The names of the databases that there are: files in the folder. Empty where they are on a server.
    pub fn names(&self) -> Result<Vec<String>, StoreError> {
        let Some(folder) = self.folder() else { return Ok(Vec::new()) };
        let failed =
            |error: std::io::Error| StoreError::Folder { path: folder.to_owned(), reason: error.to_string() };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let file = entry.map_err(failed)?.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(".db"));
            names.extend(name.filter(|name| check_name(name).is_ok()).map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The connections of this process; `None` where databases are files.
    pub fn connections(&self) -> Option<Connections> {
        match &self.source {
            Source::Sqlite { .. } => None,
            #[cfg(feature = "postgres")]
            Source::Postgres(server) => Some(server.connections()),
            #[cfg(feature = "sim")]
            Source::Sim(_) => None,
        }
    }

    /// The database of a service; the same one at each call. Makes its file or schema where it is missing.
    pub async fn db(&self, service: &str) -> Result<Db, StoreError> {
        check_name(service)?;
        let mut open = self.open.lock().await;
        if let Some(db) = open.get(service) {
            return Ok(db.clone());
        }
        let db = Db(match &self.source {
            Source::Sqlite { folder, settings, lock } => {
                let path = folder.join(format!("{service}.db"));
                let opened =
                    sqlite::Database::open(service, path, StoreSettings::clone(settings), Arc::clone(lock));
                Backend::Sqlite(opened.await?)
            }
            #[cfg(feature = "postgres")]
            Source::Postgres(server) => Backend::Postgres(postgres::Database::open(server, service).await?),
            #[cfg(feature = "sim")]
            Source::Sim(client) => {
                let database = client.server().database(service)?;
                Backend::Sim(Arc::new(Handle { database, client: client.clone() }))
            }
        });
        open.insert(service.to_owned(), db.clone());
        Ok(db)
    }

    /// Closes every database, then frees the folder for another process. A crash, or dropping the store and every [`Db`]
    /// of it, frees it too.
    pub async fn close(&self) {
        let open: Vec<Db> = self.open.lock().await.drain().map(|(_, db)| db).collect();
        // At the same time, so that they wait no longer together than one alone.
        futures::future::join_all(open.iter().map(Db::close)).await;
        match &self.source {
            Source::Sqlite { lock, .. } => lock.free(),
            #[cfg(feature = "postgres")]
            Source::Postgres(server) => server.close().await,
            #[cfg(feature = "sim")]
            Source::Sim(_) => {}
        }
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

fn refuse(shown: &str, reason: &str) -> StoreError {
    StoreError::Url { url: shown.to_owned(), reason: reason.to_owned() }
}

/// What is shown of a URL holds no more than its scheme where a password may follow.
fn engine_of(url: &str) -> Result<Engine, StoreError> {
    match url.split_once(':') {
        None => {
            Err(refuse(url, "names no engine; write sqlite:FOLDER or postgres://USER:PASSWORD@HOST/DATABASE"))
        }
        Some(("sqlite", _)) => Ok(Engine::Sqlite),
        Some(("postgres" | "postgresql", _)) if cfg!(feature = "postgres") => Ok(Engine::Postgres),
        Some(("postgres" | "postgresql", _)) => Err(refuse(
            "postgres:…",
            "this program is built without PostgreSQL; use sqlite:FOLDER, or build it with the feature 'postgres'",
        )),
        Some((scheme, _)) => Err(refuse(
            &format!("{scheme}:…"),
            "the engine is not known; write sqlite:FOLDER or postgres://USER:PASSWORD@HOST/DATABASE",
        )),
    }
}

fn folder_of(url: &str) -> Result<PathBuf, StoreError> {
    let rest = url.strip_prefix("sqlite:").unwrap_or(url);
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
        let built = cfg!(feature = "postgres");
        for (url, said) in [
            ("data", "names no engine"),
            ("sqlite:", "names no folder"),
            ("sqlite:data?mode=ro", "no options"),
            (
                if built { "sqlite:" } else { "postgres://u:secret@h/d" },
                if built { "" } else { "built without" },
            ),
            ("mysql://u:secret@h/d", "not known"),
        ] {
            let read = engine_of(url).and_then(|_| folder_of(url));
            let sentence = read.expect_err("is refused").to_string();
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
