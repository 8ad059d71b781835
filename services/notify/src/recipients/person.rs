//! A person's data: given out, and forgotten.

use super::convert;
use super::subscribers::page;
use crate::NotifySettings;
use crate::deliveries::{ForgetCached, view};
use crate::domain::address::Address;
use crate::store::persons::{self, Keys};
use crate::store::{deliveries, subscribers, suppression};
use artel_contract::notify::DeliveryId;
use artel_contract::notify::person::{EraseSubscriber, Erased, Export, ExportSubscriber, ExportedDelivery};
use artel_flow::{Read, Tx};
use artel_message::{Command, Cursor, Fault, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Deliveries of a page of an export.
const PAGE: usize = 100;
/// Deliveries that are forgotten in one transaction.
const AT_ONCE: usize = 200;
/// Suppressions that are given out: more than somebody has addresses.
const MOST: i64 = 10_000;

/// Goes on with forgetting somebody. It waits as a timer, so that nothing of the person gets into the log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.forget-deliveries", reply = ())]
pub struct ForgetDeliveries {
    subscriber: String,
    emails: Vec<String>,
    phones: Vec<String>,
}

/// What somebody's deliveries are found by.
fn keys<'a>(subscriber: &str, addresses: impl Iterator<Item = &'a Address>) -> Keys {
    let mut keys = Keys { subscriber: subscriber.to_owned(), ..Keys::default() };
    for address in addresses {
        match address {
            Address::Email(email) => keys.emails.push(email.key()),
            Address::Phone(phone) => keys.phones.push(phone.as_str().to_owned()),
            Address::Fcm(_) | Address::WebPush(_) => {}
        }
    }
    keys
}

pub async fn export(mut read: &Read, query: ExportSubscriber) -> Result<Export, Fault> {
    let ExportSubscriber { subscriber: id, cursor } = query;
    let before = cursor.map(|text| Cursor(text).key::<DeliveryId>()).transpose()?;
    let one = BTreeSet::from([id.as_str()]);
    let own = subscribers::addresses(&mut read, &one).await?.remove(&id).unwrap_or_default();
    let keys = keys(&id, own.iter().map(|own| &own.address));
    let ids = persons::deliveries(&mut read, &keys, before, PAGE + 1).await?;
    let mut whole = deliveries::read(read, &ids).await?;
    whole.sort_unstable_by_key(|one| std::cmp::Reverse(one.stored.id));
    let filled = deliveries::filled(read, &ids).await?;
    let data: BTreeMap<_, _> = filled.into_iter().map(|one| (one.stored.id, one.data)).collect();
    let exported = whole.iter().map(|one| exported(one, data.get(&one.stored.id))).collect();
    let deliveries = page(exported, PAGE, |one: &ExportedDelivery| Cursor::of(&one.delivery.id));
    let mut export = Export {
        subscriber: None,
        subscriptions: Vec::new(),
        subscriptions_left: 0,
        suppressions: Vec::new(),
        deliveries,
    };
    if before.is_none() {
        let mut found = subscribers::find(&mut read, &one).await?.pop();
        if let Some(found) = &mut found {
            let contacts = own.iter().map(|own| convert::contact(&own.address, own.verified));
            found.profile.addresses = contacts.collect();
        }
        let first = (String::new(), String::new());
        let most = read.settings::<NotifySettings>().export_subscriptions;
        export.subscriptions = subscribers::subscriptions(&mut read, &id, &first, i64::from(most)).await?;
        let given = export.subscriptions.len() as u64;
        if given >= u64::from(most) {
            export.subscriptions_left = subscribers::count(&mut read, &id).await?.saturating_sub(given);
        }
        let hashes: Vec<String> = own.iter().map(|own| convert::hash(&own.address)).collect();
        if !hashes.is_empty() {
            let last = (Time::MAX, String::new());
            export.suppressions = suppression::list(&mut read, Some(&hashes), None, &last, MOST).await?;
        }
        export.subscriber = found;
    }
    Ok(export)
}

fn exported(whole: &deliveries::Whole, data: Option<&String>) -> ExportedDelivery {
    let addresses = whole.stored.content.legs.iter().filter_map(|leg| leg.address.as_ref());
    ExportedDelivery {
        delivery: view::delivery(&whole.stored, &whole.trail),
        addresses: addresses.map(|address| convert::contact(address, true)).collect(),
        data: data.and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default(),
    }
}

pub async fn erase(tx: &mut Tx, command: EraseSubscriber) -> Result<Erased, Fault> {
    let id = command.subscriber;
    let own =
        subscribers::addresses(tx, &BTreeSet::from([id.as_str()])).await?.remove(&id).unwrap_or_default();
    let keys = keys(&id, own.iter().map(|own| &own.address));
    let hashes: Vec<String> = own.iter().map(|own| convert::hash(&own.address)).collect();
    let (subscriber, addresses, subscriptions) = subscribers::delete(tx, &id).await?;
    suppression::forget(tx, &hashes).await?;
    let deliveries = some(tx, keys).await?;
    Ok(Erased { subscriber, addresses, subscriptions, deliveries })
}

pub async fn forget(tx: &mut Tx, command: ForgetDeliveries) -> Result<(), Fault> {
    let ForgetDeliveries { subscriber, emails, phones } = command;
    some(tx, Keys { subscriber, emails, phones }).await?;
    Ok(())
}

/// Forgets some; the rest follows in a transaction of its own, so that nobody waits for long.
async fn some(tx: &mut Tx, keys: Keys) -> Result<u64, Fault> {
    let ids = persons::deliveries(tx, &keys, None, AT_ONCE).await?;
    persons::forget(tx, &ids).await?;
    if !ids.is_empty() {
        let cached = format!("forget:{}", tx.new_id());
        tx.after(cached, Duration::ZERO, ForgetCached { deliveries: ids.clone() });
    }
    if ids.len() == AT_ONCE {
        let Keys { subscriber, emails, phones } = keys;
        let timer = format!("forget:{}", tx.new_id());
        tx.after(&timer, Duration::ZERO, ForgetDeliveries { subscriber, emails, phones });
    }
    Ok(ids.len() as u64)
}
