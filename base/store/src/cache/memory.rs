//! The cache of one process: bounded in bytes, the least recently used entry goes first.

use super::{Cache, CacheClock, CacheError, KeyEntry, KeyPage, check_key, check_ttl};
use artel_message::Time;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What an entry is taken to cost beside key and value, for its places in the three orders (an estimate).
const OVERHEAD: u64 = 256;

/// See [`Cache`]. One lock guards it, held for a few look-ups in ordered maps and never over an await.
pub struct MemoryCache {
    entries: Mutex<Entries>,
    clock: CacheClock,
}

struct Entry {
    value: Bytes,
    ends: Time,
    /// Its place in the order of use.
    used: u64,
}

struct Entries {
    by_key: BTreeMap<Arc<str>, Entry>,
    by_end: BTreeSet<(Time, Arc<str>)>,
    by_use: BTreeMap<u64, Arc<str>>,
    uses: u64,
    bytes: u64,
    bound: u64,
}

impl MemoryCache {
    /// A cache of at most `bound` bytes: keys, values and 256 bytes for each entry.
    pub fn new(bound: u64, clock: CacheClock) -> MemoryCache {
        let entries = Entries {
            by_key: BTreeMap::new(),
            by_end: BTreeSet::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            bytes: 0,
            bound,
        };
        MemoryCache { entries: Mutex::new(entries), clock }
    }

    /// The entries, without those whose time is over.
    fn live(&self) -> (MutexGuard<'_, Entries>, Time) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.clock)();
        entries.expire(now);
        (entries, now)
    }

    /// Bytes held now.
    pub fn bytes(&self) -> u64 {
        self.live().0.bytes
    }
}

fn cost(key: &str, value: &Bytes) -> u64 {
    (key.len() + value.len()) as u64 + OVERHEAD
}

impl Entries {
    fn expire(&mut self, now: Time) {
        while self.by_end.first().is_some_and(|(ends, _)| *ends <= now) {
            if let Some((_, key)) = self.by_end.pop_first() {
                self.remove(&key);
            }
        }
    }

    fn remove(&mut self, key: &str) -> bool {
        let Some((key, entry)) = self.by_key.remove_entry(key) else { return false };
        self.bytes -= cost(&key, &entry.value);
        self.by_use.remove(&entry.used);
        self.by_end.remove(&(entry.ends, key));
        true
    }

    fn touch(&mut self, key: &str) -> Option<Bytes> {
        let (name, entry) = self.by_key.get_key_value(key)?;
        let (name, used, value) = (Arc::clone(name), entry.used, entry.value.clone());
        self.by_use.remove(&used);
        self.uses += 1;
        self.by_use.insert(self.uses, Arc::clone(&name));
        if let Some(entry) = self.by_key.get_mut(key) {
            entry.used = self.uses;
        }
        Some(value)
    }

    fn put(&mut self, key: &str, value: Bytes, ends: Time) -> Result<(), CacheError> {
        self.remove(key);
        let cost = cost(key, &value);
        if cost > self.bound {
            let size = value.len() as u64;
            return Err(CacheError::TooBig { key: key.to_owned(), size, bound: self.bound });
        }
        while self.bytes + cost > self.bound {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.remove(&oldest);
        }
        let key: Arc<str> = key.into();
        self.uses += 1;
        self.bytes += cost;
        self.by_use.insert(self.uses, Arc::clone(&key));
        self.by_end.insert((ends, Arc::clone(&key)));
        // A copy of its own: a slice would keep the whole buffer that it was cut from.
        let value = Bytes::copy_from_slice(&value);
        self.by_key.insert(key, Entry { value, ends, used: self.uses });
        Ok(())
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, CacheError> {
        check_key(key)?;
        Ok(self.live().0.touch(key))
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), CacheError> {
        check_key(key)?;
        check_ttl(key, ttl)?;
        let (mut entries, now) = self.live();
        entries.put(key, value, now + ttl)
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool, CacheError> {
        check_key(key)?;
        check_ttl(key, ttl)?;
        let (mut entries, now) = self.live();
        if entries.by_key.contains_key(key) {
            return Ok(false);
        }
        entries.put(key, value, now + ttl).map(|()| true)
    }

    async fn delete(&self, key: &str) -> Result<bool, CacheError> {
        check_key(key)?;
        Ok(self.live().0.remove(key))
    }

    async fn increment(&self, key: &str, by: i64, ttl: Duration) -> Result<i64, CacheError> {
        check_key(key)?;
        check_ttl(key, ttl)?;
        let (mut entries, now) = self.live();
        let (number, ends) = match entries.by_key.get(key) {
            None => (Some(0), now + ttl),
            Some(entry) => (decimal(&entry.value), entry.ends),
        };
        let sum = number
            .and_then(|number| number.checked_add(by))
            .ok_or_else(|| CacheError::NotANumber { key: key.to_owned() })?;
        entries.put(key, Bytes::from(sum.to_string()), ends)?;
        Ok(sum)
    }

    async fn scan(&self, prefix: &str, cursor: Option<&str>, limit: usize) -> Result<KeyPage, CacheError> {
        let (entries, now) = self.live();
        let from = cursor.map_or(Bound::Included(prefix), |last| {
            if last < prefix { Bound::Included(prefix) } else { Bound::Excluded(last) }
        });
        let limit = limit.clamp(1, 10_000);
        let mut found = entries
            .by_key
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        let keys: Vec<KeyEntry> = found
            .by_ref()
            .take(limit)
            .map(|(key, entry)| KeyEntry {
                key: key.to_string(),
                ttl: entry.ends.since(now),
                size: entry.value.len() as u64,
            })
            .collect();
        let more = found.next().is_some();
        let next = keys.last().filter(|_| more).map(|last| last.key.clone());
        Ok(KeyPage { keys, next })
    }
}

fn decimal(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
