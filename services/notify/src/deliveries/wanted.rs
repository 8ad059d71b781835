//! Whether addresses may still be written to: since a delivery was accepted they may have been suppressed, and devices have changed
//! hands.

use crate::domain::address::Kind;
use crate::domain::rules::WhyLeftOut;
use crate::recipients::convert;
use crate::store::deliveries::Stored;
use crate::store::{subscribers, suppression};
use artel_contract::notify::{DeliveryId, Lane};
use artel_flow::Read;
use artel_message::{Fault, Time};
use std::collections::HashMap;

/// A leg that is about to be sent.
struct Wanted<'a> {
    id: DeliveryId,
    leg: u32,
    lane: Lane,
    subscriber: Option<&'a str>,
    hash: String,
}

/// Why legs must not be sent any more. One query for all addresses, and one for the owners of all devices.
pub(super) async fn unwanted<'a>(
    mut read: &Read,
    legs: impl Iterator<Item = (&'a Stored, u32)>,
    now: Time,
) -> Result<HashMap<(DeliveryId, u32), String>, Fault> {
    let (mut wanted, mut devices) = (Vec::new(), Vec::new());
    for (stored, leg) in legs {
        let Some(address) = stored.content.address(leg as usize) else { continue };
        let (lane, subscriber) = (stored.content.lane, stored.subscriber.as_deref());
        if matches!(address.kind(), Kind::Fcm | Kind::WebPush) {
            devices.push(wanted.len());
        }
        wanted.push(Wanted { id: stored.id, leg, lane, subscriber, hash: convert::hash(address) });
    }
    let mut unwanted = HashMap::new();
    let devices = devices.iter().filter_map(|at| wanted.get(*at));
    let owners = subscribers::owners(&mut read, devices.clone().map(|one| one.hash.as_str())).await?;
    for Wanted { id, leg, subscriber, hash, .. } in devices {
        let owner = owners.get(hash).map(String::as_str);
        if owner.is_none() || owner != *subscriber {
            unwanted.insert((*id, *leg), "the device is not the recipient's any more".to_owned());
        }
    }
    let listed = suppression::of(&mut read, wanted.iter().map(|one| &one.hash)).await?;
    for Wanted { id, leg, lane, hash, .. } in &wanted {
        if let Some(entry) = listed.get(hash).filter(|entry| entry.holds_back(*lane, now)) {
            unwanted.insert((*id, *leg), WhyLeftOut::Suppressed(entry.reason).to_string());
        }
    }
    Ok(unwanted)
}
