//! What a person decides of a delivery.

use super::steps::{self, Stepped, Tell, Telling};
use super::view;
use crate::domain::state::{self, Happened};
use crate::store::deliveries;
use artel_contract::notify::Delivery;
use artel_contract::notify::decisions::{Decide, Decision};
use artel_flow::Tx;
use artel_message::Fault;

/// The longest name of who decides.
const BY: usize = 200;

pub async fn decide(tx: &mut Tx, decide: Decide) -> Result<Delivery, Fault> {
    let Decide { delivery, leg, decision, by } = decide;
    let now = tx.now();
    let none = || Fault::not_found(format!("there is no delivery {delivery}"));
    let stored = deliveries::load(tx, &[delivery]).await?.pop().ok_or_else(none)?;
    let decision = match decision {
        Decision::SendAgain => state::Decision::SendAgain,
        Decision::Arrived => state::Decision::Arrived,
        Decision::GiveUp => state::Decision::GiveUp,
    };
    let legs: Vec<usize> = match leg {
        Some(leg) => vec![leg as usize],
        None => (0..stored.plan.legs.len()).collect(),
    };
    let by: String = by.chars().take(BY).collect();
    let count = legs.len();
    let told = legs.into_iter().map(|leg| {
        let happened = Happened::Decided { leg, decision, by: by.clone(), why: None };
        Telling { delivery, tell: Tell::Happened(happened, now) }
    });
    let mut stepped = steps::apply(tx, vec![stored], told.collect()).await?;
    let Stepped { stored, refused, .. } = stepped.pop().ok_or_else(none)?;
    // Of several legs it is enough that it can be decided of one.
    if refused.len() == count {
        let reason = refused.first().map_or_else(String::new, ToString::to_string);
        return Err(Fault::conflict(format!("delivery {delivery}: {reason}")));
    }
    let trail = deliveries::trail(tx, delivery).await?;
    Ok(view::delivery(&stored, &trail))
}
