//! On PostgreSQL; the log is the embedded one.

use crate::place::Place;

pub async fn place() -> Option<Place> {
    Place::on_postgres().await
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
