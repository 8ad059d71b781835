//! Addresses that nothing is sent to, by their hashes.

use super::rows::Rows;
use crate::domain::address::{Address, Kind};
use crate::domain::suppression::{Reason, SoftBounces, SoftPolicy, Suppressed};
use crate::recipients::convert;
use artel_contract::notify::suppression as wire;
use artel_flow::Tx;
use artel_message::Time;
use artel_store::{Args, FromRow, Row, StoreError, Values};
use std::collections::BTreeMap;

/// What is put on the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub hash: String,
    pub kind: Kind,
    /// What pages may show of the address.
    pub masked: String,
    pub reason: Reason,
    /// Who says so: a provider's name, a caller's.
    pub by: String,
    pub note: Option<String>,
}

impl Entry {
    pub fn of(address: &Address, reason: Reason, by: &str) -> Entry {
        Entry {
            hash: convert::hash(address),
            kind: address.kind(),
            masked: address.masked(),
            reason,
            by: by.to_owned(),
            note: None,
        }
    }
}

struct Stored {
    hash: String,
    entry: Suppressed,
    masked: Option<String>,
    by: String,
    note: Option<String>,
}

impl FromRow for Stored {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let (kind, reason): (String, String) = (row.get("kind")?, row.get("reason")?);
        let entry = Suppressed {
            kind: convert::kind_of(&kind)
                .ok_or_else(|| StoreError::decode("kind", format!("'{kind}' is none")))?,
            reason: Reason::ALL
                .into_iter()
                .find(|known| known.as_str() == reason)
                .ok_or_else(|| StoreError::decode("reason", format!("'{reason}' is none")))?,
            since: row.get("since")?,
            until: row.get("ends")?,
        };
        Ok(Stored {
            hash: row.get("hash")?,
            entry,
            masked: row.get("masked")?,
            by: row.get("added_by")?,
            note: row.get("note")?,
        })
    }
}

fn hashes(hashes: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Values> {
    hashes.into_iter().map(|hash| (hash.as_ref(),).values()).collect()
}

/// Puts addresses on the list, or takes push tokens from whoever has them where the reason is about the token; how many it changed. A
/// wish is replaced by nothing but its end, anything else by a wish and by what holds longer.
pub async fn add(tx: &mut Tx, entries: &[Entry]) -> Result<u64, StoreError> {
    let (tokens, listed): (Vec<&Entry>, Vec<&Entry>) =
        entries.iter().partition(|entry| entry.reason.removes_token());
    let mut changed = 0;
    if !tokens.is_empty() {
        let gone: Vec<String> = tokens.iter().map(|entry| entry.hash.clone()).collect();
        changed += super::subscribers::take_from_others(tx, None, &gone).await?;
    }
    // One row each: a statement must not meet a row twice.
    let mut rows: BTreeMap<&str, &Entry> = BTreeMap::new();
    for entry in listed {
        let kept = rows.entry(&entry.hash).or_insert(entry);
        if entry.reason.is_wish() && !kept.reason.is_wish() {
            *kept = entry;
        }
    }
    let now = tx.now();
    let rows = rows.into_values().map(|entry| row_of(entry, now)).collect();
    changed += tx
        .exec_rows(
            "INSERT INTO suppression (hash, kind, masked, reason, wish, added_by, note, since, ends) VALUES {rows}
             ON CONFLICT (hash) DO UPDATE SET masked = excluded.masked, reason = excluded.reason, wish = excluded.wish,
                 added_by = excluded.added_by, note = excluded.note, since = excluded.since, ends = excluded.ends
             WHERE NOT suppression.wish
                 AND (excluded.wish OR excluded.ends IS NULL
                     OR (suppression.ends IS NOT NULL AND excluded.ends >= suppression.ends))",
            (),
            rows,
        )
        .await?;
    Ok(changed)
}

fn row_of(entry: &Entry, now: Time) -> Values {
    let Suppressed { kind, reason, since, until } = Suppressed::new(entry.kind, entry.reason, now);
    let (kind, masked) = (convert::kind_name(kind), Some(entry.masked.as_str()));
    (
        entry.hash.as_str(),
        kind,
        masked,
        reason.as_str(),
        reason.is_wish(),
        entry.by.as_str(),
        entry.note.as_deref(),
        since,
        until,
    )
        .values()
}

/// Takes an address off the list; false where it was not on it.
pub async fn remove(tx: &mut Tx, hash: &str) -> Result<bool, StoreError> {
    tx.exec("DELETE FROM soft_bounce WHERE hash = $1", (hash,)).await?;
    Ok(tx.exec("DELETE FROM suppression WHERE hash = $1", (hash,)).await? > 0)
}

/// What is on the list of these hashes.
pub async fn of(
    rows: &mut impl Rows,
    wanted: impl IntoIterator<Item = impl AsRef<str>>,
) -> Result<BTreeMap<String, Suppressed>, StoreError> {
    let wanted = hashes(wanted);
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let found: Vec<Stored> = rows
        .all_rows(
            "SELECT hash, kind, masked, reason, added_by, note, since, ends FROM suppression WHERE hash IN ({rows})",
            (),
            wanted,
        )
        .await?;
    Ok(found.into_iter().map(|stored| (stored.hash, stored.entry)).collect())
}

/// Counts soft bounces; those that are one too many in a row are put on the list. How many were.
pub async fn soft_bounced(
    tx: &mut Tx,
    addresses: &[Address],
    by: &str,
    policy: SoftPolicy,
) -> Result<u64, StoreError> {
    let now = tx.now();
    let mut counted: BTreeMap<String, (SoftBounces, &Address)> =
        addresses.iter().map(|own| (convert::hash(own), (SoftBounces::default(), own))).collect();
    let known: Vec<(String, u32, Time)> = tx
        .all_rows(
            "SELECT hash, bounces, first_at FROM soft_bounce WHERE hash IN ({rows})",
            (),
            hashes(counted.keys()),
        )
        .await?;
    for (hash, count, first_at) in known {
        if let Some((row, _)) = counted.get_mut(&hash) {
            *row = SoftBounces { count, first_at: Some(first_at) };
        }
    }
    let (mut full, mut rows) = (Vec::new(), Vec::new());
    for (hash, (row, address)) in &mut counted {
        match row.bounced(policy, now) {
            Some(reason) => full.push(Entry::of(address, reason, by)),
            None => rows.push((hash.as_str(), row.count, row.first_at, now).values()),
        }
    }
    tx.exec_rows(
        "INSERT INTO soft_bounce (hash, bounces, first_at, last_at) VALUES {rows}
         ON CONFLICT (hash) DO UPDATE SET bounces = excluded.bounces, first_at = excluded.first_at,
             last_at = excluded.last_at",
        (),
        rows,
    )
    .await?;
    worked(tx, full.iter().map(|entry| entry.hash.as_str())).await?;
    add(tx, &full).await
}

/// Whether any row of bounces is kept at all: mostly there is none.
pub async fn any_soft(tx: &mut Tx) -> Result<bool, StoreError> {
    let one: Option<(String,)> = tx.opt("SELECT hash FROM soft_bounce LIMIT 1", ()).await?;
    Ok(one.is_some())
}

/// Something arrived at these hashes, or their row of bounces has ended: it begins anew.
pub async fn worked(
    tx: &mut Tx,
    wanted: impl IntoIterator<Item = impl AsRef<str>>,
) -> Result<(), StoreError> {
    tx.exec_rows("DELETE FROM soft_bounce WHERE hash IN ({rows})", (), hashes(wanted)).await?;
    Ok(())
}

/// Deletes what is over: entries whose time has ended, rows of bounces that nothing was added to since `idle`.
pub async fn purge(tx: &mut Tx, idle: Time, limit: i64) -> Result<u64, StoreError> {
    let now = tx.now();
    let ended = tx
        .exec(
            "DELETE FROM suppression WHERE hash IN
                 (SELECT hash FROM suppression WHERE ends IS NOT NULL AND ends <= $1 LIMIT $2)",
            (now, limit),
        )
        .await?;
    let idle = tx
        .exec(
            "DELETE FROM soft_bounce WHERE hash IN (SELECT hash FROM soft_bounce WHERE last_at < $1 LIMIT $2)",
            (idle, limit),
        )
        .await?;
    Ok(ended.max(idle))
}

/// The list, the latest first, behind `before`.
pub async fn list(
    rows: &mut impl Rows,
    wanted: Option<&[String]>,
    reason: Option<Reason>,
    before: &(Time, String),
    limit: i64,
) -> Result<Vec<wire::Suppressed>, StoreError> {
    let reason = reason.map(Reason::as_str);
    let (since, hash) = (before.0, before.1.as_str());
    let found: Vec<Stored> = match wanted {
        None => {
            rows.all(
                "SELECT hash, kind, masked, reason, added_by, note, since, ends FROM suppression
                 WHERE (since, hash) < ($1, $2) AND ($3 IS NULL OR reason = $3) ORDER BY since DESC, hash DESC LIMIT $4",
                (since, hash, reason, limit),
            )
            .await?
        }
        Some(wanted) => {
            rows.all_rows(
                "SELECT hash, kind, masked, reason, added_by, note, since, ends FROM suppression
                 WHERE (since, hash) < ($1, $2) AND ($3 IS NULL OR reason = $3) AND hash IN ({rows})
                 ORDER BY since DESC, hash DESC LIMIT $4",
                (since, hash, reason, limit),
                hashes(wanted),
            )
            .await?
        }
    };
    let shown = |stored: Stored| wire::Suppressed {
        id: stored.hash,
        kind: convert::wire_kind(stored.entry.kind),
        address: stored.masked,
        reason: convert::wire_reason(stored.entry.reason),
        by: stored.by,
        note: stored.note,
        since: stored.entry.since,
        until: stored.entry.until,
    };
    Ok(found.into_iter().map(shown).collect())
}

/// Takes away what pages show of these addresses: only the hashes stay.
pub async fn forget(tx: &mut Tx, wanted: &[String]) -> Result<u64, StoreError> {
    tx.exec_rows(
        "UPDATE suppression SET masked = NULL, note = NULL WHERE hash IN ({rows})",
        (),
        hashes(wanted),
    )
    .await
}
