//! Bounds of what is parked: a partition pauses rather than copying the log into the database.

use crate::kit::{Node, Place};
use crate::mill::{break_it, catalogue, lines, mend, mill, numbers, say_as};
use artel_bus::Record;
use artel_message::Headers;
use std::time::Duration;

async fn start(place: &Place) -> Node {
    place.start(vec![mill()], catalogue()).await.expect("start")
}

async fn waiting(node: &Node) -> i64 {
    let read = node.ctx("mill").read().await.expect("read");
    read.parked_keys(None, None, 1000).await.expect("keys").iter().map(|key| key.waiting).sum()
}

/// Waits until a partition says this of itself.
async fn until_paused(node: &Node, words: &str) {
    let paused = async {
        loop {
            node.settle().await;
            if node.runtime.pauses().iter().any(|pause| pause.contains(words)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), paused).await.expect("it pauses in time");
}

/// Waits until no partition has anything to say.
async fn until_well(node: &Node) {
    let well = async {
        loop {
            node.settle().await;
            if node.runtime.pauses().is_empty() && node.runtime.troubles().is_empty() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), well).await.expect("it goes on in time");
    node.settle().await;
}

#[tokio::test]
async fn a_key_takes_so_many_and_then_its_partition_waits() {
    let Some(mut place) = super::place().await else { return };
    (place.limits.partitions, place.limits.parked_per_key) = (1, 5);
    place.limits.probe_pause = Duration::from_millis(5);
    let node = start(&place).await;
    break_it(&node, "a", "unavailable").await;
    say_as(&node, "said", "a", 1..=8).await;
    say_as(&node, "said", "b", [1]).await;
    until_paused(&node, "flow.parked_per_key").await;
    assert_eq!((waiting(&node).await, numbers(&node, "b").await), (5, vec![]));
    mend(&node, "a").await;
    place.clock.advance(Duration::from_secs(1800));
    until_well(&node).await;
    assert_eq!((numbers(&node, "a").await, numbers(&node, "b").await), ((1..=8).collect(), vec![1]));
    assert_eq!(waiting(&node).await, 0);
    node.stop().await;
}

#[tokio::test]
async fn a_group_takes_so_many_and_then_partitions_wait() {
    let Some(mut place) = super::place().await else { return };
    (place.limits.partitions, place.limits.parked_messages) = (1, 6);
    place.limits.probe_pause = Duration::from_millis(5);
    let node = start(&place).await;
    break_it(&node, "k*", "unavailable").await;
    for key in 0..4 {
        say_as(&node, "said", &format!("k-{key}"), 1..=3).await;
    }
    until_paused(&node, "flow.parked_messages").await;
    assert_eq!(waiting(&node).await, 6);
    mend(&node, "k*").await;
    place.clock.advance(Duration::from_secs(1800));
    until_well(&node).await;
    place.clock.advance(Duration::from_secs(1800));
    until_well(&node).await;
    assert_eq!(lines(&node).await.len(), 12);
    for key in 0..4 {
        assert_eq!(numbers(&node, &format!("k-{key}")).await, [1, 2, 3]);
    }
    node.stop().await;
}

#[tokio::test]
async fn where_most_fail_alike_the_log_keeps_them() {
    let Some(mut place) = super::place().await else { return };
    (place.limits.partitions, place.limits.failing_window, place.limits.tries) = (1, 8, 1);
    place.limits.probe_pause = Duration::from_millis(700);
    let node = start(&place).await;
    break_it(&node, "k*", "unavailable").await;
    for key in 0..50 {
        say_as(&node, "said", &format!("k-{key}"), [1]).await;
    }
    until_paused(&node, "with one cause").await;
    assert_eq!(waiting(&node).await, 3, "the fourth in a row is most of a window's half");
    assert_eq!(node.runtime.troubles(), Vec::<String>::new(), "the node itself is well");
    mend(&node, "k*").await;
    until_well(&node).await;
    place.clock.advance(Duration::from_secs(1800));
    node.settle().await;
    assert_eq!(lines(&node).await.len(), 50);
    node.stop().await;
}

/// Copies of a message that was said, with another body, as another program would write them.
async fn write_bad(node: &Node, bodies: impl Iterator<Item = String>) {
    let (partition, record) = node.records("mill.talk").await.remove(0);
    let headers: Headers = record.headers.iter().filter(|(name, _)| !name.starts_with("artel_")).collect();
    let headers: Vec<(&str, Option<&[u8]>)> = headers.iter().collect();
    for (number, body) in bodies.enumerate() {
        let (key, value) = (format!("bad-{number}"), body.into_bytes());
        let time = node.ctx("mill").now();
        let bad = Record { key: Some(key.as_bytes()), value: Some(&value), headers: &headers, time };
        node.log.append("mill.talk", partition, &[bad]).await.expect("append");
    }
}

#[tokio::test]
async fn what_can_not_be_read_does_not_hold_a_paused_partition_up() {
    let Some(mut place) = super::place().await else { return };
    (place.limits.partitions, place.limits.failing_window) = (1, 8);
    place.limits.probe_pause = Duration::from_millis(2);
    let node = start(&place).await;
    say_as(&node, "said", "z", [1]).await;
    node.settle().await;
    write_bad(&node, (0..12).map(|n| format!(r#"{{"key":"name {n}","number":"+49 170 {n}"}}"#))).await;
    say_as(&node, "said", "y", [1]).await;
    let heard = async {
        while numbers(&node, "y").await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), heard).await.expect("it goes on");
    until_well(&node).await;
    assert_eq!(waiting(&node).await, 12);
    let read = node.ctx("mill").read().await.expect("read");
    let keys = read.parked_keys(None, None, 100).await.expect("keys");
    drop(read);
    assert!(keys.iter().all(|key| key.fingerprint == keys[0].fingerprint), "one cause");
    assert!(keys.iter().all(|key| !key.reason.as_deref().unwrap_or_default().contains("170")));
    node.stop().await;
}

#[tokio::test]
async fn the_first_message_of_a_paused_partition_has_its_time_too() {
    let Some(mut place) = super::place().await else { return };
    (place.limits.partitions, place.limits.failing_window, place.limits.tries) = (1, 2, 1);
    place.limits.probe_pause = Duration::from_millis(200);
    let node = start(&place).await;
    break_it(&node, "k*", "unavailable").await;
    say_as(&node, "said", "k-1", [1]).await;
    say_as(&node, "said", "k-2", [1]).await;
    until_paused(&node, "with one cause").await;
    place.clock.advance(Duration::from_secs(7200));
    let letters = async {
        loop {
            let read = node.ctx("mill").read().await.expect("read");
            let letters = read.dead_letters(None, 10).await.expect("letters");
            drop(read);
            if letters.len() == 2 {
                return letters;
            }
            tokio::task::yield_now().await;
        }
    };
    let letters = tokio::time::timeout(Duration::from_secs(30), letters).await.expect("given up");
    for letter in letters {
        let since = letter.trail.failing_since.expect("a time");
        assert!(letter.at.since(since) >= Duration::from_secs(3600), "it had its time: {letter:?}");
    }
    node.stop().await;
}

#[tokio::test]
async fn where_most_can_never_work_they_are_given_up_one_by_one() {
    let Some(mut place) = super::place().await else { return };
    (place.limits.partitions, place.limits.failing_window) = (1, 8);
    place.limits.probe_pause = Duration::from_millis(1);
    let node = start(&place).await;
    break_it(&node, "k*", "invalid").await;
    for key in 0..10 {
        say_as(&node, "said", &format!("k-{key}"), [1]).await;
    }
    say_as(&node, "said", "z", [1]).await;
    let all = async {
        while numbers(&node, "z").await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("it goes on");
    until_well(&node).await;
    let read = node.ctx("mill").read().await.expect("read");
    assert_eq!(read.dead_letters(None, 100).await.expect("letters").len(), 10);
    drop(read);
    node.stop().await;
}
