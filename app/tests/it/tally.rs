//! A second service, so that roles can be split: it reads topics on its own account and counts what stands in them. What the
//! bridge writes there is another service's: a record is known by its place, and a message that a crash had published twice
//! by its id.

use artel_bus::From as Begin;
use artel_flow::{Raw, Read, Service, Tx};
use artel_message::{Command, Described, Envelope, Fault, Query};
use artel_store::Migrations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Messages per answer of [`Seen`].
const PAGE: i64 = 1_000;

const TABLES: Migrations = Migrations {
    component: "tally",
    files: &[(
        "0001_tally.sql",
        "CREATE TABLE tally_seen (topic TEXT, partition BIGINT, position BIGINT, message UUID NOT NULL, times BIGINT NOT NULL,
             PRIMARY KEY (topic, partition, position));
         CREATE INDEX tally_seen_message ON tally_seen (message);",
    )],
};

/// Reads these topics from their beginning on, those that don't exist yet as soon as they do.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "tally.follow", reply = usize)]
pub struct Follow {
    pub topics: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "tally.count", reply = Counted)]
pub struct Count {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counted {
    /// Different ones.
    pub messages: i64,
    /// Places of the log.
    pub records: i64,
    /// How often a record was taken in that had been taken in before.
    pub again: i64,
}

/// The ids of the messages seen, in order; a page of them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "tally.seen", reply = Vec<Uuid>)]
pub struct Seen {
    pub after: Uuid,
}

pub fn service() -> Service {
    Service::new("tally").migrations(TABLES).command(follow).query(count).query(seen).on_raw(see)
}

pub fn catalogue() -> Vec<Described> {
    vec![Described::command::<Follow>(), Described::query::<Count>(), Described::query::<Seen>()]
}

async fn follow(tx: &mut Tx, follow: Follow) -> Result<usize, Fault> {
    for topic in &follow.topics {
        tx.start_group(topic, topic, Begin::Earliest).await?;
    }
    Ok(follow.topics.len())
}

async fn see(tx: &mut Tx, raw: Raw) -> Result<(), Fault> {
    let message = Envelope::from_headers(&raw.headers).map_or(raw.id, |envelope| envelope.id);
    tx.exec(
        "INSERT INTO tally_seen (topic, partition, position, message, times) VALUES ($1, $2, $3, $4, 1)
         ON CONFLICT (topic, partition, position) DO UPDATE SET times = tally_seen.times + 1",
        (&*raw.topic, raw.partition, raw.offset, message),
    )
    .await?;
    Ok(())
}

async fn count(read: &Read, _: Count) -> Result<Counted, Fault> {
    let sql = "SELECT count(DISTINCT message), count(*), CAST(coalesce(sum(times - 1), 0) AS BIGINT) FROM tally_seen";
    let (messages, records, again) = read.one(sql, ()).await?;
    Ok(Counted { messages, records, again })
}

async fn seen(read: &Read, seen: Seen) -> Result<Vec<Uuid>, Fault> {
    let sql = "SELECT DISTINCT message FROM tally_seen WHERE message > $1 ORDER BY message LIMIT $2";
    let ids: Vec<(Uuid,)> = read.all(sql, (seen.after, PAGE)).await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}
