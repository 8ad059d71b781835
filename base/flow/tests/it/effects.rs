//! Effects: how many at once and how often, in the order of their keys, each told once, whatever fails around it.

use crate::caller::{Age, Block, Board, Dial, Letters, Overtake, caller, caller_of_many, many, one, plain};
use crate::calls::{queue, start, told, until_told};
use artel_flow::HandlerExt;
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn dial(key: impl ToString, number: impl ToString) -> Dial {
    Dial { key: key.to_string(), number: number.to_string() }
}

#[tokio::test]
async fn one_slow_key_does_not_hold_the_others() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let node = start(&place, caller(one(&board).width(64).per_key())).await;
    let mut calls = vec![dial("slow", "slow 0")];
    calls.extend((1..100).map(|n| dial("slow", n)));
    calls.extend((1_000..1_999).map(|n| dial(n, n)));
    queue(&node, &place, calls).await;
    assert_eq!(until_told(&node, 999).await.len(), 999);
    let begun = board.numbers();
    let of_the_slow_key: Vec<_> = begun.iter().filter(|n| n.len() < 4 || n.starts_with("slow")).collect();
    assert_eq!(of_the_slow_key, ["slow 0"], "what stands behind it waits");
    board.open("slow 0");
    assert_eq!(until_told(&node, 1_099).await.len(), 1_099);
    let order: Vec<String> = board.numbers().into_iter().filter(|n| n.len() < 4).collect();
    assert_eq!(order, (1..100).map(|n| n.to_string()).collect::<Vec<_>>());
    node.stop().await;
}

#[tokio::test]
async fn what_fails_keeps_its_place_before_those_of_its_key() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let node = start(&place, caller(one(&board).per_key())).await;
    queue(&node, &place, vec![dial("a", "busy 2"), dial("a", "second"), dial("b", "other")]).await;
    for _ in 0..3 {
        node.settle().await;
        place.clock.advance(MINUTE);
    }
    node.settle().await;
    let of_a: Vec<String> = board.numbers().into_iter().filter(|n| n != "other").collect();
    assert_eq!(of_a, ["busy 2", "busy 2", "busy 2", "second"]);
    let keys: std::collections::BTreeSet<_> =
        board.begun.borrow().iter().filter(|b| b.number == "busy 2").map(|b| b.key).collect();
    assert_eq!(keys.len(), 1, "the provider is given the same key each time");
    node.stop().await;
}

/// A node whose clock is behind queues what is older than what another one is calling.
#[tokio::test]
async fn a_key_is_called_once_at_a_time_whatever_the_clocks_say() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let node = start(&place, caller(one(&board).per_key())).await;
    queue(&node, &place, vec![dial("a", "slow"), dial("a", "second")]).await;
    board.begun(1).await;
    node.ctx("caller").ask(Age {}).await.expect("older");
    queue(&node, &place, vec![dial("b", "other")]).await;
    board.begun(2).await;
    assert_eq!(board.numbers(), ["slow", "other"], "the key is taken");
    board.open("slow");
    until_told(&node, 3).await;
    assert_eq!(board.numbers(), ["slow", "other", "second"]);
    node.stop().await;
}

#[tokio::test]
async fn no_more_calls_run_at_once_than_the_width() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let node = start(&place, caller(one(&board).width(3))).await;
    queue(&node, &place, (0..12).map(|n| dial(n, format!("slow {n}"))).collect()).await;
    for n in 0..12 {
        board.begun((n + 3).min(12)).await;
        let next = board.numbers()[n].clone();
        board.open(&next);
    }
    until_told(&node, 12).await;
    assert_eq!(*board.under_way.borrow(), (0, 3));
    node.stop().await;
}

#[tokio::test]
async fn calls_come_no_faster_than_the_rate() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let node = start(&place, caller(one(&board).rate(2, 3))).await;
    queue(&node, &place, (0..10).map(|n| dial(n, n)).collect()).await;
    board.begun(3).await;
    for calls in 4..=10 {
        place.clock.advance(Duration::from_millis(500));
        board.begun(calls).await;
    }
    let begun = board.begun.borrow().clone();
    for (n, call) in begun.iter().enumerate().skip(3) {
        let half_seconds = u32::try_from(n - 2).expect("few");
        assert!(call.at.since(begun[0].at) >= Duration::from_millis(500) * half_seconds, "{begun:?}");
    }
    node.settle().await;
    node.stop().await;
}

#[tokio::test]
async fn a_handler_of_many_gives_each_its_own_result() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let node = start(&place, caller_of_many(many(&board).batch(10).width(1))).await;
    let number = |n: u32| match n {
        7 => "wrong".to_owned(),
        8 => "busy 1".to_owned(),
        n => n.to_string(),
    };
    queue(&node, &place, (0..25).map(|n| dial(n, number(n))).collect()).await;
    node.settle().await;
    place.clock.advance(MINUTE);
    node.settle().await;
    let mut lines = told(&node).await;
    lines.retain(|line| line.starts_with("wrong") || line.starts_with("busy"));
    lines.sort();
    assert_eq!(lines, ["busy 1 said busy 1 after 2", "wrong gave invalid after 1"]);
    assert_eq!(told(&node).await.len(), 25);
    let begun = board.begun.borrow().clone();
    assert_eq!(begun.len(), 26, "only what failed is called again: {begun:?}");
    let together = begun.iter().map(|call| call.together).max();
    assert!(together.is_some_and(|most| (2..=10).contains(&most)), "{begun:?}");
    node.stop().await;
}

#[tokio::test]
async fn a_done_handler_that_fails_is_told_again_without_another_call() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let node = start(&place, caller(plain(one(&board)))).await;
    node.ctx("caller").ask(Block { on: true }).await.expect("blocked");
    queue(&node, &place, vec![dial("a", "one"), dial("b", "wrong")]).await;
    for _ in 0..4 {
        node.settle().await;
        place.clock.advance(MINUTE);
    }
    assert_eq!(told(&node).await, Vec::<String>::new());
    node.ctx("caller").ask(Block { on: false }).await.expect("not blocked");
    for _ in 0..3 {
        place.clock.advance(MINUTE);
        node.settle().await;
    }
    let mut lines = told(&node).await;
    lines.sort();
    assert_eq!(lines, ["one said one after 1", "wrong gave invalid after 1"]);
    assert_eq!(board.begun.borrow().len(), 2, "each was called once");
    assert_eq!(node.ctx("caller").query(Letters {}).await.expect("letters").len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn an_effect_is_given_up_by_its_age_or_its_tries_and_leaves_a_dead_letter() {
    let Some(mut place) = super::place().await else { return };
    place.limits.effect_age = 30 * MINUTE;
    place.limits.effect_tries = 1_000;
    let board = Arc::new(Board::default());
    let node = start(&place, caller(plain(one(&board)))).await;
    queue(&node, &place, vec![dial("a", "busy 999"), dial("b", "wrong")]).await;
    for _ in 0..40 {
        node.settle().await;
        place.clock.advance(MINUTE);
    }
    node.settle().await;
    let lines = told(&node).await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], "wrong gave invalid after 1");
    assert!(lines[1].starts_with("busy 999 gave unavailable after "), "{lines:?}");
    let calls = board.begun.borrow().iter().filter(|b| b.number == "busy 999").count();
    assert!((5..40).contains(&calls), "{calls} calls: less and less often");
    let letters = node.ctx("caller").query(Letters {}).await.expect("letters");
    let wanted = [("effects", "invalid", 1), ("effects", "unavailable", i64::try_from(calls).expect("few"))];
    let letters: Vec<_> =
        letters.iter().map(|(topic, code, n)| (topic.as_str(), code.as_str(), *n)).collect();
    assert_eq!(letters, wanted);
    node.stop().await;
}

#[tokio::test]
async fn a_fault_that_says_when_to_come_again_is_believed() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let node = start(&place, caller(plain(one(&board)))).await;
    queue(&node, &place, vec![dial("a", "come again")]).await;
    node.settle().await;
    place.clock.advance(Duration::from_secs(110));
    node.settle().await;
    assert_eq!(board.begun.borrow().len(), 1);
    place.clock.advance(Duration::from_secs(30));
    node.settle().await;
    assert_eq!(told(&node).await, ["come again said come again after 2"]);
    node.stop().await;
}

/// The other result may have come from a node whose claim had ended.
#[tokio::test]
async fn of_two_results_the_first_one_is_told() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let node = start(&place, caller(plain(one(&board)))).await;
    queue(&node, &place, vec![dial("a", "slow")]).await;
    board.begun(1).await;
    node.ctx("caller").ask(Overtake {}).await.expect("overtaken");
    board.open("slow");
    assert_eq!(until_told(&node, 1).await, ["slow said quicker after 1"]);
    node.settle().await;
    assert_eq!((told(&node).await.len(), board.begun.borrow().len()), (1, 1));
    node.stop().await;
}
