//! The cache in memory: the suite, and its bound in bytes.

use artel_message::Time;
use artel_store::conformance::CacheHarness;
use artel_store::{Cache, CacheError, MemoryCache, open_cache};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

artel_store::cache_conformance_tests!(CacheHarness::with_clock(|clock| {
    open_cache("memory:", clock).expect("opens")
}));

fn cache(bound: u64) -> MemoryCache {
    MemoryCache::new(bound, Arc::new(|| Time::from_micros(0)))
}

#[tokio::test]
async fn the_bound_in_bytes_holds_and_what_is_used_stays() {
    let cache = cache(100_000);
    cache.set("used", Bytes::from(vec![1; 1000]), MINUTE).await.expect("fits");
    for n in 0..1000 {
        cache.set(&format!("key {n}"), Bytes::from(vec![0; 1000]), MINUTE).await.expect("fits");
        assert!(cache.bytes() <= 100_000);
        assert!(cache.get("used").await.expect("answers").is_some(), "used last of all before {n}");
    }
    assert!(cache.bytes() > 90_000, "the room is used");
    assert_eq!(cache.get("key 0").await.expect("answers"), None);
    assert!(cache.get("key 999").await.expect("answers").is_some());
}

#[tokio::test]
async fn a_value_beyond_the_bound_is_refused_and_leaves_no_old_one() {
    let cache = cache(10_000);
    cache.set("a", Bytes::from("old"), MINUTE).await.expect("fits");
    cache.set("b", Bytes::from("stays"), MINUTE).await.expect("fits");
    let refused = cache.set("a", Bytes::from(vec![0; 10_000]), MINUTE).await;
    assert!(matches!(refused, Err(CacheError::TooBig { size: 10_000, bound: 10_000, .. })), "{refused:?}");
    assert_eq!(cache.get("a").await.expect("answers"), None);
    assert!(cache.get("b").await.expect("answers").is_some());
}

#[tokio::test]
async fn deleting_gives_the_room_back() {
    let cache = cache(10_000);
    for n in 0..10 {
        cache.set(&format!("{n}"), Bytes::from_static(b"value"), MINUTE).await.expect("fits");
    }
    for n in 0..10 {
        cache.delete(&format!("{n}")).await.expect("answers");
    }
    assert_eq!(cache.bytes(), 0);
}
