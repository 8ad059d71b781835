//! Dead letters and parked keys by hand.

use crate::kit::{Node, Place};
use crate::mill::{break_it, catalogue, mend, mill, numbers, say_as};
use crate::shop::{self, Note, desk, shop};
use artel_flow::{Asked, By, DeadLetter, Letters, ParkedKey};
use artel_message::Code;
use std::time::Duration;
use uuid::Uuid;

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

async fn steps(node: &Node) -> Vec<(String, String)> {
    let steps = node.ctx("mill").audit(None, 100).await.expect("steps");
    steps.into_iter().map(|step| (step.who, step.action)).collect()
}

fn op() -> By {
    By::who("op")
}

/// Says numbers 1 to 3 under a key of which all but the last are given up.
async fn two_dead(node: &Node, key: &str) {
    break_it(node, &format!("{key}#1"), "invalid").await;
    break_it(node, &format!("{key}#2"), "forbidden").await;
    say_as(node, "said", key, [1, 2, 3]).await;
    node.settle().await;
}

#[tokio::test]
async fn a_letter_is_tried_again_once_and_in_its_order() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    two_dead(&node, "a").await;
    assert_eq!(numbers(&node, "a").await, [3]);
    let dead = node.ctx("mill").dead_letters();
    let mut found = letters(&node).await;
    found.sort_by_key(|letter| letter.offset);
    let ids: Vec<Uuid> = found.iter().map(|letter| letter.id).collect();
    assert_eq!(ids.len(), 2);

    let dry = dead.retry_all(&Letters::default(), None, 10, None).await.expect("a dry run");
    assert_eq!((dry.letters.clone(), dry.refused.len(), dry.next), (ids.clone(), 0, None));
    node.settle().await;
    assert_eq!((letters(&node).await.len(), steps(&node).await.len()), (2, 0), "nothing has changed");

    mend(&node, "a#1").await;
    mend(&node, "a#2").await;
    let done = dead.retry_all(&Letters::default(), None, 10, Some(&op())).await.expect("tried again");
    assert_eq!((done.letters, done.refused.len()), (ids.clone(), 0));
    say_as(&node, "said", "a", [4]).await;
    node.settle().await;
    assert_eq!(numbers(&node, "a").await, [3, 1, 2, 4]);
    assert_eq!((letters(&node).await.len(), parked(&node).await.len()), (0, 0));
    for id in ids {
        let gone = dead.retry(id, &op()).await.expect_err("it is gone");
        assert_eq!(gone.code, Code::NotFound);
    }
    node.settle().await;
    assert_eq!(numbers(&node, "a").await, [3, 1, 2, 4], "each ran once");
    assert_eq!(steps(&node).await, vec![("op".to_owned(), "retry-letter".to_owned()); 2]);
    node.stop().await;
}

#[tokio::test]
async fn letters_are_found_by_cause_key_and_time_and_bounded() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    two_dead(&node, "a").await;
    place.clock.advance(HOUR);
    let later = place.clock.now();
    two_dead(&node, "b").await;
    let dead = node.ctx("mill").dead_letters();
    let causes = dead.causes(10).await.expect("causes");
    let counts: Vec<i64> = causes.iter().map(|cause| cause.count).collect();
    assert_eq!(counts, [2, 2], "numbers in a reason make no other cause: {causes:?}");
    let count = async |which: Letters| dead.find(&which, None, 100).await.expect("letters").len();
    let cause = Some(causes[0].fingerprint.clone());
    assert_eq!(count(Letters { cause: cause.clone(), ..Letters::default() }).await, 2);
    assert_eq!(count(Letters { key: Some("a".into()), ..Letters::default() }).await, 2);
    assert_eq!(count(Letters { from: Some(later), ..Letters::default() }).await, 2);
    assert_eq!(count(Letters { to: Some(later), cause, ..Letters::default() }).await, 1);
    assert_eq!(count(Letters { name: Some("mill.other".into()), ..Letters::default() }).await, 0);

    for key in ["a#1", "a#2", "b#1", "b#2"] {
        mend(&node, key).await;
    }
    let first = dead.retry_all(&Letters::default(), None, 3, Some(&op())).await.expect("three of them");
    assert_eq!((first.letters.len(), first.next.is_some()), (3, true));
    let rest = dead.retry_all(&Letters::default(), None, 3, Some(&op())).await.expect("the rest");
    assert_eq!((rest.letters.len(), rest.next), (1, None));
    node.settle().await;
    assert_eq!((numbers(&node, "a").await.len(), numbers(&node, "b").await.len()), (3, 3));
    node.stop().await;
}

#[tokio::test]
async fn a_letter_may_be_edited_before_it_is_tried_and_dropped_with_a_reason() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    two_dead(&node, "a").await;
    let dead = node.ctx("mill").dead_letters();
    let found = letters(&node).await;
    let first = found.iter().find(|letter| letter.code == "invalid").expect("the first").id;
    let second = found.iter().find(|letter| letter.code == "forbidden").expect("the second").id;
    dead.edit(first, Some(br#"{"key":"a","number":9}"#.as_slice().into()), &op()).await.expect("edited");
    dead.retry(first, &op()).await.expect("tried");
    node.settle().await;
    assert_eq!(numbers(&node, "a").await, [3, 9]);
    assert_eq!(dead.drop(second, &op()).await.expect_err("why?").code, Code::Invalid);
    dead.drop(second, &op().because("the customer is gone")).await.expect("dropped");
    assert_eq!(dead.drop(second, &op().because("x")).await.expect_err("gone").code, Code::NotFound);
    let steps = node.ctx("mill").audit(None, 10).await.expect("steps");
    let actions: Vec<(&str, Option<&str>)> =
        steps.iter().map(|step| (step.action.as_str(), step.reason.as_deref())).collect();
    let drop = ("drop-letter", Some("the customer is gone"));
    assert_eq!(actions.len(), 3);
    assert!(actions.contains(&drop), "{actions:?}");
    node.stop().await;
}

#[tokio::test]
async fn a_letter_that_fails_again_is_a_letter_again() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    two_dead(&node, "a").await;
    let before = letters(&node).await;
    let dead = node.ctx("mill").dead_letters();
    dead.retry_all(&Letters::default(), None, 10, Some(&op())).await.expect("tried");
    node.settle().await;
    let after = letters(&node).await;
    let ids = |letters: &[DeadLetter]| letters.iter().map(|letter| letter.id).collect::<Vec<Uuid>>();
    let (mut before, mut after) = (ids(&before), ids(&after));
    before.sort();
    after.sort();
    assert_eq!(before, after, "under the same id");
    assert_eq!(numbers(&node, "a").await, [3]);
    node.stop().await;
}

#[tokio::test]
async fn a_stopped_key_goes_on_with_its_letter_or_without_it() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    for key in ["a", "b"] {
        break_it(&node, &format!("{key}#1"), "invalid").await;
        say_as(&node, "strict", key, [1, 2, 3]).await;
    }
    node.settle().await;
    let (dead, keys) = (node.ctx("mill").dead_letters(), node.ctx("mill").parked_keys());
    let of = |held: &[ParkedKey], key: &str| {
        held.iter().find(|held| held.key.as_deref() == Some(key.as_bytes())).expect("parked").id
    };
    let held = parked(&node).await;
    assert_eq!(keys.retry(of(&held, "a"), &op()).await.expect_err("stopped").code, Code::Conflict);
    mend(&node, "a#1").await;
    let letter = letters(&node).await.into_iter().find(|l| l.key.as_deref() == Some(b"a")).expect("one");
    dead.retry(letter.id, &op()).await.expect("tried");
    keys.release(of(&held, "b"), &op()).await.expect("released");
    node.settle().await;
    assert_eq!((numbers(&node, "a").await, numbers(&node, "b").await), (vec![1, 2, 3], vec![2, 3]));
    assert_eq!(parked(&node).await, []);
    assert_eq!(keys.release(of(&held, "b"), &op()).await.expect_err("gone").code, Code::NotFound);
    node.stop().await;
}

#[tokio::test]
async fn a_key_is_tried_now_or_loses_its_first_message() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    break_it(&node, "a#1", "unavailable").await;
    break_it(&node, "b#1", "unavailable").await;
    for key in ["a", "b"] {
        say_as(&node, "said", key, [1, 2]).await;
    }
    node.settle().await;
    let keys = node.ctx("mill").parked_keys();
    for held in parked(&node).await {
        if held.key.as_deref() == Some(b"a") {
            mend(&node, "a#1").await;
            keys.retry(held.id, &op()).await.expect("tried");
        } else {
            let offset = held.first.expect("one waits").offset;
            let why = keys.drop_first(held.id, offset, &op()).await.expect_err("why?");
            assert_eq!(why.code, Code::Invalid);
            keys.drop_first(held.id, offset, &op().because("nobody wants it")).await.expect("dropped");
        }
    }
    node.settle().await;
    assert_eq!((numbers(&node, "a").await, numbers(&node, "b").await), (vec![1, 2], vec![2]));
    assert_eq!(parked(&node).await, []);
    let read = node.ctx("mill").read().await.expect("read");
    assert_eq!(read.counted("parked-now").await.expect("count"), 0);
    drop(read);
    node.stop().await;
}

/// How often the shop was answered.
async fn answers(node: &Node) -> usize {
    node.records("shop.replies").await.len()
}

#[tokio::test]
async fn a_command_given_up_is_answered_once_and_its_replay_replaces_what_is_kept() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], shop::catalogue()).await.expect("start");
    let sell = shop::Sell { item: "note:bad".to_owned(), count: 1 };
    node.ctx("shop").ask(sell).await.expect("sold");
    node.settle().await;
    assert_eq!(answers(&node).await, 1);
    let dead = node.ctx("desk").dead_letters();
    let letter = dead.find(&Letters::default(), None, 1).await.expect("letters").pop().expect("one");
    let ask = async |text: &str| {
        let note = Note { key: "note:bad".to_owned(), text: text.to_owned() };
        let asked = Asked::by("shop").key(Some(letter.message.to_string()));
        node.ctx("desk").ask_as(note, asked).await
    };
    assert_eq!(ask("bad").await.expect_err("kept").code, Code::Invalid);
    let value = br#"{"key":"note:bad","text":"good"}"#.as_slice().into();
    dead.edit(letter.id, Some(value), &op()).await.expect("edited");
    dead.retry(letter.id, &op()).await.expect("tried");
    node.settle().await;
    assert_eq!(ask("bad").await.expect("the reply of the replay"), "good");
    assert_eq!(answers(&node).await, 1, "no second reply");
    node.stop().await;
}
