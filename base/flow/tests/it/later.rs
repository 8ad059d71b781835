//! What is put off, and what becomes of it where something stands in its way.

use crate::kit::{Node, Place};
use crate::late::{
    Board, Do, Lines, Send, Set, Timer, What, and_boss, boss, call_of, catalogue, catalogue_before, late,
    late_before, late_nightly,
};
use artel_bus::TopicSpec;
use artel_message::Code;
use artel_store::{Args, Lane};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

pub async fn start(place: &Place, board: &Arc<Board>) -> Node {
    place.start(vec![late(board)], catalogue()).await.expect("starts")
}

pub fn timer(key: &str, after_ms: u64, text: &str) -> Timer {
    Timer { key: key.to_owned(), after_ms, what: What::Do(text.to_owned()) }
}

pub fn call(key: &str, text: &str) -> Timer {
    Timer { key: format!("call {text}"), after_ms: 0, what: What::Call(call_of(key, text)) }
}

pub async fn set(node: &Node, timers: Vec<Timer>) {
    node.ctx("late").ask(Set { timers }).await.expect("set");
}

pub async fn lines(node: &Node) -> Vec<String> {
    node.settle().await;
    node.ctx("late").query(Lines {}).await.expect("lines")
}

/// A topic that this node has not met, as if another one had made it.
async fn made_elsewhere(node: &Node, name: &str) {
    let spec = TopicSpec { name: name.to_owned(), partitions: 1, retention_ms: None, retention_bytes: None };
    node.log.make(spec).await.expect("made");
}

/// How late it was is not how long it fails.
#[tokio::test]
async fn a_timer_that_came_due_hours_ago_and_fails_once_is_tried_again() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let node = start(&place, &board).await;
    set(&node, vec![timer("a", 1_000, "hello")]).await;
    node.stop().await;
    place.clock.advance(2 * 60 * MINUTE);
    board.fails("hello", "unavailable");
    let node = start(&place, &board).await;
    assert_eq!(lines(&node).await, Vec::<String>::new());
    board.works("hello");
    place.clock.advance(MINUTE);
    assert_eq!(lines(&node).await, ["hello"]);
    node.stop().await;
}

/// One node of a service keeps its timers, and may be of an older version than the one that sets them.
#[tokio::test]
async fn a_timer_that_this_version_does_not_know_waits_for_one_that_does() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let node = start(&place, &board).await;
    set(&node, vec![timer("a", 1_000, "hello"), call("k", "call")]).await;
    node.stop().await;
    let before = place.start(vec![late_before()], catalogue_before()).await.expect("starts");
    place.clock.advance(MINUTE);
    before.settle().await;
    before.stop().await;
    let node = start(&place, &board).await;
    place.clock.advance(MINUTE);
    let mut lines = lines(&node).await;
    lines.sort();
    assert_eq!(lines, ["hello", "said call after 1"]);
    node.stop().await;
}

#[tokio::test]
async fn a_command_that_this_version_does_not_know_waits_for_one_that_does() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let services = vec![boss(), late_before()];
    let node = place.start(services, and_boss(catalogue_before())).await.expect("starts");
    node.ctx("boss").ask(Send { text: "hello".to_owned() }).await.expect("sent");
    node.settle().await;
    node.stop().await;
    let services = vec![boss(), late(&board)];
    let node = place.start(services, and_boss(catalogue())).await.expect("starts");
    place.clock.advance(MINUTE);
    assert_eq!(lines(&node).await, ["hello"]);
    node.stop().await;
}

#[tokio::test]
async fn a_topic_that_another_node_has_made_is_looked_for_before_anything_is_given_up() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let node = start(&place, &board).await;
    made_elsewhere(&node, "far").await;
    made_elsewhere(&node, "near").await;
    // By a command at once.
    node.ctx("late").ask(Do { text: "out near".to_owned() }).await.expect("produced");
    let refused = node.ctx("late").ask(Do { text: "out nowhere".to_owned() }).await.expect_err("refused");
    assert_eq!((refused.code, refused.reason.contains("'nowhere'")), (Code::Invalid, true));
    set(&node, vec![timer("a", 1, "out far"), timer("b", 1, "out nowhere")]).await;
    for _ in 0..3 {
        place.clock.advance(MINUTE);
        node.settle().await;
    }
    assert_eq!((node.records("near").await.len(), node.records("far").await.len()), (1, 1));
    let letters = node.ctx("late").read().await.expect("read").dead_letters(None, 10).await.expect("letters");
    let letters: Vec<_> = letters.iter().map(|letter| letter.code.as_str()).collect();
    assert_eq!(letters, ["invalid"], "the log was asked, and there is no such topic");
    node.stop().await;
}

/// Keys that sort in another order than they were set in.
#[tokio::test]
async fn what_is_due_at_once_comes_in_the_order_in_which_it_was_set() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let node = start(&place, &board).await;
    let texts: Vec<String> = (0..40).map(|n| (n * 7 % 40).to_string()).collect();
    set(&node, texts.iter().map(|text| timer(text, 5, text)).collect()).await;
    place.clock.advance(MINUTE);
    assert_eq!(lines(&node).await, texts);
    node.stop().await;
}

#[tokio::test]
async fn a_round_that_takes_long_ends_before_it_has_run_all() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    board.fails("last", "invalid");
    let node = start(&place, &board).await;
    set(&node, vec![timer("a", 1, "slow first"), timer("b", 2, "last")]).await;
    place.clock.advance(MINUTE);
    assert_eq!(lines(&node).await, ["slow first", "given up: late.do of timers"]);
    assert_eq!(board.runs("slow first"), 1, "what fails behind it does not roll it back");
    node.stop().await;
}

#[tokio::test]
async fn timers_do_not_wait_for_what_is_purged() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let node = start(&place, &board).await;
    set(&node, vec![timer("a", 1, "answers now")]).await;
    node.stop().await;
    let store = place.store().await;
    let db = store.db("late").await.expect("the database");
    let mut write = db.begin_plain(Lane::Interactive).await.expect("begins");
    let row = |n: i32| {
        let bytes = Bytes::from_static(b"{}");
        ("far", "late.do", n.to_string(), bytes.clone(), true, bytes, place.clock.now()).values()
    };
    let sql = "INSERT INTO flow_answered (caller, command, key, hash, ok, reply, until) VALUES {rows}";
    write.exec_rows(sql, (), (0..5_000).map(row).collect()).await.expect("written");
    write.commit().await.expect("committed");
    store.close().await;
    place.clock.advance(MINUTE);
    let node = start(&place, &board).await;
    assert_eq!(lines(&node).await, ["5000 answers are kept"]);
    node.stop().await;
    let node = start(&place, &board).await;
    // What is purged goes on by itself.
    let mut look_again = tokio::time::interval(Duration::from_millis(20));
    loop {
        node.ctx("late").ask(Do { text: "answers now".to_owned() }).await.expect("counted");
        let lines = lines(&node).await;
        if lines.last().is_some_and(|line| line == "0 answers are kept") {
            break;
        }
        assert!(lines.len() < 1_000, "they are not purged: {:?}", lines.last());
        look_again.tick().await;
    }
    node.stop().await;
}

#[tokio::test]
async fn keys_that_no_index_takes_are_refused_when_they_are_set() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let node = start(&place, &board).await;
    let (long, fits) = ("k".repeat(3_000), "k".repeat(1_024));
    for timer in [timer(&long, 0, "a"), call(&long, "b")] {
        let refused = node.ctx("late").ask(Set { timers: vec![timer] }).await.expect_err("refused");
        assert_eq!((refused.code, refused.reason.contains("1024")), (Code::Invalid, true), "{refused}");
    }
    set(&node, vec![timer(&fits, 0, "a"), call(&fits, "b")]).await;
    let mut lines = lines(&node).await;
    lines.sort();
    assert_eq!(lines, ["a", "said b after 1"]);
    node.stop().await;
}

/// Moves the clock on until this holds: a schedule names the next try by the clock as it is when one has failed.
async fn in_time(place: &Place, holds: impl AsyncFn() -> bool) {
    let mut look_again = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..500 {
        if holds().await {
            return;
        }
        place.clock.advance(Duration::from_secs(1));
        look_again.tick().await;
    }
    panic!("it does not hold after 500 looks");
}

/// Whoever takes over knows of the try that was in time.
#[tokio::test]
async fn a_run_that_was_tried_in_time_is_not_skipped_however_long_it_fails() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let start = async || place.start(vec![late_nightly(&board)], catalogue_before()).await.expect("starts");
    let node = start().await;
    board.fails("nightly", "unavailable");
    place.clock.advance(60 * MINUTE);
    board.ran("nightly", 1).await;
    // By now it is too late for a run that was not tried.
    place.clock.advance(2 * MINUTE);
    for times in 2..=3 {
        in_time(&place, async || board.runs("nightly") >= times).await;
    }
    node.stop().await;
    place.clock.advance(5 * MINUTE);
    let tries = board.runs("nightly");
    let node = start().await;
    in_time(&place, async || board.runs("nightly") > tries).await;
    board.works("nightly");
    let said = async || node.ctx("late").query(Lines {}).await.expect("lines");
    in_time(&place, async || !said().await.is_empty()).await;
    assert_eq!(lines(&node).await, ["nightly"]);
    assert_eq!(node.runtime.schedules().await.expect("schedules")[0].missed, 0);
    node.stop().await;
}
