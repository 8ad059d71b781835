//! Several nodes on one database and one log: who does what moves when they come, go and fall silent, and nothing is done
//! twice.

use crate::kit::{Node, Place, This, alter};
use crate::said::Said;
use crate::shop::{Journal, Sell, Total, catalogue, desk, shop};
use artel_flow::{Leased, Pulse};
use artel_store::Lane;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

#[tokio::test]
async fn a_service_is_told_how_many_nodes_run_it() {
    let Some(place) = Place::on_postgres().await else { return };
    let (told, mut nodes) = tokio::sync::watch::channel(0);
    let telling = shop().on_start(move |ctx| {
        let told = told.clone();
        ctx.on_nodes(move |nodes| {
            told.send_replace(nodes);
        });
        Ok(())
    });
    let limit = Duration::from_secs(120);
    let mut are = async |count: usize| {
        let come = nodes.wait_for(|nodes| *nodes == count);
        assert!(matches!(tokio::time::timeout(limit, come).await, Ok(Ok(_))), "{count} nodes");
    };
    let first = place.start_named("first", vec![telling, desk()], catalogue()).await.unwrap();
    are(1).await;
    let second = place.start_named("second", vec![shop(), desk()], catalogue()).await.unwrap();
    are(2).await;
    // It runs another service.
    let other = This { roles: Some(vec!["desk".to_owned()]), ..This::named("other") };
    let other = place.start_this(other, vec![shop(), desk()], catalogue()).await.unwrap();
    second.stop().await;
    are(1).await;
    other.stop().await;
    first.stop().await;
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

/// A node that leaves says so; nobody has to find out by looking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stopping_node_had_is_taken_without_waiting_for_a_beat() {
    let Some(mut place) = Place::on_postgres().await else { return };
    let hour = Duration::from_secs(3600);
    place.pulse = Pulse { beat: hour, silence: 2 * hour };
    let first = start(&place, "first").await;
    let second = start(&place, "second").await;
    until(&first, "two nodes share", |l| is_fair(l, &["first", "second"])).await;
    let began = Instant::now();
    let stopped = async {
        first.stop().await;
        began.elapsed()
    };
    let (stopped, ()) =
        tokio::join!(stopped, until(&second, "the second has all", |l| is_fair(l, &["second"])));
    println!("stopped in {stopped:?}, taken over {:?} after the beginning of the end", began.elapsed());
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_at_the_same_moment_all_start() {
    let Some(place) = Place::on_postgres().await else { return };
    let (a, b, c) = tokio::join!(start(&place, "a"), start(&place, "b"), start(&place, "c"));
    until(&a, "three nodes share", |l| is_fair(l, &["a", "b", "c"])).await;
    sell(&b, 0, 10).await;
    assert_eq!(journal(&c, 10).await.len(), 10);
    tokio::join!(a.stop(), b.stop(), c.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_whose_row_is_locked_holds_up_no_other() {
    let Some(place) = Place::on_postgres().await else { return };
    let first = start(&place, "first").await;
    until(&first, "one node has all", |l| is_fair(l, &["first"])).await;
    first.stop().await;
    let store = place.store().await;
    let db = store.db("desk").await.expect("the database");
    let mut frozen = db.begin_plain(Lane::Interactive).await.expect("begins");
    frozen.exec("UPDATE flow_offset SET next = next WHERE partition = 0", ()).await.expect("locked");
    let second = start(&place, "second").await;
    let is_locked = |l: &Leased| l.service == "desk" && l.partition == Some(0);
    until(&second, "the second has all that is not locked", |l| {
        let mut rest = l.iter().filter(|l| !is_locked(l)).peekable();
        rest.peek().is_some() && rest.all(|l| l.node.as_deref() == Some("second"))
    })
    .await;
    assert!(
        second
            .runtime
            .leases()
            .await
            .expect("leases")
            .iter()
            .filter(|l| is_locked(l))
            .all(|l| l.owner.is_none())
    );
    frozen.rollback().await.expect("given free");
    until(&second, "the second has all", |l| is_fair(l, &["second"])).await;
    second.stop().await;
    store.close().await;
}

/// The relay learns only while it stops that its lease is another node's: it must not go on asking for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_loses_its_lease_while_the_node_stops_ends() {
    let Some(place) = Place::on_postgres().await else { return };
    let node = start(&place, "first").await;
    until(&node, "one node has all", |l| is_fair(l, &["first"])).await;
    let store = place.store().await;
    let db = store.db("shop").await.expect("the database");
    let mut thief = db.begin_plain(Lane::Interactive).await.expect("begins");
    let other = uuid::Uuid::now_v7();
    thief
        .exec("UPDATE flow_lease SET owner = $1, epoch = epoch + 1 WHERE name = 'relay'", (other,))
        .await
        .expect("stolen");
    // What is sold waits in the outbox: the relay has to wait for the thief.
    sell(&node, 0, 5).await;
    let stop = Box::pin(node.runtime.stop(Duration::from_secs(240)));
    let steal = async {
        let is_leaving = || {
            node.runtime.members().list().iter().any(|m| m.roles.iter().any(|r| r.starts_with("leaving:")))
        };
        let mut look_again = tokio::time::interval(LOOK);
        while !is_leaving() {
            look_again.tick().await;
        }
        thief.commit().await.expect("stolen");
    };
    // Half of the deadline is the relay's: one that does not see the end takes all of it.
    tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(stop, steal) })
        .await
        .expect("the node stops");
    store.close().await;
    node.store.close().await;
}

#[tokio::test]
async fn leases_that_wait_say_so_ever_more_seldom_and_once_that_they_move_again() {
    let Some(place) = Place::on_postgres().await else { return };
    let (said, _listening) = Said::listen();
    let node = start(&place, "first").await;
    until(&node, "one node has all", |l| is_fair(l, &["first"])).await;
    alter(&node.store, "desk", "ALTER TABLE flow_lease RENAME TO flow_lease_away").await;
    let waits = "leases wait for the infrastructure";
    said.until(waits, |line| line["tries"].as_u64() >= Some(4), async || {}).await;
    alter(&node.store, "desk", "ALTER TABLE flow_lease_away RENAME TO flow_lease").await;
    said.until("leases move again", |_| true, async || {}).await;
    // 1, 2, 4; a busy machine may have had a failure of its own before that, which counts with these.
    let tries = said.numbers(waits, "tries");
    assert!(tries.len() <= 5 && tries.is_sorted() && tries.last() >= Some(&4), "{tries:?}");
    until(&node, "one node has all", |l| is_fair(l, &["first"])).await;
    assert!(said.lines("leases move again").len() <= 2);
    node.stop().await;
}
