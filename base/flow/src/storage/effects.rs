//! Effects: what is to be called outside. A row goes in the transaction that tells what came of its call; where that does not work
//! at once the result is stored first.

use artel_message::Time;
use artel_store::{Args, FromRow, Read, Row, StoreError, Write};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effect {
    pub id: Uuid,
    pub name: String,
    pub key: Option<String>,
    pub body: Bytes,
    pub trace: Option<String>,
    pub made_at: Time,
    /// Calls that were begun, with those that a node was about to begin when it died.
    pub attempts: u32,
    /// How often its done handler failed.
    pub untold: u32,
    /// When its call failed first; once its result is known, when its done handler did.
    pub failed_at: Option<Time>,
    /// (ok, result or fault), once known.
    pub result: Option<(bool, Bytes)>,
}

impl FromRow for Effect {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let ok: Option<bool> = row.get("ok")?;
        let result: Option<Bytes> = row.get("result")?;
        Ok(Effect {
            id: row.get("id")?,
            name: row.get("name")?,
            key: row.get("key")?,
            body: row.get("body")?,
            trace: row.get("trace")?,
            made_at: row.get("made_at")?,
            attempts: row.get("attempts")?,
            untold: row.get("untold")?,
            failed_at: row.get("failed_at")?,
            result: ok.zip(result),
        })
    }
}

/// Queues effects, which are due at once. Of those with equal keys a later one is never older than an earlier one, whatever the
/// clock says by now.
pub(crate) async fn insert(write: &mut Write, mut effects: Vec<Effect>, now: Time) -> Result<(), StoreError> {
    if effects.is_empty() {
        return Ok(());
    }
    let mut last = newest(write, &effects).await?;
    for effect in &mut effects {
        let Some(key) = &effect.key else { continue };
        let last = last.entry((effect.name.clone(), key.clone())).or_insert(Time::MIN);
        effect.made_at = effect.made_at.max(*last + Duration::from_micros(1));
        *last = effect.made_at;
    }
    let row = |e: Effect| {
        let (ok, result) = e.result.unzip();
        (e.id, e.name, e.key, e.body, e.trace, e.made_at, now, e.attempts, ok, result).values()
    };
    write
        .exec_rows(
            "INSERT INTO flow_effect (id, name, key, body, trace, made_at, due, attempts, ok, result) VALUES {rows}
             ON CONFLICT DO NOTHING",
            (),
            effects.into_iter().map(row).collect(),
        )
        .await?;
    Ok(())
}

/// When the newest effect of each key that is among these was made.
async fn newest(
    write: &mut Write,
    effects: &[Effect],
) -> Result<BTreeMap<(String, String), Time>, StoreError> {
    let keys: BTreeSet<(&str, &str)> =
        effects.iter().filter_map(|e| Some((e.name.as_str(), e.key.as_deref()?))).collect();
    let rows: Vec<(String, String, Option<Time>)> = write
        .all_rows(
            "SELECT v.column1, v.column2, (SELECT max(o.made_at) FROM flow_effect AS o
                 WHERE o.name = v.column1 AND o.key = v.column2) FROM (VALUES {rows}) AS v",
            (),
            keys.into_iter().map(|key| key.values()).collect(),
        )
        .await?;
    Ok(rows.into_iter().filter_map(|(name, key, at)| Some(((name, key), at?))).collect())
}

/// What a call gave.
pub(crate) struct Given {
    pub id: Uuid,
    pub ok: bool,
    /// The result, or the fault.
    pub body: Bytes,
}

/// Stores results: of each effect the first one wins. How many these were the first ones of.
///
/// Row by row, here and below: a joined list PostgreSQL would compare with each row that waits, where its statistics are of an empty
/// queue. It is one commit, and nothing that is done for effects that end well.
pub(crate) async fn store_results(write: &mut Write, all: &[Given]) -> Result<usize, StoreError> {
    let mut first = 0;
    for given in all {
        let rows = write
            .exec(
                "UPDATE flow_effect SET ok = $1, result = $2, failed_at = NULL WHERE id = $3 AND result IS NULL",
                (given.ok, given.body.clone(), given.id),
            )
            .await?;
        first += usize::from(rows == 1);
    }
    Ok(first)
}

/// The results of these effects, as far as they are there: (id, ok, body).
pub(crate) async fn results(
    write: &mut Write,
    ids: impl Iterator<Item = Uuid>,
) -> Result<Vec<(Uuid, Option<bool>, Option<Bytes>)>, StoreError> {
    let rows = ids.map(|id| (id,).values()).collect();
    write.all_rows("SELECT id, ok, result FROM flow_effect WHERE id IN ({rows})", (), rows).await
}

/// When an effect is looked at again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Later {
    pub id: Uuid,
    pub due: Time,
    /// How often its done handler has failed by now.
    pub untold: u32,
    /// Since when it fails, if it does.
    pub failed_at: Option<Time>,
}

/// Gives claims back and puts the effects off.
pub(crate) async fn put_off(write: &mut Write, owner: Uuid, all: &[Later]) -> Result<(), StoreError> {
    for later in all {
        write
            .exec(
                "UPDATE flow_effect SET owner = NULL, claimed_until = NULL, due = $1, untold = $2, failed_at = $3
                 WHERE id = $4 AND owner = $5",
                (later.due, later.untold, later.failed_at, later.id, owner),
            )
            .await?;
    }
    Ok(())
}

/// Deletes those that are still there; how many these were.
pub(crate) async fn delete(write: &mut Write, ids: impl Iterator<Item = Uuid>) -> Result<u64, StoreError> {
    let rows = ids.map(|id| (id,).values()).collect();
    write.exec_rows("DELETE FROM flow_effect WHERE id IN ({rows})", (), rows).await
}

/// The same of those that have no result yet.
pub(crate) async fn delete_open(
    write: &mut Write,
    ids: impl Iterator<Item = Uuid>,
) -> Result<u64, StoreError> {
    let rows = ids.map(|id| (id,).values()).collect();
    write.exec_rows("DELETE FROM flow_effect WHERE id IN ({rows}) AND result IS NULL", (), rows).await
}

/// When there may be something to claim.
#[derive(Debug, Default)]
pub(crate) struct Next {
    /// One is due.
    pub now: bool,
    /// When the first of those that are not due yet is.
    pub later: Option<Time>,
}

/// When unclaimed ones of a name are due.
pub(crate) async fn next(read: &mut Read, name: &str, now: Time) -> Result<Next, StoreError> {
    let due: Option<(Time,)> = read
        .opt(
            "SELECT due FROM flow_effect WHERE name = $1 AND due <= $2 AND claimed_until IS NULL LIMIT 1",
            (name, now),
        )
        .await?;
    let later: Option<(Time,)> = read
        .opt(
            "SELECT due FROM flow_effect WHERE name = $1 AND due > $2 AND claimed_until IS NULL ORDER BY due LIMIT 1",
            (name, now),
        )
        .await?;
    Ok(Next { now: due.is_some(), later: later.map(|(due,)| due) })
}

/// How many of each name wait and are claimed, up to `most` rows in all.
pub(crate) async fn counts(read: &mut Read, most: i64) -> Result<Vec<(String, i64, i64)>, StoreError> {
    read.all(
        "SELECT name, CAST(sum(CASE WHEN claimed_until IS NULL THEN 1 ELSE 0 END) AS BIGINT),
             CAST(sum(CASE WHEN claimed_until IS NULL THEN 0 ELSE 1 END) AS BIGINT)
         FROM (SELECT name, claimed_until FROM flow_effect LIMIT $1) AS e GROUP BY name",
        (most,),
    )
    .await
}
