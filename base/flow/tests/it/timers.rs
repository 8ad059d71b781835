//! Timers in rounds: oldest first, each once, whatever others in the same round do.

use crate::bell::{Entry, Letters, Lines, Set, bell, catalogue};
use crate::kit::{Node, Place};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

async fn start(place: &Place) -> Node {
    place.start(vec![bell()], catalogue()).await.expect("starts")
}

fn entry(key: impl ToString, after_ms: u64, text: impl ToString) -> Entry {
    Entry { key: key.to_string(), after_ms, text: text.to_string() }
}

async fn set(node: &Node, together: bool, timers: Vec<Entry>) {
    node.ctx("bell").ask(Set { timers, together }).await.expect("set");
}

async fn lines(node: &Node) -> Vec<String> {
    node.settle().await;
    node.ctx("bell").query(Lines {}).await.expect("lines")
}

/// What was given up on: (key, code, attempts).
async fn letters(node: &Node) -> Vec<(String, String, i64)> {
    node.ctx("bell").query(Letters {}).await.expect("letters")
}

#[tokio::test]
async fn thousands_that_came_due_while_nobody_ran_fire_oldest_first() {
    let Some(place) = super::place().await else { return };
    for together in [false, true] {
        let node = start(&place).await;
        let before = lines(&node).await.len();
        // Set in another order than they are due.
        let timers = (0..2_500u64).map(|n| n * 1_357 % 2_500).map(|n| entry(n, n, n)).collect();
        set(&node, together, timers).await;
        node.stop().await;
        place.clock.advance(MINUTE);
        let node = start(&place).await;
        let fired: Vec<String> = lines(&node).await.split_off(before);
        let wanted: Vec<String> = (0..2_500).map(|n| n.to_string()).collect();
        assert!(fired == wanted, "together: {together}, {} lines", fired.len());
        node.stop().await;
    }
}

#[tokio::test]
async fn a_poison_timer_holds_up_no_other_and_ends_as_a_dead_letter() {
    let Some(mut place) = super::place().await else { return };
    place.limits.timer_tries = 3;
    let node = start(&place).await;
    let text = |n: u64| match n % 50 {
        7 => format!("busy {n}"),
        11 => format!("never {n}"),
        12 => format!("large {n}"),
        _ => n.to_string(),
    };
    set(&node, false, (0..400).map(|n| entry(n, 1, text(n))).collect()).await;
    place.clock.advance(Duration::from_millis(1));
    let fired = lines(&node).await;
    assert_eq!(fired.len(), 400 - 3 * 8, "all but the poison ones have fired at once: {fired:?}");
    assert_eq!(letters(&node).await.len(), 16, "what can never work is given up at once");
    for _ in 0..3 {
        place.clock.advance(MINUTE);
        node.settle().await;
    }
    let letters = letters(&node).await;
    assert_eq!(letters.len(), 24);
    let busy: Vec<_> = letters.iter().filter(|(_, code, _)| code == "unavailable").collect();
    assert_eq!(busy.len(), 8);
    assert!(busy.iter().all(|(_, _, attempts)| *attempts == 3), "{busy:?}");
    assert_eq!(lines(&node).await.len(), 400 - 24);
    node.stop().await;
}

/// A handler of many that fails for one of them still gets the others.
#[tokio::test]
async fn a_poison_timer_is_found_among_those_that_ring_together() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    let text = |n: u64| if n % 100 == 42 { format!("never {n}") } else { n.to_string() };
    set(&node, true, (0..600).map(|n| entry(n, n, text(n))).collect()).await;
    place.clock.advance(MINUTE);
    let fired = lines(&node).await;
    let wanted: Vec<String> = (0..600).filter(|n| n % 100 != 42).map(|n| n.to_string()).collect();
    assert!(fired == wanted, "{} lines", fired.len());
    let mut dead: Vec<String> = letters(&node).await.into_iter().map(|(key, ..)| key).collect();
    dead.sort_by_key(|key| key.parse::<u64>().ok());
    assert_eq!(dead, ["42", "142", "242", "342", "442", "542"]);
    node.stop().await;
}

/// What is due is taken out with the transaction that runs it; to the handlers of that transaction it is pending until its
/// turn has come.
#[tokio::test]
async fn a_timer_cancels_and_replaces_those_that_are_due_with_it() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    let timers = vec![
        entry("first", 1, "cancel second"),
        entry("second", 2, "is cancelled"),
        entry("third", 3, "again fourth"),
        entry("fourth", 4, "is put off"),
        entry("fifth", 5, "cancel first"),
        entry("sixth", 6, "cancel sixth"),
        entry("seventh", 7, "again seventh"),
    ];
    set(&node, false, timers).await;
    place.clock.advance(Duration::from_secs(1));
    let mut wanted = vec![
        "cancel second",
        "second was pending: true",
        "again fourth",
        "cancel first",
        "first was pending: false",
        "cancel sixth",
        "sixth was pending: false",
        "again seventh",
    ];
    assert_eq!(lines(&node).await, wanted);
    place.clock.advance(MINUTE);
    wanted.extend(["fourth again", "seventh again"]);
    assert_eq!(lines(&node).await, wanted);
    node.stop().await;
}

#[tokio::test]
async fn a_timer_that_is_set_again_is_replaced() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    set(&node, false, vec![entry("a", 1_000, "early"), entry("b", 9_000, "late")]).await;
    set(&node, false, vec![entry("a", 2_500, "later"), entry("b", 500, "sooner")]).await;
    place.clock.advance(Duration::from_secs(1));
    assert_eq!(lines(&node).await, ["sooner"]);
    place.clock.advance(MINUTE);
    assert_eq!(lines(&node).await, ["sooner", "later"]);
    // The same key with another message is another timer.
    set(&node, false, vec![entry("a", 1_000, "one")]).await;
    set(&node, true, vec![entry("a", 2_000, "two")]).await;
    place.clock.advance(MINUTE);
    assert_eq!(lines(&node).await, ["sooner", "later", "one", "two"]);
    node.stop().await;
}
