//! Claims of effects: who calls what. A claim ends by the database's own clock, so that the clocks of nodes are never compared. On SQLite
//! there is one process, which frees its claims when it opens the file: there they never end by themselves.

use super::effects::Effect;
use artel_message::Time;
use artel_store::{Args, Db, Engine, Read, Sql, StoreError, Write};
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// Whose text a claim is: where several nodes share a database claims end by its clock.
pub(crate) fn engine(db: &Db) -> Engine {
    if db.is_shared() { Engine::Postgres } else { db.engine() }
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
/// PostgreSQL would hold for each look, and every look passes over the rows that an earlier one has picked. The limit is a query of
/// its own, so that PostgreSQL does not know it: its statistics are those of an empty queue, and a limit above the few rows that it
/// expects has it read and sort all that is due in place of following the index.
const CLAIM: Sql = Sql {
    sqlite: "UPDATE flow_effect SET owner = $4, claimed_until = $5,
             attempts = attempts + CASE WHEN result IS NULL THEN 1 ELSE 0 END
         WHERE rowid IN (SELECT e.rowid FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL)
             ORDER BY e.due, e.made_at LIMIT $3)
         RETURNING id, name, key, body, trace, made_at, attempts, untold, failed_at, ok, result",
    postgres: "UPDATE flow_effect SET owner = $4, claimed_until = (SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)) + $5,
             attempts = attempts + CASE WHEN result IS NULL THEN 1 ELSE 0 END
         WHERE ctid = ANY (ARRAY(SELECT e.ctid FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL
             OR e.claimed_until < (SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)))
             ORDER BY e.due, e.made_at LIMIT (SELECT CAST($3 AS BIGINT)) FOR UPDATE OF e SKIP LOCKED))
         RETURNING id, name, key, body, trace, made_at, attempts, untold, failed_at, ok, result",
};

/// The same where nothing older of its key is there, and none of its key is being called: clocks that differ may make one that came
/// later the older one, ahead of the one that is called by a place or two (`effects::insert` sees to it but for what is queued at
/// the same moment). It is no index of claims that knows: with one, PostgreSQL would write each claimed row into every index anew.
const CLAIM_PER_KEY: Sql = Sql {
    sqlite: "UPDATE flow_effect SET owner = $4, claimed_until = $5,
             attempts = attempts + CASE WHEN result IS NULL THEN 1 ELSE 0 END
         WHERE rowid IN (SELECT e.rowid FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL)
             AND (e.key IS NULL OR (NOT EXISTS (SELECT 1 FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND (o.made_at, o.id) < (e.made_at, e.id))
             AND NOT EXISTS (SELECT 1 FROM (SELECT o.claimed_until AS until FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND (o.made_at, o.id) > (e.made_at, e.id)
                 ORDER BY o.made_at, o.id LIMIT 8) AS n WHERE n.until IS NOT NULL)))
             ORDER BY e.due, e.made_at LIMIT $3)
         RETURNING id, name, key, body, trace, made_at, attempts, untold, failed_at, ok, result",
    postgres: "UPDATE flow_effect SET owner = $4, claimed_until = (SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)) + $5,
             attempts = attempts + CASE WHEN result IS NULL THEN 1 ELSE 0 END
         WHERE ctid = ANY (ARRAY(SELECT e.ctid FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL
             OR e.claimed_until < (SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)))
             AND (e.key IS NULL OR (NOT EXISTS (SELECT 1 FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND (o.made_at, o.id) < (e.made_at, e.id))
             AND NOT EXISTS (SELECT 1 FROM (SELECT o.claimed_until AS until FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND (o.made_at, o.id) > (e.made_at, e.id)
                 ORDER BY o.made_at, o.id LIMIT 8) AS n WHERE n.until >= (SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)))))
             ORDER BY e.due, e.made_at LIMIT (SELECT CAST($3 AS BIGINT)) FOR UPDATE OF e SKIP LOCKED))
         RETURNING id, name, key, body, trace, made_at, attempts, untold, failed_at, ok, result",
};

/// Whether a claim would find anything.
const READY: Sql = Sql {
    sqlite: "SELECT e.id FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL) LIMIT 1",
    postgres:
        "SELECT e.id FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL
             OR e.claimed_until < (SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT))) LIMIT 1",
};

const READY_PER_KEY: Sql = Sql {
    sqlite: "SELECT e.id FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL)
             AND (e.key IS NULL OR (NOT EXISTS (SELECT 1 FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND (o.made_at, o.id) < (e.made_at, e.id))
             AND NOT EXISTS (SELECT 1 FROM (SELECT o.claimed_until AS until FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND (o.made_at, o.id) > (e.made_at, e.id)
                 ORDER BY o.made_at, o.id LIMIT 8) AS n WHERE n.until IS NOT NULL))) LIMIT 1",
    postgres: "SELECT e.id FROM flow_effect AS e WHERE e.name = $1 AND e.due <= $2 AND (e.claimed_until IS NULL
             OR e.claimed_until < (SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)))
             AND (e.key IS NULL OR (NOT EXISTS (SELECT 1 FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND (o.made_at, o.id) < (e.made_at, e.id))
             AND NOT EXISTS (SELECT 1 FROM (SELECT o.claimed_until AS until FROM flow_effect AS o
                 WHERE o.name = e.name AND o.key = e.key AND (o.made_at, o.id) > (e.made_at, e.id)
                 ORDER BY o.made_at, o.id LIMIT 8) AS n WHERE n.until >= (SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT))))) LIMIT 1",
};

/// Where one process has the file, a claim lasts as long as it.
const FOR_GOOD: i64 = i64::MAX;

fn lease_of(engine: Engine, lease: Duration) -> i64 {
    match engine {
        Engine::Sqlite => FOR_GOOD,
        Engine::Postgres => i64::try_from(lease.as_micros()).unwrap_or(FOR_GOOD),
    }
}

/// Claims what is due and free, oldest first; the attempt is counted with the claim, and taken back where it is given back unused.
/// On SQLite only the holder of the writer calls it; on PostgreSQL rows that another node is claiming at this moment are passed
/// over.
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
/// holds, such as who tells of it again, does not keep the others waiting.
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

/// Gives claims back that were not used: no call was begun with them.
const GIVE_BACK: &str = "UPDATE flow_effect SET owner = NULL, claimed_until = NULL,
         attempts = attempts - CASE WHEN result IS NULL THEN 1 ELSE 0 END
     WHERE owner = $1 AND id IN ({rows})";

pub(crate) async fn give_back(write: &mut Write, owner: Uuid, ids: &[Uuid]) -> Result<u64, StoreError> {
    write.exec_rows(GIVE_BACK, (owner,), ids.iter().map(|id| (*id,).values()).collect()).await
}

/// Gives back what this node has claimed of a name and does not know of: the claim's commit ended in an error, and took effect.
pub(crate) async fn give_back_unknown(
    write: &mut Write,
    name: &str,
    owner: Uuid,
    known: &[Uuid],
) -> Result<u64, StoreError> {
    let claimed: Vec<(Uuid,)> = write
        .all(
            "SELECT id FROM flow_effect WHERE name = $1 AND owner = $2 AND claimed_until IS NOT NULL",
            (name, owner),
        )
        .await?;
    let known: BTreeSet<&Uuid> = known.iter().collect();
    let unknown: Vec<Uuid> = claimed.into_iter().map(|(id,)| id).filter(|id| !known.contains(id)).collect();
    give_back(write, owner, &unknown).await
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

/// How many are claimed now.
pub(crate) async fn claimed(read: &mut Read) -> Result<i64, StoreError> {
    let (n,): (i64,) =
        read.one("SELECT count(*) FROM flow_effect WHERE claimed_until IS NOT NULL", ()).await?;
    Ok(n)
}
