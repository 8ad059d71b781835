//! What providers tell later: receipts, out of order and repeated, and that none came in time.

use super::done::bury;
use super::steps::{self, Tell, Telling};
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
    /// What the provider calls the message.
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
    let bad = |told: &&Told| told.reference.is_empty() || told.reference.len() > MOST_REFERENCE;
    match take.receipts.iter().find(bad) {
        Some(_) => Err(Fault::field("receipts", format!("a reference has 1 to {MOST_REFERENCE} bytes"))),
        None => Ok(()),
    }
}

/// Takes receipts in. Those of messages that are not known are kept for a while: a receipt may be quicker than what was answered.
pub async fn take_receipts(tx: &mut Tx, take: TakeReceipts) -> Result<(), Fault> {
    let TakeReceipts { account, receipts } = take;
    let of: Vec<(String, String)> =
        receipts.iter().map(|told| (account.clone(), told.reference.clone())).collect();
    let known = by_name(references::find(tx, &of).await?);
    let (now, mut told, mut unknown) = (tx.now(), Vec::new(), Vec::new());
    for Told { reference, receipt } in receipts {
        let name = (account.clone(), reference);
        match known.get(&name) {
            Some(known) => told.push(telling(known, receipt, now)),
            None => {
                let text =
                    serde_json::to_string(&receipt).map_err(|error| Fault::internal(error.to_string()))?;
                unknown.push((tx.new_id(), name.0, name.1, text));
            }
        }
    }
    if !unknown.is_empty() {
        references::keep(tx, unknown).await?;
    }
    let stepped = steps::apply(tx, Vec::new(), told).await?;
    bury(tx, &stepped);
    Ok(())
}

fn by_name(known: Vec<Reference>) -> HashMap<(String, String), Reference> {
    known.into_iter().map(|known| ((known.account.clone(), known.reference.clone()), known)).collect()
}

fn telling(known: &Reference, receipt: Receipt, now: artel_message::Time) -> Telling {
    let (leg, attempt) = (known.leg as usize, known.attempt);
    let happened = Happened::Receipt { leg, attempt, receipt };
    Telling { delivery: known.delivery, tell: Tell::Happened(happened, now) }
}

/// Receipts that came before these were known.
pub(super) async fn take_early(tx: &mut Tx, named: &[Reference]) -> Result<(), Fault> {
    let early = references::take(tx, named).await?;
    if early.is_empty() {
        return Ok(());
    }
    let (now, known) = (tx.now(), by_name(named.to_vec()));
    let told = early.into_iter().filter_map(|(account, reference, text)| {
        let receipt: Receipt = serde_json::from_str(&text).ok()?;
        Some(telling(known.get(&(account, reference))?, receipt, now))
    });
    let stepped = steps::apply(tx, Vec::new(), told.collect()).await?;
    bury(tx, &stepped);
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
