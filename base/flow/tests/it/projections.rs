//! Projections: built anew from the log, in place or beside the version that is read from.

use crate::books::{Break, Sales, books, catalogue};
use crate::kit::{Node, Place};
use crate::shop::{Sell, desk, shop};
use artel_flow::{Back, By, Phase, ProjectionInfo, Rewind, StartError};
use artel_message::Code;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const ITEMS: u32 = 5;

async fn start(place: &Place, versions: &'static [u32]) -> Node {
    place.start(vec![shop(), desk(), books(versions)], catalogue()).await.expect("start")
}

/// Sells these, item by item in turn.
async fn sell(node: &Node, numbers: std::ops::Range<u32>) {
    for n in numbers {
        node.ctx("shop").ask(Sell { item: format!("item {}", n % ITEMS), count: 1 }).await.expect("sold");
    }
}

/// How often each item was sold, as the version that is read from has it.
async fn sales(node: &Node) -> (u32, BTreeMap<String, i64>) {
    let (version, rows) = node.ctx("books").query(Sales {}).await.expect("sales");
    (version, rows.into_iter().collect())
}

/// What so many sales add up to.
fn of(count: u32) -> BTreeMap<String, i64> {
    (0..count).fold(BTreeMap::new(), |mut all, n| {
        *all.entry(format!("item {}", n % ITEMS)).or_default() += 1;
        all
    })
}

async fn phases(node: &Node) -> Vec<(u32, Phase)> {
    let all = node.ctx("books").projections().list().await.expect("projections");
    all.into_iter().map(|ProjectionInfo { version, phase, .. }| (version, phase)).collect()
}

/// Waits until that was taken in: a group that was taken back hears of it a moment later.
async fn until_sold(node: &Node, wanted: (u32, BTreeMap<String, i64>)) {
    let there = async {
        let mut again = tokio::time::interval(Duration::from_millis(10));
        while sales(node).await != wanted {
            again.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), there).await.expect("all is taken in again");
    node.settle().await;
    assert_eq!(sales(node).await, wanted, "and nothing twice");
}

/// Waits until the versions are for this.
async fn until(node: &Node, wanted: &[(u32, Phase)]) {
    let there = async {
        let mut again = tokio::time::interval(Duration::from_millis(10));
        while phases(node).await != wanted {
            again.tick().await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(30), there).await.is_err() {
        panic!("{:?} and not {wanted:?}; {:?}", phases(node).await, node.runtime.troubles());
    }
}

fn rewind(to: Back) -> Rewind {
    Rewind { group: "sales-v1".to_owned(), to, force: false }
}

fn op() -> By {
    By::who("op").because("a wrong sum")
}

#[tokio::test]
async fn a_projection_goes_back_to_the_beginning_and_has_the_same_in_the_end() {
    let Some(place) = super::place().await else { return };
    let node = start(&place, &[1]).await;
    sell(&node, 0..60).await;
    node.settle().await;
    assert_eq!(sales(&node).await, (1, of(60)));
    let projections = node.ctx("books").projections();
    let dry = projections.rewind(&rewind(Back::Earliest), None).await.expect("a dry run");
    assert_eq!((dry.messages, dry.places.len(), dry.group.as_str()), (60, 2, "books.sales-v1"));
    assert!(dry.notes[0].contains("read from"), "{dry:?}");
    assert_eq!(
        projections.rewind(&rewind(Back::Earliest), Some(&By::who("op"))).await.expect_err("why?").code,
        Code::Invalid
    );
    assert_eq!(node.ctx("books").audit(None, 10).await.expect("steps"), [], "a dry run changes nothing");
    let done = projections.rewind(&rewind(Back::Earliest), Some(&op())).await.expect("moved");
    assert_eq!(done.messages, 60);
    until_sold(&node, (1, of(60))).await;
    let steps = node.ctx("books").audit(None, 10).await.expect("steps");
    assert_eq!(steps.len(), 2, "one of each partition");
    assert_eq!((steps[0].action.as_str(), steps[0].reason.as_deref()), ("rewind", Some("a wrong sum")));
    let read = node.ctx("books").read().await.expect("read");
    assert_eq!(read.counted("rewound").await.expect("count"), 60);
    drop(read);
    // The log holds what is taken in again, and goes on from there.
    sell(&node, 60..80).await;
    until_sold(&node, (1, of(80))).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_back_while_messages_flow_again_and_again_and_nothing_is_lost_or_counted_twice() {
    let Some(place) = super::place().await else { return };
    let node = start(&place, &[1]).await;
    sell(&node, 0..20).await;
    // It has begun everywhere.
    node.settle().await;
    let selling = sell(&node, 20..220);
    let rewinding = async {
        for _ in 0..5 {
            let projections = node.ctx("books").projections();
            projections.rewind(&rewind(Back::Earliest), Some(&op())).await.expect("moved");
            let gone = sales(&node).await.1.values().sum::<i64>();
            assert!(gone <= 220, "{gone}");
        }
    };
    tokio::join!(selling, rewinding);
    until_sold(&node, (1, of(220))).await;
    node.stop().await;
}

#[tokio::test]
async fn what_waits_and_was_given_up_is_taken_in_again_too() {
    let Some(place) = super::place().await else { return };
    let node = start(&place, &[1]).await;
    for (item, kind) in [("item 1", "unavailable"), ("item 2", "invalid")] {
        let broken = Break { item: item.into(), version: 1, with: kind.into() };
        node.ctx("books").ask(broken).await.expect("broken");
    }
    sell(&node, 0..20).await;
    node.settle().await;
    let parked = async || node.ctx("books").parked_keys().list(None, None, 10).await.expect("keys").len();
    let letters = async || {
        node.ctx("books").dead_letters().find(&Default::default(), None, 10).await.expect("letters").len()
    };
    assert_eq!((parked().await, letters().await), (1, 4));
    for item in ["item 1", "item 2"] {
        let mended = Break { item: item.into(), version: 1, with: String::new() };
        node.ctx("books").ask(mended).await.expect("mended");
    }
    node.ctx("books").projections().rewind(&rewind(Back::Earliest), Some(&op())).await.expect("moved");
    until_sold(&node, (1, of(20))).await;
    assert_eq!((parked().await, letters().await), (0, 0));
    let read = node.ctx("books").read().await.expect("read");
    assert_eq!(read.counted("parked-now").await.expect("count"), 0);
    drop(read);
    node.stop().await;
}

#[tokio::test]
async fn what_may_not_go_back_says_why() {
    let Some(place) = super::place().await else { return };
    let node = start(&place, &[1, 3]).await;
    sell(&node, 0..10).await;
    node.settle().await;
    let projections = node.ctx("books").projections();
    let refused = async |group: &str, to: Back| {
        let rewind = Rewind { group: group.to_owned(), to, force: false };
        projections.rewind(&rewind, Some(&op())).await.expect_err("refused")
    };
    let ordinary = refused("books", Back::Earliest).await;
    assert_eq!(ordinary.code, Code::Conflict);
    assert!(
        ordinary.reason.contains("forward only") && ordinary.reason.contains(".projection()"),
        "{ordinary}"
    );
    assert_eq!(refused("nobody", Back::Earliest).await.code, Code::NotFound);
    let place_of = |partition, offset| Back::Offset { topic: "shop.sale".to_owned(), partition, offset };
    assert_eq!(refused("sales-v1", place_of(9, 0)).await.code, Code::NotFound);
    assert_ne!(refused("sales-v1", place_of(0, 1_000)).await.code, Code::Internal);
    let part = refused("sales-v1", place_of(0, 1)).await;
    assert!(part.reason.contains("all or nothing"), "the service's own word: {part}");
    let over = refused("sales-v3", Back::Earliest).await;
    assert!(over.reason.contains("--force"), "{over}");
    let dry = projections.rewind(&rewind(Back::Earliest), None).await.expect("a dry run");
    assert_eq!(dry.messages, 10, "nothing has moved");
    let forced = Rewind { group: "books.sales-v3".to_owned(), to: Back::Earliest, force: true };
    assert_eq!(projections.rewind(&forced, Some(&op())).await.expect("moved").messages, 10);
    node.settle().await;
    node.stop().await;
}

/// A node that dies when it has taken more than so many into version 2.
async fn dies_after(place: &Arc<Place>, built: i64) {
    let life = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let there = place.clone();
    let begin = async move { begin(&there, "mortal", &[1, 2]).await };
    let node = life.spawn(begin).await.expect("starts");
    let some = async {
        let mut again = tokio::time::interval(Duration::from_millis(1));
        while node.ctx("books").read().await.expect("read").total("built").await.expect("count") <= built {
            again.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), some).await.expect("it takes in");
    assert_eq!(phases(&node).await[1], (2, Phase::Building));
    // Everything of it stops where it stands.
    let dies = tokio::task::spawn_blocking(move || life.shutdown_timeout(Duration::from_secs(10)));
    dies.await.expect("it dies");
}

/// On a log that outlives the nodes.
async fn begin(place: &Place, name: &str, versions: &'static [u32]) -> Node {
    place.start_named(name, vec![shop(), desk(), books(versions)], catalogue()).await.expect("start")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_built_beside_the_one_that_is_read_from_also_over_crashes() {
    let Some(mut place) = super::place().await else { return };
    // A few at a time, so that it dies in the middle.
    place.limits.batch_records = 3;
    let place = Arc::new(place);
    let node = begin(&place, "first", &[1]).await;
    sell(&node, 0..40).await;
    node.settle().await;
    assert_eq!(phases(&node).await, [(1, Phase::Serving)]);
    let broken = Break { item: "item 3".into(), version: 2, with: "unavailable".into() };
    node.ctx("books").ask(broken).await.expect("broken");
    node.stop().await;

    for round in 0..3 {
        dies_after(&place, round * 8).await;
    }
    let node = begin(&place, "last", &[1, 2]).await;
    sell(&node, 40..60).await;
    node.settle().await;
    assert_eq!(sales(&node).await, (1, of(60)), "what waits in the new one keeps it from serving");
    assert_eq!(phases(&node).await, [(1, Phase::Serving), (2, Phase::Building)]);
    let mended = Break { item: "item 3".into(), version: 2, with: String::new() };
    node.ctx("books").ask(mended).await.expect("mended");
    place.clock.advance(Duration::from_secs(600));
    until(&node, &[(1, Phase::Replaced), (2, Phase::Serving)]).await;
    node.settle().await;
    assert_eq!(sales(&node).await, (2, of(60)));
    sell(&node, 60..70).await;
    node.settle().await;
    assert_eq!(sales(&node).await, (2, of(70)));
    node.stop().await;
}

#[tokio::test]
async fn a_version_that_is_read_from_stays_and_one_that_was_replaced_can_go() {
    let Some(place) = super::place().await else { return };
    let node = start(&place, &[1]).await;
    sell(&node, 0..10).await;
    node.settle().await;
    node.stop().await;
    let node = start(&place, &[1, 2]).await;
    until(&node, &[(1, Phase::Replaced), (2, Phase::Serving)]).await;
    node.settle().await;
    let projections = node.ctx("books").projections();
    let stays = projections.retire("sales", 2, Some(&op())).await.expect_err("it is read from");
    assert_eq!(stays.code, Code::Conflict);
    assert_eq!(projections.retire("sales", 7, None).await.expect_err("none").code, Code::NotFound);
    projections.retire("sales", 1, None).await.expect("it may go");
    assert_eq!(phases(&node).await[0], (1, Phase::Replaced), "a dry run changes nothing");
    projections.retire("sales", 1, Some(&op())).await.expect("gone");
    let gone =
        async || !node.log.offsets().await.expect("offsets").iter().any(|o| o.group == "books.sales-v1");
    assert!(gone().await, "retention does not wait for it");
    sell(&node, 10..20).await;
    node.settle().await;
    assert_eq!(sales(&node).await, (2, of(20)));
    node.stop().await;

    let node = start(&place, &[1, 2]).await;
    sell(&node, 20..30).await;
    node.settle().await;
    assert_eq!(sales(&node).await, (2, of(30)));
    assert_eq!(phases(&node).await, [(1, Phase::Retired), (2, Phase::Serving)]);
    let lags = node.runtime.lags().await;
    assert!(!lags.iter().any(|lag| lag.group == "books.sales-v1"), "it takes in nothing: {lags:?}");
    let back = Rewind { group: "sales-v1".to_owned(), to: Back::Earliest, force: false };
    let refused = node.ctx("books").projections().rewind(&back, Some(&op())).await;
    assert_eq!(refused.expect_err("gone").code, Code::Conflict);
    node.stop().await;
}

#[tokio::test]
async fn nothing_leaves_with_a_projections_handler() {
    let Some(place) = super::place().await else { return };
    let node = start(&place, &[1]).await;
    node.ctx("shop").ask(Sell { item: "loud".into(), count: 1 }).await.expect("sold");
    node.settle().await;
    let keys = node.ctx("books").parked_keys().list(None, None, 10).await.expect("keys");
    let reason = keys[0].reason.clone().unwrap_or_default();
    assert!(reason.contains("send, publish and put off nothing"), "{reason}");
    assert_eq!(node.records("books.entry").await.len(), 0);
    node.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_projection_is_refused_at_the_start() {
    let Some(place) = super::place().await else { return };
    let refused = place.start(vec![shop(), desk(), crate::books::wrong()], catalogue()).await;
    let Err(StartError::Registry(mistakes)) = refused else { panic!("it starts") };
    let all = mistakes.join("\n");
    for part in [
        "leave .group() out",
        "leave .max_age() out",
        "clears version 9",
        "lowercase letters",
        "is a projection; other handlers",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
}
