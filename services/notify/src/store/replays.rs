//! Replays, and the deliveries that they look at.

use super::deliveries::{Stored, json, text};
use super::rows::Rows;
use artel_contract::notify::replay::{Replay, ReplayFilter, ReplayId, ReplayState};
use artel_flow::Tx;
use artel_message::Time;
use artel_store::{FromRow, Row, StoreError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A replay, and where it is: deliveries up to `behind` were looked at, those before `before` are to be.
#[derive(Debug, Clone)]
pub struct Running {
    pub replay: Replay,
    pub behind: Uuid,
    pub before: Uuid,
}

#[derive(Serialize, Deserialize)]
struct About {
    filter: ReplayFilter,
    per_second: u32,
    why: String,
    by: String,
}

fn name(state: ReplayState) -> &'static str {
    match state {
        ReplayState::Running => "running",
        ReplayState::Ended => "ended",
        ReplayState::Stopped => "stopped",
    }
}

fn count(row: &Row, column: &'static str) -> Result<u64, StoreError> {
    let count: i64 = row.get(column)?;
    Ok(u64::try_from(count).unwrap_or(0))
}

impl FromRow for Running {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let state: String = row.get("state")?;
        let all = [ReplayState::Running, ReplayState::Ended, ReplayState::Stopped];
        let About { filter, per_second, why, by } = json(row, "about")?;
        let replay = Replay {
            id: row.get("id")?,
            state: all
                .into_iter()
                .find(|known| name(*known) == state)
                .ok_or_else(|| StoreError::decode("state", format!("'{state}' is none")))?,
            filter,
            per_second,
            why,
            by,
            looked: count(row, "looked")?,
            again: count(row, "again")?,
            refused: json(row, "refused")?,
            started_at: row.get("started_at")?,
            ended_at: row.get("ended_at")?,
        };
        Ok(Running { replay, behind: row.get("behind")?, before: row.get("before")? })
    }
}

pub async fn insert(tx: &mut Tx, running: &Running) -> Result<(), StoreError> {
    let Replay { id, state, filter, per_second, why, by, .. } = running.replay.clone();
    let about = text("about", &About { filter, per_second, why, by })?;
    tx.exec(
        "INSERT INTO replay (id, state, about, behind, before, looked, again, refused, started_at)
         VALUES ($1, $2, $3, $4, $5, 0, 0, '{}', $6)",
        (id, name(state), about, running.behind, running.before, running.replay.started_at),
    )
    .await?;
    Ok(())
}

/// Stores how far it is.
pub async fn update(tx: &mut Tx, running: &Running) -> Result<(), StoreError> {
    let Running { replay, behind, .. } = running;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let refused = text("refused", &replay.refused)?;
    tx.exec(
        "UPDATE replay SET state = $2, behind = $3, looked = $4, again = $5, refused = $6, ended_at = $7 WHERE id = $1",
        (replay.id, name(replay.state), *behind, count(replay.looked), count(replay.again), refused, replay.ended_at),
    )
    .await?;
    Ok(())
}

pub async fn find(rows: &mut impl Rows, id: ReplayId) -> Result<Option<Running>, StoreError> {
    let found: Vec<Running> = rows
        .all(
            "SELECT id, state, about, behind, before, looked, again, refused, started_at, ended_at FROM replay
             WHERE id = $1",
            (id,),
        )
        .await?;
    Ok(found.into_iter().next())
}

/// The newest first, before `before`.
pub async fn list(
    rows: &mut impl Rows,
    before: Option<ReplayId>,
    limit: i64,
) -> Result<Vec<Running>, StoreError> {
    rows.all(
        "SELECT id, state, about, behind, before, looked, again, refused, started_at, ended_at FROM replay
         WHERE $1 IS NULL OR id < $1 ORDER BY id DESC LIMIT $2",
        (before, limit),
    )
    .await
}

/// Deletes those that began before an id.
pub async fn purge(tx: &mut Tx, first_kept: Uuid, limit: i64) -> Result<u64, StoreError> {
    tx.exec(
        "DELETE FROM replay WHERE id IN (SELECT id FROM replay WHERE id < $1 ORDER BY id LIMIT $2)",
        (first_kept, limit),
    )
    .await
}

/// Deliveries that are looked through together.
const PAGE: i64 = 2_000;

/// The last one of a page, where there is more behind it.
pub async fn page_end(rows: &mut impl Rows, behind: Uuid, before: Uuid) -> Result<Option<Uuid>, StoreError> {
    let found: Vec<(Uuid,)> = rows
        .all(
            "SELECT id FROM delivery WHERE id > $1 AND id < $2 ORDER BY id LIMIT 1 OFFSET $3",
            (behind, before, PAGE - 1),
        )
        .await?;
    Ok(found.into_iter().next().map(|(id,)| id))
}

/// What stands in a plan for all channels, and in one of a leg that was given up or that nobody knows the end of.
const ALL: &str = "%\"mode\":\"all\"%";
const GIVEN_UP: [&str; 5] =
    ["%\"failed\"%", "%\"given_up\"%", "%\"exhausted\"%", "%\"lost\"%", "%\"unclear\"%"];

/// Those of a page that may have to be sent again: given up as a whole, or in one of all their channels. `domain::replay` looks closer.
pub async fn candidates(
    rows: &mut impl Rows,
    (behind, end): (Uuid, Uuid),
    limit: i64,
) -> Result<Vec<Stored>, StoreError> {
    let [failed, given_up, exhausted, lost, unclear] = GIVEN_UP;
    rows.all(
        "SELECT d.id, d.rev, d.plan, d.changed_at, c.recipient, c.subscriber, c.accepted_at, c.content
         FROM delivery AS d JOIN delivery_content AS c ON c.id = d.id
         WHERE d.id > $1 AND d.id <= $2 AND (d.state = 'failed' OR d.state = 'unknown'
             OR (d.plan LIKE $3 AND (d.plan LIKE $4 OR d.plan LIKE $5 OR d.plan LIKE $6 OR d.plan LIKE $7
                 OR d.plan LIKE $8)))
         ORDER BY d.id LIMIT $9",
        (behind, end, ALL, failed, given_up, exhausted, lost, unclear, limit),
    )
    .await
}

/// The id just below this one.
pub fn below(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_sub(1))
}

/// From which id on, and before which, deliveries of a time are.
pub fn ids(since: Time, until: Time) -> (Uuid, Uuid) {
    (below(super::deliveries::first_id(since)), super::deliveries::first_id(until))
}
