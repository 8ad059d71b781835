//! Subscribers, their addresses, what they have subscribed to.

use super::rows::Rows;
use crate::domain::address::Address;
use crate::recipients::convert;
use artel_contract::notify::subscribers::{Profile, Subscriber, Subscription};
use artel_flow::Tx;
use artel_message::Time;
use artel_store::{Args, FromRow, Row, StoreError, Values};
use std::collections::{BTreeMap, BTreeSet};

/// An address with what is kept of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Own {
    pub address: Address,
    pub verified: bool,
    pub added_at: Time,
}

struct OwnRow(String, Own);

impl FromRow for OwnRow {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let value: String = row.get("value")?;
        let address =
            serde_json::from_str(&value).map_err(|error| StoreError::decode("value", error.to_string()))?;
        let own = Own { address, verified: row.get("verified")?, added_at: row.get("added_at")? };
        Ok(OwnRow(row.get("subscriber")?, own))
    }
}

struct Stored(Subscriber);

impl FromRow for Stored {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let profile: String = row.get("profile")?;
        let profile = serde_json::from_str(&profile)
            .map_err(|error| StoreError::decode("profile", error.to_string()))?;
        Ok(Stored(Subscriber {
            id: row.get("id")?,
            rev: rev_of(row.get("rev")?),
            profile,
            created_at: row.get("created_at")?,
            changed_at: row.get("changed_at")?,
        }))
    }
}

pub(super) fn rev_of(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

fn ids(ids: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Values> {
    ids.into_iter().map(|id| (id.as_ref(),).values()).collect()
}

/// Which change of a subscriber is stored; `None` = there is none.
pub async fn rev(tx: &mut Tx, id: &str) -> Result<Option<u64>, StoreError> {
    let row: Option<(i64,)> = tx.opt("SELECT rev FROM subscriber WHERE id = $1", (id,)).await?;
    Ok(row.map(|(rev,)| rev_of(rev)))
}

/// Those of these ids that there are, with their addresses left out.
pub async fn find(rows: &mut impl Rows, wanted: &BTreeSet<&str>) -> Result<Vec<Subscriber>, StoreError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let found: Vec<Stored> = rows
        .all_rows(
            "SELECT id, rev, profile, created_at, changed_at FROM subscriber WHERE id IN ({rows})",
            (),
            ids(wanted),
        )
        .await?;
    Ok(found.into_iter().map(|stored| stored.0).collect())
}

/// The addresses of each of these, in the order in which they are used: that of their owner, push devices the latest first.
pub async fn addresses(
    rows: &mut impl Rows,
    wanted: &BTreeSet<&str>,
) -> Result<BTreeMap<String, Vec<Own>>, StoreError> {
    let mut all: BTreeMap<String, Vec<Own>> = BTreeMap::new();
    if wanted.is_empty() {
        return Ok(all);
    }
    let found: Vec<OwnRow> = rows
        .all_rows(
            "SELECT subscriber, value, verified, added_at FROM address WHERE subscriber IN ({rows})
             ORDER BY subscriber, place, hash",
            (),
            ids(wanted),
        )
        .await?;
    for OwnRow(subscriber, own) in found {
        all.entry(subscriber).or_default().push(own);
    }
    for own in all.values_mut() {
        // Stable: what is of one moment stays in its owner's order.
        own.sort_by_key(|own| match own.address {
            Address::Fcm(_) | Address::WebPush(_) => std::cmp::Reverse(own.added_at),
            Address::Email(_) | Address::Phone(_) => std::cmp::Reverse(Time::MAX),
        });
    }
    Ok(all)
}

/// Writes a subscriber without addresses.
pub async fn save(tx: &mut Tx, id: &str, rev: u64, profile: &Profile) -> Result<(), StoreError> {
    let plain = Profile { addresses: Vec::new(), ..profile.clone() };
    let text =
        serde_json::to_string(&plain).map_err(|error| StoreError::decode("profile", error.to_string()))?;
    let (rev, now) = (i64::try_from(rev).unwrap_or(i64::MAX), tx.now());
    tx.exec(
        "INSERT INTO subscriber (id, rev, profile, created_at, changed_at) VALUES ($1, $2, $3, $4, $4)
         ON CONFLICT (id) DO UPDATE SET rev = excluded.rev, profile = excluded.profile,
             changed_at = excluded.changed_at",
        (id, rev, text, now),
    )
    .await?;
    Ok(())
}

/// Counts a change of these.
pub async fn touch(tx: &mut Tx, changed: &BTreeSet<String>) -> Result<(), StoreError> {
    let now = tx.now();
    tx.exec_rows(
        "UPDATE subscriber SET rev = rev + 1, changed_at = $1 WHERE id IN ({rows})",
        (now,),
        ids(changed),
    )
    .await?;
    Ok(())
}

/// Where addresses of a subscriber are put.
#[derive(Debug, Clone, Copy)]
pub enum Places {
    /// From the first place on, also those that it has.
    All,
    /// From this place on; those that it has keep theirs.
    New(i64),
}

/// Writes addresses of a subscriber; those that it has keep the moment from which on.
pub async fn put_addresses(
    tx: &mut Tx,
    id: &str,
    own: &[(Address, bool)],
    places: Places,
) -> Result<(), StoreError> {
    let (place, moves) = match places {
        Places::All => (0, true),
        Places::New(place) => (place, false),
    };
    let now = tx.now();
    let mut rows: Vec<Values> = Vec::with_capacity(own.len());
    for ((address, verified), at) in own.iter().zip(place..) {
        let value =
            serde_json::to_string(address).map_err(|error| StoreError::decode("value", error.to_string()))?;
        let kind = convert::kind_name(address.kind());
        rows.push((id, convert::hash(address), kind, value, *verified, at, now).values());
    }
    tx.exec_rows(
        "INSERT INTO address (subscriber, hash, kind, value, verified, place, added_at) VALUES {rows}
         ON CONFLICT (subscriber, hash) DO UPDATE SET value = excluded.value, verified = excluded.verified,
             place = CASE WHEN $1 THEN excluded.place ELSE address.place END",
        (moves,),
        rows,
    )
    .await?;
    Ok(())
}

/// How many addresses a subscriber has, and the place behind the last.
pub async fn last_place(tx: &mut Tx, id: &str) -> Result<(i64, i64), StoreError> {
    tx.one("SELECT count(*), coalesce(max(place), 0) + 1 FROM address WHERE subscriber = $1", (id,)).await
}

/// Takes these addresses of a subscriber away.
pub async fn remove_addresses(tx: &mut Tx, id: &str, hashes: &[String]) -> Result<u64, StoreError> {
    tx.exec_rows("DELETE FROM address WHERE subscriber = $1 AND hash IN ({rows})", (id,), ids(hashes)).await
}

/// Takes these addresses away from everybody but `owner`: a device is one person's. Who had them has changed.
pub async fn take_from_others(
    tx: &mut Tx,
    owner: Option<&str>,
    hashes: &[String],
) -> Result<u64, StoreError> {
    let owner = owner.unwrap_or_default();
    let gone: Vec<(String,)> = tx
        .all_rows(
            "DELETE FROM address WHERE subscriber <> $1 AND hash IN ({rows}) RETURNING subscriber",
            (owner,),
            ids(hashes),
        )
        .await?;
    let count = gone.len() as u64;
    let changed: BTreeSet<String> = gone.into_iter().map(|(subscriber,)| subscriber).collect();
    if !changed.is_empty() {
        touch(tx, &changed).await?;
    }
    Ok(count)
}

/// Whose these devices are, by hash; what is nobody's is not there.
pub async fn owners(
    rows: &mut impl Rows,
    devices: impl Iterator<Item = &str>,
) -> Result<BTreeMap<String, String>, StoreError> {
    let devices = ids(devices);
    if devices.is_empty() {
        return Ok(BTreeMap::new());
    }
    let found: Vec<(String, String)> =
        rows.all_rows("SELECT hash, subscriber FROM address WHERE hash IN ({rows})", (), devices).await?;
    Ok(found.into_iter().collect())
}

/// Subscribers by id, behind `after`; of those who have one of these addresses, where there are some.
pub async fn list(
    rows: &mut impl Rows,
    hashes: Option<&[String]>,
    after: &str,
    limit: i64,
) -> Result<Vec<Subscriber>, StoreError> {
    let found: Vec<Stored> = match hashes {
        None => {
            rows.all(
                "SELECT id, rev, profile, created_at, changed_at FROM subscriber WHERE id > $1 ORDER BY id LIMIT $2",
                (after, limit),
            )
            .await?
        }
        Some(hashes) => {
            rows.all_rows(
                "SELECT id, rev, profile, created_at, changed_at FROM subscriber WHERE id > $1
                     AND id IN (SELECT subscriber FROM address WHERE hash IN ({rows})) ORDER BY id LIMIT $2",
                (after, limit),
                ids(hashes),
            )
            .await?
        }
    };
    Ok(found.into_iter().map(|stored| stored.0).collect())
}

/// Subscribes these; how many were not yet.
pub async fn subscribe(tx: &mut Tx, topic: &str, key: &str, who: &BTreeSet<&str>) -> Result<u64, StoreError> {
    let now = tx.now();
    let rows = who.iter().map(|id| (topic, key, *id, now).values()).collect();
    tx.exec_rows(
        "INSERT INTO subscription (topic, key, subscriber, since) VALUES {rows} ON CONFLICT DO NOTHING",
        (),
        rows,
    )
    .await
}

pub async fn unsubscribe(
    tx: &mut Tx,
    topic: &str,
    key: &str,
    who: &BTreeSet<&str>,
) -> Result<u64, StoreError> {
    tx.exec_rows(
        "DELETE FROM subscription WHERE topic = $1 AND key = $2 AND subscriber IN ({rows})",
        (topic, key),
        ids(who),
    )
    .await
}

/// Who has subscribed to a key of a topic, by id, behind `after`.
pub async fn subscribed(
    rows: &mut impl Rows,
    topic: &str,
    key: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let found: Vec<(String,)> = rows
        .all(
            "SELECT subscriber FROM subscription WHERE topic = $1 AND key = $2 AND subscriber > $3
             ORDER BY subscriber LIMIT $4",
            (topic, key, after, limit),
        )
        .await?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// What somebody has subscribed to, by topic and key, behind `after`.
pub async fn subscriptions(
    rows: &mut impl Rows,
    id: &str,
    after: &(String, String),
    limit: i64,
) -> Result<Vec<Subscription>, StoreError> {
    let found: Vec<(String, String, Time)> = rows
        .all(
            "SELECT topic, key, since FROM subscription WHERE subscriber = $1 AND (topic, key) > ($2, $3)
             ORDER BY topic, key LIMIT $4",
            (id, after.0.as_str(), after.1.as_str(), limit),
        )
        .await?;
    Ok(found.into_iter().map(|(topic, key, since)| Subscription { topic, key, since }).collect())
}

/// How many somebody has.
pub async fn count(rows: &mut impl Rows, id: &str) -> Result<u64, StoreError> {
    let found: Vec<(i64,)> =
        rows.all("SELECT count(*) FROM subscription WHERE subscriber = $1", (id,)).await?;
    Ok(found.first().map_or(0, |(count,)| count.unsigned_abs()))
}

/// Deletes a subscriber with addresses and subscriptions: whether there was one, how many of each.
pub async fn delete(tx: &mut Tx, id: &str) -> Result<(bool, u64, u64), StoreError> {
    let addresses = tx.exec("DELETE FROM address WHERE subscriber = $1", (id,)).await?;
    let subscriptions = tx.exec("DELETE FROM subscription WHERE subscriber = $1", (id,)).await?;
    let there = tx.exec("DELETE FROM subscriber WHERE id = $1", (id,)).await?;
    Ok((there > 0, addresses, subscriptions))
}
