//! The cache in Redis: the suite on the server that `ARTEL_TEST_REDIS` names, and what happens when a server is killed,
//! frozen, emptied, full or closed, on servers that the tests start themselves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod absence;
mod refusals;
mod server;
mod valve;

use artel_store::conformance::CacheHarness;
use artel_store::{Cache, RedisCache, RedisSettings};
use bytes::Bytes;
use redis::Commands as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const MINUTE: Duration = Duration::from_secs(60);

/// Long enough for a machine with much to do.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn settings(prefix: &str) -> RedisSettings {
    RedisSettings {
        prefix: prefix.to_owned(),
        timeout: Duration::from_millis(100),
        connect_timeout: Duration::from_secs(1),
        ..RedisSettings::default()
    }
}

/// Looks again and again until there is something to see.
pub async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut again = tokio::time::interval(Duration::from_millis(5));
    loop {
        again.tick().await;
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
    }
}

/// The first answer that is one.
pub async fn answered(cache: &RedisCache, key: &str) -> Option<String> {
    let value = eventually("the cache answers", async || cache.get(key).await.ok()).await;
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

pub async fn set(cache: &RedisCache, key: &str, value: &'static str) -> Result<(), artel_store::CacheError> {
    cache.set(key, Bytes::from(value), MINUTE).await
}

/// A prefix that no other test has, nor an earlier run.
fn own_prefix() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("test-{}-{now}-{count}", std::process::id())
}

/// Redis has a clock of its own: time passes for a case by shortening what its entries have left.
fn harness(url: &str) -> CacheHarness {
    let prefix = own_prefix();
    let cache = RedisCache::open(url, RedisSettings { timeout: Duration::from_secs(5), ..settings(&prefix) });
    let client = redis::Client::open(url).unwrap();
    let pass = move |time: Duration| {
        let mut connection = client.get_connection().unwrap();
        let keys: Vec<String> =
            connection.scan_match(format!("{prefix}:*")).unwrap().collect::<Result<_, _>>().unwrap();
        let time = i64::try_from(time.as_millis()).unwrap();
        for key in keys {
            let left: i64 = connection.pttl(&key).unwrap();
            if left > 0 {
                let _: () = connection.pexpire(&key, (left - time).max(0)).unwrap();
            }
        }
    };
    CacheHarness { cache: Arc::new(cache.unwrap()), pass: Box::new(pass), precision: Duration::from_secs(5) }
}

artel_store::cache_conformance_tests!(@when |test: &str| {
    let url = std::env::var("ARTEL_TEST_REDIS");
    if url.is_err() {
        println!("skipped: redis::{test}: ARTEL_TEST_REDIS is not set (cargo xtask backends up redis)");
    }
    url.ok().map(|url| harness(&url))
});
