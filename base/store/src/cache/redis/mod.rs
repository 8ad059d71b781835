//! The cache in Redis, shared by all nodes of an installation.
//!
//! Truth comes first: what was overwritten or deleted is never read again, also when Redis was away meanwhile. Every key
//! contains the *generation*, a random token that stands in Redis itself, and every command is sent together with a read of
//! the generation. An answer counts only if the generation is still the one that its key was made with; another one makes
//! everything older invisible, on every node with its very next call. The generation is renewed
//!
//! - when a `set` or `delete` of this node could not reach Redis, or broke off without an answer: the old value may still
//!   be there. Until the renewal has succeeded this node reads nothing;
//! - when Redis is another process than the one that the generation was made on: after a restart from a snapshot, or on a
//!   replica that took over, what was already deleted may be back.
//!
//! What is left is a node that is cut off while others are not: they may read what it could not delete until it reaches
//! Redis again, or the entry's time ends. No cache can know better; times to live bound it.
//!
//! Lost `increment`s and `set_if_absent`s renew nothing: no old value comes back by them.

mod doubt;
mod link;
mod mend;
mod names;
mod reason;
mod scan;

pub use names::RedisSettings;

use super::{Cache, CacheError, KeyPage, check_key, check_ttl};
use async_trait::async_trait;
use bytes::Bytes;
use link::{Failure, Link, bytes, text};
use mend::Shared;
use redis::{Cmd, Value, cmd};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a write whose caller has gone on is waited for; after that its value counts as lost.
const WRITE_IS_LOST: Duration = Duration::from_secs(30);
/// A counter gets its end with its first number and keeps it. The sum comes as text: Lua's own numbers have 53 bits.
const INCREMENT: &str = "redis.call('SET', KEYS[1], '0', 'PX', ARGV[2], 'NX') \
     redis.call('INCRBY', KEYS[1], ARGV[1]) \
     return redis.call('GET', KEYS[1])";

/// See [`Cache`], and the module for what it does when Redis is away. Every call ends within
/// [`RedisSettings::timeout`]; once Redis is known to be away calls fail at once, and a task of its own brings the
/// connection back.
pub struct RedisCache {
    shared: Arc<Shared>,
    mender: JoinHandle<()>,
}

impl RedisCache {
    /// `redis://USER:PASSWORD@HOST:PORT/DATABASE`, or `rediss:` with TLS. Redis need not be there yet; must be called
    /// within a Tokio runtime.
    pub fn open(url: &str, settings: RedisSettings) -> Result<RedisCache, CacheError> {
        let shared = Arc::new(Shared::new(names::client(url)?, settings.checked()?));
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| CacheError::Unavailable {
            reason: format!("the cache in Redis works within a Tokio runtime: {error}"),
        })?;
        let mender = runtime.spawn(mend::run(Arc::clone(&shared)));
        Ok(RedisCache { shared, mender })
    }

    /// Runs a read on the current link within the time-out.
    async fn read(&self, command: impl Fn(&str) -> Cmd + Send + Sync) -> Result<Value, CacheError> {
        let link = self.shared.link().await?;
        let work = timeout(self.shared.settings.timeout, link.run(&command));
        self.shared.heard(&link, work.await).map_err(CacheError::from)
    }

    /// Runs a write in a task of its own: it goes on when the caller goes away or its time is over, since only Redis'
    /// answer tells whether it was done. `replaces` says that an old value counts as stale if it was not.
    async fn write(
        &self,
        key: &str,
        replaces: bool,
        command: impl Fn(&str) -> Cmd + Send + Sync + 'static,
    ) -> Result<Value, CacheError> {
        let shared = Arc::clone(&self.shared);
        let link = match shared.link().await {
            Ok(link) => link,
            Err(error) if replaces => {
                shared.suspect(&error.to_string());
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        let (answer, answered) = oneshot::channel();
        let key = key.to_owned();
        tokio::spawn(async move {
            let mut work = std::pin::pin!(perform(&link, replaces, &command));
            let first = shared.heard(&link, timeout(shared.settings.timeout, &mut work).await);
            let mut waits = false;
            match &first {
                _ if !replaces => {}
                Err(Failure::Late) => waits = shared.begin_doubt(&key, &link),
                Err(Failure::Gone(_) | Failure::Stale(_)) => shared.suspect("a write broke off"),
                Ok(_) | Err(Failure::Refused(_)) => {}
            }
            // The caller may be gone.
            let _ = answer.send(first);
            if waits {
                let answered = timeout(WRITE_IS_LOST, work).await;
                shared.end_doubt(&key, &link, matches!(answered, Ok(Ok(_) | Err(Failure::Refused(_)))));
            }
        });
        match answered.await {
            Ok(result) => result.map_err(CacheError::from),
            Err(_) => Err(CacheError::Unavailable { reason: "the program is shutting down".to_owned() }),
        }
    }
}

impl Drop for RedisCache {
    fn drop(&mut self) {
        self.mender.abort();
    }
}

/// A value that Redis refused to replace is taken away: deleting works also when there is no memory for a new one.
async fn perform(
    link: &Link,
    replaces: bool,
    command: &(impl Fn(&str) -> Cmd + Send + Sync),
) -> Result<Value, Failure> {
    match link.run(command).await {
        Err(Failure::Refused(reason)) if replaces => {
            let remove = |full: &str| key_of(command(full)).map_or_else(|| cmd("PING"), |key| remove(&key));
            link.run(&remove).await.map_err(|_| Failure::Stale(reason.clone()))?;
            Err(Failure::Refused(reason))
        }
        result => result,
    }
}

/// The first argument of a command.
fn key_of(command: Cmd) -> Option<Vec<u8>> {
    match command.args_iter().nth(1)? {
        redis::Arg::Simple(key) => Some(key.to_vec()),
        _ => None,
    }
}

fn remove(key: &[u8]) -> Cmd {
    let mut command = cmd("UNLINK");
    command.arg(key);
    command
}

fn milliseconds(ttl: Duration) -> u64 {
    // A hundred years: Redis refuses what overflows its clock.
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).min(3_155_760_000_000)
}

#[async_trait]
impl Cache for RedisCache {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, CacheError> {
        check_key(key)?;
        self.shared.doubt.check(key)?;
        let value = self.read(|generation| {
            let mut command = cmd("GET");
            command.arg(self.shared.names.key(generation, key));
            command
        });
        let value = bytes(value.await?);
        // A write that ran out of time meanwhile may be the newer one.
        self.shared.doubt.check(key)?;
        Ok(value)
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), CacheError> {
        check_key(key)?;
        check_ttl(key, ttl)?;
        let (size, bound) = (value.len() as u64, self.shared.settings.max_value);
        if size > bound {
            self.delete(key).await?;
            return Err(CacheError::TooBig { key: key.to_owned(), size, bound });
        }
        let (names, name) = (self.shared.names.clone(), key.to_owned());
        let set = move |generation: &str| {
            let mut command = cmd("SET");
            command.arg(names.key(generation, &name)).arg(&value[..]).arg("PX").arg(milliseconds(ttl));
            command
        };
        self.write(key, true, set).await.map(|_| ())
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool, CacheError> {
        check_key(key)?;
        check_ttl(key, ttl)?;
        let (size, bound) = (value.len() as u64, self.shared.settings.max_value);
        if size > bound {
            return Err(CacheError::TooBig { key: key.to_owned(), size, bound });
        }
        let (names, name) = (self.shared.names.clone(), key.to_owned());
        let set = move |generation: &str| {
            let mut command = cmd("SET");
            let full = names.key(generation, &name);
            command.arg(full).arg(&value[..]).arg("PX").arg(milliseconds(ttl)).arg("NX");
            command
        };
        Ok(self.write(key, false, set).await? != Value::Nil)
    }

    async fn delete(&self, key: &str) -> Result<bool, CacheError> {
        check_key(key)?;
        let (names, name) = (self.shared.names.clone(), key.to_owned());
        let removed =
            self.write(key, true, move |generation| remove(names.key(generation, &name).as_bytes()));
        Ok(matches!(removed.await?, Value::Int(count) if count > 0))
    }

    async fn increment(&self, key: &str, by: i64, ttl: Duration) -> Result<i64, CacheError> {
        check_key(key)?;
        check_ttl(key, ttl)?;
        let (names, name) = (self.shared.names.clone(), key.to_owned());
        let add = move |generation: &str| {
            let mut command = cmd("EVAL");
            command.arg(INCREMENT).arg(1).arg(names.key(generation, &name)).arg(by).arg(milliseconds(ttl));
            command
        };
        match self.write(key, false, add).await {
            Ok(sum) => {
                let sum = text(sum).and_then(|sum| sum.parse().ok());
                sum.ok_or_else(|| CacheError::NotANumber { key: key.to_owned() })
            }
            Err(CacheError::Unavailable { reason }) if reason::is_no_number(&reason) => {
                Err(CacheError::NotANumber { key: key.to_owned() })
            }
            Err(error) => Err(error),
        }
    }

    async fn scan(&self, prefix: &str, cursor: Option<&str>, limit: usize) -> Result<KeyPage, CacheError> {
        scan::page(self, prefix, cursor, limit.clamp(1, 10_000)).await
    }

    fn trouble(&self) -> Option<String> {
        self.shared.trouble()
    }
}
