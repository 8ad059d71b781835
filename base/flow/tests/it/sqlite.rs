//! On the embedded log and SQLite.

use crate::kit::Place;

pub async fn place() -> Option<Place> {
    Some(Place::new())
}

#[path = "apart.rs"]
mod apart;
#[path = "ask.rs"]
mod ask;
#[path = "given_up.rs"]
mod given_up;
#[path = "partitions.rs"]
mod partitions;
#[path = "put_off.rs"]
mod put_off;
#[path = "restored.rs"]
mod restored;
#[path = "run_time_groups.rs"]
mod run_time_groups;
#[path = "take_in.rs"]
mod take_in;
