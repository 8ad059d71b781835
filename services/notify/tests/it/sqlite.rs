//! On SQLite.

use crate::place::Place;

pub async fn place() -> Option<Place> {
    Some(Place::new())
}

suite!();
