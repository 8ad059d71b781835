//! An operator moves a group over what can't be taken in.

use crate::kit::{Node, Place};
use crate::shop::{Journal, Sell, catalogue, desk, shop};
use artel_bus::{From, Record};
use artel_flow::{By, Skip};
use artel_message::{Code, Headers};
use std::path::Path;
use std::time::Duration;

async fn start(place: &Place) -> Node {
    place.start(vec![shop(), desk()], catalogue()).await.expect("start")
}

async fn sell(node: &Node, count: u32) {
    node.ctx("shop").ask(Sell { item: "tea".into(), count }).await.expect("sold");
}

async fn journal(node: &Node) -> Vec<String> {
    node.ctx("desk").query(Journal {}).await.expect("journal")
}

/// The headers of a message of the shop, as if `by` numbers later, with `missing` numbers before it that never came.
fn later(headers: &Headers, by: i64, missing: i64) -> Headers {
    let seq: i64 = std::str::from_utf8(headers.get("artel_seq").flatten().expect("a seq"))
        .expect("text")
        .parse()
        .expect("a number");
    let others = headers.iter().filter(|(name, _)| !["artel_seq", "artel_prev"].contains(name));
    let mut headers: Headers = others.collect();
    headers.push("artel_seq", Some((seq + by).to_string().as_bytes()));
    headers.push("artel_prev", Some((seq + by - missing).to_string().as_bytes()));
    headers
}

async fn append(node: &Node, partition: u32, headers: &Headers, count: u32) {
    let borrowed: Vec<_> = headers.iter().collect();
    let value = format!(r#"{{"item":"tea","count":{count}}}"#).into_bytes();
    let time = node.ctx("desk").now();
    let record = Record { key: Some(b"tea"), value: Some(&value), headers: &borrowed, time };
    node.log.append("shop.sale", partition, &[record]).await.expect("append");
}

/// Waits until the node has nothing to complain of.
async fn until_well(node: &Node) {
    let well = async {
        loop {
            node.settle().await;
            if node.runtime.troubles().is_empty() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), well).await.expect("it goes on in time");
    node.settle().await;
}

fn skip(partition: u32, to: From) -> Skip {
    Skip { group: "desk".to_owned(), topic: "shop.sale".to_owned(), partition, to, repeats: false }
}

fn op() -> By {
    By::who("op").because("lost with the disk")
}

#[tokio::test]
async fn behind_a_gap_a_group_goes_on_where_it_stands() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    sell(&node, 1).await;
    node.settle().await;
    let (partition, record) = node.records("shop.sale").await.remove(0);
    append(&node, partition, &later(&record.headers, 10, 1), 2).await;
    node.settle().await;
    assert!(node.runtime.troubles()[0].contains("artel groups skip"), "{:?}", node.runtime.troubles());
    let next = record.offset + 1;
    let places = node.ctx("desk").places();
    let dry = places.skip(&skip(partition, From::Offset(next)), None).await.expect("a dry run");
    assert_eq!((dry.from, dry.to, dry.messages), (next, next, 0));
    assert_eq!(node.ctx("desk").audit(None, 10).await.expect("steps"), []);
    places.skip(&skip(partition, From::Offset(next)), Some(&op())).await.expect("moved");
    until_well(&node).await;
    assert_eq!(journal(&node).await, ["sold tea 1", "sold tea 2"]);

    append(&node, partition, &record.headers, 1).await;
    append(&node, partition, &later(&record.headers, 10, 1), 2).await;
    node.settle().await;
    assert_eq!(journal(&node).await, ["sold tea 1", "sold tea 2"], "what was taken in stays known");
    append(&node, partition, &later(&record.headers, 20, 1), 3).await;
    node.settle().await;
    assert_eq!(node.runtime.troubles().len(), 1, "the next gap stops it again");
    node.stop().await;
}

#[tokio::test]
async fn messages_are_passed_over_with_a_reason_and_on_record() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    sell(&node, 1).await;
    node.settle().await;
    let (partition, record) = node.records("shop.sale").await.remove(0);
    for (by, count) in [(10, 2), (11, 3), (12, 4)] {
        append(&node, partition, &later(&record.headers, by, 1), count).await;
    }
    node.settle().await;
    let places = node.ctx("desk").places();
    let over_two = skip(partition, From::Offset(record.offset + 3));
    let why = places.skip(&over_two, Some(&By::who("op"))).await.expect_err("why?");
    assert_eq!(why.code, Code::Invalid);
    let skipped = places.skip(&over_two, Some(&op())).await.expect("moved");
    assert_eq!(skipped.messages, 2);
    until_well(&node).await;
    assert_eq!(journal(&node).await, ["sold tea 1", "sold tea 4"]);
    let steps = node.ctx("desk").audit(None, 10).await.expect("steps");
    assert_eq!(steps.len(), 1);
    assert_eq!((steps[0].action.as_str(), steps[0].reason.as_deref()), ("skip", Some("lost with the disk")));
    let read = node.ctx("desk").read().await.expect("read");
    assert_eq!(read.counted("skipped").await.expect("count"), 2);
    drop(read);
    node.stop().await;
}

#[tokio::test]
async fn a_group_does_not_go_back_nor_where_there_is_nothing() {
    let Some(place) = super::place().await else { return };
    let node = start(&place).await;
    sell(&node, 1).await;
    node.settle().await;
    let (partition, record) = node.records("shop.sale").await.remove(0);
    let places = node.ctx("desk").places();
    let refused = async |skip: Skip| places.skip(&skip, Some(&op())).await.expect_err("refused").code;
    assert_eq!(refused(skip(partition, From::Earliest)).await, Code::Conflict);
    assert_eq!(refused(skip(partition, From::Offset(record.offset + 2))).await, Code::Invalid);
    assert_eq!(refused(skip(1_000, From::Latest)).await, Code::NotFound);
    let other = Skip { group: "nobody".to_owned(), ..skip(partition, From::Latest) };
    assert_eq!(refused(other).await, Code::NotFound);
    sell(&node, 2).await;
    node.settle().await;
    assert_eq!(journal(&node).await, ["sold tea 1", "sold tea 2"], "nothing has moved");
    node.stop().await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the folder") {
        let path = entry.expect("an entry").path();
        let there = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &there);
        } else {
            std::fs::copy(&path, &there).expect("copied");
        }
    }
}

#[tokio::test]
async fn on_a_log_that_lost_its_end_a_group_goes_back_and_nothing_runs_twice() {
    let Some(place) = super::place().await else { return };
    let (log, aside) = (place.dir.path().join("log"), tempfile::tempdir().expect("a folder"));
    let node = start(&place).await;
    sell(&node, 1).await;
    sell(&node, 2).await;
    node.settle().await;
    let (partition, _) = node.records("shop.sale").await.remove(0);
    node.stop().await;
    copy(&log, aside.path());
    let node = start(&place).await;
    for count in 3..=6 {
        sell(&node, count).await;
    }
    node.settle().await;
    node.stop().await;
    std::fs::remove_dir_all(&log).expect("the log is lost");
    copy(aside.path(), &log);
    let node = start(&place).await;
    sell(&node, 7).await;
    node.settle().await;
    assert_eq!(journal(&node).await.len(), 6);
    assert!(
        node.runtime.troubles().iter().any(|t| t.contains("artel groups skip")),
        "{:?}",
        node.runtime.troubles()
    );
    let all = skip(partition, From::Earliest);
    let skipped = node.ctx("desk").places().skip(&all, Some(&op())).await.expect("moved");
    assert!(
        skipped.misfit.is_some() && (skipped.from, skipped.to, skipped.messages) == (6, 0, 0),
        "{skipped:?}"
    );
    until_well(&node).await;
    let sold: Vec<String> = (1..=7).map(|count| format!("sold tea {count}")).collect();
    assert_eq!(journal(&node).await, sold);
    node.stop().await;
}

#[tokio::test]
async fn messages_without_numbers_run_again_only_where_somebody_says_so() {
    let Some(place) = super::place().await else { return };
    let (log, aside) = (place.dir.path().join("log"), tempfile::tempdir().expect("a folder"));
    let node = start(&place).await;
    sell(&node, 1).await;
    node.settle().await;
    let (partition, record) = node.records("shop.sale").await.remove(0);
    let foreign: Headers = record.headers.iter().filter(|(name, _)| !name.starts_with("artel_")).collect();
    append(&node, partition, &foreign, 2).await;
    node.settle().await;
    node.stop().await;
    copy(&log, aside.path());
    let node = start(&place).await;
    append(&node, partition, &foreign, 3).await;
    node.settle().await;
    assert_eq!(journal(&node).await.len(), 3);
    node.stop().await;
    std::fs::remove_dir_all(&log).expect("the log is lost");
    copy(aside.path(), &log);
    let node = start(&place).await;
    node.settle().await;
    let places = node.ctx("desk").places();
    let all = skip(partition, From::Earliest);
    let dry = places.skip(&all, None).await.expect("a dry run");
    assert_eq!((dry.from, dry.to, dry.messages, dry.again), (3, 0, 0, 1));
    let refused = places.skip(&all, Some(&op())).await.expect_err("it would run again");
    assert!(refused.code == Code::Conflict && refused.reason.contains("--repeats"), "{refused}");
    let behind = places.skip(&skip(partition, From::Offset(2)), None).await.expect("a dry run");
    assert_eq!(behind.again, 0);
    places.skip(&Skip { repeats: true, ..all }, Some(&op())).await.expect("moved");
    until_well(&node).await;
    let told = ["sold tea 1", "sold tea 2", "sold tea 3", "sold tea 2"];
    assert_eq!(journal(&node).await, told, "numbers are known, what has none runs again");
    node.stop().await;
}
