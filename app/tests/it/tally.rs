//! A second service, so that roles can be split: it reads topics on its own account and counts what stands in them.

use artel_bus::From as Begin;
use artel_flow::{Raw, Read, Service, Tx};
use artel_message::{Command, Described, Fault, Query};
use artel_store::Migrations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Messages per answer of [`Seen`].
const PAGE: i64 = 1_000;

const TABLES: Migrations = Migrations {
    component: "tally",
    files: &[(
        "0001_tally.sql",
        "CREATE TABLE tally_seen (id UUID PRIMARY KEY, topic TEXT NOT NULL, times BIGINT NOT NULL);",
    )],
};

/// Reads these topics from their beginning on, those that don't exist yet as soon as they do.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "tally.follow", reply = usize)]
pub struct Follow {
    pub topics: Vec<String>,
}

/// How many messages were seen.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "tally.count", reply = i64)]
pub struct Count {}

/// How often each message was seen, by id; a page of them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "tally.seen", reply = BTreeMap<Uuid, i64>)]
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
    tx.exec(
        "INSERT INTO tally_seen (id, topic, times) VALUES ($1, $2, 1)
         ON CONFLICT (id) DO UPDATE SET times = tally_seen.times + 1",
        (raw.id, &*raw.topic),
    )
    .await?;
    Ok(())
}

async fn count(read: &Read, _: Count) -> Result<i64, Fault> {
    let (count,): (i64,) = read.one("SELECT count(*) FROM tally_seen", ()).await?;
    Ok(count)
}

async fn seen(read: &Read, seen: Seen) -> Result<BTreeMap<Uuid, i64>, Fault> {
    let rows: Vec<(Uuid, i64)> = read
        .all("SELECT id, times FROM tally_seen WHERE id > $1 ORDER BY id LIMIT $2", (seen.after, PAGE))
        .await?;
    Ok(rows.into_iter().collect())
}
