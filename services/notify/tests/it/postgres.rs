//! On PostgreSQL; the log is the embedded one.

use crate::place::Place;

pub async fn place() -> Option<Place> {
    Place::on_postgres().await
}

suite!();
