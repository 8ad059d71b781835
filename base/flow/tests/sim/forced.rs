//! Coincidences that chance brings too seldom, forced: steps of a node wait until they are let go. The rest is as in any run, and
//! so is the judge. Each is played as the flow is, and with the bug that it shows.

use crate::judge;
use crate::life::Life;
use crate::many::plan;
use crate::oracle;
use crate::run::{Plan, World, prepare};
use crate::services::{Made, Make};
use crate::stage::pass;
use artel_bus::partition::of_key;
use artel_flow::planted::{Bug, plant};
use artel_flow::{Asked, Runtime};
use artel_message::{Envelope, Event};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Enough for what can happen at once, and for what nodes do now and then.
const MOMENT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(6);

struct Node {
    life: Arc<Life>,
    runtime: Runtime,
}

impl Node {
    async fn start(world: &Arc<World>, number: usize, lives: u64) -> Node {
        let life = Life::begin(&world.stage, number, &world.server, world.plan.shared);
        let runtime = Runtime::start(world.parts(number, lives, &life)).await.expect("started");
        pass(LONG).await;
        Node { life, runtime }
    }

    async fn make(&self, key: &str, requests: std::ops::Range<u32>) {
        for request in requests {
            let request = format!("{key}.{request}");
            let asked = Asked::by("caller").key(Some(request.clone()));
            let make = Make { key: key.to_owned(), request };
            self.runtime.mediator().ask(make, asked).await.expect("made");
        }
    }
}

/// Plays a scene on calm nodes, and says what the judge objects to.
fn played<F: Future<Output = ()>>(shared: bool, bug: Option<Bug>, scene: fn(Arc<World>) -> F) -> Vec<String> {
    plant(bug);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    let broken = runtime.block_on(async move {
        let world = World::new(Plan { shared, ..plan(1) });
        world.stage.end_faults();
        prepare(&world.server).await;
        scene(world.clone()).await;
        until("all is done", || oracle::is_done(&world)).await;
        judge::judge(&world);
        world.stage.broken()
    });
    plant(None);
    broken
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            pass(MOMENT).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(120), wait).await;
    assert!(in_time.is_ok(), "never came: {what}");
}

/// A key of a partition of the events, and its name in what a node does.
fn key_of(partition: u32) -> (String, String) {
    let key = (0..).map(|n| format!("k{n}")).find(|key| of_key(key.as_bytes(), 3) == partition);
    (key.expect("a key"), format!("{}/{partition}", Made::TOPIC))
}

/// Rows that were handed to the relay, and are still on their way when those in the table get other numbers.
async fn handed_over_before_a_settle(world: Arc<World>) {
    let ((key, place), (other, beside)) = (key_of(0), key_of(1));
    let node = Node::start(&world, 0, 1).await;
    node.make(&key, 0..5).await;
    until("the first ones", || oracle::is_done(&world)).await;
    node.life.die();
    // The database knows nothing of partitions any more, and its numbers are behind those in the log.
    let history = world.log.history(Made::TOPIC, 0);
    let last = history.last().and_then(|record| Envelope::from_headers(&record.headers).ok()?.seq);
    let next = last.expect("a number") - 4;
    let back = format!("DELETE FROM flow_sent; UPDATE flow_seq SET next = {next}");
    world.server.script("ann", &back).expect("went back");
    world.stage.clock.set_back(Duration::from_secs(60));
    let node = Node::start(&world, 0, 2).await;
    let look = node.life.stop_at("asks bounds", place);
    node.make(&key, 5..6).await;
    until("the look at the end", || look.is_reached()).await;
    let append = node.life.stop_at("appends", beside);
    node.make(&other, 0..1).await;
    until("an append that takes long", || append.is_reached()).await;
    // The relay waits for that, and has not taken these yet when it hears of the end.
    node.make(&key, 6..16).await;
    look.let_go();
    pass(MOMENT).await;
    append.let_go();
}

/// A relay that has lost its lease without knowing it reads what the next one has numbered, and is not sure of.
async fn numbered_by_the_next_relay(world: Arc<World>) {
    let (key, place) = key_of(0);
    let first = Life::begin(&world.stage, 0, &world.server, true);
    let backlog = first.stop_at("runs", "SELECT next FROM flow_seq");
    let frozen = Runtime::start(world.parts(0, 1, &first)).await.expect("started");
    until("a relay that begins to read", || backlog.is_reached()).await;
    let before = relay(&world);
    // It says and hears nothing more, but for its relay.
    first.stop_at("begins", "nodes");
    first.stop_at("runs", "SELECT grp, topic, partition, owner, epoch FROM flow_offset");
    let node = Node::start(&world, 1, 1).await;
    until("the next relay", || relay(&world) != before).await;
    pass(LONG).await;
    let look = node.life.stop_at("asks bounds", place);
    node.make(&key, 0..5).await;
    until("the look at the end", || look.is_reached()).await;
    // What it publishes stays in the outbox until the next one has given it other numbers.
    first.stop_at("runs", "DELETE FROM flow_outbox");
    backlog.let_go();
    pass(LONG).await;
    look.let_go();
    pass(LONG).await;
    first.die();
    drop(frozen);
}

fn relay(world: &World) -> Option<Uuid> {
    let owners = oracle::owners(world);
    owners.into_iter().find(|(what, _)| what == "ann relay").and_then(|(_, owner)| owner)
}

#[test]
fn what_was_handed_over_has_the_numbers_that_the_table_has() {
    let played = |bug| played(false, bug, handed_over_before_a_settle);
    assert_eq!(played(None), Vec::<String>::new());
    assert_ne!(played(Some(Bug::KeepsHandedOverSettle)), Vec::<String>::new());
}

#[test]
fn a_relay_publishes_nothing_that_another_one_has_numbered() {
    let played = |bug| played(true, bug, numbered_by_the_next_relay);
    assert_eq!(played(None), Vec::<String>::new());
    assert_ne!(played(Some(Bug::ReadsOthersNumbers)), Vec::<String>::new());
}
