//! Nodes of two releases beside each other, one of which knows a later version of a projection.

use crate::books::{Sales, books, catalogue};
use crate::kit::{Node, Place};
use crate::shop::{Sell, desk, shop};
use artel_flow::{By, Leased, Phase};
use std::time::Duration;

const LOOK: Duration = Duration::from_millis(20);

async fn start(place: &Place, name: &str, versions: &'static [u32]) -> Node {
    place.start_named(name, vec![shop(), desk(), books(versions)], catalogue()).await.expect("starts")
}

/// Waits until a condition holds; half a minute at most.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let there = async {
        let mut again = tokio::time::interval(LOOK);
        while !holds().await {
            again.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), there)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come true"));
}

async fn sum(node: &Node) -> (u32, i64) {
    let (version, rows) = node.ctx("books").query(Sales {}).await.expect("sales");
    (version, rows.into_iter().map(|(_, n)| n).sum())
}

async fn phases(node: &Node) -> Vec<Phase> {
    node.ctx("books").projections().list().await.expect("projections").into_iter().map(|p| p.phase).collect()
}

async fn sell(node: &Node, count: u32) {
    for n in 0..count {
        node.ctx("shop").ask(Sell { item: format!("item {}", n % 7), count: 1 }).await.expect("sold");
    }
}

fn owners(leases: &[Leased], group: &str) -> Vec<Option<String>> {
    leases.iter().filter(|lease| lease.what == group).map(|lease| lease.node.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_two_releases_build_switch_and_serve_each_what_it_knows() {
    let Some(place) = Place::on_postgres().await else { return };
    let old = start(&place, "old", &[1]).await;
    sell(&old, 40).await;
    until("the old one has all", async || sum(&old).await == (1, 40)).await;

    let new = start(&place, "new", &[1, 2]).await;
    until("the later version serves", async || phases(&new).await == [Phase::Replaced, Phase::Serving]).await;
    until("the new one has all", async || sum(&new).await == (2, 40)).await;
    let leases = new.runtime.leases().await.expect("leases");
    let later = owners(&leases, "books.sales-v2");
    assert!(later.len() == 2 && later.iter().all(|node| node.as_deref() == Some("new")), "{later:?}");
    // Each reads from what it knows, and both go on.
    sell(&old, 15).await;
    sell(&new, 15).await;
    until("the old one goes on", async || sum(&old).await == (1, 70)).await;
    until("the new one goes on", async || sum(&new).await == (2, 70)).await;
    let op = By::who("op").because("a test");
    let projections = new.ctx("books").projections();
    let refused = projections.retire("sales", 1, Some(&op)).await.expect_err("the old one reads from it");
    assert!(refused.reason.contains("know no later version"), "{refused}");

    old.stop().await;
    let newest = start(&place, "newest", &[2]).await;
    until("the old one is gone", async || projections.retire("sales", 1, Some(&op)).await.is_ok()).await;
    let none = async || {
        let leases = newest.runtime.leases().await.expect("leases");
        owners(&leases, "books.sales-v1").is_empty()
            && owners(&leases, "books.sales-v2").iter().all(|node| node.is_some())
    };
    until("only the later version is somebody's work", none).await;
    sell(&newest, 30).await;
    until("all of it is there", async || sum(&newest).await == (2, 100)).await;
    until("everywhere", async || sum(&new).await == (2, 100)).await;
    tokio::join!(new.stop(), newest.stop());
}

/// A program without the version that is read from leaves its partitions alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_takes_no_partition_of_a_version_that_it_does_not_have() {
    let Some(place) = Place::on_postgres().await else { return };
    let old = start(&place, "old", &[1]).await;
    sell(&old, 10).await;
    until("the old one has all", async || sum(&old).await == (1, 10)).await;
    let new = start(&place, "new", &[2]).await;
    until("the later version serves", async || phases(&new).await == [Phase::Replaced, Phase::Serving]).await;
    sell(&new, 20).await;
    until("the old one goes on", async || sum(&old).await == (1, 30)).await;
    until("the new one goes on", async || sum(&new).await == (2, 30)).await;
    let leases = old.runtime.leases().await.expect("leases");
    let before = owners(&leases, "books.sales-v1");
    assert!(before.len() == 2 && before.iter().all(|node| node.as_deref() == Some("old")), "{before:?}");
    tokio::join!(old.stop(), new.stop());
}
