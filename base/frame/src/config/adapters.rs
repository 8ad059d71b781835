//! A URL names an adapter: which ones there are, which are compiled in, and what a URL means.

use super::Config;
use super::secret::Url;
use std::path::PathBuf;

/// Which heavy parts there are. Whoever loads a configuration says so; without a word there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compiled {
    pub kafka: bool,
    pub postgres: bool,
    pub redis: bool,
    pub otlp: bool,
}

impl Compiled {
    /// What this build has, by the cargo features of this crate.
    pub fn of_this_build() -> Compiled {
        Compiled {
            kafka: cfg!(feature = "kafka"),
            postgres: cfg!(feature = "postgres"),
            redis: cfg!(feature = "redis"),
            otlp: cfg!(feature = "otlp"),
        }
    }
}

/// The log that `bus.url` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusAdapter {
    /// Segment files in this folder.
    Segments(PathBuf),
    /// `host:port` of brokers, separated by commas.
    Kafka(String),
}

/// The database that `db.url` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DbAdapter {
    /// One file per service in this folder.
    Sqlite(PathBuf),
    Postgres(Url),
}

/// The cache that `cache.url` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheAdapter {
    Memory,
    Redis(Url),
}

impl Config {
    /// What `bus.url` means; a folder without a name is `log` in the data folder.
    pub fn bus_adapter(&self) -> Result<BusAdapter, String> {
        let url = &self.bus.url;
        match url.scheme() {
            "segments" => Ok(BusAdapter::Segments(self.folder(url, "log")?)),
            "kafka" => {
                needs(self.compiled.kafka, "kafka", "kafka")?;
                let brokers = host_part(url, "kafka://HOST:PORT,HOST:PORT")?.trim_end_matches('/');
                let complete = |broker: &str| {
                    broker
                        .rsplit_once(':')
                        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
                };
                if brokers.split(',').all(complete) {
                    Ok(BusAdapter::Kafka(brokers.to_owned()))
                } else {
                    Err(format!(
                        "'{url}' names a broker without a port; write it as kafka://HOST:PORT,HOST:PORT"
                    ))
                }
            }
            _ => Err(unknown(url, "segments: or kafka://HOST:PORT")),
        }
    }

    /// What `db.url` means; a folder without a name is `db` in the data folder.
    pub fn db_adapter(&self) -> Result<DbAdapter, String> {
        let url = &self.db.url;
        match url.scheme() {
            "sqlite" => Ok(DbAdapter::Sqlite(self.folder(url, "db")?)),
            "postgres" | "postgresql" => {
                needs(self.compiled.postgres, "postgres", "postgres")?;
                host_part(url, "postgres://USER:PASSWORD@HOST/DATABASE")?;
                Ok(DbAdapter::Postgres(url.clone()))
            }
            _ => Err(unknown(url, "sqlite: or postgres://USER:PASSWORD@HOST/DATABASE")),
        }
    }

    /// What `cache.url` means.
    pub fn cache_adapter(&self) -> Result<CacheAdapter, String> {
        let url = &self.cache.url;
        match url.scheme() {
            "memory" if url.rest().is_empty() => Ok(CacheAdapter::Memory),
            "memory" => Err(format!("'{url}' has more than its scheme; write memory:")),
            "redis" | "rediss" => {
                needs(self.compiled.redis, "redis", "redis")?;
                host_part(url, "redis://HOST:PORT")?;
                Ok(CacheAdapter::Redis(url.clone()))
            }
            _ => Err(unknown(url, "memory: or redis://HOST:PORT")),
        }
    }

    /// The folder behind the colon, seen from the working folder, or `name` in the data folder.
    fn folder(&self, url: &Url, name: &str) -> Result<PathBuf, String> {
        match url.rest() {
            "" => Ok(self.node.data_dir.join(name)),
            rest if rest.starts_with("//") => {
                let scheme = url.scheme();
                Err(format!(
                    "'{url}' is not a folder; write {scheme}:FOLDER without slashes before it, or {scheme}:"
                ))
            }
            rest => Ok(PathBuf::from(rest)),
        }
    }
}

fn needs(compiled: bool, scheme: &str, feature: &str) -> Result<(), String> {
    if compiled {
        return Ok(());
    }
    Err(format!("{scheme} is not compiled in; rebuild with --features {feature}"))
}

/// What stands behind `//`; empty is refused.
fn host_part<'a>(url: &'a Url, form: &str) -> Result<&'a str, String> {
    let host = url.rest().strip_prefix("//").unwrap_or("");
    if host.is_empty() || host.starts_with(['/', '?']) {
        return Err(format!("'{url}' names no host; write it as {form}"));
    }
    Ok(host)
}

fn unknown(url: &Url, known: &str) -> String {
    match url.scheme() {
        "" => format!("'{url}' has no scheme; write {known}"),
        scheme => format!("no adapter for '{scheme}:'; write {known}"),
    }
}
