//! Commands and queries about subscribers.

use super::convert;
use crate::domain::address::Address;
use crate::store::rows::Rows;
use crate::store::subscribers::{self as store, Places};
use artel_contract::notify::subscribers::{
    ADDRESSES, GetSubscriber, ListSubscribers, Profile, PutAddress, PutSubscriber, RemoveAddress, Saved,
    SetPreferences, Subscriber,
};
use artel_flow::{Read, Tx};
use artel_message::{Cursor, Fault, Page};
use std::collections::BTreeSet;

/// Items of a page where nobody says how many.
pub(crate) const PAGE: u32 = 50;

/// The next change of something, where the one that was expected is stored. 0 expected = nothing is.
pub(crate) fn next_rev(what: &str, stored: Option<u64>, expected: Option<u64>) -> Result<u64, Fault> {
    let now = stored.unwrap_or(0);
    match expected {
        Some(expected) if expected != now => {
            let reason = match (stored, expected) {
                (None, _) => format!("{what} is not there (any more)"),
                (Some(_), 0) => format!("{what} is there already"),
                (Some(now), _) => {
                    format!("{what} has been changed meanwhile, it is at {now} now; read it again")
                }
            };
            Err(Fault::conflict(reason).with(serde_json::json!({ "kind": CHANGED, "rev": now })))
        }
        _ => Ok(now + 1),
    }
}

/// `kind` in the detail of the fault of a change that was made to something older.
pub(crate) const CHANGED: &str = "changed";

pub(crate) fn no_such(id: &str) -> Fault {
    let id: String = id.chars().take(60).collect();
    Fault::not_found(format!("there is no subscriber '{id}'"))
}

pub async fn put(tx: &mut Tx, command: PutSubscriber) -> Result<Saved, Fault> {
    let PutSubscriber { subscriber: id, profile, expected } = command;
    convert::check_profile(&profile)?;
    let own = addresses(&profile)?;
    let stored = store::rev(tx, &id).await?;
    let rev = next_rev(&format!("subscriber '{id}'"), stored, expected)?;
    store::save(tx, &id, rev, &profile).await?;
    let kept: BTreeSet<String> = own.iter().map(|(address, _)| convert::hash(address)).collect();
    let one = BTreeSet::from([id.as_str()]);
    let before = store::addresses(tx, &one).await?.remove(&id).unwrap_or_default();
    let gone: Vec<String> =
        before.iter().map(|own| convert::hash(&own.address)).filter(|hash| !kept.contains(hash)).collect();
    store::remove_addresses(tx, &id, &gone).await?;
    store::put_addresses(tx, &id, &own, Places::All).await?;
    take_devices(tx, &id, &own).await?;
    Ok(Saved { rev, created: stored.is_none() })
}

/// A device is one person's: whoever registers it last.
async fn take_devices(tx: &mut Tx, id: &str, own: &[(Address, bool)]) -> Result<(), Fault> {
    let devices = own.iter().map(|(address, _)| address);
    let devices = devices.filter(|address| matches!(address, Address::Fcm(_) | Address::WebPush(_)));
    let hashes: Vec<String> = devices.map(convert::hash).collect();
    if !hashes.is_empty() {
        store::take_from_others(tx, Some(id), &hashes).await?;
    }
    Ok(())
}

/// The addresses of a profile and whether they are verified; each stands there once.
fn addresses(profile: &Profile) -> Result<Vec<(Address, bool)>, Fault> {
    let mut seen = BTreeSet::new();
    let mut own = Vec::with_capacity(profile.addresses.len());
    for (at, contact) in profile.addresses.iter().enumerate() {
        let field = format!("profile.addresses[{at}]");
        let address = convert::address(contact, &field)?;
        if !seen.insert(convert::hash(&address)) {
            return Err(Fault::field(&format!("{field}.address"), "stands there twice"));
        }
        own.push((address, contact.verified));
    }
    Ok(own)
}

/// The profile as it is stored, for a change of a part of it.
async fn stored(tx: &mut Tx, id: &str) -> Result<Subscriber, Fault> {
    let found = store::find(tx, &BTreeSet::from([id])).await?;
    found.into_iter().next().ok_or_else(|| no_such(id))
}

pub async fn put_address(tx: &mut Tx, command: PutAddress) -> Result<Saved, Fault> {
    let PutAddress { subscriber: id, contact } = command;
    let own = [(convert::address(&contact, "contact")?, contact.verified)];
    let stored = stored(tx, &id).await?;
    let (count, place) = store::last_place(tx, &id).await?;
    store::put_addresses(tx, &id, &own, Places::New(place)).await?;
    let (after, _) = store::last_place(tx, &id).await?;
    if after > count && after > i64::try_from(ADDRESSES).unwrap_or(i64::MAX) {
        return Err(Fault::exhausted(format!(
            "subscriber '{id}' has {ADDRESSES} addresses; take one away first"
        )));
    }
    take_devices(tx, &id, &own).await?;
    changed(tx, &id, stored.rev, after > count).await
}

pub async fn remove_address(tx: &mut Tx, command: RemoveAddress) -> Result<Saved, Fault> {
    let RemoveAddress { subscriber: id, kind, address } = command;
    let (hash, _) = convert::hash_of_text(convert::kind(kind), &address)?;
    let stored = stored(tx, &id).await?;
    if store::remove_addresses(tx, &id, &[hash]).await? == 0 {
        return Err(Fault::not_found(format!("subscriber '{id}' has no such address")));
    }
    changed(tx, &id, stored.rev, false).await
}

async fn changed(tx: &mut Tx, id: &str, rev: u64, created: bool) -> Result<Saved, Fault> {
    store::touch(tx, &BTreeSet::from([id.to_owned()])).await?;
    Ok(Saved { rev: rev + 1, created })
}

pub async fn set_preferences(tx: &mut Tx, command: SetPreferences) -> Result<Saved, Fault> {
    let SetPreferences { subscriber: id, preferences, expected } = command;
    let stored = stored(tx, &id).await?;
    let rev = next_rev(&format!("subscriber '{id}'"), Some(stored.rev), expected)?;
    store::save(tx, &id, rev, &Profile { preferences, ..stored.profile }).await?;
    Ok(Saved { rev, created: false })
}

pub async fn get(mut read: &Read, query: GetSubscriber) -> Result<Subscriber, Fault> {
    let id = query.subscriber;
    let found = store::find(&mut read, &BTreeSet::from([id.as_str()])).await?;
    let mut whole = with_addresses(&mut read, found).await?;
    whole.pop().ok_or_else(|| no_such(&id))
}

pub async fn list(mut read: &Read, query: ListSubscribers) -> Result<Page<Subscriber>, Fault> {
    let after = query.cursor.map(|text| Cursor(text).key::<String>()).transpose()?.unwrap_or_default();
    let limit = query.limit.unwrap_or(PAGE) as usize;
    let hashes = query.address.as_deref().map(convert::hashes);
    let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let found = store::list(&mut read, hashes.as_deref(), &after, most).await?;
    let items = with_addresses(&mut read, found).await?;
    Ok(page(items, limit, |subscriber| Cursor::of(&subscriber.id)))
}

/// A page of at most `limit` of items that were asked for one more.
pub(crate) fn page<T>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> Cursor) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(cursor);
    Page { items, next }
}

async fn with_addresses(rows: &mut impl Rows, mut found: Vec<Subscriber>) -> Result<Vec<Subscriber>, Fault> {
    let ids: BTreeSet<&str> = found.iter().map(|subscriber| subscriber.id.as_str()).collect();
    let mut addresses = store::addresses(rows, &ids).await?;
    for subscriber in &mut found {
        let own = addresses.remove(&subscriber.id).unwrap_or_default();
        subscriber.profile.addresses =
            own.iter().map(|own| convert::contact(&own.address, own.verified)).collect();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_made_to_what_was_read() {
        assert_eq!(next_rev("it", None, None), Ok(1));
        assert_eq!(next_rev("it", Some(4), None), Ok(5));
        assert_eq!(next_rev("it", None, Some(0)), Ok(1));
        assert_eq!(next_rev("it", Some(4), Some(4)), Ok(5));
        for (stored, expected, sentence) in
            [(None, 3, "is not there"), (Some(4), 0, "is there already"), (Some(4), 3, "changed meanwhile")]
        {
            let fault = next_rev("it", stored, Some(expected)).unwrap_err();
            assert!(fault.reason.contains(sentence), "{fault}");
        }
    }

    #[test]
    fn pages_end_where_there_is_no_more() {
        let ends = |count: u32| page((0..count).collect(), 3, Cursor::of);
        assert_eq!(ends(3), Page { items: vec![0, 1, 2], next: None });
        assert_eq!(ends(4), Page { items: vec![0, 1, 2], next: Some(Cursor::of(&2)) });
        assert_eq!(ends(0), Page { items: vec![], next: None });
    }
}
