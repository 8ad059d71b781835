//! On SQLite.

use crate::place::Place;

pub async fn place() -> Option<Place> {
    Some(Place::new())
}

#[path = "deliveries.rs"]
mod deliveries;
#[path = "failing.rs"]
mod failing;
#[path = "recipients.rs"]
mod recipients;
#[path = "rules.rs"]
mod rules;
#[path = "templates.rs"]
mod templates;
#[path = "wires.rs"]
mod wires;
