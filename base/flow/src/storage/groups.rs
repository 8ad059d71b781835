//! Groups and topics made at run time.

use super::offsets::start_text;
use artel_bus::From as StartAt;
use artel_message::Time;
use artel_store::{FromRow, Read, Row, StoreError, Write};
use uuid::Uuid;

/// A group made at run time, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub name: String,
    /// Another one after the group was forgotten and made again.
    pub id: Uuid,
    pub topic: String,
    pub start_at: String,
    pub running: bool,
    pub made_at: Time,
}

impl FromRow for Stored {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Stored {
            name: row.get("name")?,
            id: row.get("id")?,
            topic: row.get("topic")?,
            start_at: row.get("start_at")?,
            running: row.get::<String>("wanted")? == "running",
            made_at: row.get("made_at")?,
        })
    }
}

/// A group that exists keeps its id, its topic and its place. Returns the topic it reads.
pub(crate) async fn start(
    write: &mut Write,
    id: Uuid,
    name: &str,
    topic: &str,
    from: StartAt,
    now: Time,
) -> Result<String, StoreError> {
    let (there,): (String,) = write
        .one(
            "INSERT INTO flow_group (name, id, topic, start_at, wanted, made_at) VALUES ($1, $2, $3, $4, 'running', $5)
             ON CONFLICT (name) DO UPDATE SET wanted = 'running' RETURNING topic",
            (name, id, topic, start_text(from), now),
        )
        .await?;
    Ok(there)
}

pub(crate) async fn stop(write: &mut Write, name: &str) -> Result<bool, StoreError> {
    Ok(write.exec("UPDATE flow_group SET wanted = 'stopped' WHERE name = $1", (name,)).await? == 1)
}

/// Deletes the group and its place. Its consumer finds its fence gone.
pub(crate) async fn forget(write: &mut Write, name: &str, grp: &str) -> Result<bool, StoreError> {
    if write.exec("DELETE FROM flow_group WHERE name = $1", (name,)).await? == 0 {
        return Ok(false);
    }
    write.exec("DELETE FROM flow_offset WHERE grp = $1", (grp,)).await?;
    write.exec("DELETE FROM flow_high WHERE grp = $1", (grp,)).await?;
    super::forgotten::all(write, grp).await?;
    Ok(true)
}

pub(crate) async fn list(read: &mut Read) -> Result<Vec<Stored>, StoreError> {
    read.all("SELECT name, id, topic, start_at, wanted, made_at FROM flow_group ORDER BY name", ()).await
}

/// The same within a transaction that writes.
pub(crate) async fn all(write: &mut Write) -> Result<Vec<Stored>, StoreError> {
    write.all("SELECT name, id, topic, start_at, wanted, made_at FROM flow_group ORDER BY name", ()).await
}

pub(crate) async fn adopt_topic(write: &mut Write, topic: &str, now: Time) -> Result<(), StoreError> {
    write
        .exec("INSERT INTO flow_topic (name, made_at) VALUES ($1, $2) ON CONFLICT DO NOTHING", (topic, now))
        .await?;
    Ok(())
}

/// Records how many partitions a topic has, the first time; gives what is recorded.
pub(crate) async fn partitions(write: &mut Write, topic: &str, count: u32) -> Result<u32, StoreError> {
    write
        .exec(
            "INSERT INTO flow_partitions (topic, partitions) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            (topic, count),
        )
        .await?;
    let (recorded,): (u32,) =
        write.one("SELECT partitions FROM flow_partitions WHERE topic = $1", (topic,)).await?;
    Ok(recorded)
}

/// Every topic this service made at run time.
pub(crate) async fn topics(read: &mut Read) -> Result<Vec<String>, StoreError> {
    let rows: Vec<(String,)> = read.all("SELECT name FROM flow_topic ORDER BY name", ()).await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

const WANTED: &str = "SELECT name FROM flow_group WHERE name = $1 AND id = $2 AND wanted = 'running'";

/// Whether the group is still the one that was started, and wanted.
pub(crate) async fn is_wanted(read: &mut Read, name: &str, id: Uuid) -> Result<bool, StoreError> {
    let row: Option<(String,)> = read.opt(WANTED, (name, id)).await?;
    Ok(row.is_some())
}

/// The same within a transaction that writes for the group: until it ends nobody stops or forgets the group.
pub(crate) async fn is_still_wanted(write: &mut Write, name: &str, id: Uuid) -> Result<bool, StoreError> {
    let rows = write
        .exec(
            "UPDATE flow_group SET wanted = wanted WHERE name = $1 AND id = $2 AND wanted = 'running'",
            (name, id),
        )
        .await?;
    Ok(rows == 1)
}
