//! Decisions about letters and stopped keys: each is somebody's, and about what they saw.

use crate::kit::{Node, Place};
use crate::mill::{Door, break_it, catalogue, deaf_mill, mend, mill, numbers, say_as};
use artel_flow::{By, DeadLetter, HandlerExt, Letters, ParkedKey};
use artel_message::Code;
use artel_store::Engine;
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

async fn start(place: &Place) -> Node {
    place.start(vec![mill()], catalogue()).await.expect("start")
}

async fn letters(node: &Node) -> Vec<DeadLetter> {
    node.ctx("mill").dead_letters().find(&Letters::default(), None, 100).await.expect("letters")
}

async fn parked(node: &Node) -> Vec<ParkedKey> {
    node.ctx("mill").parked_keys().list(None, None, 100).await.expect("keys")
}

fn op() -> By {
    By::who("op").because("it has to be")
}

/// The letter of the number.
async fn letter(node: &Node, number: u32) -> DeadLetter {
    let end = format!("\"number\":{number}}}");
    let of = |letter: &DeadLetter| {
        letter.value.as_deref().is_some_and(|value| String::from_utf8_lossy(value).ends_with(&end))
    };
    letters(node).await.into_iter().find(of).expect("a letter of the number")
}

#[tokio::test]
async fn letters_of_a_key_go_back_in_the_order_of_its_messages() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    for number in 1..=4 {
        break_it(&node, &format!("a#{number}"), "invalid").await;
        say_as(&node, "said", "a", [number]).await;
        node.settle().await;
        place.clock.advance(HOUR);
    }
    // The first one is the latest to be given up, under its old id.
    let dead = node.ctx("mill").dead_letters();
    dead.retry(letter(&node, 1).await.id, &op()).await.expect("tried");
    node.settle().await;
    for number in 1..=4 {
        mend(&node, &format!("a#{number}")).await;
    }
    let mut behind = None;
    loop {
        let round = dead.retry_all(&Letters::default(), behind, 1, Some(&op())).await.expect("a round");
        node.settle().await;
        behind = round.next;
        if behind.is_none() {
            break;
        }
    }
    assert_eq!(numbers(&node, "a").await, [1, 2, 3, 4]);
    node.stop().await;
}

#[tokio::test]
async fn a_letter_that_comes_again_is_not_met_twice_in_one_run() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    for key in ["a", "b"] {
        break_it(&node, key, "invalid").await;
        say_as(&node, "said", key, [1, 2]).await;
    }
    node.settle().await;
    let dead = node.ctx("mill").dead_letters();
    let (mut behind, mut count) = (None, 0);
    loop {
        place.clock.advance(Duration::from_secs(1));
        let round = dead.retry_all(&Letters::default(), behind, 1, Some(&op())).await.expect("a round");
        node.settle().await;
        (behind, count) = (round.next, count + round.letters.len());
        if behind.is_none() {
            break;
        }
    }
    assert_eq!((count, letters(&node).await.len()), (4, 4));
    node.stop().await;
}

#[tokio::test]
async fn only_the_message_that_was_seen_is_dropped() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    break_it(&node, "a#1", "unavailable").await;
    say_as(&node, "said", "a", [1, 2]).await;
    node.settle().await;
    let keys = node.ctx("mill").parked_keys();
    let held = parked(&node).await.remove(0);
    let shown = keys.get(held.id).await.expect("read").expect("parked");
    let first = shown.first.expect("one waits");
    assert_eq!((first.name.as_deref(), held.first.expect("one").offset), (Some("mill.said"), first.offset));
    assert_eq!(first.value.as_deref(), Some(&br#"{"key":"a","number":1}"#[..]));
    let other = keys.drop_first(held.id, first.offset + 1, &op()).await.expect_err("not the first");
    assert!(other.code == Code::Conflict && other.reason.contains(&first.offset.to_string()), "{other}");
    break_it(&node, "a#2", "unavailable").await;
    keys.drop_first(held.id, first.offset, &op()).await.expect("dropped");
    node.settle().await;
    let again = keys.drop_first(held.id, first.offset, &op()).await.expect_err("it is gone");
    assert_eq!(again.code, Code::Conflict, "{again}");
    mend(&node, "a#2").await;
    keys.retry(held.id, &op()).await.expect("tried");
    node.settle().await;
    assert_eq!(numbers(&node, "a").await, [2]);
    let gone = keys.drop_first(held.id, first.offset, &op()).await.expect_err("all is gone");
    assert_eq!(gone.code, Code::NotFound);
    node.stop().await;
}

/// A key that is stopped behind number 5, with a letter of number 1 from before.
async fn two_undecided(node: &Node) -> ParkedKey {
    for number in [1, 5] {
        break_it(node, &format!("a#{number}"), "invalid").await;
    }
    say_as(node, "strict", "a", [1, 2]).await;
    node.settle().await;
    let held = parked(node).await.remove(0);
    assert_eq!(held.letter, Some(letter(node, 1).await.id));
    node.ctx("mill").parked_keys().release(held.id, &op()).await.expect("released");
    say_as(node, "strict", "a", [3, 4, 5, 6, 7]).await;
    node.settle().await;
    assert_eq!(numbers(node, "a").await, [2, 3, 4]);
    parked(node).await.remove(0)
}

#[tokio::test]
async fn a_key_stays_stopped_until_each_of_its_letters_is_decided() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    let held = two_undecided(&node).await;
    let (dead, keys) = (node.ctx("mill").dead_letters(), node.ctx("mill").parked_keys());
    let (first, fifth) = (letter(&node, 1).await.id, letter(&node, 5).await.id);
    assert_eq!((held.letter, held.waiting, held.due), (Some(fifth), 2, None));
    // It fails again, and is decided again; number 5 is still open.
    dead.retry(first, &op()).await.expect("tried");
    node.settle().await;
    assert_eq!((numbers(&node, "a").await, letters(&node).await.len()), (vec![2, 3, 4], 2));
    assert_eq!(parked(&node).await[0].letter, Some(first));
    mend(&node, "a#1").await;
    dead.retry(first, &op()).await.expect("tried");
    node.settle().await;
    assert_eq!(numbers(&node, "a").await, [2, 3, 4, 1], "6 and 7 wait for number 5");
    let stopped = keys.retry(held.id, &op()).await.expect_err("stopped");
    assert!(stopped.code == Code::Conflict && stopped.reason.contains(&fifth.to_string()), "{stopped}");
    mend(&node, "a#5").await;
    dead.retry(fifth, &op()).await.expect("tried");
    node.settle().await;
    assert_eq!(numbers(&node, "a").await, [2, 3, 4, 1, 5, 6, 7]);
    assert_eq!((parked(&node).await, letters(&node).await), (vec![], vec![]));
    node.stop().await;
}

#[tokio::test]
async fn a_letter_behind_another_that_is_open_waits_for_it() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    let held = two_undecided(&node).await;
    let dead = node.ctx("mill").dead_letters();
    let (first, fifth) = (letter(&node, 1).await.id, letter(&node, 5).await.id);
    dead.retry(first, &op()).await.expect("tried");
    node.settle().await;
    mend(&node, "a#5").await;
    dead.retry(fifth, &op()).await.expect("tried");
    node.settle().await;
    let waits = parked(&node).await.remove(0);
    assert_eq!((waits.id, waits.letter, waits.waiting, waits.due), (held.id, Some(first), 3, None));
    assert_eq!(numbers(&node, "a").await, [2, 3, 4]);
    dead.drop(first, &op()).await.expect("dropped");
    node.settle().await;
    assert_eq!(numbers(&node, "a").await, [2, 3, 4, 5, 6, 7], "dropping it decided it");
    assert_eq!(parked(&node).await, []);
    node.stop().await;
}

#[tokio::test]
async fn what_a_stopped_key_waits_for_is_kept_beyond_its_time() {
    let Some(mut place) = super::place().await else { return };
    place.limits.dead = HOUR;
    let node = start(&place).await;
    break_it(&node, "a", "invalid").await;
    break_it(&node, "b", "invalid").await;
    say_as(&node, "strict", "a", [1, 2]).await;
    say_as(&node, "said", "b", [1]).await;
    node.settle().await;
    assert_eq!(letters(&node).await.len(), 2);
    mend(&node, "a").await;
    let purged = async {
        while letters(&node).await.iter().any(|letter| letter.key.as_deref() == Some(b"b")) {
            place.clock.advance(2 * HOUR);
            node.settle().await;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), purged).await.expect("old letters go");
    node.settle().await;
    let left = letters(&node).await;
    assert_eq!(left.len(), 1, "somebody has to decide");
    node.ctx("mill").dead_letters().drop(left[0].id, &op()).await.expect("dropped");
    node.settle().await;
    assert_eq!((numbers(&node, "a").await, parked(&node).await), (vec![2], vec![]));
    node.stop().await;
}

#[tokio::test]
async fn no_age_keeps_a_letter_from_being_tried_again() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    break_it(&node, "a", "invalid").await;
    say_as(&node, "aged", "a", [1]).await;
    node.settle().await;
    place.clock.advance(2 * HOUR);
    mend(&node, "a").await;
    node.ctx("mill").dead_letters().retry(letter(&node, 1).await.id, &op()).await.expect("tried");
    node.settle().await;
    assert_eq!((numbers(&node, "a").await, letters(&node).await), (vec![1], vec![]));
    node.stop().await;
}

#[tokio::test]
async fn a_letter_that_nobody_handles_any_more_is_not_lost() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    break_it(&node, "a", "invalid").await;
    say_as(&node, "brief", "a", [1]).await;
    node.settle().await;
    let id = letter(&node, 1).await.id;
    break_it(&node, "a", "unavailable").await;
    node.ctx("mill").dead_letters().retry(id, &op()).await.expect("tried");
    node.settle().await;
    assert_eq!((parked(&node).await.len(), letters(&node).await.len()), (1, 0));
    node.stop().await;

    let node = place.start(vec![deaf_mill()], catalogue()).await.expect("start");
    let over = async {
        while letters(&node).await.is_empty() {
            place.clock.advance(HOUR);
            node.settle().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), over).await.expect("it is given up");
    let back = letters(&node).await.remove(0);
    assert_eq!((back.id, back.code.as_str()), (id, "not_found"));
    let refused = node.ctx("mill").dead_letters().retry(id, &op()).await.expect_err("nobody takes it");
    assert!(refused.code == Code::Conflict && refused.reason.contains("mill.brief"), "{refused}");
    node.stop().await;

    let node = start(&place).await;
    mend(&node, "a").await;
    node.ctx("mill").dead_letters().retry(id, &op()).await.expect("tried");
    node.settle().await;
    assert_eq!(numbers(&node, "a").await, [1]);
    node.stop().await;
}

#[tokio::test]
async fn what_is_named_and_empty_is_not_all() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    break_it(&node, "a", "invalid").await;
    say_as(&node, "said", "a", [1, 2]).await;
    node.settle().await;
    let dead = node.ctx("mill").dead_letters();
    let empty = Some(String::new());
    let filters = [
        Letters { cause: empty.clone(), ..Letters::default() },
        Letters { group: empty.clone(), ..Letters::default() },
        Letters { topic: empty.clone(), ..Letters::default() },
        Letters { name: empty, ..Letters::default() },
    ];
    for which in filters {
        let refused = dead.drop_all(&which, None, 10, Some(&op())).await.expect_err("empty");
        assert_eq!(refused.code, Code::Invalid);
        assert_eq!(dead.retry_all(&which, None, 10, None).await.expect_err("empty").code, Code::Invalid);
        assert_eq!(dead.find(&which, None, 10).await.expect_err("empty").code, Code::Invalid);
    }
    assert_eq!(letters(&node).await.len(), 2);
    node.stop().await;
}

#[tokio::test]
async fn what_waits_in_a_group_that_is_gone_is_said_and_dropped() {
    let Some(place) = super::place().await else { return };
    let door = Arc::new(Door::default());
    let service = mill().on(door.handler().group("old"));
    let node = place.start(vec![service], catalogue()).await.expect("start");
    door.shut("a", true);
    say_as(&node, "loud", "a", [1, 2]).await;
    node.settle().await;
    let keys = node.ctx("mill").parked_keys();
    let held = parked(&node).await.remove(0);
    assert_eq!((held.group.as_str(), held.waiting), ("mill.old", 2));
    assert_eq!(keys.forget("mill.old", &op()).await.expect_err("it runs").code, Code::Conflict);
    node.stop().await;

    let node = start(&place).await;
    let keys = node.ctx("mill").parked_keys();
    for refused in [keys.retry(held.id, &op()).await, keys.release(held.id, &op()).await] {
        let refused = refused.expect_err("nobody would try it");
        assert!(refused.code == Code::Conflict && refused.reason.contains("mill.old"), "{refused}");
    }
    assert_eq!(keys.forget("mill.old", &By::who("op")).await.expect_err("why?").code, Code::Invalid);
    assert_eq!(keys.forget("mill.old", &op()).await.expect("dropped"), 2);
    assert_eq!((parked(&node).await, keys.forget("mill.old", &op()).await), (vec![], Ok(0)));
    let read = node.ctx("mill").read().await.expect("read");
    for kind in ["parked-now", "parked-bytes"] {
        assert_eq!(read.counted(kind).await.expect("count"), 0, "{kind}");
    }
    drop(read);
    node.stop().await;
}

/// Until a transaction waits for another one. Where there is one writer at a time that can't be seen: as good as that.
async fn until_waited_for(node: &Node) {
    if node.store.engine() == Engine::Sqlite {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        return;
    }
    let waited = async {
        loop {
            let read = node.ctx("mill").read().await.expect("read");
            let (waiting,): (i64,) = read
                .one(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
                    (),
                )
                .await
                .expect("a count");
            drop(read);
            if waiting > 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("it waits");
}

#[tokio::test]
async fn a_key_that_is_wanted_now_is_tried_again_behind_the_attempt_under_way() {
    let Some(place) = super::place().await else { return };
    let door = Arc::new(Door::default());
    let service = mill().on(door.handler());
    let node = place.start(vec![service], catalogue()).await.expect("start");
    door.shut("a", true);
    say_as(&node, "loud", "a", [1]).await;
    node.settle().await;
    let held = parked(&node).await.remove(0);
    let before = door.tried.borrow().len();
    door.stuck("a", true);
    place.clock.advance(Duration::from_secs(3));
    door.tried("a", 1, before + 1).await;
    // The attempt under way fails; it began before the door was opened, and is not the last.
    let keys = node.ctx("mill").parked_keys();
    let by = op();
    let wanted = keys.retry(held.id, &by);
    let ends = async {
        until_waited_for(&node).await;
        door.stuck("a", false);
    };
    let (wanted, ()) = tokio::join!(wanted, ends);
    wanted.expect("due now");
    door.tried("a", 1, before + 2).await;
    node.stop().await;
}
