//! What the log says of trouble: once when it begins, ever more seldom while it lasts, and once when it is over.

use crate::gated::{Answer, Asked};
use crate::kit::{Node, alter};
use crate::mill::{self, break_it, mend, mill, numbers, say_as};
use crate::said::Said;
use crate::shop::{Sell, catalogue, desk, shop};
use serde_json::Value;
use std::time::Duration;

async fn sell(node: &Node, item: &str) {
    node.ctx("shop").ask(Sell { item: item.to_owned(), count: 1 }).await.expect("sold");
}

async fn nothing() {}

fn tried(times: u64) -> impl Fn(&Value) -> bool {
    move |line| line["tries"] == times
}

fn any(_: &Value) -> bool {
    true
}

/// Powers of two from the first on, up to at least this one.
fn are_rare(tries: &[u64], least: u64) {
    let rare: Vec<u64> = (0..tries.len()).map(|n| 1 << n).collect();
    assert_eq!(tries, rare, "a line at the first try, the second, the fourth and so on");
    assert!(tries.last() >= Some(&least), "{tries:?}");
}

#[tokio::test]
async fn a_message_is_given_up_in_one_line_whatever_its_letter_waits_for() {
    let Some(mut place) = super::place().await else { return };
    place.limits.outbox_rows = 1;
    let (said, _listening) = Said::listen();
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    for partition in 0..place.limits.partitions {
        place.gates.hold("shop.replies", partition, Asked::Append, Answer::Refusal);
    }
    sell(&node, "note:one").await;
    place.gates.refused("shop.replies", 1).await;
    // The desk's outbox is full with its reply: there is no room for the copy of a letter.
    let waits = "the group waits for the infrastructure and tries again";
    let mut sold = tokio::time::interval(Duration::from_millis(5));
    while node.ctx("shop").ask(Sell { item: "poison".to_owned(), count: 1 }).await.is_err() {
        sold.tick().await;
    }
    said.until(waits, tried(8), nothing).await;
    assert_eq!(said.lines("message given up"), Vec::<Value>::new(), "it is not given up yet");
    place.gates.let_go();
    node.settle().await;
    let lines = said.lines("message given up");
    assert_eq!((lines.len(), &lines[0]["group"], &lines[0]["code"]), (1, &"desk".into(), &"invalid".into()));
    are_rare(&said.numbers(waits, "tries"), 8);
    assert_eq!(said.lines("the group goes on").len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn a_relay_that_waits_says_so_ever_more_seldom_and_once_that_it_goes_on() {
    let Some(place) = super::place().await else { return };
    let (said, _listening) = Said::listen();
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    // Its report fails ten times, and is left out then.
    sell(&node, "block").await;
    said.until("the relay goes on", any, nothing).await;
    assert_eq!(said.numbers("the relay waits and tries again", "tries"), [1, 2, 4, 8]);
    assert_eq!(said.numbers("the relay goes on", "tries"), [10]);
    node.stop().await;
}

#[tokio::test]
async fn timers_that_wait_say_so_ever_more_seldom_and_once_that_they_go_on() {
    let Some(place) = super::place().await else { return };
    let (said, _listening) = Said::listen();
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    node.settle().await;
    alter(&node.store, "desk", "ALTER TABLE flow_timer RENAME TO flow_timer_away").await;
    let later = async || place.clock.advance(Duration::from_secs(61));
    said.until("timers wait for the infrastructure", tried(8), later).await;
    alter(&node.store, "desk", "ALTER TABLE flow_timer_away RENAME TO flow_timer").await;
    said.until("timers go on", any, later).await;
    are_rare(&said.numbers("timers wait for the infrastructure", "tries"), 8);
    let over = said.numbers("timers go on", "tries");
    assert!(over.len() == 1 && over[0] >= 8, "{over:?}");
    node.stop().await;
}

#[tokio::test]
async fn parked_keys_that_wait_say_so_ever_more_seldom_and_once_that_they_go_on() {
    let Some(place) = super::place().await else { return };
    let (said, _listening) = Said::listen();
    let node = place.start(vec![mill()], mill::catalogue()).await.expect("start");
    break_it(&node, "a", "unavailable").await;
    say_as(&node, "said", "a", 1..=3).await;
    node.settle().await;
    mend(&node, "a").await;
    alter(&node.store, "mill", "ALTER TABLE flow_parked_key RENAME TO flow_parked_key_away").await;
    let later = async || place.clock.advance(Duration::from_secs(10));
    said.until("parked keys wait for the infrastructure", tried(8), later).await;
    alter(&node.store, "mill", "ALTER TABLE flow_parked_key_away RENAME TO flow_parked_key").await;
    said.until("parked keys go on", any, later).await;
    are_rare(&said.numbers("parked keys wait for the infrastructure", "tries"), 8);
    assert_eq!(said.lines("parked keys go on").len(), 1);
    node.settle().await;
    assert_eq!(numbers(&node, "a").await, [1, 2, 3]);
    node.stop().await;
}

#[tokio::test]
async fn an_append_that_hangs_is_said_once_and_once_that_it_ended() {
    let Some(place) = super::place().await else { return };
    let (said, _listening) = Said::listen();
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    for partition in 0..place.limits.partitions {
        place.gates.hold("shop.sale", partition, Asked::Append, Answer::Silence);
    }
    sell(&node, "book").await;
    let hangs = "the log does not answer for a partition; its messages wait in the outbox, others go on";
    said.until(hangs, any, nothing).await;
    // The relay goes over it many more times.
    for _ in 0..20 {
        sell(&node, "book").await;
    }
    place.gates.let_go();
    node.settle().await;
    assert_eq!(said.lines(hangs).len(), 1);
    let ended = said.lines("the log takes the partition's messages again");
    assert!(ended.len() == 1 && ended[0]["hung_ms"].as_u64() >= Some(5_000), "{ended:?}");
    node.stop().await;
}

fn ages(node: &Node, by: &str, stage: &str) -> u64 {
    let name = format!("artel_flow_message_age_seconds_count{{by=\"{by}\",stage=\"{stage}\"}} ");
    let text = node.metrics();
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test]
async fn a_row_that_is_refused_is_relayed_once_in_the_figures() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    node.settle().await;
    for partition in 0..place.limits.partitions {
        place.gates.hold("shop.sale", partition, Asked::Append, Answer::Refusal);
    }
    for _ in 0..5 {
        sell(&node, "book").await;
    }
    place.gates.refused("shop.sale", 4).await;
    place.gates.let_go();
    sell(&node, "book").await;
    node.settle().await;
    assert_eq!((ages(&node, "shop", "relayed"), ages(&node, "shop", "logged")), (6, 6));
    assert_eq!(ages(&node, "desk", "handled"), 6);
    node.stop().await;
}

#[tokio::test]
async fn parked_messages_are_handled_in_the_figures_when_their_handler_has_run() {
    let Some(place) = super::place().await else { return };
    let node = place.start(vec![mill()], mill::catalogue()).await.expect("start");
    break_it(&node, "a", "unavailable").await;
    say_as(&node, "said", "a", 1..=3).await;
    node.settle().await;
    assert_eq!((ages(&node, "mill", "taken"), ages(&node, "mill", "handled")), (0, 0));
    mend(&node, "a").await;
    place.clock.advance(Duration::from_secs(1800));
    node.settle().await;
    assert_eq!(numbers(&node, "a").await, [1, 2, 3]);
    assert_eq!((ages(&node, "mill", "taken"), ages(&node, "mill", "handled")), (3, 3));
    node.stop().await;
}
