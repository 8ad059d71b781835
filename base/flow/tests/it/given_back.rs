//! Timers and effects that were given up: counted, told, kept, and tried again by hand.

use super::later::{call, lines, set, start, timer};
use crate::kit::Node;
use crate::late::{Board, call_of, calling, catalogue, late_with};
use artel_bus::{Record, TopicSpec};
use artel_flow::{By, DeadLetter, HandlerExt, Letters};
use artel_message::Code;
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn op() -> By {
    By::who("op")
}

async fn letters(node: &Node) -> Vec<DeadLetter> {
    node.ctx("late").dead_letters().find(&Letters::default(), None, 100).await.expect("letters")
}

async fn counted(node: &Node, kind: &str) -> i64 {
    node.ctx("late").read().await.expect("read").counted(kind).await.expect("count")
}

async fn only_letter(node: &Node) -> DeadLetter {
    let mut letters = letters(node).await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    letters.remove(0)
}

async fn sorted_lines(node: &Node) -> Vec<String> {
    let mut lines = lines(node).await;
    lines.sort();
    lines
}

#[tokio::test]
async fn a_timer_that_was_given_up_is_told_counted_and_set_again() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    board.fails("hello", "invalid");
    board.fails("unspoken", "invalid");
    let node = start(&place, &board).await;
    set(&node, vec![timer("a", 0, "hello"), timer("b", 0, "unspoken")]).await;
    assert_eq!(lines(&node).await, ["given up: late.do of timers"]);
    assert_eq!((letters(&node).await.len(), counted(&node, "dead").await), (2, 2));
    let dead = node.ctx("late").dead_letters();
    let dry = dead.retry_all(&Letters::default(), None, 10, None).await.expect("a dry run");
    assert_eq!((dry.letters.len(), dry.refused.len()), (2, 0));

    let letter = letters(&node).await.into_iter().find(|l| l.key.as_deref() == Some(b"a")).expect("it");
    set(&node, vec![timer("a", 3_600_000, "later")]).await;
    let refused = dead.retry(letter.id, &op()).await.expect_err("it would replace the one that is pending");
    assert_eq!(refused.code, Code::Conflict);
    let dry = dead.retry_all(&Letters::default(), None, 10, None).await.expect("a dry run");
    assert_eq!((dry.letters.len(), dry.refused.len()), (1, 1));
    assert_eq!(letters(&node).await.len(), 2, "what is refused changes nothing");
    place.clock.advance(HOUR);
    assert_eq!(lines(&node).await, ["given up: late.do of timers", "later"]);

    board.works("hello");
    dead.retry(letter.id, &op()).await.expect("tried again");
    assert_eq!(lines(&node).await, ["given up: late.do of timers", "later", "hello"]);
    assert_eq!((letters(&node).await.len(), counted(&node, "retried").await), (1, 1));
    let gone = dead.retry(letter.id, &op()).await.expect_err("it is gone");
    assert_eq!(gone.code, Code::NotFound);
    node.stop().await;
}

#[tokio::test]
async fn an_effect_that_was_given_up_is_called_again_under_its_key() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    board.fails("hello", "invalid");
    let node = start(&place, &board).await;
    set(&node, vec![call("k", "hello")]).await;
    assert_eq!(sorted_lines(&node).await, ["given up: late.call of effects", "hello gave invalid after 1"]);
    assert_eq!(counted(&node, "dead").await, 1);
    let letter = only_letter(&node).await;
    assert_eq!(letter.key.as_deref(), Some(&b"k"[..]));
    board.works("hello");
    let dead = node.ctx("late").dead_letters();
    dead.retry(letter.id, &op()).await.expect("tried again");
    assert_eq!(lines(&node).await.pop().as_deref(), Some("said hello after 1"));
    assert_eq!(letters(&node).await.len(), 0);
    let keys: Vec<_> =
        board.began.borrow().iter().filter(|began| began.text == "hello").map(|began| began.key).collect();
    assert!(keys.len() == 2 && keys[0] == keys[1], "{keys:?}");

    board.fails("other", "invalid");
    set(&node, vec![call("k", "other")]).await;
    node.settle().await;
    let letter = only_letter(&node).await;
    let edited = serde_json::to_vec(&call_of("k", "better")).expect("JSON");
    dead.edit(letter.id, Some(edited.into()), &op()).await.expect("edited");
    dead.retry(letter.id, &op()).await.expect("tried again");
    assert_eq!(lines(&node).await.pop().as_deref(), Some("said better after 1"));
    let began = board.began.borrow().clone();
    let key = |text: &str| began.iter().find(|began| began.text == text).expect("it ran").key;
    assert_ne!(key("other"), key("better"), "another call has another key");
    node.stop().await;
}

/// The call was made, and is not made again for want of somebody to tell.
#[tokio::test]
async fn a_done_handler_that_fails_for_ever_leaves_a_letter_with_the_result() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    for (text, code) in [("done never", "invalid"), ("done late", "unavailable"), ("lost", "invalid")] {
        board.fails(text, code);
    }
    board.fails("done lost", "invalid");
    let per_key = late_with(&board, calling(&board).per_key());
    let node = place.start(vec![per_key], catalogue()).await.expect("starts");
    set(&node, vec![call("k", "never"), call("k", "second"), call("l", "late"), call("m", "lost")]).await;
    node.settle().await;
    assert_eq!(letters(&node).await.len(), 2, "what can never work is given up at once");
    assert_eq!(board.runs("second"), 1, "and holds up its key no longer");
    for _ in 0..30 {
        place.clock.advance(HOUR);
        node.settle().await;
    }
    let found = letters(&node).await;
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|letter| letter.reason.contains("done handler")), "{found:?}");
    assert!((5..50).contains(&board.runs("done late")), "{} tries", board.runs("done late"));

    ["done never", "done late", "done lost"].iter().for_each(|text| board.works(text));
    let dead = node.ctx("late").dead_letters();
    let done = dead.retry_all(&Letters::default(), None, 10, Some(&op())).await.expect("tried again");
    assert_eq!(done.refused.len(), 0, "{done:?}");
    let lines = sorted_lines(&node).await;
    for line in ["said never after 1", "said late after 1", "lost gave invalid after 1"] {
        assert!(lines.iter().any(|found| found == line), "'{line}' is missing: {lines:?}");
    }
    for text in ["never", "late", "lost"] {
        assert_eq!(board.runs(text), 1, "{text} was called once");
    }
    assert_eq!(only_letter(&node).await.reason, "not ever", "the call that was given up itself is a letter");
    node.stop().await;
}

#[tokio::test]
async fn an_effect_that_waited_long_for_its_turn_is_tried_as_long_as_any() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    board.fails("hello", "unavailable");
    // What stands in its way for two days is a rate: the clock stands, and all of it is used up.
    let one_a_second = late_with(&board, calling(&board).rate(1, 1));
    let node = place.start(vec![one_a_second], catalogue()).await.expect("starts");
    set(&node, vec![call("a", "first"), call("b", "hello")]).await;
    board.ran("first", 1).await;
    place.clock.advance(48 * HOUR);
    board.ran("hello", 1).await;
    board.works("hello");
    for _ in 0..2 {
        node.settle().await;
        place.clock.advance(MINUTE);
    }
    assert_eq!(lines(&node).await, ["said first after 1", "said hello after 2"]);
    assert_eq!(letters(&node).await.len(), 0);
    node.stop().await;
}

/// Users name their topics as they like.
#[tokio::test]
async fn a_letter_of_a_topic_that_is_called_effects_is_a_messages() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    board.fails("raw", "invalid");
    let node = start(&place, &board).await;
    for topic in ["effects", "timers"] {
        let spec = TopicSpec { name: topic.into(), partitions: 1, retention_ms: None, retention_bytes: None };
        node.log.make(spec).await.expect("made");
        let time = place.clock.now();
        let record = Record { key: Some(b"k"), value: Some(b"{}"), headers: &[], time };
        node.log.append(topic, 0, &[record]).await.expect("append");
    }
    set(&node, vec![timer("a", 0, "group effects"), timer("b", 0, "hello")]).await;
    node.settle().await;
    let letter = only_letter(&node).await;
    assert_eq!((letter.topic.as_str(), letter.group.as_str()), ("effects", "late.reader"));
    board.works("raw");
    node.ctx("late").dead_letters().retry(letter.id, &op()).await.expect("tried again");
    assert!(lines(&node).await.contains(&"raw of effects".to_owned()));
    node.stop().await;
}

/// A key's order is that of the commits that queued it, whatever the clock says meanwhile.
#[tokio::test]
async fn effects_of_a_key_are_called_in_the_order_they_were_queued_though_the_clock_is_set_back() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    board.fails("0", "unavailable");
    let per_key = late_with(&board, calling(&board).per_key());
    let node = place.start(vec![per_key], catalogue()).await.expect("starts");
    for text in ["0", "1", "2", "3"] {
        set(&node, vec![call("k", text)]).await;
        // Until it has left the timers.
        node.settle().await;
        place.clock.set_back(Duration::from_millis(10));
    }
    board.works("0");
    place.clock.advance(MINUTE);
    assert_eq!(lines(&node).await, ["said 0 after 2", "said 1 after 1", "said 2 after 1", "said 3 after 1"]);
    node.stop().await;
}

#[tokio::test]
async fn a_call_that_takes_too_long_names_the_setting_that_bounds_it() {
    let Some(mut place) = super::place().await else { return };
    place.limits.effect_time = Duration::from_millis(20);
    let board = Arc::new(Board::default());
    let once = late_with(&board, calling(&board).tries(1));
    let node = place.start(vec![once], catalogue()).await.expect("starts");
    set(&node, vec![call("k", "never ends")]).await;
    node.settle().await;
    let letter = only_letter(&node).await;
    assert!(letter.reason.contains("flow.effect_time"), "{}", letter.reason);
    node.stop().await;
}
