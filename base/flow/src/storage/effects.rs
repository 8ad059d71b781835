//! Effects: what is to be called outside, claimed with a lease, with the result stored before anybody is told.
//!
//! A claim ends by the database's own clock, so that the clocks of nodes are never compared. On SQLite there is one process,
//! which frees its claims when it opens the file: there they never end by themselves.

use artel_message::Time;
use artel_store::{Args, Engine, FromRow, Read, Row, Sql, StoreError, Write};
use bytes::Bytes;
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
            result: ok.zip(result),
        })
    }
}

/// Queues effects, which are due at once.
pub(crate) async fn insert(write: &mut Write, effects: Vec<Effect>, now: Time) -> Result<(), StoreError> {
    let row = |e: Effect| (e.id, e.name, e.key, e.body, e.trace, e.made_at, now, 0i64).values();
    write
        .exec_rows(
            "INSERT INTO flow_effect (id, name, key, body, trace, made_at, due, attempts) VALUES {rows}
             ON CONFLICT DO NOTHING",
            (),
            effects.into_iter().map(row).collect(),
        )
        .await?;
    Ok(())
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

/// Claims what is due of a name and free.
const CLAIM: Sql = Sql {
    sqlite: "UPDATE flow_effect SET owner = $4, claimed_until = $5,
             attempts = attempts + CASE WHEN result IS NULL THEN 1 ELSE 0 END
         WHERE id IN (SELECT e.id FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL)
             ORDER BY e.due, e.made_at LIMIT $3)
         RETURNING id, name, key, body, trace, made_at, attempts, untold, ok, result",
    postgres: "UPDATE flow_effect SET owner = $4, claimed_until = CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) + $5,
             attempts = attempts + CASE WHEN result IS NULL THEN 1 ELSE 0 END
         WHERE id IN (SELECT e.id FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL
             OR e.claimed_until < CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT))
             ORDER BY e.due, e.made_at LIMIT $3 FOR UPDATE OF e SKIP LOCKED)
         RETURNING id, name, key, body, trace, made_at, attempts, untold, ok, result",
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
         RETURNING id, name, key, body, trace, made_at, attempts, untold, ok, result",
    postgres: "UPDATE flow_effect SET owner = $4, claimed_until = CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) + $5,
             attempts = attempts + CASE WHEN result IS NULL THEN 1 ELSE 0 END
         WHERE id IN (SELECT e.id FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL
             OR e.claimed_until < CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT))
             AND (e.key IS NULL OR (NOT EXISTS (SELECT 1 FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND (o.made_at, o.id) < (e.made_at, e.id))
             AND NOT EXISTS (SELECT 1 FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND o.claimed_until IS NOT NULL
                 AND o.claimed_until >= CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT))))
             ORDER BY e.due, e.made_at LIMIT $3 FOR UPDATE OF e SKIP LOCKED)
         RETURNING id, name, key, body, trace, made_at, attempts, untold, ok, result",
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

/// Lengthens claims that are still ours; how many these are. For PostgreSQL, where alone they end.
pub(crate) async fn renew(
    write: &mut Write,
    ids: Vec<Uuid>,
    owner: Uuid,
    lease: Duration,
) -> Result<u64, StoreError> {
    let lease = lease_of(Engine::Postgres, lease);
    write
        .exec_rows(
            "UPDATE flow_effect SET claimed_until = CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) + $1
             WHERE owner = $2 AND id IN (VALUES {rows})",
            (lease, owner),
            ids.into_iter().map(|id| (id,).values()).collect(),
        )
        .await
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
            "UPDATE flow_effect SET ok = $1, result = $2 WHERE id = $3 AND result IS NULL",
            (ok, result.clone(), id),
        )
        .await?;
    Ok(rows == 1)
}

/// Gives the claim back and puts the effect off; `untold` is how often its done handler has failed by now.
pub(crate) async fn put_off(
    write: &mut Write,
    id: Uuid,
    owner: Uuid,
    due: Time,
    untold: u32,
) -> Result<(), StoreError> {
    write
        .exec(
            "UPDATE flow_effect SET owner = NULL, claimed_until = NULL, due = $1, untold = $2
             WHERE id = $3 AND owner = $4",
            (due, untold, id, owner),
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

/// When the next unclaimed one of a name is due.
pub(crate) async fn next(read: &mut Read, name: &str) -> Result<Option<Time>, StoreError> {
    let row: Option<(Time,)> = read
        .opt(
            "SELECT due FROM flow_effect WHERE name = $1 AND claimed_until IS NULL ORDER BY due LIMIT 1",
            (name,),
        )
        .await?;
    Ok(row.map(|(due,)| due))
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
