//! Parked keys: a message that fails holds up its own key and no other.

use crate::kit::{Node, Place};
use crate::mill::{break_it, catalogue, lines, mend, mill, numbers, say_as};
use artel_flow::ParkedKey;
use artel_message::Headers;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

async fn start(place: &Place) -> Node {
    place.start(vec![mill()], catalogue()).await.expect("start")
}

async fn parked(node: &Node) -> Vec<ParkedKey> {
    node.ctx("mill").read().await.expect("read").parked_keys(None, None, 100).await.expect("keys")
}

async fn counted(node: &Node, kind: &str) -> i64 {
    node.ctx("mill").read().await.expect("read").counted(kind).await.expect("count")
}

/// Lets everything that is put off be tried, a few times over.
async fn pass(place: &Place, node: &Node, time: Duration) {
    place.clock.advance(time);
    node.settle().await;
}

#[tokio::test]
async fn a_key_that_fails_waits_in_order_while_others_flow() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    break_it(&node, "a", "unavailable").await;
    say_as(&node, "said", "a", [1, 2]).await;
    for key in ["b", "c", "d", "e"] {
        say_as(&node, "said", key, [1, 2]).await;
    }
    say_as(&node, "said", "a", [3]).await;
    node.settle().await;
    for key in ["b", "c", "d", "e"] {
        assert_eq!(numbers(&node, key).await, [1, 2]);
    }
    assert_eq!(numbers(&node, "a").await, [0; 0], "an attempt that failed leaves nothing");
    let held = parked(&node).await;
    assert_eq!(held.len(), 1);
    assert_eq!((held[0].key.as_deref(), held[0].waiting), (Some(&b"a"[..]), 3));
    assert_eq!((held[0].attempts, held[0].code.as_deref()), (place.limits.tries, Some("unavailable")));
    assert_eq!(held[0].errors.troubles().len(), 1);

    mend(&node, "a").await;
    node.settle().await;
    assert_eq!(numbers(&node, "a").await, [0; 0], "it has its time");
    say_as(&node, "said", "a", [4]).await;
    pass(&place, &node, Duration::from_secs(2)).await;
    say_as(&node, "said", "a", [5]).await;
    node.settle().await;
    assert_eq!(numbers(&node, "a").await, [1, 2, 3, 4, 5]);
    assert_eq!(parked(&node).await, []);
    assert_eq!((counted(&node, "parked-now").await, counted(&node, "parked-bytes").await), (0, 0));
    node.stop().await;
}

#[tokio::test]
async fn it_is_tried_for_its_time_and_then_the_key_goes_on_without_it() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    break_it(&node, "a#1", "unavailable").await;
    say_as(&node, "said", "a", [1, 2]).await;
    node.settle().await;
    let mut waits = Vec::new();
    let begun = place.clock.now();
    while let Some(key) = parked(&node).await.pop() {
        let due = key.due.expect("not stopped");
        assert!(due.since(begun) <= HOUR + Duration::from_secs(1), "the last try comes with its time's end");
        waits.push(due.since(place.clock.now()));
        pass(&place, &node, due.since(place.clock.now())).await;
    }
    assert_eq!(numbers(&node, "a").await, [2]);
    assert!(waits.len() > 10 && waits.len() < 30, "{waits:?}");
    assert!(waits[5] > waits[0] * 8, "it waits longer and longer: {waits:?}");
    let letters = node.ctx("mill").read().await.expect("read").dead_letters(None, 10).await.expect("letters");
    assert_eq!(letters.len(), 1);
    let tried = usize::try_from(place.limits.tries).expect("few") + waits.len();
    assert_eq!(usize::try_from(letters[0].attempts).expect("few"), tried);
    assert_eq!((counted(&node, "dead").await, counted(&node, "parked").await), (1, 2));
    assert_eq!(node.records("mill.talk.dlq").await.len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn only_the_first_of_several_keys_holds_the_others_up_for_its_tries() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    for key in ["a", "b", "c"] {
        break_it(&node, key, "unavailable").await;
        say_as(&node, "said", key, [1]).await;
        node.settle().await;
    }
    let mut attempts: Vec<u32> = parked(&node).await.iter().map(|key| key.attempts).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 1, place.limits.tries]);
    node.stop().await;
}

#[tokio::test]
async fn attempts_bound_it_where_they_come_first() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    break_it(&node, "a", "conflict").await;
    say_as(&node, "brief", "a", [1]).await;
    node.settle().await;
    assert_eq!(parked(&node).await[0].attempts, 4);
    pass(&place, &node, HOUR).await;
    assert_eq!(parked(&node).await[0].attempts, 5);
    pass(&place, &node, HOUR).await;
    assert_eq!(parked(&node).await, []);
    assert_eq!(counted(&node, "dead").await, 1);
    node.stop().await;
}

#[tokio::test]
async fn what_can_never_work_is_dead_at_once_also_behind_a_parked_key() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    break_it(&node, "a", "unavailable").await;
    say_as(&node, "said", "a", [1, 2, 3]).await;
    node.settle().await;
    break_it(&node, "a#2", "invalid").await;
    mend(&node, "a").await;
    pass(&place, &node, HOUR / 2).await;
    assert_eq!(numbers(&node, "a").await, [1, 3]);
    assert_eq!((counted(&node, "dead").await, parked(&node).await.len()), (1, 0));
    node.stop().await;
}

#[tokio::test]
async fn a_key_that_is_to_stop_waits_for_somebody_to_decide() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    break_it(&node, "a#1", "unavailable").await;
    break_it(&node, "b#1", "invalid").await;
    say_as(&node, "strict", "a", [1, 2]).await;
    say_as(&node, "strict", "b", [1, 2]).await;
    say_as(&node, "strict", "c", [1, 2]).await;
    node.settle().await;
    for _ in 0..4 {
        pass(&place, &node, HOUR).await;
    }
    say_as(&node, "strict", "a", [3]).await;
    pass(&place, &node, HOUR).await;
    assert_eq!(lines(&node).await, ["c 1", "c 2"]);
    let held = parked(&node).await;
    let mut waiting: Vec<(i64, bool)> = held.iter().map(|key| (key.waiting, key.due.is_none())).collect();
    waiting.sort_unstable();
    assert_eq!(waiting, [(1, true), (2, true)]);
    assert_eq!(counted(&node, "dead").await, 2);
    node.stop().await;
}

#[tokio::test]
async fn a_batch_handler_is_given_a_parked_message_alone() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    break_it(&node, "b", "unavailable").await;
    for key in ["a", "b", "c"] {
        say_as(&node, "batched", key, 1..=20).await;
    }
    node.settle().await;
    let all: Vec<u32> = (1..=20).collect();
    assert_eq!((numbers(&node, "a").await, numbers(&node, "c").await), (all.clone(), all.clone()));
    assert_eq!(parked(&node).await[0].waiting, 20);
    break_it(&node, "b", "").await;
    break_it(&node, "b#7", "timeout").await;
    pass(&place, &node, HOUR / 4).await;
    assert_eq!(
        numbers(&node, "b").await,
        (1..=6).collect::<Vec<u32>>(),
        "in order, up to the one that fails"
    );
    mend(&node, "b#7").await;
    pass(&place, &node, HOUR / 4).await;
    assert_eq!(numbers(&node, "b").await, all);
    assert_eq!((parked(&node).await, counted(&node, "dead").await), (vec![], 0));
    node.stop().await;
}

#[tokio::test]
async fn messages_without_a_key_park_one_by_one() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    break_it(&node, "a#1", "unavailable").await;
    break_it(&node, "a#3", "unavailable").await;
    say_as(&node, "said", "z", [1]).await;
    node.settle().await;
    let (partition, record) = node.records("mill.talk").await.remove(0);
    let others = record.headers.iter().filter(|(n, _)| !n.starts_with("artel_"));
    let headers: Headers = others.collect();
    for number in 1..=4 {
        let value = format!(r#"{{"key":"a","number":{number}}}"#).into_bytes();
        let headers: Vec<(&str, Option<&[u8]>)> = headers.iter().collect();
        let record =
            artel_bus::Record { key: None, value: Some(&value), headers: &headers, time: place.clock.now() };
        node.log.append("mill.talk", partition, &[record]).await.expect("append");
    }
    node.settle().await;
    assert_eq!(numbers(&node, "a").await, [2, 4]);
    let held = parked(&node).await;
    assert!(held.len() == 2 && held.iter().all(|key| key.key.is_none() && key.waiting == 1), "{held:?}");
    mend(&node, "a#1").await;
    mend(&node, "a#3").await;
    pass(&place, &node, HOUR / 2).await;
    let mut heard = numbers(&node, "a").await;
    heard.sort_unstable();
    assert_eq!(heard, [1, 2, 3, 4]);
    node.stop().await;
}

#[tokio::test]
async fn what_is_parked_outlives_the_node() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    break_it(&node, "a", "unavailable").await;
    say_as(&node, "said", "a", [1, 2]).await;
    say_as(&node, "said", "b", [1]).await;
    node.settle().await;
    node.stop().await;
    let node = start(&place).await;
    say_as(&node, "said", "a", [3]).await;
    say_as(&node, "said", "b", [2]).await;
    node.settle().await;
    assert_eq!((numbers(&node, "b").await, parked(&node).await[0].waiting), (vec![1, 2], 3));
    mend(&node, "a").await;
    pass(&place, &node, HOUR / 2).await;
    assert_eq!(numbers(&node, "a").await, [1, 2, 3]);
    node.stop().await;
}

#[tokio::test]
async fn a_message_that_comes_while_the_last_parked_one_is_done_is_not_stranded() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    let mut next = 1;
    for round in 0..12 {
        break_it(&node, "a", "unavailable").await;
        say_as(&node, "said", "a", [next]).await;
        node.settle().await;
        assert_eq!(parked(&node).await.len(), 1, "round {round}");
        mend(&node, "a").await;
        // The key comes due while its next messages come in.
        place.clock.advance(HOUR / 2);
        for number in next + 1..next + 6 {
            say_as(&node, "said", "a", [number]).await;
        }
        next += 6;
        node.settle().await;
        assert_eq!(parked(&node).await, [], "round {round}");
        assert_eq!(numbers(&node, "a").await, (1..next).collect::<Vec<u32>>());
    }
    node.stop().await;
}

#[tokio::test]
async fn a_long_key_waits_like_any_other() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    let key = format!("k-{}", "x".repeat(2_000));
    break_it(&node, "k*", "unavailable").await;
    say_as(&node, "said", &key, [1, 2]).await;
    say_as(&node, "said", &format!("{key}y"), [1]).await;
    node.settle().await;
    let mut waiting: Vec<i64> = parked(&node).await.iter().map(|key| key.waiting).collect();
    waiting.sort_unstable();
    assert_eq!(waiting, [1, 2]);
    mend(&node, "k*").await;
    pass(&place, &node, HOUR / 2).await;
    assert_eq!(numbers(&node, &key).await, [1, 2]);
    node.stop().await;
}
