//! On PostgreSQL; the log is the embedded one.

use crate::kit::Place;

pub async fn place() -> Option<Place> {
    Place::on_postgres().await
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
#[path = "run_time_groups.rs"]
mod run_time_groups;
#[path = "take_in.rs"]
mod take_in;
