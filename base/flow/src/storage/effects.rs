//! Effects: what is to be called outside, claimed with a lease, with the result stored before anybody is told.
//!
//! A claim ends by the database's own clock, so that the clocks of nodes are never compared. On SQLite there is one process,
//! which frees its claims when it opens the file: there they never end by themselves.

use artel_message::Time;
use artel_store::{Args, Db, Engine, FromRow, Read, Row, Sql, StoreError, Write};
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
    /// Calls that were begun.
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

/// Whose text a claim is: where several nodes share a database claims end by its clock.
pub(crate) fn engine(db: &Db) -> Engine {
    if db.is_shared() { Engine::Postgres } else { db.engine() }
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

/// What a claim asks for.
pub(crate) struct Claim<'a> {
    pub name: &'a str,
    /// An effect waits while an older one of its key is there, or one of its key is called.
    pub per_key: bool,
    pub owner: Uuid,
    pub now: Time,
    pub lease: Duration,
    pub limit: usize,
}

/// Claims what is due of a name and free. The rows are picked first: as a condition that is looked at for each row, `LIMIT` on
/// PostgreSQL would hold for each look, and every look passes over the rows that an earlier one has picked.
const CLAIM: Sql = Sql {
    sqlite: "UPDATE flow_effect SET owner = $4, claimed_until = $5,
             attempts = attempts + CASE WHEN result IS NULL THEN 1 ELSE 0 END
         WHERE id IN (SELECT e.id FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL)
             ORDER BY e.due, e.made_at LIMIT $3)
         RETURNING id, name, key, body, trace, made_at, attempts, untold, failed_at, ok, result",
    postgres: "UPDATE flow_effect SET owner = $4, claimed_until = CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) + $5,
             attempts = attempts + CASE WHEN result IS NULL THEN 1 ELSE 0 END
         WHERE id = ANY (ARRAY(SELECT e.id FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL
             OR e.claimed_until < CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT))
             ORDER BY e.due, e.made_at LIMIT $3 FOR UPDATE OF e SKIP LOCKED))
         RETURNING id, name, key, body, trace, made_at, attempts, untold, failed_at, ok, result",
};

/// The same where nothing older of its key is there, and none of its key is being called: clocks that were set back, or differ,
/// make one that came later the older one.
const CLAIM_PER_KEY: Sql = Sql {
    sqlite: "UPDATE flow_effect SET owner = $4, claimed_until = $5,
             attempts = attempts + CASE WHEN result IS NULL THEN 1 ELSE 0 END
         WHERE id IN (SELECT e.id FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL)
             AND (e.key IS NULL OR (NOT EXISTS (SELECT 1 FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND (o.made_at, o.id) < (e.made_at, e.id))
             AND NOT EXISTS (SELECT 1 FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND o.claimed_until IS NOT NULL)))
             ORDER BY e.due, e.made_at LIMIT $3)
         RETURNING id, name, key, body, trace, made_at, attempts, untold, failed_at, ok, result",
    postgres: "UPDATE flow_effect SET owner = $4, claimed_until = CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) + $5,
             attempts = attempts + CASE WHEN result IS NULL THEN 1 ELSE 0 END
         WHERE id = ANY (ARRAY(SELECT e.id FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL
             OR e.claimed_until < CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT))
             AND (e.key IS NULL OR (NOT EXISTS (SELECT 1 FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND (o.made_at, o.id) < (e.made_at, e.id))
             AND NOT EXISTS (SELECT 1 FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND o.claimed_until IS NOT NULL
                 AND o.claimed_until >= CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT))))
             ORDER BY e.due, e.made_at LIMIT $3 FOR UPDATE OF e SKIP LOCKED))
         RETURNING id, name, key, body, trace, made_at, attempts, untold, failed_at, ok, result",
};

/// Whether a claim would find anything.
const READY: Sql = Sql {
    sqlite: "SELECT e.id FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL) LIMIT 1",
    postgres:
        "SELECT e.id FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL
             OR e.claimed_until < CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)) LIMIT 1",
};

const READY_PER_KEY: Sql = Sql {
    sqlite: "SELECT e.id FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL)
             AND (e.key IS NULL OR (NOT EXISTS (SELECT 1 FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND (o.made_at, o.id) < (e.made_at, e.id))
             AND NOT EXISTS (SELECT 1 FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND o.claimed_until IS NOT NULL))) LIMIT 1",
    postgres: "SELECT e.id FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL
             OR e.claimed_until < CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT))
             AND (e.key IS NULL OR (NOT EXISTS (SELECT 1 FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND (o.made_at, o.id) < (e.made_at, e.id))
             AND NOT EXISTS (SELECT 1 FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND o.claimed_until IS NOT NULL
                 AND o.claimed_until >= CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)))) LIMIT 1",
};

/// Where one process has the file, a claim lasts as long as it.
const FOR_GOOD: i64 = i64::MAX;

fn lease_of(engine: Engine, lease: Duration) -> i64 {
    match engine {
        Engine::Sqlite => FOR_GOOD,
        Engine::Postgres => i64::try_from(lease.as_micros()).unwrap_or(FOR_GOOD),
    }
}

/// Claims what is due and free, oldest first; the attempt is counted with the claim. On SQLite only the holder of the writer
/// calls it; on PostgreSQL rows that another node is claiming at this moment are passed over.
pub(crate) async fn claim(
    write: &mut Write,
    engine: Engine,
    claim: Claim<'_>,
) -> Result<Vec<Effect>, StoreError> {
    let text = if claim.per_key { CLAIM_PER_KEY } else { CLAIM };
    let limit = i64::try_from(claim.limit).unwrap_or(i64::MAX);
    let lease = lease_of(engine, claim.lease);
    let mut claimed: Vec<Effect> =
        write.all(text.pick(engine), (claim.name, claim.now, limit, claim.owner, lease)).await?;
    // What an UPDATE returns comes in any order.
    claimed.sort_by_key(|effect| (effect.made_at, effect.id));
    Ok(claimed)
}

/// Whether one may be claimed; cheaper than a claim for nothing.
pub(crate) async fn ready(
    read: &mut Read,
    engine: Engine,
    name: &str,
    per_key: bool,
    now: Time,
) -> Result<bool, StoreError> {
    let text = if per_key { READY_PER_KEY } else { READY };
    let row: Option<(Uuid,)> = read.opt(text.pick(engine), (name, now)).await?;
    Ok(row.is_some())
}

/// Lengthens claims that are still ours; how many these are. For PostgreSQL, where alone they end. One whose row somebody
/// holds, such as who tells of it, does not keep the others waiting.
const RENEW: Sql = Sql {
    sqlite: "UPDATE flow_effect SET claimed_until = $1 WHERE owner = $2 AND id IN (VALUES {rows})",
    postgres: "UPDATE flow_effect SET claimed_until = CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) + $1
         WHERE id = ANY (ARRAY(SELECT e.id FROM flow_effect AS e WHERE e.owner = $2 AND e.id IN (VALUES {rows})
             FOR UPDATE OF e SKIP LOCKED))",
};

pub(crate) async fn renew(
    write: &mut Write,
    engine: Engine,
    ids: Vec<Uuid>,
    owner: Uuid,
    lease: Duration,
) -> Result<u64, StoreError> {
    let lease = lease_of(engine, lease);
    let rows = ids.into_iter().map(|id| (id,).values()).collect();
    write.exec_rows(RENEW.pick(engine), (lease, owner), rows).await
}

/// The first result wins; false = one is there already, or it is all over.
pub(crate) async fn store_result(
    write: &mut Write,
    id: Uuid,
    ok: bool,
    result: &Bytes,
) -> Result<bool, StoreError> {
    let rows = write
        .exec(
            "UPDATE flow_effect SET ok = $1, result = $2, failed_at = NULL WHERE id = $3 AND result IS NULL",
            (ok, result.clone(), id),
        )
        .await?;
    Ok(rows == 1)
}

/// When an effect is looked at again.
pub(crate) struct Later {
    pub due: Time,
    /// How often its done handler has failed by now.
    pub untold: u32,
    /// Since when it fails, if it does.
    pub failed_at: Option<Time>,
}

/// Gives the claim back and puts the effect off.
pub(crate) async fn put_off(
    write: &mut Write,
    id: Uuid,
    owner: Uuid,
    later: &Later,
) -> Result<(), StoreError> {
    write
        .exec(
            "UPDATE flow_effect SET owner = NULL, claimed_until = NULL, due = $1, untold = $2, failed_at = $3
             WHERE id = $4 AND owner = $5",
            (later.due, later.untold, later.failed_at, id, owner),
        )
        .await?;
    Ok(())
}

pub(crate) async fn delete(write: &mut Write, id: Uuid) -> Result<bool, StoreError> {
    Ok(write.exec("DELETE FROM flow_effect WHERE id = $1", (id,)).await? == 1)
}

/// Claims of an owner that is gone are free at once: all of them, or those of a node's own former life.
pub(crate) async fn release(write: &mut Write, owner: Option<Uuid>) -> Result<(), StoreError> {
    match owner {
        None => {
            write
                .exec("UPDATE flow_effect SET owner = NULL, claimed_until = NULL WHERE owner IS NOT NULL", ())
                .await?
        }
        Some(owner) => {
            write
                .exec("UPDATE flow_effect SET owner = NULL, claimed_until = NULL WHERE owner = $1", (owner,))
                .await?
        }
    };
    Ok(())
}

/// When there may be something to claim.
#[derive(Debug, Default)]
pub(crate) struct Next {
    /// One is due.
    pub now: bool,
    /// When the first of those that are not due yet is.
    pub later: Option<Time>,
}

/// Gives back what this node has claimed of a name and is not calling: the claim's commit ended in an error, and took effect.
pub(crate) async fn give_back(
    write: &mut Write,
    name: &str,
    owner: Uuid,
    calling: &[Uuid],
) -> Result<u64, StoreError> {
    let claimed: Vec<(Uuid,)> = write
        .all(
            "SELECT id FROM flow_effect WHERE name = $1 AND owner = $2 AND claimed_until IS NOT NULL",
            (name, owner),
        )
        .await?;
    let idle = claimed.into_iter().filter(|(id,)| !calling.contains(id));
    write
        .exec_rows(
            "UPDATE flow_effect SET owner = NULL, claimed_until = NULL WHERE owner = $1 AND id IN (VALUES {rows})",
            (owner,),
            idle.map(|id| id.values()).collect(),
        )
        .await
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

/// How many are claimed now.
pub(crate) async fn claimed(read: &mut Read) -> Result<i64, StoreError> {
    let (n,): (i64,) =
        read.one("SELECT count(*) FROM flow_effect WHERE claimed_until IS NOT NULL", ()).await?;
    Ok(n)
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
