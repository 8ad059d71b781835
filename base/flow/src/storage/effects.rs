//! Effects: what is to be called outside, claimed with a lease, with the result stored before anybody is told.

use artel_message::Time;
use artel_store::{Engine, FromRow, Read, Row, Sql, StoreError, Write};
use bytes::Bytes;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effect {
    pub id: Uuid,
    pub name: String,
    pub key: Option<String>,
    pub body: Bytes,
    pub trace: Option<String>,
    pub made_at: Time,
    pub attempts: u32,
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
            result: ok.zip(result),
        })
    }
}

pub(crate) async fn insert(write: &mut Write, effect: &Effect, due: Time) -> Result<(), StoreError> {
    write
        .exec(
            "INSERT INTO flow_effect (id, name, key, body, trace, made_at, due, attempts)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 0) ON CONFLICT DO NOTHING",
            (
                effect.id,
                effect.name.as_str(),
                effect.key.clone(),
                effect.body.clone(),
                effect.trace.clone(),
                effect.made_at,
                due,
            ),
        )
        .await?;
    Ok(())
}

/// What a claim asks for.
pub(crate) struct Claim<'a> {
    pub name: &'a str,
    /// An effect waits while an older one of its key is there.
    pub per_key: bool,
    pub owner: Uuid,
    pub now: Time,
    pub until: Time,
    pub limit: usize,
}

/// Claims what is due and free, oldest first; the attempt is counted with the claim. On SQLite only the holder of the writer
/// calls it; on PostgreSQL rows that another node is claiming at this moment are passed over.
pub(crate) async fn claim(
    write: &mut Write,
    engine: Engine,
    claim: Claim<'_>,
) -> Result<Vec<Effect>, StoreError> {
    const FREE: Sql = Sql {
        sqlite: "UPDATE flow_effect SET owner = $1, claimed_until = $2, attempts = attempts + 1
         WHERE id IN (SELECT id FROM flow_effect WHERE name = $3 AND due <= $4
             AND (claimed_until IS NULL OR claimed_until < $4) ORDER BY due, id LIMIT $5)
         RETURNING id, name, key, body, trace, made_at, attempts, ok, result",
        postgres: "UPDATE flow_effect SET owner = $1, claimed_until = $2, attempts = attempts + 1
         WHERE id IN (SELECT id FROM flow_effect WHERE name = $3 AND due <= $4
             AND (claimed_until IS NULL OR claimed_until < $4) ORDER BY due, id LIMIT $5 FOR UPDATE SKIP LOCKED)
         RETURNING id, name, key, body, trace, made_at, attempts, ok, result",
    };
    const PER_KEY: Sql = Sql {
        sqlite: "UPDATE flow_effect SET owner = $1, claimed_until = $2, attempts = attempts + 1
         WHERE id IN (SELECT e.id FROM flow_effect AS e WHERE e.name = $3 AND e.due <= $4
             AND (e.claimed_until IS NULL OR e.claimed_until < $4)
             AND (e.key IS NULL OR NOT EXISTS (SELECT 1 FROM flow_effect AS o WHERE o.name = e.name AND o.key = e.key
                 AND (o.made_at, o.id) < (e.made_at, e.id)))
             ORDER BY e.due, e.id LIMIT $5)
         RETURNING id, name, key, body, trace, made_at, attempts, ok, result",
        postgres: "UPDATE flow_effect SET owner = $1, claimed_until = $2, attempts = attempts + 1
         WHERE id IN (SELECT e.id FROM flow_effect AS e WHERE e.name = $3 AND e.due <= $4
             AND (e.claimed_until IS NULL OR e.claimed_until < $4)
             AND (e.key IS NULL OR NOT EXISTS (SELECT 1 FROM flow_effect AS o WHERE o.name = e.name AND o.key = e.key
                 AND (o.made_at, o.id) < (e.made_at, e.id)))
             ORDER BY e.due, e.id LIMIT $5 FOR UPDATE OF e SKIP LOCKED)
         RETURNING id, name, key, body, trace, made_at, attempts, ok, result",
    };
    let text = if claim.per_key { PER_KEY } else { FREE };
    let limit = i64::try_from(claim.limit).unwrap_or(i64::MAX);
    write.all(text.pick(engine), (claim.owner, claim.until, claim.name, claim.now, limit)).await
}

/// Lengthens a claim that is still ours.
pub(crate) async fn renew(write: &mut Write, id: Uuid, owner: Uuid, until: Time) -> Result<bool, StoreError> {
    let rows = write
        .exec("UPDATE flow_effect SET claimed_until = $1 WHERE id = $2 AND owner = $3", (until, id, owner))
        .await?;
    Ok(rows == 1)
}

/// The first result wins; false = one is there already.
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

/// Gives the claim back and puts the effect off.
pub(crate) async fn put_off(write: &mut Write, id: Uuid, owner: Uuid, due: Time) -> Result<(), StoreError> {
    write
        .exec(
            "UPDATE flow_effect SET owner = NULL, claimed_until = NULL, due = $1 WHERE id = $2 AND owner = $3",
            (due, id, owner),
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

/// Whether any unclaimed one is due.
pub(crate) async fn due(read: &mut Read, now: Time) -> Result<bool, StoreError> {
    let row: Option<(Uuid,)> = read
        .opt("SELECT id FROM flow_effect WHERE claimed_until IS NULL AND due <= $1 LIMIT 1", (now,))
        .await?;
    Ok(row.is_some())
}

/// How many are claimed now.
pub(crate) async fn claimed(read: &mut Read) -> Result<i64, StoreError> {
    let (n,): (i64,) =
        read.one("SELECT count(*) FROM flow_effect WHERE claimed_until IS NOT NULL", ()).await?;
    Ok(n)
}
