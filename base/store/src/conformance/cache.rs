//! The cache suite.

use super::CacheHarness;
use crate::{Cache, CacheError, KeyEntry};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

async fn text(cache: &Arc<dyn Cache>, key: &str) -> Option<String> {
    let value = cache.get(key).await.expect("answers")?;
    Some(String::from_utf8(value.to_vec()).expect("is text"))
}

async fn set(cache: &Arc<dyn Cache>, key: &str, value: &'static str) {
    cache.set(key, Bytes::from(value), MINUTE).await.expect("takes it");
}

pub async fn set_and_get(harness: CacheHarness) {
    let cache = &harness.cache;
    assert_eq!(cache.get("a").await.expect("answers"), None);
    set(cache, "a", "1").await;
    set(cache, "a", "2").await;
    set(cache, "ключ with spaces", "").await;
    assert_eq!(text(cache, "a").await.as_deref(), Some("2"));
    assert_eq!(text(cache, "ключ with spaces").await.as_deref(), Some(""));
    let bytes = Bytes::from((0..=255).collect::<Vec<u8>>());
    cache.set("b", bytes.clone(), MINUTE).await.expect("takes it");
    assert_eq!(cache.get("b").await.expect("answers"), Some(bytes));
    let big = Bytes::from(vec![7; 200_000]);
    cache.set("big", big.clone(), MINUTE).await.expect("takes it");
    assert_eq!(cache.get("big").await.expect("answers"), Some(big));
}

pub async fn time_to_live(harness: CacheHarness) {
    let cache = &harness.cache;
    set(cache, "a", "1").await;
    cache.set("b", Bytes::from("1"), MINUTE * 2).await.expect("takes it");
    (harness.pass)(MINUTE - Duration::from_secs(1) - harness.precision);
    assert_eq!(text(cache, "a").await.as_deref(), Some("1"));
    (harness.pass)(Duration::from_secs(1) + harness.precision * 2);
    assert_eq!(text(cache, "a").await, None);
    assert_eq!(text(cache, "b").await.as_deref(), Some("1"));
    assert!(!cache.delete("a").await.expect("answers"));
    assert!(cache.scan("a", None, 10).await.expect("answers").keys.is_empty());
    assert!(cache.set_if_absent("a", Bytes::from("3"), MINUTE).await.expect("answers"));
    // A new value has a new time to live.
    (harness.pass)(MINUTE / 2);
    set(cache, "a", "4").await;
    (harness.pass)(MINUTE / 2 + Duration::from_secs(1));
    assert_eq!(text(cache, "a").await.as_deref(), Some("4"));
    let refused = cache.set("a", Bytes::new(), Duration::ZERO).await;
    assert!(matches!(refused, Err(CacheError::Ttl { .. })));
    assert!(cache.set_if_absent("x", Bytes::new(), Duration::ZERO).await.is_err());
    assert!(cache.increment("x", 1, Duration::ZERO).await.is_err());
}

pub async fn deletes(harness: CacheHarness) {
    let cache = &harness.cache;
    set(cache, "a", "1").await;
    assert!(cache.delete("a").await.expect("answers"));
    assert!(!cache.delete("a").await.expect("answers"));
    assert_eq!(text(cache, "a").await, None);
}

pub async fn absent_once(harness: CacheHarness) {
    let cache = &harness.cache;
    let put = |value: &'static str| cache.set_if_absent("a", Bytes::from(value), MINUTE);
    assert!(put("1").await.expect("answers"));
    assert!(!put("2").await.expect("answers"));
    assert_eq!(text(cache, "a").await.as_deref(), Some("1"));
    // A refused one leaves the end where it is.
    (harness.pass)(MINUTE / 2);
    assert!(!put("3").await.expect("answers"));
    (harness.pass)(MINUTE / 2 + harness.precision);
    assert!(put("4").await.expect("answers"));
}

pub async fn counts(harness: CacheHarness) {
    let cache = &harness.cache;
    assert_eq!(cache.increment("n", 1, MINUTE).await.expect("counts"), 1);
    (harness.pass)(MINUTE / 2);
    assert_eq!(cache.increment("n", 5, MINUTE).await.expect("counts"), 6);
    assert_eq!(cache.increment("n", -10, MINUTE).await.expect("counts"), -4);
    assert_eq!(text(cache, "n").await.as_deref(), Some("-4"));
    // The end was set at the first one.
    (harness.pass)(MINUTE / 2 + harness.precision);
    assert_eq!(cache.increment("n", 1, MINUTE).await.expect("counts"), 1);
    set(cache, "m", "41").await;
    assert_eq!(cache.increment("m", 1, MINUTE).await.expect("counts"), 42);
}

pub async fn not_a_number(harness: CacheHarness) {
    let cache = &harness.cache;
    set(cache, "a", "text").await;
    assert!(matches!(cache.increment("a", 1, MINUTE).await, Err(CacheError::NotANumber { .. })));
    assert_eq!(text(cache, "a").await.as_deref(), Some("text"));
    assert_eq!(cache.increment("n", i64::MAX, MINUTE).await.expect("counts"), i64::MAX);
    assert!(matches!(cache.increment("n", 1, MINUTE).await, Err(CacheError::NotANumber { .. })));
    assert_eq!(cache.increment("n", 0, MINUTE).await.expect("counts"), i64::MAX);
}

/// Every key that is there all the time is found, whatever the size of a page.
pub async fn pages_of_keys(harness: CacheHarness) {
    let cache = &harness.cache;
    for n in 0..57 {
        set(cache, &format!("user:{n:03}"), "value").await;
    }
    for other in ["user", "user;", "users:1", "a", "userя", "z*"] {
        set(cache, other, "x").await;
    }
    (harness.pass)(MINUTE / 2);
    for limit in [1, 7, 57, 1000] {
        let mut found = BTreeSet::new();
        let mut cursor = None;
        loop {
            let page = cache.scan("user:", cursor.as_deref(), limit).await.expect("answers");
            for KeyEntry { key, ttl, size } in page.keys {
                let off = ttl.max(MINUTE / 2) - ttl.min(MINUTE / 2);
                assert!(off <= harness.precision + Duration::from_millis(1), "{key} lives for {ttl:?}");
                assert_eq!(size, 5);
                found.insert(key);
            }
            cursor = page.next;
            // What comes and goes meanwhile does not confuse the scan.
            set(cache, "user:zzz", "value").await;
            cache.delete("user:zzz").await.expect("answers");
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, (0..57).map(|n| format!("user:{n:03}")).collect());
    }
    let all = cache.scan("", None, 10_000).await.expect("answers");
    assert_eq!(all.keys.len(), 57 + 6);
    // Patterns of any adapter are plain text in a prefix.
    assert_eq!(cache.scan("z*", None, 10).await.expect("answers").keys.len(), 1);
    assert!(cache.scan("*", None, 10).await.expect("answers").keys.is_empty());
}

pub async fn keys_refused(harness: CacheHarness) {
    let cache = &harness.cache;
    let long = "k".repeat(513);
    for key in ["", "line\nbreak", long.as_str()] {
        assert!(matches!(cache.get(key).await, Err(CacheError::Key { .. })), "{key:?}");
        assert!(cache.set(key, Bytes::new(), MINUTE).await.is_err());
        assert!(cache.set_if_absent(key, Bytes::new(), MINUTE).await.is_err());
        assert!(cache.delete(key).await.is_err());
        assert!(cache.increment(key, 1, MINUTE).await.is_err());
    }
    set(cache, &"k".repeat(512), "1").await;
}

/// Of many that put a key at once one wins, and no addition is lost.
pub async fn one_winner(harness: CacheHarness) {
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let cache = Arc::clone(&harness.cache);
            tokio::spawn(async move {
                let mut won = 0;
                for n in 0..50 {
                    let key = format!("lock:{n}");
                    won += u32::from(cache.set_if_absent(&key, Bytes::from("me"), MINUTE).await?);
                    cache.increment("sum", 1, MINUTE).await?;
                    tokio::task::yield_now().await;
                }
                Ok::<u32, CacheError>(won)
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        won += task.await.expect("the task ends well").expect("the cache answers");
    }
    assert_eq!(won, 50);
    assert_eq!(text(&harness.cache, "sum").await.as_deref(), Some("400"));
}
