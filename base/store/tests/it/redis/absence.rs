//! Redis goes away and comes back: nothing old is ever read.

use super::server::Server;
use super::valve::Valve;
use super::{MINUTE, answered, eventually, set, settings};
use artel_store::{Cache, CacheError, RedisCache};
use bytes::Bytes;
use proptest::prelude::*;
use redis::Commands as _;
use std::collections::HashMap;

fn open(server: &Server) -> RedisCache {
    RedisCache::open(&server.url(), settings("test")).unwrap()
}

/// What lies in Redis under a key in any generation, whether it counts or not.
fn lies_there(server: &Server, key: &str) -> Vec<String> {
    let mut raw = server.raw();
    let keys: Vec<String> =
        raw.scan_match(format!("test:*:{key}")).unwrap().collect::<Result<_, _>>().unwrap();
    keys.iter().map(|key| raw.get(key).unwrap()).collect()
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, CacheError>) -> String {
    match result {
        Err(CacheError::Unavailable { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nodes_share_what_they_set_and_delete() {
    let Some(server) = Server::start("absence::nodes_share_what_they_set_and_delete", &[]) else { return };
    let (one, two) = (open(&server), open(&server));
    set(&one, "a", "1").await.unwrap();
    assert_eq!(answered(&two, "a").await.as_deref(), Some("1"));
    assert!(two.delete("a").await.unwrap());
    assert_eq!(answered(&one, "a").await, None);
    // Another installation on the same server.
    let other = RedisCache::open(&server.url(), settings("other")).unwrap();
    set(&one, "a", "2").await.unwrap();
    assert_eq!(answered(&other, "a").await, None);
    assert_eq!(other.scan("", None, 10).await.unwrap().keys, []);
}

#[tokio::test]
async fn a_killed_server_is_done_without_and_found_again() {
    let Some(mut server) = Server::start("absence::a_killed_server_is_done_without_and_found_again", &[])
    else {
        return;
    };
    let cache = open(&server);
    set(&cache, "a", "1").await.unwrap();
    server.kill();
    unavailable(set(&cache, "a", "2").await);
    unavailable(cache.get("a").await);
    assert!(cache.trouble().is_some());
    server.start_again();
    assert_eq!(answered(&cache, "a").await, None);
    assert_eq!(cache.trouble(), None);
    set(&cache, "a", "3").await.unwrap();
    assert_eq!(answered(&cache, "a").await.as_deref(), Some("3"));
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_used_when_it_comes() {
    let Some(mut server) =
        Server::start("absence::a_server_that_is_not_there_yet_is_used_when_it_comes", &[])
    else {
        return;
    };
    server.kill();
    let cache = open(&server);
    unavailable(cache.get("a").await);
    server.start_again();
    eventually("a value is taken", async || set(&cache, "a", "1").await.ok()).await;
    assert_eq!(answered(&cache, "a").await.as_deref(), Some("1"));
}

/// A restart from a snapshot brings back what was deleted after it was taken.
#[tokio::test]
async fn what_a_snapshot_brings_back_is_not_read() {
    let Some(mut server) = Server::start("absence::what_a_snapshot_brings_back_is_not_read", &[]) else {
        return;
    };
    let (cache, other) = (open(&server), open(&server));
    set(&cache, "a", "old").await.unwrap();
    set(&cache, "b", "old").await.unwrap();
    redis::cmd("SAVE").exec(&mut server.raw()).unwrap();
    cache.delete("a").await.unwrap();
    set(&cache, "b", "new").await.unwrap();
    server.kill();
    server.start_again();
    assert_eq!(
        (lies_there(&server, "a"), lies_there(&server, "b")),
        (vec!["old".to_owned()], vec!["old".to_owned()])
    );
    assert_eq!((answered(&cache, "a").await, answered(&cache, "b").await), (None, None));
    assert_eq!((answered(&other, "a").await, answered(&other, "b").await), (None, None));
}

/// Frozen, with the write still on its way: it is done when the server goes on.
#[tokio::test]
async fn a_write_on_its_way_hides_the_old_value() {
    let Some(server) = Server::start("absence::a_write_on_its_way_hides_the_old_value", &[]) else { return };
    let cache = open(&server);
    set(&cache, "a", "old").await.unwrap();
    server.freeze();
    unavailable(set(&cache, "a", "new").await);
    assert!(unavailable(cache.get("a").await).contains("not answered a write of this key"));
    server.thaw();
    let value = answered(&cache, "a").await;
    assert_ne!(value.as_deref(), Some("old"));
}

/// Frozen, until calls are not even tried: what they should have deleted is hidden by a new generation, for all nodes.
#[tokio::test]
async fn a_delete_that_was_never_sent_hides_the_old_value() {
    let Some(server) = Server::start("absence::a_delete_that_was_never_sent_hides_the_old_value", &[]) else {
        return;
    };
    let (cache, other) = (open(&server), open(&server));
    set(&cache, "a", "old").await.unwrap();
    assert_eq!(answered(&other, "a").await.as_deref(), Some("old"));
    server.freeze();
    for _ in 0..3 {
        unavailable(cache.get("b").await);
    }
    assert!(cache.trouble().is_some(), "three calls without an answer are enough");
    unavailable(cache.delete("a").await);
    server.thaw();
    assert_eq!(answered(&cache, "a").await, None);
    assert_eq!(lies_there(&server, "a"), ["old"], "it is there and does not count");
    assert_eq!(answered(&other, "a").await, None);
}

/// The network loses a write without a word: with its connection it is given up, and so is what it would have replaced.
#[tokio::test]
async fn a_write_that_the_network_lost_hides_the_old_value() {
    let Some(server) = Server::start("absence::a_write_that_the_network_lost_hides_the_old_value", &[])
    else {
        return;
    };
    let valve = Valve::before(server.port()).await;
    let cache = RedisCache::open(&valve.url(), settings("test")).unwrap();
    set(&cache, "a", "old").await.unwrap();
    valve.cut();
    unavailable(set(&cache, "a", "new").await);
    for _ in 0..2 {
        unavailable(cache.get("b").await);
    }
    assert_eq!(answered(&cache, "a").await, None);
    assert_eq!(lies_there(&server, "a"), ["old"], "it is there and does not count");
}

#[tokio::test]
async fn an_emptied_server_is_an_empty_cache() {
    let Some(server) = Server::start("absence::an_emptied_server_is_an_empty_cache", &[]) else { return };
    let (cache, other) = (open(&server), open(&server));
    set(&cache, "a", "1").await.unwrap();
    assert_eq!(cache.increment("n", 5, MINUTE).await.unwrap(), 5);
    redis::cmd("FLUSHALL").exec(&mut server.raw()).unwrap();
    assert_eq!(cache.get("a").await.unwrap(), None);
    assert_eq!(other.increment("n", 1, MINUTE).await.unwrap(), 1);
    set(&cache, "a", "2").await.unwrap();
    assert_eq!(other.get("a").await.unwrap(), Some(Bytes::from("2")));
}

#[derive(Debug, Clone)]
enum Act {
    Set(u8),
    Delete(u8),
    Get(u8),
    Freeze,
    Thaw,
    Kill,
    Restart,
    Snapshot,
    Flush,
    Recover,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..3_u8).prop_map(Act::Set),
        3 => (0..3_u8).prop_map(Act::Delete),
        10 => (0..3_u8).prop_map(Act::Get),
        1 => Just(Act::Freeze),
        2 => Just(Act::Thaw),
        1 => Just(Act::Kill),
        2 => Just(Act::Restart),
        1 => Just(Act::Snapshot),
        1 => Just(Act::Flush),
        1 => Just(Act::Recover),
    ]
}

/// Whatever happens to the server: a node reads what it wrote last or nothing, also when its write was refused.
#[test]
fn random_absences_bring_nothing_old_back() {
    if Server::start("absence::random_absences_bring_nothing_old_back", &[]).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config =
        ProptestConfig { cases: 12, max_shrink_iters: 0, failure_persistence: None, ..Default::default() };
    proptest!(config, |(acts in prop::collection::vec(act(), 1..40))| {
        runtime.block_on(play(&acts));
    });
}

async fn play(acts: &[Act]) {
    let Some(mut server) = Server::start("absence::play", &[]) else { return };
    let cache = open(&server);
    let (mut runs, mut frozen) = (true, false);
    let mut last: HashMap<u8, Option<String>> = HashMap::new();
    for (count, act) in acts.iter().chain([&Act::Thaw, &Act::Restart, &Act::Recover]).enumerate() {
        match act {
            Act::Set(key) => {
                last.insert(*key, Some(count.to_string()));
                let _ = cache.set(&format!("k{key}"), Bytes::from(count.to_string()), MINUTE).await;
            }
            Act::Delete(key) => {
                last.insert(*key, None);
                let _ = cache.delete(&format!("k{key}")).await;
            }
            Act::Get(key) => check(&cache, *key, &last).await,
            Act::Freeze if runs => (frozen, _) = (true, server.freeze()),
            Act::Thaw if runs && frozen => (frozen, _) = (false, server.thaw()),
            Act::Kill if runs => ((runs, frozen), _) = ((false, false), server.kill()),
            Act::Restart if !runs => (runs, _) = (true, server.start_again()),
            Act::Snapshot if runs && !frozen => redis::cmd("SAVE").exec(&mut server.raw()).unwrap(),
            Act::Flush if runs && !frozen => redis::cmd("FLUSHALL").exec(&mut server.raw()).unwrap(),
            Act::Recover if runs && !frozen => {
                for key in 0..3 {
                    answered(&cache, &format!("k{key}")).await;
                    check(&cache, key, &last).await;
                }
            }
            _ => {}
        }
    }
}

async fn check(cache: &RedisCache, key: u8, last: &HashMap<u8, Option<String>>) {
    if let Ok(Some(value)) = cache.get(&format!("k{key}")).await {
        let value = String::from_utf8(value.to_vec()).unwrap();
        assert_eq!(Some(&Some(value)), last.get(&key), "k{key}");
    }
}
