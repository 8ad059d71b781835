//! What leaves something behind: a database that goes back, a log that loses what it has confirmed.

use crate::run::World;
use crate::services::Made;
use crate::stage::pass;
use artel_message::Event;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

const RESTORED: &str = "ann";

/// Takes a copy of a database, and after a while puts it in the place of what is there. No node runs at that moment.
pub async fn restore(world: Arc<World>) {
    let stage = &world.stage;
    let (copied, later) = stage.chance(|chance| (chance.millis(3_000..9_000), chance.millis(1_000..9_000)));
    pass(copied).await;
    while world.server.is_busy(RESTORED) {
        pass(Duration::from_millis(1)).await;
    }
    let copy = world.server.copy(RESTORED).expect("a copy");
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
    world.server.restore(RESTORED, &copy).expect("restored");
    stage.count(|counts| counts.restores += 1);
    // What was answered since the copy is gone, and so is what was answered before for all this list knows.
    world.acked.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// Some append of events, early enough for others to come behind it, will be lost.
pub fn lose_tail(world: &World) {
    let after = world.stage.chance(|chance| chance.millis(4_000..9_000));
    world.log.lose(Made::TOPIC, after);
}
