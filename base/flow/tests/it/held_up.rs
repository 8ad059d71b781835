//! What holds a parked key up for long (its own handler, a lock of somebody else) holds up nothing else. On PostgreSQL, where
//! several transactions write at once.

use crate::kit::Node;
use crate::mill::{Door, break_it, catalogue, mend, mill, numbers, say_as};
use artel_bus::partition::of_key;
use artel_flow::{By, HandlerExt, Letters};
use artel_store::Lane;
use std::sync::Arc;
use std::time::Duration;

/// A key of each of the two partitions, and one more of the first.
fn keys() -> (String, String, String) {
    let all: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
    let mut first = all.iter().filter(|key| of_key(key.as_bytes(), 2) == 0);
    let second = all.iter().find(|key| of_key(key.as_bytes(), 2) == 1).expect("a key");
    (first.next().expect("a key").clone(), second.clone(), first.next().expect("a key").clone())
}

async fn until_heard(node: &Node, key: &str, all: &[u32]) {
    let heard = async {
        while numbers(node, key).await != all {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), heard).await;
    assert!(in_time.is_ok(), "{key}: {:?} of {all:?}", numbers(node, key).await);
}

fn op() -> By {
    By::who("op")
}

#[tokio::test]
async fn a_key_that_is_tried_for_long_holds_up_no_other_partition() {
    let Some(mut place) = super::place().await else { return };
    place.limits.handler_time = Duration::from_secs(300);
    let door = Arc::new(Door::default());
    let node = place.start(vec![mill().on(door.handler())], catalogue()).await.expect("start");
    let (slow, other, beside) = keys();
    door.shut(&slow, true);
    say_as(&node, "loud", &slow, [1]).await;
    node.settle().await;
    let before = door.tried.borrow().len();
    door.stuck(&slow, true);
    place.clock.advance(Duration::from_secs(3));
    door.tried(&slow, 1, before + 1).await;
    // Behind the key that is being tried, and in the other partition.
    say_as(&node, "said", &beside, [1]).await;
    say_as(&node, "loud", &slow, [2]).await;
    until_heard(&node, &beside, &[1]).await;
    say_as(&node, "said", &other, [1, 2, 3]).await;
    until_heard(&node, &other, &[1, 2, 3]).await;
    door.shut(&slow, false);
    door.stuck(&slow, false);
    door.tried(&slow, 2, 1).await;
    node.settle().await;
    node.stop().await;
}

#[tokio::test]
async fn a_lock_that_one_key_waits_for_keeps_no_other_group_from_its_keys() {
    let Some(mut place) = super::place().await else { return };
    place.settings.lock_timeout = Duration::from_millis(300);
    let door = Arc::new(Door::default());
    let service = mill().on(door.handler().group("second"));
    let node = place.start(vec![service], catalogue()).await.expect("start");
    let (first, second, _) = keys();
    door.shut(&second, true);
    break_it(&node, &first, "unavailable").await;
    say_as(&node, "said", &first, [1]).await;
    say_as(&node, "loud", &second, [1]).await;
    node.settle().await;
    mend(&node, &first).await;
    let before = door.tried.borrow().len();
    let store = place.store().await;
    let db = store.db("mill").await.expect("the database");
    let mut forgotten = db.begin_plain(Lane::Interactive).await.expect("a session");
    forgotten.exec("LOCK TABLE heard IN EXCLUSIVE MODE", ()).await.expect("locked");
    place.clock.advance(Duration::from_secs(3));
    door.tried(&second, 1, before + 1).await;
    forgotten.rollback().await.expect("over");
    until_heard(&node, &first, &[1]).await;
    node.stop().await;
    store.close().await;
}

/// The epochs of a topic's places: each step by hand that a partition has to look for raises one.
async fn epochs(node: &Node) -> i64 {
    let read = node.ctx("mill").read().await.expect("read");
    let sum: (i64,) = read
        .one("SELECT CAST(sum(epoch % 1000000) AS BIGINT) FROM flow_offset WHERE topic = 'mill.talk'", ())
        .await
        .expect("a sum");
    sum.0
}

#[tokio::test]
async fn letters_of_one_partition_go_back_together() {
    let Some(mut place) = super::place().await else { return };
    place.limits.failing_window = 0;
    let node = place.start(vec![mill()], catalogue()).await.expect("start");
    let (key, ..) = keys();
    break_it(&node, &key, "invalid").await;
    say_as(&node, "said", &key, 1..=50).await;
    node.settle().await;
    mend(&node, &key).await;
    let before = epochs(&node).await;
    let dead = node.ctx("mill").dead_letters();
    let done = dead.retry_all(&Letters::default(), None, 100, Some(&op())).await.expect("tried");
    assert_eq!((done.letters.len(), done.refused.len()), (50, 0));
    node.settle().await;
    assert_eq!(numbers(&node, &key).await, (1..=50).collect::<Vec<u32>>());
    assert_eq!(epochs(&node).await - before, 1, "its owner looked again once");
    node.stop().await;
}

#[tokio::test]
async fn letters_go_back_while_their_partition_is_busy() {
    let Some(mut place) = super::place().await else { return };
    place.limits.failing_window = 0;
    let node = place.start(vec![mill()], catalogue()).await.expect("start");
    let (key, _, beside) = keys();
    break_it(&node, &key, "invalid").await;
    say_as(&node, "said", &key, 1..=20).await;
    node.settle().await;
    mend(&node, &key).await;
    let dead = node.ctx("mill").dead_letters();
    let busy = async {
        for number in 0..200 {
            say_as(&node, "said", &beside, [number]).await;
        }
    };
    let by = op();
    let back = async {
        let mut behind = None;
        let mut refused = Vec::new();
        loop {
            let round = dead.retry_all(&Letters::default(), behind, 1, Some(&by)).await.expect("a round");
            refused.extend(round.refused);
            behind = round.next;
            if behind.is_none() {
                return refused;
            }
        }
    };
    let ((), refused) = tokio::join!(busy, back);
    assert_eq!(refused, [], "none is refused for the load");
    until_heard(&node, &key, &(1..=20).collect::<Vec<u32>>()).await;
    until_heard(&node, &beside, &(0..200).collect::<Vec<u32>>()).await;
    node.stop().await;
}
