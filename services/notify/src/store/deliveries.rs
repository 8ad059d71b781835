//! Deliveries, and the attempts that may be on a wire.

use super::rows::Rows;
use crate::deliveries::content::Content;
use crate::domain::address::{Email, Phone};
use crate::domain::state::{self, Entry};
use artel_contract::notify::{DeliveryId, State};
use artel_flow::{Read, Tx};
use artel_message::Time;
use artel_store::{Args, FromRow, Row, StoreError, Values};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Rows that a statement is joined with: PostgreSQL compares each of them with what it finds in the range of their ids.
const JOINED: usize = 64;
/// Bytes of an audit trail; what comes behind them is not kept.
const TRAIL: i64 = 64 << 10;

/// A delivery to be stored.
#[derive(Debug)]
pub struct New {
    pub id: DeliveryId,
    pub plan: state::Delivery,
    pub trail: Vec<Entry>,
    pub recipient: String,
    pub subscriber: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub supersede_key: Option<String>,
    pub content: Content,
}

/// A delivery as a step needs it.
#[derive(Debug, Clone)]
pub struct Stored {
    pub id: DeliveryId,
    pub rev: i64,
    pub plan: state::Delivery,
    pub recipient: String,
    pub subscriber: Option<String>,
    pub accepted_at: Time,
    pub changed_at: Time,
    pub content: Content,
}

/// The same with all that happened.
#[derive(Debug, Clone)]
pub struct Whole {
    pub stored: Stored,
    pub trail: Vec<Entry>,
}

/// The same with what its template is filled with.
#[derive(Debug, Clone)]
pub struct Filled {
    pub stored: Stored,
    /// JSON.
    pub data: String,
}

pub fn json<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<T, StoreError> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| StoreError::decode(column, error.to_string()))
}

pub fn text<T: serde::Serialize>(column: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::decode(column, error.to_string()))
}

impl FromRow for Stored {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Stored {
            id: row.get("id")?,
            rev: row.get("rev")?,
            plan: json(row, "plan")?,
            recipient: row.get("recipient")?,
            subscriber: row.get("subscriber")?,
            accepted_at: row.get("accepted_at")?,
            changed_at: row.get("changed_at")?,
            content: json(row, "content")?,
        })
    }
}

impl FromRow for Whole {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let trail: String = row.get("trail")?;
        Ok(Whole { stored: Stored::from_row(row)?, trail: entries(&trail)? })
    }
}

impl FromRow for Filled {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Filled { stored: Stored::from_row(row)?, data: row.get("data")? })
    }
}

fn entries(trail: &str) -> Result<Vec<Entry>, StoreError> {
    let lines = trail.lines().map(serde_json::from_str).collect::<Result<Vec<Entry>, _>>();
    lines.map_err(|error| StoreError::decode("trail", error.to_string()))
}

/// One line to an entry, each with its end: what is appended needs not to know what is there.
fn lines(trail: &[Entry]) -> Result<String, StoreError> {
    let mut all = String::new();
    for entry in trail {
        all.push_str(&text("trail", entry)?);
        all.push('\n');
    }
    Ok(all)
}

/// Stores those that are not there yet, and says which these are. `data` is what all of them are filled with, as JSON.
pub async fn insert(tx: &mut Tx, all: &[New], data: &str) -> Result<BTreeSet<DeliveryId>, StoreError> {
    let now = tx.now();
    let mut rows = Vec::with_capacity(all.len());
    for new in all {
        let (plan, trail) = (text("plan", &new.plan)?, lines(&new.trail)?);
        rows.push((new.id, 1i64, new.plan.state().as_str(), plan, trail, now).values());
    }
    let inserted: Vec<(DeliveryId,)> = tx
        .all_rows(
            "INSERT INTO delivery (id, rev, state, plan, trail, changed_at) VALUES {rows}
             ON CONFLICT DO NOTHING RETURNING id",
            (),
            rows,
        )
        .await?;
    let inserted: BTreeSet<DeliveryId> = inserted.into_iter().map(|(id,)| id).collect();
    let mut rows = Vec::with_capacity(inserted.len());
    for new in all.iter().filter(|new| inserted.contains(&new.id)) {
        let who = (new.recipient.as_str(), new.subscriber.clone(), new.email.clone(), new.phone.clone());
        let (content, key) = (text("content", &new.content)?, new.supersede_key.clone());
        rows.push((new.id, who.0, who.1, who.2, who.3, key, now, content, data).values());
    }
    tx.exec_rows(
        "INSERT INTO delivery_content (id, recipient, subscriber, email, phone, supersede_key, accepted_at, content, data)
         VALUES {rows}",
        (),
        rows,
    )
    .await?;
    Ok(inserted)
}

/// States of these, in any order.
pub async fn states(tx: &mut Tx, ids: &[DeliveryId]) -> Result<Vec<(DeliveryId, State)>, StoreError> {
    let rows = ids.iter().map(|id| (*id,).values()).collect();
    let found: Vec<(DeliveryId, String)> =
        tx.all_rows("SELECT id, state FROM delivery WHERE id IN ({rows})", (), rows).await?;
    found.into_iter().map(|(id, state)| Ok((id, state_of(&state)?))).collect()
}

pub fn state_of(text: &str) -> Result<State, StoreError> {
    State::ALL
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| StoreError::decode("state", format!("'{text}' is none")))
}

/// These, for a step.
pub async fn load(tx: &mut Tx, ids: &[DeliveryId]) -> Result<Vec<Stored>, StoreError> {
    tx.all_rows(
        "SELECT d.id, d.rev, d.plan, d.changed_at, c.recipient, c.subscriber, c.accepted_at, c.content
         FROM delivery AS d JOIN delivery_content AS c ON c.id = d.id WHERE d.id IN ({rows})",
        (),
        ids.iter().map(|id| (*id,).values()).collect(),
    )
    .await
}

/// These, with all that happened.
pub async fn read(read: &Read, ids: &[DeliveryId]) -> Result<Vec<Whole>, StoreError> {
    read.all_rows(
        "SELECT d.id, d.rev, d.plan, d.trail, d.changed_at, c.recipient, c.subscriber, c.accepted_at, c.content
         FROM delivery AS d JOIN delivery_content AS c ON c.id = d.id WHERE d.id IN ({rows})",
        (),
        ids.iter().map(|id| (*id,).values()).collect(),
    )
    .await
}

/// These, to be sent.
pub async fn filled(read: &Read, ids: &[DeliveryId]) -> Result<Vec<Filled>, StoreError> {
    read.all_rows(
        "SELECT d.id, d.rev, d.plan, d.changed_at, c.recipient, c.subscriber, c.accepted_at, c.content, c.data
         FROM delivery AS d JOIN delivery_content AS c ON c.id = d.id WHERE d.id IN ({rows})",
        (),
        ids.iter().map(|id| (*id,).values()).collect(),
    )
    .await
}

/// Those with one of these keys that may still have something to replace, oldest first. Where one channel has delivered, another one
/// may wait.
pub async fn replaceable(tx: &mut Tx, keys: BTreeSet<&str>) -> Result<Vec<(DeliveryId, String)>, StoreError> {
    tx.all_rows(
        "SELECT d.id, c.supersede_key FROM delivery_content AS c JOIN delivery AS d ON d.id = c.id
         WHERE c.supersede_key IS NOT NULL AND c.supersede_key IN ({rows})
             AND d.state IN ('accepted', 'scheduled', 'sent', 'unknown', 'delivered') ORDER BY d.id",
        (),
        keys.into_iter().map(|key| (key,).values()).collect(),
    )
    .await
}

/// A step to be stored over revision `rev`.
#[derive(Debug)]
pub struct Update<'a> {
    pub id: DeliveryId,
    pub rev: i64,
    pub plan: &'a state::Delivery,
    pub trail: &'a [Entry],
}

/// Steps as rows.
pub struct Changes(Vec<(DeliveryId, Values)>);

impl Changes {
    pub fn of<'a>(all: impl Iterator<Item = Update<'a>>) -> Result<Changes, StoreError> {
        let row = |update: Update<'_>| {
            let (plan, trail) = (text("plan", update.plan)?, lines(update.trail)?);
            let row = (update.id, update.rev, update.plan.state().as_str(), plan, trail).values();
            Ok((update.id, row))
        };
        let mut rows = all.map(row).collect::<Result<Vec<_>, StoreError>>()?;
        rows.sort_unstable_by_key(|(id, _)| *id);
        Ok(Changes(rows))
    }
}

/// Stores steps. False where the revision of some was another one: then some are stored and some are not, and the transaction may not
/// be committed.
pub async fn update(tx: &mut Tx, changes: Changes) -> Result<bool, StoreError> {
    let (now, mut left) = (tx.now(), changes.0);
    let (most, mut stored) = (if tx.is_shared() { JOINED } else { left.len() }, true);
    while !left.is_empty() {
        let rest = left.split_off(most.min(left.len()));
        let part = std::mem::replace(&mut left, rest);
        let (Some((first, _)), Some((last, _))) = (part.first(), part.last()) else { break };
        let (first, last, rows) = (*first, *last, part.len() as u64);
        let changed = tx
            .exec_rows(
                "UPDATE delivery SET rev = delivery.rev + 1, state = v.column3, plan = v.column4, changed_at = $1,
                     trail = CASE WHEN length(delivery.trail) < $2 THEN delivery.trail || v.column5
                         ELSE delivery.trail END
                 FROM (VALUES {rows}) AS v WHERE delivery.id = v.column1 AND delivery.rev = v.column2
                     AND delivery.id >= $3 AND delivery.id <= $4",
                (now, TRAIL, first, last),
                part.into_iter().map(|(_, row)| row).collect(),
            )
            .await?;
        stored &= changed == rows;
    }
    Ok(stored)
}

/// An attempt that may be on a wire: (delivery, leg, attempt, account).
pub type BegunEntry = (DeliveryId, u32, u32, String);

/// Writes down that these are about to be sent.
pub async fn begin(tx: &mut Tx, id: Uuid, attempts: &[BegunEntry]) -> Result<(), StoreError> {
    let (now, open) = (tx.now(), i64::try_from(attempts.len()).unwrap_or(i64::MAX));
    let attempts = text("attempts", &attempts)?;
    tx.exec(
        "INSERT INTO delivery_begun (id, at, open, attempts) VALUES ($1, $2, $3, $4)",
        (id, now, open, attempts),
    )
    .await?;
    Ok(())
}

/// So many of each have ended; rows in which all have are deleted.
pub async fn ended(tx: &mut Tx, counts: impl Iterator<Item = (Uuid, i64)>) -> Result<(), StoreError> {
    let counts: Vec<(Uuid, i64)> = counts.collect();
    if counts.is_empty() {
        return Ok(());
    }
    tx.exec_rows(
        "UPDATE delivery_begun SET open = open - v.column2 FROM (VALUES {rows}) AS v WHERE delivery_begun.id = v.column1",
        (),
        counts.iter().map(|row| row.values()).collect(),
    )
    .await?;
    let ids = counts.into_iter().map(|(id, _)| (id,).values()).collect();
    tx.exec_rows("DELETE FROM delivery_begun WHERE id IN ({rows}) AND open <= 0", (), ids).await?;
    Ok(())
}

/// What is written down of attempts that may be on a wire, over all nodes: few rows, as many as are under way together.
pub async fn begun(rows: &mut impl Rows, most: i64) -> Result<Vec<(Time, BegunEntry)>, StoreError> {
    let rows: Vec<(Time, String)> =
        rows.all("SELECT at, attempts FROM delivery_begun ORDER BY id DESC LIMIT $1", (most,)).await?;
    let mut all = Vec::new();
    for (at, attempts) in rows {
        let attempts: Vec<BegunEntry> = serde_json::from_str(&attempts)
            .map_err(|error| StoreError::decode("attempts", error.to_string()))?;
        all.extend(attempts.into_iter().map(|entry| (at, entry)));
    }
    Ok(all)
}

/// What ids of deliveries from this moment on are not below: they begin with the time in milliseconds.
pub fn first_id(from: Time) -> Uuid {
    let millis = u128::try_from(from.micros() / 1_000).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}

/// Deletes the oldest deliveries from an id on and below another one, at most `limit`, and says which. The search ends at the first one
/// that is young enough. What is still to be sent stays, however old it is.
pub async fn purge(
    tx: &mut Tx,
    (from, first_kept): (Uuid, Uuid),
    limit: i64,
) -> Result<Vec<DeliveryId>, StoreError> {
    let gone: Vec<(DeliveryId,)> = tx
        .all(
            "DELETE FROM delivery WHERE id IN
                 (SELECT id FROM delivery WHERE id >= $1 AND id < $2
                      AND state NOT IN ('accepted', 'scheduled', 'sending') ORDER BY id LIMIT $3)
             RETURNING id",
            (from, first_kept, limit),
        )
        .await?;
    let ids = gone.iter().map(|row| row.values()).collect();
    tx.exec_rows("DELETE FROM delivery_content WHERE id IN ({rows})", (), ids).await?;
    Ok(gone.into_iter().map(|(id,)| id).collect())
}

/// Deletes what was begun before a moment and never counted down: its effects were given up on.
pub async fn purge_begun(tx: &mut Tx, before: Time, limit: i64) -> Result<u64, StoreError> {
    tx.exec(
        "DELETE FROM delivery_begun WHERE id IN (SELECT id FROM delivery_begun WHERE at < $1 ORDER BY id LIMIT $2)",
        (before, limit),
    )
    .await
}

/// The audit trail of one.
pub async fn trail(tx: &mut Tx, id: DeliveryId) -> Result<Vec<Entry>, StoreError> {
    let row: Option<(String,)> = tx.opt("SELECT trail FROM delivery WHERE id = $1", (id,)).await?;
    entries(&row.map(|(trail,)| trail).unwrap_or_default())
}

/// Which deliveries are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// A subscriber or an address.
    pub recipient: Option<&'a str>,
    pub state: Option<State>,
    pub since: Option<Time>,
    pub before: Option<DeliveryId>,
}

/// Their ids, the newest first.
pub async fn list(read: &Read, filter: Filter<'_>, limit: usize) -> Result<Vec<DeliveryId>, StoreError> {
    const OF_EMAIL: &str = "SELECT c.id FROM delivery_content AS c JOIN delivery AS d ON d.id = c.id
         WHERE c.email IS NOT NULL AND c.email = $5 AND ($1 IS NULL OR c.id < $1) AND ($2 IS NULL OR d.state = $2)
             AND ($3 IS NULL OR c.accepted_at >= $3) ORDER BY c.id DESC LIMIT $4";
    const OF_PHONE: &str = "SELECT c.id FROM delivery_content AS c JOIN delivery AS d ON d.id = c.id
         WHERE c.phone IS NOT NULL AND c.phone = $5 AND ($1 IS NULL OR c.id < $1) AND ($2 IS NULL OR d.state = $2)
             AND ($3 IS NULL OR c.accepted_at >= $3) ORDER BY c.id DESC LIMIT $4";
    const OF_SUBSCRIBER: &str = "SELECT c.id FROM delivery_content AS c JOIN delivery AS d ON d.id = c.id
         WHERE c.subscriber IS NOT NULL AND c.subscriber = $5 AND ($1 IS NULL OR c.id < $1)
             AND ($2 IS NULL OR d.state = $2) AND ($3 IS NULL OR c.accepted_at >= $3) ORDER BY c.id DESC LIMIT $4";
    const OPEN: &str = "SELECT d.id FROM delivery AS d JOIN delivery_content AS c ON c.id = d.id
         WHERE d.state <> 'sent' AND d.state <> 'delivered' AND d.state = $2 AND ($1 IS NULL OR d.id < $1)
             AND ($3 IS NULL OR c.accepted_at >= $3) ORDER BY d.id DESC LIMIT $4";
    const ALL: &str = "SELECT c.id FROM delivery_content AS c JOIN delivery AS d ON d.id = c.id
         WHERE ($1 IS NULL OR c.id < $1) AND ($2 IS NULL OR d.state = $2) AND ($3 IS NULL OR c.accepted_at >= $3)
         ORDER BY c.id DESC LIMIT $4";
    let Filter { recipient, state, since, before } = filter;
    let (most, named) = (limit, state.map(State::as_str));
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let rows: Vec<(DeliveryId,)> = match (recipient, state) {
        (Some(who), _) => {
            let mut found: Vec<(DeliveryId,)> =
                read.all(OF_SUBSCRIBER, (before, named, since, limit, who)).await?;
            // An id may look like an address, and be one.
            let email = who.parse::<Email>().map(|email| (OF_EMAIL, email.key())).ok();
            let phone = || who.parse::<Phone>().map(|phone| (OF_PHONE, phone.as_str().to_owned())).ok();
            if let Some((sql, address)) = email.or_else(phone) {
                found.extend(read.all::<(DeliveryId,)>(sql, (before, named, since, limit, address)).await?);
                found.sort_unstable_by(|a, b| b.cmp(a));
                found.dedup();
                found.truncate(most);
            }
            found
        }
        // What is open is rare: its index is short.
        (None, Some(state)) if !matches!(state, State::Sent | State::Delivered) => {
            read.all(OPEN, (before, named, since, limit)).await?
        }
        (None, _) => read.all(ALL, (before, named, since, limit)).await?,
    };
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
