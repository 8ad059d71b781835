//! What Redis refuses, and what is said then.

use super::server::Server;
use super::{MINUTE, answered, eventually, set, settings};
use artel_store::{Cache, CacheError, RedisCache};
use bytes::Bytes;

fn reason<T: std::fmt::Debug>(result: Result<T, CacheError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_shown() {
    let options = ["--requirepass", "the-right-one"];
    let Some(server) = Server::start("refusals::a_wrong_password_is_said_and_not_shown", &options) else {
        return;
    };
    let with = |login: &str| {
        let url = server.url().replace("redis://", &format!("redis://{login}"));
        RedisCache::open(&url, settings("test")).unwrap()
    };
    for login in ["", ":the-wrong-one@", "somebody:the-wrong-one@"] {
        let cache = with(login);
        let said = eventually("the refusal is known", async || {
            Some(reason(cache.get("a").await)).filter(|said| said.contains("password"))
        });
        let said = said.await;
        assert!(said.contains("cache's URL") && !said.contains("the-"), "{said}");
        assert_eq!(cache.trouble().map(|said| said.contains("the-wrong-one")), Some(false));
    }
    let cache = with(":the-right-one@");
    set(&cache, "a", "1").await.unwrap();
    assert_eq!(answered(&cache, "a").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn evicted_values_are_gone_and_no_others_appear() {
    let options = ["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"];
    let Some(server) = Server::start("refusals::evicted_values_are_gone_and_no_others_appear", &options)
    else {
        return;
    };
    let cache = RedisCache::open(&server.url(), settings("test")).unwrap();
    let value = |n: usize| Bytes::from(vec![u8::try_from(n % 251).unwrap(); 10_000]);
    for n in 0..500 {
        eventually("it is taken", async || cache.set(&format!("{n}"), value(n), MINUTE).await.ok()).await;
    }
    let mut kept = 0;
    for n in 0..500 {
        let found = eventually("it answers", async || cache.get(&format!("{n}")).await.ok()).await;
        assert!(found.is_none() || found == Some(value(n)), "key {n}");
        kept += usize::from(found.is_some());
    }
    assert!((1..400).contains(&kept), "{kept} of 500 were kept");
}

#[tokio::test]
async fn a_full_server_keeps_no_old_value_in_place_of_a_refused_one() {
    let Some(server) =
        Server::start("refusals::a_full_server_keeps_no_old_value_in_place_of_a_refused_one", &[])
    else {
        return;
    };
    let cache = RedisCache::open(&server.url(), settings("test")).unwrap();
    set(&cache, "a", "old").await.unwrap();
    set(&cache, "b", "stays").await.unwrap();
    let limit = |bytes: &str| {
        redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).exec(&mut server.raw()).unwrap();
    };
    limit("1");
    let said = reason(set(&cache, "a", "new").await);
    assert!(said.contains("maxmemory"), "{said}");
    assert_eq!(cache.get("a").await.unwrap(), None);
    assert_eq!(cache.get("b").await.unwrap(), Some(Bytes::from("stays")));
    assert!(cache.delete("b").await.unwrap());
    limit("0");
    set(&cache, "a", "newer").await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), Some(Bytes::from("newer")));
}

#[tokio::test]
async fn a_replica_is_named_as_such() {
    let options = ["--replicaof", "127.0.0.1 1"];
    let Some(server) = Server::start("refusals::a_replica_is_named_as_such", &options) else { return };
    let cache = RedisCache::open(&server.url(), settings("test")).unwrap();
    let said = eventually("it is known", async || {
        Some(reason(set(&cache, "a", "1").await)).filter(|said| said.contains("replica"))
    });
    assert!(said.await.contains("primary"));
    // It is made the primary.
    redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut server.raw()).unwrap();
    eventually("it takes writes", async || set(&cache, "a", "2").await.ok()).await;
    assert_eq!(answered(&cache, "a").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_value_beyond_the_bound_is_refused_and_leaves_no_old_one() {
    let test = "refusals::a_value_beyond_the_bound_is_refused_and_leaves_no_old_one";
    let Some(server) = Server::start(test, &[]) else { return };
    let settings = artel_store::RedisSettings { max_value: 1000, ..settings("test") };
    let cache = RedisCache::open(&server.url(), settings).unwrap();
    set(&cache, "a", "old").await.unwrap();
    let refused = cache.set("a", Bytes::from(vec![0; 1001]), MINUTE).await;
    assert!(matches!(refused, Err(CacheError::TooBig { size: 1001, bound: 1000, .. })), "{refused:?}");
    assert_eq!(cache.get("a").await.unwrap(), None);
}

#[tokio::test]
async fn a_broken_cursor_is_refused() {
    let Some(server) = Server::start("refusals::a_broken_cursor_is_refused", &[]) else { return };
    let cache = RedisCache::open(&server.url(), settings("test")).unwrap();
    for cursor in ["", "12", "{}x", r#"{"c":"x"}"#] {
        let refused = cache.scan("", Some(cursor), 10).await;
        assert!(matches!(refused, Err(CacheError::Cursor { .. })), "{cursor}: {refused:?}");
    }
}
