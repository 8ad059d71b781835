//! Several nodes on one database and one log: who does what moves when they come, go and fall silent, and nothing is done
//! twice.

use crate::kit::{Node, Place};
use crate::shop::{Journal, Sell, Total, catalogue, desk, shop};
use artel_flow::Leased;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Until `holds` says so of what the node sees of the leases; half a minute at most.
async fn until(node: &Node, what: &str, holds: impl Fn(&[Leased]) -> bool) {
    let (mut leases, mut look_again) = (Vec::new(), tokio::time::interval(LOOK));
    for _ in 0..1500 {
        leases = node.runtime.leases().await.expect("the leases are read");
        if holds(&leases) {
            return;
        }
        look_again.tick().await;
    }
    panic!("{what} did not come true; the leases are {leases:#?}");
}

/// How many leases each node has; `None` for those that nobody has.
fn shares(leases: &[Leased]) -> BTreeMap<Option<String>, usize> {
    leases.iter().fold(BTreeMap::new(), |mut shares, lease| {
        *shares.entry(lease.node.clone()).or_default() += 1;
        shares
    })
}

fn is_fair(leases: &[Leased], nodes: &[&str]) -> bool {
    let groups: BTreeMap<(&str, &str), Vec<&Leased>> =
        leases.iter().fold(BTreeMap::new(), |mut all, lease| {
            all.entry((lease.service.as_str(), lease.what.as_str())).or_default().push(lease);
            all
        });
    let fair = |leases: &Vec<&Leased>| {
        let of = |name: &str| leases.iter().filter(|l| l.node.as_deref() == Some(name) && l.alive).count();
        let counts: Vec<usize> = nodes.iter().map(|name| of(name)).collect();
        let (least, most) = (counts.iter().min(), counts.iter().max());
        counts.iter().sum::<usize>() == leases.len()
            && most.zip(least).is_some_and(|(most, least)| most - least <= 1)
    };
    !groups.is_empty() && groups.values().all(fair)
}

async fn sell(node: &Node, from: u32, to: u32) {
    for n in from..to {
        node.ctx("shop").ask(Sell { item: format!("item {n}"), count: 1 }).await.expect("sold");
    }
}

/// Until the desk has written as many lines as were sold.
async fn journal(node: &Node, lines: usize) -> Vec<String> {
    let (mut journal, mut look_again) = (Vec::new(), tokio::time::interval(LOOK));
    for _ in 0..1500 {
        journal = node.ctx("desk").query(Journal {}).await.expect("the journal");
        if journal.len() >= lines {
            return journal;
        }
        look_again.tick().await;
    }
    panic!("{} of {lines} lines", journal.len());
}

async fn start(place: &Place, name: &str) -> Node {
    place.start_named(name, vec![shop(), desk()], catalogue()).await.expect("starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_shared_and_move_when_a_node_comes_and_goes() {
    let Some(place) = Place::on_postgres().await else { return };
    let first = start(&place, "first").await;
    until(&first, "one node has all", |l| is_fair(l, &["first"])).await;
    sell(&first, 0, 20).await;
    let second = start(&place, "second").await;
    until(&first, "two nodes share", |l| is_fair(l, &["first", "second"])).await;
    sell(&first, 20, 40).await;
    sell(&second, 40, 60).await;
    first.stop().await;
    until(&second, "the second has all", |l| is_fair(l, &["second"])).await;
    sell(&second, 60, 80).await;
    let mut sold = journal(&second, 80).await;
    sold.sort();
    let before = sold.len();
    sold.dedup();
    assert_eq!((before, sold.len()), (80, 80), "each line once");
    assert_eq!(second.ctx("shop").query(Total {}).await.expect("the total"), 80);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_silent_node_had_is_taken_by_the_others() {
    let Some(place) = Place::on_postgres().await else { return };
    let first = start(&place, "first").await;
    let life = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let place = Arc::new(place);
    let there = place.clone();
    let second = life.spawn(async move { start(&there, "second").await }).await.expect("starts");
    until(&first, "two nodes share", |l| is_fair(l, &["first", "second"])).await;
    // Everything of the second node stops where it stands.
    life.shutdown_background();
    drop(second);
    until(&first, "the first has all", |l| is_fair(l, &["first"])).await;
    sell(&first, 0, 40).await;
    let mut sold = journal(&first, 40).await;
    sold.sort();
    sold.dedup();
    assert_eq!(sold.len(), 40);
    assert_eq!(
        shares(&first.runtime.leases().await.expect("leases")).get(&None),
        None,
        "nothing is left over"
    );
    first.stop().await;
}
