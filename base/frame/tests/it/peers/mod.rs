//! Nodes among each other: the listener by itself, and several nodes on one database and one log in this process.

mod listener;
mod nodes;
mod settings;
mod way;

use artel_flow::{Read, Service, Tx};
use artel_message::{Command, Described, Fault, Query};
use artel_store::Migrations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What all nodes of a system have.
const SECRET: &str = "the secret of all nodes, long enough";

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "depot.put", reply = i64, key = what, validate = Put::check)]
struct Put {
    what: String,
    count: i64,
}

impl Put {
    fn check(&self) -> Result<(), Fault> {
        if self.what.is_empty() { Err(Fault::field("what", "is empty")) } else { Ok(()) }
    }
}

fn put(what: &str, count: i64) -> Put {
    Put { what: what.to_owned(), count }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "depot.sum", reply = i64)]
struct Sum {}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "front.hello", reply = String)]
struct Hello {}

/// A reply of a hundred thousand letters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "depot.long", reply = String)]
struct Long {}

const TABLES: Migrations = Migrations {
    component: "depot",
    files: &[("0001_depot.sql", "CREATE TABLE stock (n BIGINT PRIMARY KEY, count BIGINT NOT NULL);")],
};

fn depot() -> Service {
    Service::new("depot").migrations(TABLES).command(store).query(sum).query(long)
}

/// Puts something there; the reply is how many things are there then.
async fn store(tx: &mut Tx, put: Put) -> Result<i64, Fault> {
    tx.exec("INSERT INTO stock (n, count) SELECT coalesce(max(n), 0) + 1, $1 FROM stock", (put.count,))
        .await?;
    match put.what.as_str() {
        "poison" => Err(Fault::forbidden("not in this depot").with(serde_json::json!({ "law": 7 }))),
        "later" => Err(Fault::not_found("no such shelf")),
        "panic" => panic!("the depot is on fire"),
        _ => {
            let (sum,): (i64,) = tx.one("SELECT CAST(sum(count) AS BIGINT) FROM stock", ()).await?;
            Ok(sum)
        }
    }
}

async fn sum(read: &Read, _: Sum) -> Result<i64, Fault> {
    let (sum,): (i64,) = read.one("SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM stock", ()).await?;
    Ok(sum)
}

async fn long(_: &Read, _: Long) -> Result<String, Fault> {
    Ok("x".repeat(100_000))
}

fn front() -> Service {
    Service::new("front").query(hello)
}

async fn hello(_: &Read, _: Hello) -> Result<String, Fault> {
    Ok("hello".to_owned())
}

fn services() -> Vec<Service> {
    vec![depot(), front()]
}

fn catalogue() -> Vec<Described> {
    vec![
        Described::command::<Put>(),
        Described::query::<Sum>(),
        Described::query::<Long>(),
        Described::query::<Hello>(),
    ]
}
