//! One partition that does not work holds up no other.

use crate::gated::{Answer, Asked};
use crate::kit::{Node, Place};
use crate::shop::{Journal, Sell, catalogue, desk, shop};
use std::collections::BTreeSet;
use std::time::Duration;

/// What most tests do without; a partition that is waited for takes all of it.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

/// An item whose messages go to that partition.
fn item_of(place: &Place, partition: u32) -> String {
    let names = (0..1000).map(|n| format!("item{n}"));
    let mut there = names
        .filter(|name| artel_bus::partition::of_key(name.as_bytes(), place.limits.partitions) == partition);
    there.next().expect("a name for the partition")
}

async fn sell(node: &Node, item: &str, counts: std::ops::Range<u32>) {
    for count in counts {
        node.ctx("shop").ask(Sell { item: item.into(), count }).await.expect("sold");
    }
}

/// What was written down of an item once there are that many lines of it.
async fn lines_of(node: &Node, item: &str, wanted: usize) -> Vec<String> {
    let look = async {
        let mut again = tokio::time::interval(LOOK);
        loop {
            again.tick().await;
            let mut lines = node.ctx("desk").query(Journal {}).await.expect("journal");
            lines.retain(|line| line.starts_with(&format!("sold {item} ")));
            if lines.len() >= wanted {
                return lines;
            }
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("{item}: {wanted} lines don't come"))
}

fn sold(item: &str, counts: std::ops::Range<u32>) -> Vec<String> {
    counts.map(|count| format!("sold {item} {count}")).collect()
}

/// The first partition of the shop's topic and another one, each with an item that goes there.
fn two_items(place: &Place) -> (String, String) {
    (item_of(place, 0), item_of(place, 1))
}

async fn published_apart(answer: Answer) {
    let Some(mut place) = super::place().await else { return };
    place.limits.relay_rows = 10;
    let (bad, good) = two_items(&place);
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    place.gates.hold("shop.sale", 0, Asked::Append, answer);
    // More than the relay reads at once waits before, between and behind what can go.
    sell(&node, &bad, 0..40).await;
    sell(&node, &good, 0..5).await;
    sell(&node, &bad, 40..80).await;
    sell(&node, &good, 5..40).await;
    assert_eq!(lines_of(&node, &good, 40).await, sold(&good, 0..40));
    assert!(lines_of(&node, &bad, 0).await.is_empty());
    place.gates.let_go();
    sell(&node, &bad, 80..90).await;
    assert_eq!(lines_of(&node, &bad, 90).await, sold(&bad, 0..90), "in order, each once");
    node.settle().await;
    let again: BTreeSet<_> = node.records("shop.sale").await.into_iter().map(|(p, r)| (p, r.value)).collect();
    assert_eq!((again.len(), node.records("shop.sale").await.len()), (130, 130), "none was published twice");
    assert_eq!(node.runtime.troubles(), Vec::<String>::new());
    node.stop().await;
}

#[tokio::test]
async fn a_partition_that_takes_nothing_holds_up_no_other() {
    published_apart(Answer::Silence).await;
}

#[tokio::test]
async fn a_partition_that_refuses_holds_up_no_other() {
    published_apart(Answer::Refusal).await;
}

#[tokio::test]
async fn a_node_stops_while_a_partition_takes_nothing_and_the_next_one_publishes_what_waits() {
    let Some(place) = super::place().await else { return };
    let (bad, good) = two_items(&place);
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    place.gates.hold("shop.sale", 0, Asked::Append, Answer::Silence);
    sell(&node, &bad, 0..10).await;
    sell(&node, &good, 0..10).await;
    lines_of(&node, &good, 10).await;
    tokio::time::timeout(PATIENCE, node.stop()).await.expect("it stops");
    place.gates.let_go();
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    assert_eq!(lines_of(&node, &bad, 10).await, sold(&bad, 0..10));
    assert_eq!(lines_of(&node, &good, 10).await, sold(&good, 0..10));
    node.stop().await;
}

async fn read_apart(answer: Answer) {
    let Some(place) = super::place().await else { return };
    let (bad, good) = two_items(&place);
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    sell(&node, &bad, 0..2).await;
    sell(&node, &good, 0..2).await;
    node.settle().await;
    place.gates.hold("shop.sale", 0, Asked::Read, answer);
    sell(&node, &bad, 2..10).await;
    sell(&node, &good, 2..10).await;
    assert_eq!(lines_of(&node, &good, 10).await, sold(&good, 0..10));
    assert_eq!(lines_of(&node, &bad, 2).await, sold(&bad, 0..2));
    place.gates.let_go();
    assert_eq!(lines_of(&node, &bad, 10).await, sold(&bad, 0..10));
    assert_eq!(node.runtime.troubles(), Vec::<String>::new());
    node.stop().await;
}

#[tokio::test]
async fn a_partition_that_can_not_be_read_holds_up_no_other() {
    read_apart(Answer::Silence).await;
}

#[tokio::test]
async fn a_partition_whose_reads_fail_holds_up_no_other() {
    read_apart(Answer::Refusal).await;
}

/// The first start of all: nobody has a place in that partition.
#[tokio::test]
async fn a_partition_that_does_not_answer_holds_up_no_other_at_the_first_start() {
    let Some(place) = super::place().await else { return };
    let (bad, good) = two_items(&place);
    place.gates.hold("shop.sale", 0, Asked::Read, Answer::Silence);
    let start = tokio::time::timeout(PATIENCE, place.start(vec![shop(), desk()], catalogue()));
    let node = start.await.expect("it starts").expect("start");
    sell(&node, &bad, 0..3).await;
    sell(&node, &good, 0..3).await;
    assert_eq!(lines_of(&node, &good, 3).await, sold(&good, 0..3));
    place.gates.let_go();
    assert_eq!(lines_of(&node, &bad, 3).await, sold(&bad, 0..3));
    node.stop().await;
}

/// Whoever takes the relay over makes sure that it gives no number twice, and looks at the ends of all partitions for that.
#[tokio::test]
async fn a_partition_that_does_not_answer_holds_up_no_other_at_a_take_over() {
    let Some(place) = super::place().await else { return };
    let (bad, good) = two_items(&place);
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    sell(&node, &bad, 0..2).await;
    sell(&node, &good, 0..2).await;
    node.settle().await;
    node.stop().await;
    place.gates.hold("shop.sale", 0, Asked::Read, Answer::Silence);
    let start = tokio::time::timeout(PATIENCE, place.start(vec![shop(), desk()], catalogue()));
    let node = start.await.expect("it starts").expect("start");
    sell(&node, &bad, 2..10).await;
    sell(&node, &good, 2..10).await;
    assert_eq!(lines_of(&node, &good, 10).await, sold(&good, 0..10));
    place.gates.let_go();
    assert_eq!(lines_of(&node, &bad, 10).await, sold(&bad, 0..10));
    node.settle().await;
    assert_eq!(node.runtime.troubles(), Vec::<String>::new());
    node.stop().await;
}
