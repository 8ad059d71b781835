//! From what a message or a caller says of somebody to all that a plan needs of them.

use super::convert;
use crate::domain::preferences::Choice;
use crate::domain::quiet;
use crate::domain::rules::{Given, Person};
use crate::store::rows::Rows;
use crate::store::subscribers::Own;
use crate::store::{opt_outs, subscribers, suppression};
use artel_contract::notify::Channel;
use artel_contract::notify::subscribers::{Profile, Subscriber};
use artel_store::StoreError;
use std::collections::{BTreeMap, BTreeSet};

/// Channels that keep quiet hours where nobody chose: an e-mail wakes nobody.
const QUIET: [Channel; 2] = [Channel::Sms, Channel::Push];

/// These people, in their order, with what is known of them as subscribers and what is suppressed of their addresses. A subscriber
/// that is not known is somebody with the addresses that were given.
pub async fn people(rows: &mut impl Rows, given: &[Given]) -> Result<Vec<Person>, StoreError> {
    let ids: BTreeSet<&str> = given.iter().filter_map(|one| one.subscriber.as_deref()).collect();
    let known = known(rows, &ids).await?;
    let of = |one: &Given| one.subscriber.as_ref().and_then(|id| known.get(id)).cloned();
    let mut people: Vec<Person> = given.iter().map(|one| one.person(of(one))).collect();
    look_up_suppressed(rows, &mut people).await?;
    Ok(people)
}

/// Who has subscribed to a key of a topic, by id, behind `after` where it is given. Fewer than `limit` = these were the last.
pub async fn subscribed(
    rows: &mut impl Rows,
    topic: &str,
    key: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Person>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let ids = subscribers::subscribed(rows, topic, key, after.unwrap_or_default(), limit).await?;
    let given: Vec<Given> =
        ids.into_iter().map(|id| Given { subscriber: Some(id), ..Given::default() }).collect();
    people(rows, &given).await
}

async fn known(rows: &mut impl Rows, ids: &BTreeSet<&str>) -> Result<BTreeMap<String, Person>, StoreError> {
    let found = subscribers::find(rows, ids).await?;
    let there: BTreeSet<&str> = found.iter().map(|subscriber| subscriber.id.as_str()).collect();
    let mut addresses = subscribers::addresses(rows, &there).await?;
    let mut known = BTreeMap::new();
    for subscriber in &found {
        let own = addresses.remove(&subscriber.id).unwrap_or_default();
        known.insert(subscriber.id.clone(), of_subscriber(subscriber, own)?);
    }
    Ok(known)
}

fn of_subscriber(subscriber: &Subscriber, own: Vec<Own>) -> Result<Person, StoreError> {
    let Profile { name, language, zone, quiet_hours, quiet_channels, preferences, .. } = &subscriber.profile;
    let bad = |fault: artel_message::Fault| StoreError::decode("profile", fault.reason);
    Ok(Person {
        subscriber: Some(subscriber.id.clone()),
        name: name.clone(),
        addresses: own.into_iter().filter(|own| own.verified).map(|own| own.address).collect(),
        language: language.clone(),
        zone: zone.as_deref().and_then(|zone| quiet::zone(zone).ok()),
        preferences: convert::same("preferences", preferences).map_err(bad)?,
        quiet: convert::same("quiet_hours", quiet_hours).map_err(bad)?,
        quiet_channels: quiet_channels.clone().unwrap_or_else(|| QUIET.to_vec()),
        ..Person::default()
    })
}

/// What was said of an address by the link of a message stands where its owner has not chosen as a subscriber.
fn opted_out(topics: &BTreeMap<String, Vec<String>>, people: &mut [Person]) {
    if topics.is_empty() {
        return;
    }
    for person in people {
        for address in &person.addresses {
            for topic in topics.get(&convert::hash(address)).into_iter().flatten() {
                let choices = person.preferences.topics.entry(topic.clone()).or_default();
                choices.entry(address.channel()).or_insert(Choice::Out);
            }
        }
    }
}

async fn look_up_suppressed(rows: &mut impl Rows, people: &mut [Person]) -> Result<(), StoreError> {
    let hashes: BTreeSet<String> =
        people.iter().flat_map(|person| &person.addresses).map(convert::hash).collect();
    opted_out(&opt_outs::of(rows, &hashes).await?, people);
    let listed = suppression::of(rows, &hashes).await?;
    if listed.is_empty() {
        return Ok(());
    }
    for person in people {
        let own = person.addresses.iter();
        let entries = own.filter_map(|own| Some((own.key(), listed.get(&convert::hash(own))?.clone())));
        person.suppressed = entries.collect();
    }
    Ok(())
}
