//! What comes after calls: many are told together, and what fails for one is its own.

use crate::caller::{Block, Board, Break, Claims, Dial, FIRST, caller, caller_telling, one, plain};
use crate::calls::{self, start, told, until_told};
use crate::kit::{Node, Place};
use artel_flow::HandlerExt;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

async fn queue(node: &Node, place: &Place, numbers: impl Iterator<Item = String>) {
    let calls = numbers.map(|number| Dial { key: "k".to_owned(), number }).collect();
    calls::queue(node, place, calls).await;
}

fn said(number: &str) -> String {
    format!("{number} said {number} after 1")
}

#[tokio::test]
async fn what_has_come_meanwhile_is_told_together_in_the_order_it_was_queued() {
    let Some(mut place) = super::place().await else { return };
    place.limits.effects_beside = 250;
    let board = Arc::new(Board::default());
    let node = start(&place, caller_telling(plain(one(&board)), &board, true)).await;
    let slow: Vec<String> = (1..9).map(|n| format!("slow {n}")).collect();
    queue(&node, &place, std::iter::once(FIRST.to_owned()).chain(slow.clone())).await;
    board.telling(1).await;
    board.begun(9).await;
    slow.iter().rev().for_each(|number| board.open(number));
    board.none_under_way().await;
    board.open("told first");
    let lines: Vec<String> =
        std::iter::once(FIRST).chain(slow.iter().map(String::as_str)).map(said).collect();
    assert_eq!(until_told(&node, 9).await, lines);
    assert_eq!(*board.told.borrow(), [vec![FIRST.to_owned()], slow]);
    node.stop().await;
}

/// The next ones compute while these are being told; what they write comes behind, unless these have to be told again.
#[tokio::test]
async fn rounds_of_telling_compute_beside_one_another_and_write_in_turn() {
    for fails in [false, true] {
        let Some(mut place) = super::place().await else { return };
        place.limits.effects_beside = 3;
        let board = Arc::new(Board::default());
        let node = start(&place, caller_telling(plain(one(&board)), &board, true)).await;
        let slow: Vec<String> = (1..4).map(|n| format!("slow {n}")).collect();
        queue(&node, &place, std::iter::once(FIRST.to_owned()).chain(slow.clone())).await;
        board.telling(1).await;
        board.begun(4).await;
        slow.iter().for_each(|number| board.open(number));
        board.telling(2).await;
        assert_eq!(told(&node).await, Vec::<String>::new(), "the first round is before it");
        if fails {
            board.poison.send_replace(BTreeSet::from([FIRST.to_owned()]));
        }
        board.open("told first");
        let mut lines: Vec<String> = slow.iter().map(|number| said(number)).collect();
        if fails {
            assert_eq!(until_told(&node, 3).await, lines);
            board.poison.send_replace(BTreeSet::new());
            node.settle().await;
            place.clock.advance(MINUTE);
        }
        lines.insert(if fails { 3 } else { 0 }, said(FIRST));
        assert_eq!(until_told(&node, 4).await, lines, "fails: {fails}");
        assert_eq!(board.told.borrow()[..2], [vec![FIRST.to_owned()], slow]);
        node.stop().await;
    }
}

#[tokio::test]
async fn of_many_that_are_told_together_only_the_poisonous_one_waits() {
    for many in [false, true] {
        let Some(place) = super::place().await else { return };
        let board = Arc::new(Board::default());
        let node = start(&place, caller_telling(one(&board).width(64), &board, many)).await;
        let bad = ["7", "23"].map(str::to_owned);
        board.poison.send_replace(bad.iter().cloned().collect());
        queue(&node, &place, std::iter::once(FIRST.to_owned()).chain((1..60).map(|n| n.to_string()))).await;
        board.telling(1).await;
        board.begun(60).await;
        board.none_under_way().await;
        board.open("told first");
        let lines = until_told(&node, 58).await;
        assert!(!bad.iter().any(|number| lines.contains(&said(number))), "{lines:?}");
        node.settle().await;
        place.clock.advance(MINUTE);
        node.settle().await;
        assert_eq!(told(&node).await.len(), 58, "many: {many}");
        board.poison.send_replace(BTreeSet::new());
        place.clock.advance(MINUTE);
        let lines = until_told(&node, 60).await;
        node.settle().await;
        assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), 60, "each once: {lines:?}");
        assert_eq!((told(&node).await.len(), board.begun.borrow().len()), (60, 60), "none is called twice");
        node.stop().await;
    }
}

#[tokio::test]
async fn a_result_that_was_stored_is_told_by_the_next_node_without_a_call() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let node = start(&place, caller(plain(one(&board)))).await;
    node.ctx("caller").ask(Block { on: true }).await.expect("blocked");
    queue(&node, &place, (0..20).map(|n| n.to_string())).await;
    node.settle().await;
    assert_eq!((told(&node).await.len(), board.begun.borrow().len()), (0, 20));
    node.stop().await;
    let board = Arc::new(Board::default());
    let node = start(&place, caller_telling(plain(one(&board)), &board, true)).await;
    place.clock.advance(MINUTE);
    assert_eq!(until_told(&node, 20).await.len(), 20);
    node.settle().await;
    assert_eq!(board.begun.borrow().len(), 0);
    node.stop().await;
}

/// What was claimed ahead of need is nobody's attempt.
#[tokio::test]
async fn a_node_that_stops_gives_back_what_it_has_not_called() {
    let Some(place) = super::place().await else { return };
    let board = Arc::new(Board::default());
    let node = start(&place, caller(one(&board).width(1))).await;
    let number = |n: u32| if n == 100 { "slow".to_owned() } else { n.to_string() };
    queue(&node, &place, (0..400).map(number)).await;
    board.begun(101).await;
    let mut look_again = tokio::time::interval(Duration::from_millis(20));
    while node.ctx("caller").query(Claims {}).await.expect("claims").len() < 2 {
        look_again.tick().await;
    }
    assert_eq!(board.begun.borrow().len(), 101, "one call at a time");
    tokio::join!(node.stop(), async { board.open("slow") });
    let mut called = board.numbers();
    let next = Arc::new(Board::default());
    let node = start(&place, caller(one(&next).width(1))).await;
    assert_eq!(until_told(&node, 400).await.len(), 400);
    assert!(next.begun.borrow().iter().all(|begun| begun.attempt == 1), "{:?}", next.begun.borrow());
    called.extend(next.numbers());
    assert_eq!(called.len(), 400, "each is called once");
    assert_eq!(called.iter().collect::<BTreeSet<_>>().len(), 400);
    node.stop().await;
}

/// Where a node is alone no claim ends by itself.
#[tokio::test]
async fn what_a_mistake_keeps_from_being_written_holds_up_no_other_and_is_written_when_that_is_mended() {
    let place = Place::new();
    let board = Arc::new(Board::default());
    let node = start(&place, caller(plain(one(&board)))).await;
    node.ctx("caller").ask(Break { on: true }).await.expect("broken");
    queue(&node, &place, ["stuck", "one", "two"].map(str::to_owned).into_iter()).await;
    let lines = until_told(&node, 2).await;
    assert!(lines.contains(&said("one")) && lines.contains(&said("two")), "{lines:?}");
    node.ctx("caller").ask(Break { on: false }).await.expect("mended");
    assert_eq!(until_told(&node, 3).await.pop(), Some(said("stuck")));
    node.settle().await;
    assert_eq!((told(&node).await.len(), board.begun.borrow().len()), (3, 3), "each was called once");
    node.stop().await;
}
