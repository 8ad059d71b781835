//! What providers tell later: receipts, out of order and repeated, and that none came in time.

use super::feedback::{self, Guards, Heard};
use super::key;
use super::steps::{self, Stepped, Tell, Telling};
use crate::domain::state::{Happened, Receipt};
use crate::store::references::{self, Reference};
use artel_contract::notify::DeliveryId;
use artel_flow::{Msg, Tx};
use artel_message::{Command, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;

/// Receipts of one account, as many as there are at a time. Asked by what listens to providers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.take-receipts", reply = (), validate = check)]
pub struct TakeReceipts {
    /// The account's name.
    pub account: String,
    pub receipts: Vec<Told>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    /// What the provider calls the message, or what we call the attempt ([`Outgoing::key`](crate::channels::Outgoing::key)), where the
    /// provider brings that back.
    pub reference: String,
    #[schemars(with = "Value")]
    pub receipt: Receipt,
}

/// Receipts in one command, and bytes of a provider's name for a message.
const MOST: usize = 1_000;
const MOST_REFERENCE: usize = 500;

fn check(take: &TakeReceipts) -> Result<(), Fault> {
    if take.receipts.len() > MOST {
        return Err(Fault::field(
            "receipts",
            format!("there are {}; the most are {MOST}", take.receipts.len()),
        ));
    }
    Ok(())
}

/// Whether something can be a provider's name for a message: no table has room for another one.
pub(super) fn is_name(name: &str) -> bool {
    (1..=MOST_REFERENCE).contains(&name.len()) && !name.contains('\0')
}

/// Takes receipts in. Those of messages that are not known are kept for a while: a receipt may be quicker than what was answered.
pub async fn take_receipts(tx: &mut Tx, take: TakeReceipts) -> Result<(), Fault> {
    let TakeReceipts { account, mut receipts } = take;
    let all = receipts.len();
    receipts.retain(|told| is_name(&told.reference));
    if receipts.len() < all {
        // The others are worth having, and the provider would send this one again for ever.
        let left_out = all - receipts.len();
        tracing::warn!(account, left_out, "receipts of what can't be a message's name are left out");
    }
    let of: Vec<(String, String)> = receipts
        .iter()
        .filter(|told| key::read(&told.reference).is_none())
        .map(|told| (account.clone(), told.reference.clone()))
        .collect();
    let known = if of.is_empty() { HashMap::new() } else { by_name(references::find(tx, &of).await?) };
    let (mut told, mut unknown) = (Vec::new(), Vec::new());
    for Told { reference, receipt } in receipts {
        let name = (account.clone(), reference);
        match named(&name).or_else(|| known.get(&name).cloned()) {
            Some(known) => told.push((known, receipt)),
            None => unknown.push((name.1, receipt)),
        }
    }
    let early = take_in(tx, told).await?;
    unknown.extend(early.into_iter().map(|(known, receipt)| (known.reference, receipt)));
    if !unknown.is_empty() {
        let row = |(name, receipt): (String, Receipt)| {
            let text = serde_json::to_string(&receipt).map_err(|error| Fault::internal(error.to_string()))?;
            Ok((tx.new_id(), account.clone(), name, text))
        };
        let rows = unknown.into_iter().map(row).collect::<Result<_, Fault>>()?;
        references::keep(tx, rows).await?;
    }
    Ok(())
}

/// The attempt by our own name of it.
fn named((account, reference): &(String, String)) -> Option<Reference> {
    let (delivery, leg, attempt) = key::read(reference)?;
    Some(Reference { account: account.clone(), reference: reference.clone(), delivery, leg, attempt })
}

fn by_name(known: Vec<Reference>) -> HashMap<(String, String), Reference> {
    known.into_iter().map(|known| ((known.account.clone(), known.reference.clone()), known)).collect()
}

/// Applies receipts, and what they say of addresses; gives back those of attempts whose answers are not stored yet.
async fn take_in(tx: &mut Tx, told: Vec<(Reference, Receipt)>) -> Result<Vec<(Reference, Receipt)>, Fault> {
    let now = tx.now();
    let telling = |(known, receipt): &(Reference, Receipt)| {
        let (leg, attempt, receipt) = (known.leg as usize, known.attempt, receipt.clone());
        let happened = Happened::Receipt { leg, attempt, receipt, reference: Some(known.reference.clone()) };
        Telling { delivery: known.delivery, tell: Tell::Happened(happened, now) }
    };
    let stepped = steps::apply(tx, Vec::new(), told.iter().map(telling).collect()).await?;
    let of: HashMap<DeliveryId, &Stepped> = stepped.iter().map(|one| (one.stored.id, one)).collect();
    let not_yet = |known: &Reference| {
        let leg = of.get(&known.delivery).and_then(|one| one.stored.plan.legs.get(known.leg as usize));
        leg.is_some_and(|leg| known.attempt >= leg.next_attempt())
    };
    let (early, told): (Vec<_>, Vec<_>) = told.into_iter().partition(|(known, _)| not_yet(known));
    let heard = told.iter().filter_map(|(known, receipt)| match receipt {
        Receipt::Refused(verdict) => {
            Some(Heard::told(known.delivery, known.leg as usize, &known.account, verdict))
        }
        _ => None,
    });
    feedback::learn(tx, &Guards::default(), &stepped, heard.collect()).await?;
    Ok(early)
}

/// Receipts that came before these were known.
pub(super) async fn take_early(tx: &mut Tx, named: &[Reference]) -> Result<(), Fault> {
    let early = references::take(tx, named).await?;
    if early.is_empty() {
        return Ok(());
    }
    let known = by_name(named.to_vec());
    let told = early.into_iter().filter_map(|(account, reference, text)| {
        let receipt: Receipt = serde_json::from_str(&text).ok()?;
        Some((known.get(&(account, reference))?.clone(), receipt))
    });
    take_in(tx, told.collect()).await?;
    Ok(())
}

/// The patience with a channel is over.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.no-receipt", reply = ())]
pub struct NoReceipt {
    pub delivery: DeliveryId,
    pub leg: u32,
}

pub async fn no_receipt(tx: &mut Tx, all: Vec<Msg<NoReceipt>>) -> Result<(), Fault> {
    let now = tx.now();
    let told = all.iter().map(|one| {
        let happened = Happened::NoReceipt { leg: one.leg as usize };
        Telling { delivery: one.delivery, tell: Tell::Happened(happened, now) }
    });
    steps::apply(tx, Vec::new(), told.collect()).await?;
    Ok(())
}
