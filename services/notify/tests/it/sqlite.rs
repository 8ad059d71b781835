//! On SQLite.

use crate::board::Board;
use crate::place::Place;
use std::sync::Arc;

pub async fn place() -> Option<Place> {
    Some(Place::new())
}

pub async fn board() -> Option<Arc<Board>> {
    Some(Board::on(place().await?))
}

#[path = "asking.rs"]
mod asking;
#[path = "attachments.rs"]
mod attachments;
#[path = "deliveries.rs"]
mod deliveries;
#[path = "failing.rs"]
mod failing;
#[path = "late.rs"]
mod late;
#[path = "recipients.rs"]
mod recipients;
#[path = "replay.rs"]
mod replay;
#[path = "rules.rs"]
mod rules;
#[path = "templates.rs"]
mod templates;
#[path = "unsubscribe.rs"]
mod unsubscribe;
#[path = "verdicts.rs"]
mod verdicts;
#[path = "wires.rs"]
mod wires;
