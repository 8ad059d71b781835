//! What a move reads of a database, and the record of moves on the database that they go to.

use crate::moving::{Arrival, Taken};
use artel_message::Time;
use artel_store::{FromRow, Read, Row, StoreError, Write};
use uuid::Uuid;

/// The last message that each group has taken in, where it stands: topic, partition, log, offset, identity.
pub(crate) async fn last_taken(read: &mut Read) -> Result<Vec<Taken>, StoreError> {
    read.all(
        "SELECT DISTINCT topic, partition, log, last_offset, last_id FROM flow_offset
         WHERE last_offset IS NOT NULL AND last_id IS NOT NULL ORDER BY topic, partition, last_offset",
        (),
    )
    .await
}

/// Groups made at run time that begin at an offset and have no place yet: name, topic, start.
pub(crate) async fn not_begun(
    read: &mut Read,
    service: &str,
) -> Result<Vec<(String, String, String)>, StoreError> {
    read.all(
        "SELECT g.name, g.topic, g.start_at FROM flow_group AS g WHERE g.start_at LIKE 'offset:%' AND NOT EXISTS (
             SELECT 1 FROM flow_offset AS o WHERE o.grp = $1 || '.' || g.name AND o.topic = g.topic)
         ORDER BY g.name",
        (service,),
    )
    .await
}

impl FromRow for Arrival {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let list = |column: &'static str| -> Result<Vec<String>, StoreError> {
            serde_json::from_str(&row.get::<String>(column)?)
                .map_err(|error| StoreError::decode(column, format!("is no list of topics: {error}")))
        };
        Ok(Arrival {
            id: row.get("id")?,
            source: row.get("source")?,
            source_name: row.get("source_name")?,
            topics: list("topics")?,
            kept: list("kept")?,
            log: row.get("log")?,
            empty: row.get("empty")?,
            began_at: row.get("began_at")?,
            done_at: row.get("done_at")?,
        })
    }
}

pub(crate) async fn all(read: &mut Read) -> Result<Vec<Arrival>, StoreError> {
    read.all(
        "SELECT id, source, source_name, log, topics, empty, kept, began_at, done_at FROM move ORDER BY began_at, id",
        (),
    )
    .await
}

/// The one that is not done. Nobody begins or ends one until the transaction ends.
pub(crate) async fn open(write: &mut Write) -> Result<Option<Arrival>, StoreError> {
    write
        .opt(
            "SELECT id, source, source_name, log, topics, empty, kept, began_at, done_at FROM move WHERE done_at IS NULL",
            (),
        )
        .await
}

pub(crate) async fn begin(write: &mut Write, arrival: &Arrival) -> Result<(), StoreError> {
    let topics = text(&arrival.topics)?;
    write
        .exec(
            "INSERT INTO move (id, source, source_name, log, topics, empty, began_at, done_at)
             VALUES ($1, $2, $3, $4, $5, FALSE, $6, NULL)",
            (
                arrival.id,
                arrival.source,
                arrival.source_name.as_str(),
                arrival.log.as_str(),
                topics,
                arrival.began_at,
            ),
        )
        .await?;
    Ok(())
}

fn text(topics: &[String]) -> Result<String, StoreError> {
    serde_json::to_string(topics).map_err(|error| StoreError::decode("topics", error.to_string()))
}

pub(crate) async fn keeps(write: &mut Write, id: Uuid, topics: &[String]) -> Result<(), StoreError> {
    write.exec("UPDATE move SET kept = $1 WHERE id = $2", (text(topics)?, id)).await?;
    Ok(())
}

pub(crate) async fn empty(write: &mut Write, id: Uuid) -> Result<(), StoreError> {
    write.exec("UPDATE move SET empty = TRUE WHERE id = $1", (id,)).await?;
    Ok(())
}

pub(crate) async fn done(write: &mut Write, id: Uuid, now: Time) -> Result<bool, StoreError> {
    Ok(write.exec("UPDATE move SET done_at = $1 WHERE id = $2 AND done_at IS NULL", (now, id)).await? == 1)
}

pub(crate) async fn remove(write: &mut Write, id: Uuid) -> Result<(), StoreError> {
    write.exec("DELETE FROM move WHERE id = $1 AND done_at IS NULL", (id,)).await?;
    Ok(())
}

/// Where the messages of each parked key come from.
pub(crate) async fn parked_keys(read: &mut Read) -> Result<Vec<(Uuid, String, u32)>, StoreError> {
    read.all("SELECT id, topic, partition FROM flow_parked_key", ()).await
}
