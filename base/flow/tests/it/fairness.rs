//! Many partitions, few of them busy: nobody is kept waiting by the others, and a transaction stays within its bounds.

use crate::kit::{Node, Place};
use artel_flow::{Msg, Read, Service, Tx};
use artel_message::{Command, Described, Event, Fault, Query};
use artel_store::Migrations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub const PARTITIONS: u32 = 8;

/// Puts so many messages of so many bytes under a key.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "feed.fill")]
pub struct Fill {
    pub key: String,
    pub count: u32,
    pub bytes: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "feed.fed", topic = "feed.food", key = key)]
pub struct Fed {
    pub key: String,
    text: String,
}

/// The keys in the order they were taken in.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "eater.eaten", reply = Vec<String>)]
struct Eaten {}

const TABLES: Migrations = Migrations {
    component: "eater",
    files: &[("0001_eater.sql", "CREATE TABLE eaten (n BIGINT PRIMARY KEY, key TEXT NOT NULL);")],
};

async fn fill(tx: &mut Tx, fill: Fill) -> Result<(), Fault> {
    for _ in 0..fill.count {
        tx.publish(Fed { key: fill.key.clone(), text: "x".repeat(fill.bytes) });
    }
    Ok(())
}

async fn eat(tx: &mut Tx, fed: Vec<Msg<Fed>>) -> Result<(), Fault> {
    for fed in fed {
        let key = fed.into_inner().key;
        tx.exec("INSERT INTO eaten (n, key) SELECT coalesce(max(n), 0) + 1, $1 FROM eaten", (key,)).await?;
    }
    Ok(())
}

async fn eaten(read: &Read, _: Eaten) -> Result<Vec<String>, Fault> {
    let rows: Vec<(String,)> = read.all("SELECT key FROM eaten ORDER BY n", ()).await?;
    Ok(rows.into_iter().map(|(key,)| key).collect())
}

pub fn feed() -> Service {
    Service::new("feed").command(fill)
}

fn services() -> Vec<Service> {
    vec![feed(), Service::new("eater").migrations(TABLES).on_batch(eat).query(eaten)]
}

fn catalogue() -> Vec<Described> {
    vec![Described::command::<Fill>(), Described::event::<Fed>(), Described::query::<Eaten>()]
}

/// A key that belongs to a partition.
pub fn key_of(partition: u32) -> String {
    (0..)
        .map(|n| format!("key-{n}"))
        .find(|key| artel_bus::partition::of_key(key.as_bytes(), PARTITIONS) == partition)
        .expect("one of them")
}

/// All is in the log before anybody reads it; what was taken in then.
async fn eaten_of(mut place: Place, food: Vec<Fill>) -> Vec<String> {
    place.limits.partitions = PARTITIONS;
    let only = Some(vec!["feed".to_owned()]);
    let node = place.start_roles(services(), catalogue(), only).await.expect("start");
    for fill in food {
        node.ctx("feed").ask(fill).await.expect("filled");
    }
    node.settle().await;
    node.stop().await;
    let node: Node = place.start(services(), catalogue()).await.expect("start");
    node.settle().await;
    let eaten = node.ctx("eater").query(Eaten {}).await.expect("eaten");
    node.stop().await;
    eaten
}

#[tokio::test]
async fn a_message_beside_busy_partitions_does_not_wait_for_their_end() {
    let Some(mut place) = super::place().await else { return };
    place.limits.batch_records = 10;
    let many = |partition| Fill { key: key_of(partition), count: 300, bytes: 10 };
    let lonely = Fill { key: key_of(PARTITIONS - 1), count: 1, bytes: 10 };
    let eaten = eaten_of(place, vec![many(0), many(1), lonely.clone()]).await;
    assert_eq!(eaten.len(), 601);
    let place = eaten.iter().position(|key| *key == lonely.key).expect("it is there");
    assert!(place <= 10 * PARTITIONS as usize, "it came as number {place} of {}", eaten.len());
}
