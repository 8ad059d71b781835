//! The port for what may be lost: hot copies, locks of convenience, counters of a rate.

mod memory;
#[cfg(feature = "redis")]
mod redis;

pub use memory::MemoryCache;
#[cfg(feature = "redis")]
pub use redis::{RedisCache, RedisSettings};

use artel_message::{Fault, Time};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// The clock of a cache: monotonic enough for times to live.
pub type CacheClock = Arc<dyn Fn() -> Time + Send + Sync>;

/// A cache. Whatever it holds may be gone at any moment (memory short, restart, another node): **a lost cache costs
/// time, never truth**. Nothing is durable, nothing takes part in a transaction.
///
/// - Keys are text of 1 to 512 bytes without control characters; by convention `service:kind:id`.
/// - Every entry has a time to live of at least a millisecond; at its end it is gone to every method at once.
/// - Every single method is atomic against the others on the same key; a read sees the last finished write.
/// - A value bigger than the adapter's bound is refused as [`CacheError::TooBig`], and the key is then without a value.
/// - An unreachable cache answers [`CacheError::Unavailable`] within a bounded time; callers go on without it.
#[async_trait]
pub trait Cache: Send + Sync + 'static {
    /// The value, or `None` where there is none (any more).
    async fn get(&self, key: &str) -> Result<Option<Bytes>, CacheError>;

    /// Puts the value, in place of an earlier one and its time to live.
    async fn set(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), CacheError>;

    /// Puts the value only where there is none; whether it did.
    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool, CacheError>;

    /// Whether there was one.
    async fn delete(&self, key: &str) -> Result<bool, CacheError>;

    /// Adds `by` to the number at the key and gives the sum. A key without a value counts from 0 and lives for `ttl`;
    /// later additions leave its end where it is. Numbers are stored as decimal text, so that [`Cache::get`] reads them;
    /// another value, or a sum beyond 64 bits, is [`CacheError::NotANumber`].
    async fn increment(&self, key: &str, by: i64, ttl: Duration) -> Result<i64, CacheError>;

    /// Up to `limit` keys that begin with `prefix`, from `cursor` (`None`: the beginning) on. A key that is there during
    /// the whole scan is given at least once; order and repeats are the adapter's. `limit` is taken as 1 to 10,000.
    async fn scan(&self, prefix: &str, cursor: Option<&str>, limit: usize) -> Result<KeyPage, CacheError>;

    /// Why it can't be used now, as a sentence without secrets; `None` while it can. Asks nobody: it is what the last calls
    /// learnt.
    fn trouble(&self) -> Option<String> {
        None
    }
}

/// A page of [`Cache::scan`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyPage {
    pub keys: Vec<KeyEntry>,
    /// Where the next page begins; `None` at the end. A page may be empty and not the last one.
    pub next: Option<String>,
}

/// A key as [`Cache::scan`] shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    pub key: String,
    /// How long it still lives.
    pub ttl: Duration,
    /// Bytes of the value.
    pub size: u64,
}

/// Why the cache did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    #[error("cache key of {length} bytes: use 1 to 512 bytes without control characters")]
    Key { length: usize },
    #[error("cache value of {size} bytes at '{key}': at most {bound} fit")]
    TooBig { key: String, size: u64, bound: u64 },
    #[error("cache ttl at '{key}': give at least a millisecond")]
    Ttl { key: String },
    #[error("cache value at '{key}' is no number that can be added to")]
    NotANumber { key: String },
    #[error("cache cursor '{cursor}' is none of this cache; begin the scan anew")]
    Cursor { cursor: String },
    #[error("the cache is not available: {reason}")]
    Unavailable { reason: String },
    #[error("cache URL '{url}': {reason}")]
    Url { url: String, reason: String },
}

impl From<CacheError> for Fault {
    fn from(error: CacheError) -> Fault {
        match error {
            CacheError::Unavailable { .. } => Fault::unavailable(error.to_string()),
            CacheError::Cursor { .. } => Fault::field("cursor", error),
            CacheError::Key { .. } | CacheError::TooBig { .. } | CacheError::Ttl { .. } => {
                Fault::invalid(error.to_string())
            }
            CacheError::NotANumber { .. } | CacheError::Url { .. } => Fault::internal(error.to_string()),
        }
    }
}

/// The cache that a URL names: `memory:` (64 MB) or `memory:16MB`, with its clock; with the feature `redis` also
/// `redis://HOST:PORT`, which is Redis' own clock.
pub fn open_cache(url: &str, clock: CacheClock) -> Result<Arc<dyn Cache>, CacheError> {
    let refuse = |shown: String, reason: &str| CacheError::Url { url: shown, reason: reason.to_owned() };
    match url.split_once(':') {
        Some(("memory", size)) => {
            let bytes = size_of(size).ok_or_else(|| {
                refuse(url.to_owned(), "the size is not one; write memory:64MB, 1 MB to 1 TB")
            })?;
            Ok(Arc::new(MemoryCache::new(bytes, clock)))
        }
        #[cfg(feature = "redis")]
        Some(("redis" | "rediss", _)) => Ok(Arc::new(RedisCache::open(url, RedisSettings::default())?)),
        // The rest of such a URL may hold a password.
        #[cfg(not(feature = "redis"))]
        Some(("redis" | "rediss", _)) => Err(refuse(
            "redis:…".to_owned(),
            "this program is built without Redis; use memory:64MB, or build it with the feature 'redis'",
        )),
        Some((scheme, _)) => Err(refuse(format!("{scheme}:…"), "the cache is not known; write memory:64MB")),
        None => Err(refuse(url.to_owned(), "names no cache; write memory:64MB")),
    }
}

/// Bytes of `64MB` or `1GB`; nothing is 64 MB.
fn size_of(text: &str) -> Option<u64> {
    const MB: u64 = 1 << 20;
    if text.is_empty() {
        return Some(64 * MB);
    }
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let unit = match unit.to_ascii_uppercase().as_str() {
        "MB" => MB,
        "GB" => MB << 10,
        _ => return None,
    };
    let bytes = digits.trim().parse::<u64>().ok()?.checked_mul(unit)?;
    (MB..=MB << 20).contains(&bytes).then_some(bytes)
}

/// What every adapter checks alike before it works.
pub(crate) fn check_key(key: &str) -> Result<(), CacheError> {
    if key.is_empty() || key.len() > 512 || key.chars().any(char::is_control) {
        return Err(CacheError::Key { length: key.len() });
    }
    Ok(())
}

pub(crate) fn check_ttl(key: &str, ttl: Duration) -> Result<(), CacheError> {
    if ttl < Duration::from_millis(1) {
        return Err(CacheError::Ttl { key: key.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_cache_or_are_refused_with_a_sentence() {
        let open = |url: &str| open_cache(url, Arc::new(|| Time::from_micros(0)));
        for url in ["memory:", "memory:1MB", "memory:2gb"] {
            assert!(open(url).is_ok(), "{url}");
        }
        for (url, said) in [
            ("memory:lots", "not one"),
            ("memory:0MB", "not one"),
            ("memory:99999999999999GB", "not one"),
            ("memory:é", "not one"),
            #[cfg(not(feature = "redis"))]
            ("redis://u:secret@h", "built without Redis"),
            ("memcached://h", "not known"),
            ("memory", "names no cache"),
        ] {
            let sentence = open(url).err().expect("is refused").to_string();
            assert!(sentence.contains(said), "{sentence}");
            assert!(!sentence.contains("secret"), "{sentence}");
        }
    }
}
