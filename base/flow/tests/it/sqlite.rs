//! On the embedded log and SQLite.

use crate::kit::Place;

pub async fn place() -> Option<Place> {
    Some(Place::new())
}

#[path = "apart.rs"]
mod apart;
#[path = "ask.rs"]
mod ask;
#[path = "decided.rs"]
mod decided;
#[path = "effects.rs"]
mod effects;
#[path = "ended.rs"]
mod ended;
#[path = "fairness.rs"]
mod fairness;
#[path = "given_back.rs"]
mod given_back;
#[path = "given_up.rs"]
mod given_up;
#[path = "later.rs"]
mod later;
#[path = "letters.rs"]
mod letters;
#[path = "parked.rs"]
mod parked;
#[path = "parked_history.rs"]
mod parked_history;
#[path = "partitions.rs"]
mod partitions;
#[path = "paused.rs"]
mod paused;
#[path = "projections.rs"]
mod projections;
#[path = "put_off.rs"]
mod put_off;
#[path = "rebuilt.rs"]
mod rebuilt;
#[path = "restored.rs"]
mod restored;
#[path = "run_time_groups.rs"]
mod run_time_groups;
#[path = "schedules.rs"]
mod schedules;
#[path = "skipped.rs"]
mod skipped;
#[path = "slow.rs"]
mod slow;
#[path = "take_in.rs"]
mod take_in;
#[path = "timers.rs"]
mod timers;
#[path = "told.rs"]
mod told;
#[path = "unknown.rs"]
mod unknown;
#[path = "why.rs"]
mod why;

/// Messages that wait behind parked keys where it is about their number.
const MANY: u64 = 200_000;
#[path = "parked_many.rs"]
mod parked_many;
