//! What leaves something behind: a database that goes back, a log that loses what it has confirmed.

use crate::oracle;
use crate::run::World;
use crate::services::Made;
use crate::stage::pass;
use artel_message::Event;
use artel_store::Row;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use uuid::Uuid;

const RESTORED: &str = "ann";
/// How far the clocks of nodes are apart, twice, and a message from its number.
const MARGIN: Duration = Duration::from_secs(4);

/// What went back with a database.
pub struct Back {
    /// What waited in the copy's outbox without a number, or with one that the copy was not sure of. Only that leaves under a new
    /// one, and so comes twice.
    pub unnumbered: BTreeSet<Uuid>,
    /// What was made after the copy, and is gone.
    pub gone: BTreeSet<Uuid>,
}

fn made(world: &World) -> BTreeSet<Uuid> {
    oracle::made(world).into_iter().map(|thing| thing.id).collect()
}

fn unnumbered(world: &World) -> BTreeSet<Uuid> {
    let sql = "SELECT o.value FROM flow_outbox AS o LEFT JOIN flow_sent AS s
                   ON s.topic = o.topic AND s.partition = o.partition
               WHERE o.seq IS NULL OR o.seq >= s.unsure_from";
    let rows = oracle::rows(world, RESTORED, sql);
    let value = |row: &Row| row.get::<Vec<u8>>(0).expect("a value");
    rows.iter().map(|row| serde_json::from_slice::<Made>(&value(row)).expect("an event").id).collect()
}

/// Takes a copy of a database, and after a while puts it in the place of what is there. No node runs at that moment.
pub async fn restore(world: Arc<World>) {
    let stage = &world.stage;
    // Most of the copies are from before the database has written to any partition, or to more than one.
    let (early, known) = stage.chance(|chance| (chance.once_in(6_000), i64::from(chance.once_in(3_000))));
    let (copied, later) = stage.chance(|chance| (chance.millis(3_000..9_000), chance.millis(1_000..9_000)));
    // Of a partition that retention has emptied only the clock tells how high its numbers were. It goes by age.
    world.log.keep_for(world.lag + MARGIN);
    pass(if early { Duration::ZERO } else { copied }).await;
    let partitions = || oracle::count(&world, RESTORED, "SELECT count(*) FROM flow_sent");
    while early && partitions() < known && stage.has_faults() {
        pass(Duration::from_millis(5)).await;
    }
    while world.server.is_busy(RESTORED) {
        pass(Duration::from_millis(1)).await;
    }
    let copy = world.server.copy(RESTORED).expect("a copy");
    let (unnumbered, copied) = (unnumbered(&world), made(&world));
    pass(later).await;
    loop {
        for slot in &world.lives {
            let life = slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
            life.into_iter().for_each(|life| life.die());
        }
        // A commit that is late goes on without its node.
        if !world.server.is_busy(RESTORED) {
            break;
        }
        pass(Duration::from_millis(50)).await;
    }
    stage.note(96, "RESTORES", RESTORED);
    let gone = made(&world).difference(&copied).copied().collect();
    world.server.restore(RESTORED, &copy).expect("restored");
    stage.count(|counts| counts.restores += 1);
    // The machine that it came back on has another clock.
    stage.clock.set_back(world.lag);
    if stage.strikes(7_000) {
        world.log.lose_leaders(Made::TOPIC);
    }
    // What was answered since the copy is gone.
    let there = oracle::requests(&world);
    let mut acked = world.acked.lock().unwrap_or_else(PoisonError::into_inner);
    acked.retain(|acked| there.contains(&acked.request));
    *world.back.lock().unwrap_or_else(PoisonError::into_inner) = Some(Back { unnumbered, gone });
}

/// Some append of events, early enough for others to come behind it, will be lost.
pub fn lose_tail(world: &World) {
    let after = world.stage.chance(|chance| chance.millis(4_000..9_000));
    world.log.lose(Made::TOPIC, after);
}
