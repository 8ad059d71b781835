//! What goes out of date while it waits. An effect finds that out by itself when it comes to it; one that stands behind another message to
//! the same recipient, or behind a provider that hangs, does not come to it in time.

use super::steps::{self, Tell, Telling};
use crate::domain::state::Happened;
use crate::store::{deliveries, lapses};
use artel_contract::notify::State;
use artel_flow::Tx;
use artel_message::{Command, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Deliveries of one transaction.
const MOST: i64 = 500;
/// The identity of the timer that goes on.
const REST: &str = "rest";

/// Ends a part of what is over; the rest goes on in a transaction of its own.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.lapse", reply = ())]
pub struct Lapse {}

pub async fn lapse_on_time(tx: &mut Tx, (): ()) -> Result<(), Fault> {
    lapse(tx, Lapse {}).await
}

pub async fn lapse(tx: &mut Tx, _: Lapse) -> Result<(), Fault> {
    let now = tx.now();
    let over = lapses::take(tx, MOST).await?;
    if over.is_empty() {
        return Ok(());
    }
    // Of one that was sent, or delivered, another channel may still wait; where nothing does, it is refused.
    let open = deliveries::states(tx, &over).await?.into_iter();
    let open = open.filter(|(_, state)| !state.is_final() || *state == State::Delivered);
    let ends = |(delivery, _)| Telling { delivery, tell: Tell::Happened(Happened::Expired, now) };
    steps::apply(tx, Vec::new(), open.map(ends).collect()).await?;
    if over.len() as i64 >= MOST {
        tx.after(REST, Duration::ZERO, Lapse {});
    }
    Ok(())
}
