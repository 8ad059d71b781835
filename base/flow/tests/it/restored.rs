//! A database that was brought back from a copy. On SQLite, where the copy is a file and the clock is ours.

use crate::gated::{Answer, Asked};
use crate::kit::{Node, Place};
use crate::said::Said;
use crate::shop::{Journal, Sell, catalogue, desk, shop};
use artel_bus::Log;
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_flow::planted::{Bug, plant};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

async fn sell(node: &Node, counts: std::ops::Range<u32>) {
    for count in counts {
        node.ctx("shop").ask(Sell { item: "tea".into(), count }).await.expect("sold");
    }
}

fn sold(counts: std::ops::Range<u32>) -> Vec<String> {
    counts.map(|count| format!("sold tea {count}")).collect()
}

/// What the desk has heard of sales.
async fn journal(node: &Node) -> Vec<String> {
    let lines: Vec<String> = node.ctx("desk").query(Journal {}).await.expect("journal");
    lines.into_iter().filter(|line| line.starts_with("sold")).collect()
}

fn copy(from: &Path, to: &Path) {
    let files: Vec<PathBuf> = std::fs::read_dir(from)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("shop")))
        .collect();
    assert!(!files.is_empty(), "no file of the shop in {}", from.display());
    for file in files {
        std::fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("copied");
    }
}

/// The clock stands still, so that only the log's end says which numbers were given after the copy; and nobody can read that at
/// the start. What is published meanwhile must not pass for what is there already.
#[tokio::test]
async fn numbers_given_before_the_end_of_the_log_was_known_are_not_taken_for_repeats() {
    let place = Place::new();
    let (files, aside) = (place.dir.path().join("db"), tempfile::tempdir().expect("a folder"));
    let partition = artel_bus::partition::of_key(b"tea", place.limits.partitions);
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    sell(&node, 0..5).await;
    node.settle().await;
    node.stop().await;
    copy(&files, aside.path());
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    sell(&node, 5..40).await;
    node.settle().await;
    node.stop().await;
    copy(aside.path(), &files);
    place.gates.hold("shop.sale", partition, Asked::Read, Answer::Silence);
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    sell(&node, 40..60).await;
    place.gates.let_go();
    sell(&node, 60..70).await;
    node.settle().await;
    assert_eq!(journal(&node).await, sold(0..70));
    assert_eq!(node.runtime.troubles(), Vec::<String>::new());
    node.stop().await;
}

/// Sells, and goes back to a copy from before anything was sold, so that the database knows of no partition.
async fn sell_and_go_back(place: &Place) {
    let (files, aside) = (place.dir.path().join("db"), tempfile::tempdir().expect("a folder"));
    place.start(vec![shop(), desk()], catalogue()).await.expect("start").stop().await;
    copy(&files, aside.path());
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    sell(&node, 0..40).await;
    node.settle().await;
    node.stop().await;
    copy(aside.path(), &files);
}

/// The clock stands where it stood.
async fn sold_over_a_copy_of_nothing() -> Vec<String> {
    let place = Place::new();
    sell_and_go_back(&place).await;
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    sell(&node, 40..60).await;
    node.settle().await;
    assert_eq!(node.runtime.troubles(), Vec::<String>::new());
    let journal = journal(&node).await;
    node.stop().await;
    journal
}

#[tokio::test]
async fn a_copy_from_before_a_partition_was_written_to_gives_no_number_twice() {
    assert_eq!(sold_over_a_copy_of_nothing().await, sold(0..60));
    plant(Some(Bug::TrustsFirst));
    assert_eq!(sold_over_a_copy_of_nothing().await, sold(0..40), "what comes behind it passes for repeats");
}

/// The same where retention has left nothing of what was sold. It goes by age, so that a clock that is not behind by as much gives
/// higher numbers; whether it is, nobody can tell.
#[tokio::test]
async fn that_a_partition_was_emptied_is_said_where_it_may_matter() {
    let mut place = Place::new();
    place.limits.retention = Some(Duration::from_secs(3_600));
    sell_and_go_back(&place).await;
    place.clock.advance(Duration::from_secs(2 * 3_600));
    let (log, clock) = (place.dir.path().join("log"), place.clock.clone());
    let settings = SegmentsConfig { clock: Arc::new(move || clock.now()), ..SegmentsConfig::default() };
    let log = Segments::open(log, settings).expect("the log opens");
    log.retain().await.expect("retained");
    log.close().await;
    let (said, _listening) = Said::listen();
    let node = place.start(vec![shop(), desk()], catalogue()).await.expect("start");
    sell(&node, 40..60).await;
    node.settle().await;
    assert_eq!(journal(&node).await, sold(0..60));
    let lines = said.lines(
        "retention has left nothing in a partition of which the database knows nothing; if it was brought back and its clock is \
         behind by more than the retention, what it publishes is taken for repeats: compare the clock",
    );
    assert_eq!(lines.len(), 1, "{lines:?}");
    node.stop().await;
}
