//! Other attempts that a message at a provider may be as well as the one whose answer was lost.

use super::begin::{self, Open};
use super::desk::Desk;
use super::words;
use crate::NotifySettings;
use crate::domain::address::Address;
use crate::domain::state::Fact;
use crate::domain::templates::Body;
use crate::store::deliveries::{self, Filled, Filter};
use artel_contract::notify::DeliveryId;
use artel_flow::Ctx;
use artel_message::{Fault, Time};
use std::collections::BTreeSet;
use std::time::Duration;

/// What began so long before it, or after it, may be it.
const NEAR: Duration = Duration::from_secs(300);
/// The newest of the recipient's deliveries that are looked at. One that is missed leaves a text that is nobody's, which is no proof.
const MOST: usize = 200;

/// An attempt whose answer was lost.
pub(super) struct Lost<'a> {
    pub attempt: (DeliveryId, u32, u32),
    pub account: &'a str,
    pub address: &'a Address,
    pub subscriber: Option<&'a str>,
    pub begun_at: Time,
}

/// The texts of other attempts to the same address over the same account of which nobody knows what the provider calls them. `found`
/// are some of which it is known.
pub(super) async fn texts(
    ctx: &Ctx,
    desk: &Desk,
    lost: &Lost<'_>,
    found: &BTreeSet<(DeliveryId, u32, u32)>,
) -> Result<Vec<String>, Fault> {
    let read = ctx.read().await?;
    let since = Some(lost.begun_at - ctx.settings::<NotifySettings>().policy().age);
    let mut ids = BTreeSet::new();
    for who in [Some(lost.address.key().as_str()), lost.subscriber].into_iter().flatten() {
        let filter = Filter { recipient: Some(who), since, ..Filter::default() };
        ids.extend(deliveries::list(&read, filter, MOST).await?);
    }
    let open = begin::open(&mut &read).await?;
    let ids: Vec<DeliveryId> = ids.into_iter().collect();
    let all = deliveries::filled(&read, &ids).await?;
    drop(read);
    let mut texts = Vec::new();
    for filled in &all {
        let others = rivals(filled, lost, &open).into_iter();
        for ((_, leg, _), at) in others.filter(|(attempt, _)| !found.contains(attempt)) {
            if let Body::Sms { text } = words::of(ctx, desk, filled, leg as usize, at).await?.rendered.body {
                texts.push(text);
            }
        }
    }
    Ok(texts)
}

/// Such attempts of a delivery, and when they began.
fn rivals(filled: &Filled, lost: &Lost<'_>, open: &Open) -> Vec<((DeliveryId, u32, u32), Time)> {
    let stored = &filled.stored;
    let near = |at: Time| at.since(lost.begun_at).max(lost.begun_at.since(at)) <= NEAR;
    let mut found = Vec::new();
    for (leg, of) in stored.plan.legs.iter().enumerate() {
        if stored.content.address(leg) != Some(lost.address) {
            continue;
        }
        let named = |number| (stored.id, super::effects::index(leg), number);
        let made = (1u32..).zip(&of.attempts).filter(|(_, made)| {
            made.provider == lost.account
                && made.reference.is_none()
                && !matches!(made.fact, Fact::NotTaken { .. })
        });
        let made = made.map(|(number, made)| (named(number), made.begun_at));
        let next = named(of.next_attempt());
        let under_way = open.get(&next).filter(|(_, account)| account == lost.account);
        let under_way = under_way.map(|(at, _)| (next, *at));
        found.extend(made.chain(under_way).filter(|(attempt, at)| near(*at) && *attempt != lost.attempt));
    }
    found
}
