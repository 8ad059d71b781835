//! A database that was brought back from a copy. On SQLite, where the copy is a file and the clock is ours.

use crate::gated::{Answer, Asked};
use crate::kit::{Node, Place};
use crate::shop::{Journal, Sell, catalogue, desk, shop};
use std::path::{Path, PathBuf};

async fn sell(node: &Node, counts: std::ops::Range<u32>) {
    for count in counts {
        node.ctx("shop").ask(Sell { item: "tea".into(), count }).await.expect("sold");
    }
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
    let sold: Vec<String> = (0..70).map(|count| format!("sold tea {count}")).collect();
    let journal = node.ctx("desk").query(Journal {}).await.expect("journal");
    assert_eq!(journal, sold);
    assert_eq!(node.runtime.troubles(), Vec::<String>::new());
    node.stop().await;
}
