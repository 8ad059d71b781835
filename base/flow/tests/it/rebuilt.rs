//! What a projection goes back over and is switched with: all of it, each message once, and nothing that nobody has decided.

use crate::books::{Break, Sales, books, catalogue};
use crate::kit::{Node, Place};
use crate::shop::{Sell, desk, shop};
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{Log, Record};
use artel_flow::{Back, By, Letters, Phase, ProjectionInfo, Rewind};
use artel_message::Code;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn start(place: &Place, versions: &'static [u32]) -> Node {
    place.start(vec![shop(), desk(), books(versions)], catalogue()).await.expect("start")
}

async fn sell(node: &Node, numbers: std::ops::Range<u32>) {
    for n in numbers {
        node.ctx("shop").ask(Sell { item: format!("item {}", n % 5), count: 1 }).await.expect("sold");
    }
}

/// The version that is read from, and how many sales it knows.
async fn sum(node: &Node) -> (u32, i64) {
    let (version, rows) = node.ctx("books").query(Sales {}).await.expect("sales");
    (version, rows.into_iter().map(|(_, n)| n).sum())
}

async fn fail(node: &Node, item: &str, version: u32, with: &str) {
    let broken = Break { item: item.into(), version, with: with.into() };
    node.ctx("books").ask(broken).await.expect("broken");
}

async fn versions(node: &Node) -> Vec<ProjectionInfo> {
    node.ctx("books").projections().list().await.expect("projections")
}

async fn phases(node: &Node) -> Vec<(u32, Phase)> {
    versions(node).await.into_iter().map(|info| (info.version, info.phase)).collect()
}

/// Why a version is not switched to.
async fn reason(node: &Node, version: u32) -> String {
    let all = versions(node).await;
    let info = all.into_iter().find(|info| info.version == version).expect("the version");
    info.waits_for.unwrap_or_else(|| format!("nothing: it is {}", info.phase.word()))
}

/// Waits until a condition holds; half a minute at most.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let there = async {
        let mut again = tokio::time::interval(Duration::from_millis(10));
        while !holds().await {
            again.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), there)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come true"));
}

async fn letters(node: &Node, group: &str) -> usize {
    let which = Letters { group: Some(group.to_owned()), ..Letters::default() };
    node.ctx("books").dead_letters().find(&which, None, 100).await.expect("letters").len()
}

fn back(group: &str, to: Back, force: bool) -> Rewind {
    Rewind { group: group.to_owned(), to, force }
}

fn at(partition: u32, offset: i64) -> Back {
    Back::Offset { topic: "shop.sale".to_owned(), partition, offset }
}

fn op() -> By {
    By::who("op").because("a test")
}

#[tokio::test]
async fn the_beginning_of_one_partition_is_not_the_whole() {
    let Some(place) = super::place().await else { return };
    let node = start(&place, &[1]).await;
    sell(&node, 0..20).await;
    node.settle().await;
    let projections = node.ctx("books").projections();
    for partition in 0..2 {
        let back = back("sales-v1", at(partition, 0), false);
        let refused = projections.rewind(&back, Some(&op())).await;
        let refused = refused.expect_err("the other partition's sums would go");
        assert!(refused.reason.contains("all or nothing"), "{refused}");
    }
    assert_eq!(sum(&node).await, (1, 20));
    node.stop().await;
}

#[tokio::test]
async fn what_was_given_up_keeps_a_version_from_serving_until_somebody_decides() {
    let Some(place) = super::place().await else { return };
    let node = start(&place, &[1]).await;
    fail(&node, "item 1", 1, "invalid").await;
    fail(&node, "item 1", 2, "invalid").await;
    sell(&node, 0..20).await;
    node.settle().await;
    node.stop().await;
    let node = start(&place, &[1, 2]).await;
    until("it says so", async || reason(&node, 2).await.contains("were given up on")).await;
    node.settle().await;
    assert_eq!((letters(&node, "books.sales-v1").await, letters(&node, "books.sales-v2").await), (4, 4));
    // Time decides nothing: others' letters go, its own stay.
    place.clock.advance(40 * DAY);
    until("letters go", async || letters(&node, "books.sales-v1").await == 0).await;
    assert_eq!(letters(&node, "books.sales-v2").await, 4);
    assert_eq!(phases(&node).await, [(1, Phase::Serving), (2, Phase::Building)]);
    let dead = node.ctx("books").dead_letters();
    for letter in dead.find(&Letters::default(), None, 10).await.expect("letters") {
        dead.drop(letter.id, &op()).await.expect("dropped");
    }
    until("it serves", async || phases(&node).await == [(1, Phase::Replaced), (2, Phase::Serving)]).await;
    assert_eq!(sum(&node).await, (2, 16));
    node.stop().await;
}

#[tokio::test]
async fn a_version_that_was_passed_over_is_never_read_from_by_nodes_that_know_one_that_served() {
    let Some(place) = super::place().await else { return };
    let node = start(&place, &[1]).await;
    fail(&node, "item 3", 2, "unavailable").await;
    sell(&node, 0..20).await;
    node.settle().await;
    node.stop().await;
    let node = start(&place, &[1, 2, 3]).await;
    let passed = [(1, Phase::Replaced), (2, Phase::Building), (3, Phase::Serving)];
    until("the third one serves", async || phases(&node).await == passed).await;
    assert!(reason(&node, 2).await.contains("passed over"), "{}", reason(&node, 2).await);
    node.stop().await;
    let node = start(&place, &[1, 2]).await;
    node.settle().await;
    assert_eq!(sum(&node).await, (1, 20));
    node.stop().await;
}

#[tokio::test]
async fn a_version_that_is_built_is_not_removed_while_somebody_reads_from_it() {
    let Some(place) = super::place().await else { return };
    let node = start(&place, &[1]).await;
    fail(&node, "item 3", 2, "unavailable").await;
    sell(&node, 0..20).await;
    node.settle().await;
    node.stop().await;
    let node = start(&place, &[2]).await;
    node.settle().await;
    let refused =
        node.ctx("books").projections().retire("sales", 2, Some(&op())).await.expect_err("read from");
    assert!(refused.reason.contains("read from version 2"), "{refused}");
    node.stop().await;
    let node = start(&place, &[1, 2]).await;
    node.ctx("books").projections().retire("sales", 2, Some(&op())).await.expect("nobody reads from it");
    node.stop().await;
}

#[tokio::test]
async fn a_version_that_takes_nothing_in_is_not_switched_to_however_little_is_left() {
    let Some(mut place) = super::place().await else { return };
    place.limits.parked_messages = 0;
    let node = start(&place, &[1]).await;
    for item in ["item 0", "item 1", "item 2"] {
        fail(&node, item, 2, "unavailable").await;
    }
    sell(&node, 0..3).await;
    node.settle().await;
    node.stop().await;
    let node = start(&place, &[1, 2]).await;
    until("nearly there", async || reason(&node, 2).await.contains("3 are left")).await;
    until("it is tried, and pauses", async || !node.runtime.pauses().is_empty()).await;
    for item in ["item 0", "item 1", "item 2"] {
        fail(&node, item, 2, "").await;
    }
    let serves = async || {
        place.clock.advance(Duration::from_secs(10));
        phases(&node).await == [(1, Phase::Replaced), (2, Phase::Serving)]
    };
    until("it serves", serves).await;
    assert_eq!(sum(&node).await, (2, 3), "at the moment of the switch");
    node.stop().await;
}

/// Has retention take all that there is.
async fn forget_the_log(place: &Place) {
    let log = Segments::open(place.dir.path().join("log"), SegmentsConfig::default()).expect("the log opens");
    log.retain().await.expect("retention runs");
    let begins = log.bounds("shop.sale", 0).await.expect("bounds").begin;
    assert!(begins > 0, "nothing was taken");
    log.close().await;
}

#[tokio::test]
async fn what_retention_has_taken_is_missed_by_nobody_unawares() {
    let Some(mut place) = super::place().await else { return };
    place.limits.retention = Some(Duration::from_secs(1));
    let node = start(&place, &[1]).await;
    sell(&node, 0..20).await;
    node.settle().await;
    node.stop().await;
    forget_the_log(&place).await;
    let node = start(&place, &[1, 2]).await;
    sell(&node, 20..25).await;
    until("it says so", async || reason(&node, 2).await.contains("from_retained")).await;
    node.settle().await;
    let projections = node.ctx("books").projections();
    let refused = projections.rewind(&back("sales-v1", Back::Earliest, false), Some(&op())).await;
    let refused = refused.expect_err("twenty sales would go");
    assert!(refused.reason.contains("--force"), "{refused}");
    assert_eq!((sum(&node).await, phases(&node).await[1]), ((1, 25), (2, Phase::Building)));
    projections.rewind(&back("sales-v1", Back::Earliest, true), Some(&op())).await.expect("told so");
    node.settle().await;
    // What reads from there on has no more either.
    until("it serves", async || phases(&node).await[1] == (2, Phase::Serving)).await;
    assert_eq!(sum(&node).await, (2, 5));
    node.stop().await;
}

#[tokio::test]
async fn who_says_that_the_rest_will_do_is_switched_to() {
    let Some(mut place) = super::place().await else { return };
    place.limits.retention = Some(Duration::from_secs(1));
    let node = start(&place, &[1]).await;
    sell(&node, 0..20).await;
    node.settle().await;
    node.stop().await;
    forget_the_log(&place).await;
    let node = start(&place, &[1, 4]).await;
    until("it serves", async || phases(&node).await == [(1, Phase::Replaced), (4, Phase::Serving)]).await;
    node.stop().await;
}

#[tokio::test]
async fn a_message_published_twice_counts_once_also_where_a_version_goes_back_in_between() {
    let Some(place) = super::place().await else { return };
    let node = start(&place, &[2]).await;
    for _ in 0..10 {
        node.ctx("shop").ask(Sell { item: "tea".into(), count: 1 }).await.expect("sold");
    }
    node.settle().await;
    // As after a relay's crash: the last three come once more.
    let records = node.records("shop.sale").await;
    assert_eq!(records.len(), 10);
    for (partition, record) in &records[7..] {
        let headers: Vec<(&str, Option<&[u8]>)> = record.headers.iter().collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let copy = Record { key, value, headers: &headers, time: record.time };
        node.log.append("shop.sale", *partition, &[copy]).await.expect("append");
    }
    node.settle().await;
    assert_eq!(sum(&node).await, (2, 10));
    let to = at(records[0].0, 11);
    let done = node.ctx("books").projections().rewind(&back("sales-v2", to, true), Some(&op())).await;
    assert_eq!(done.expect("moved").messages, 2);
    node.ctx("shop").ask(Sell { item: "tea".into(), count: 1 }).await.expect("sold");
    node.settle().await;
    assert_eq!(sum(&node).await, (2, 11));
    assert_eq!(node.runtime.troubles(), Vec::<String>::new());
    node.stop().await;
}

#[tokio::test]
async fn what_waits_in_a_version_of_another_release_is_not_dropped_as_nobodys() {
    let Some(place) = super::place().await else { return };
    let node = start(&place, &[1]).await;
    fail(&node, "item 3", 2, "unavailable").await;
    sell(&node, 0..20).await;
    node.settle().await;
    node.stop().await;
    let node = start(&place, &[1, 2]).await;
    let keys = async |node: &Node| node.ctx("books").parked_keys().list(None, None, 10).await.expect("keys");
    until("it is parked", async || !keys(&node).await.is_empty()).await;
    node.stop().await;
    let node = start(&place, &[1]).await;
    let refused = node.ctx("books").parked_keys().forget("books.sales-v2", &op()).await.expect_err("living");
    assert_eq!(refused.code, Code::Conflict);
    assert!(refused.reason.contains("version 2 of projection 'sales'"), "{refused}");
    assert_eq!(keys(&node).await.len(), 1);
    node.stop().await;
}
