//! A small service for the tests of nodes: what is added is counted when its event comes back.

use artel_flow::http::Routes;
use artel_flow::{Ctx, Read, Service, Settings, Tx};
use artel_frame::edge::{Json, Needs, Problem, Produce};
use artel_message::{Command, Described, Event, Fault, Query};
use artel_store::Migrations;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "stall.add", reply = u32, key = item)]
pub struct Add {
    pub item: String,
    pub count: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "stall.added", topic = "stall.item", key = item)]
pub struct Added {
    pub item: String,
    pub count: u32,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "stall.total", reply = i64)]
pub struct Total {}

/// The settings of the stall; it has no section in the defaults.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Rules {
    most: u32,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { most: 1000 }
    }
}

impl Settings for Rules {
    fn check(&self) -> Vec<String> {
        if self.most == 0 { vec!["most: 0 lets nothing in; use 1 or more".to_owned()] } else { Vec::new() }
    }
}

const TABLES: Migrations = Migrations {
    component: "stall",
    files: &[(
        "0001_stall.sql",
        "CREATE TABLE line (n BIGINT PRIMARY KEY, item TEXT NOT NULL, count BIGINT NOT NULL);",
    )],
};

pub fn services() -> Vec<Service> {
    vec![stall()]
}

pub fn catalogue() -> Vec<Described> {
    vec![Described::command::<Add>(), Described::event::<Added>(), Described::query::<Total>()]
}

pub fn stall() -> Service {
    Service::new("stall")
        .migrations(TABLES)
        .settings::<Rules>()
        .command(add)
        .on(added)
        .query(total)
        .every("stall.tick", "0 * * * *", tick)
        .routes(routes)
}

async fn add(tx: &mut Tx, add: Add) -> Result<u32, Fault> {
    tx.publish(Added { item: add.item, count: add.count });
    Ok(add.count)
}

async fn added(tx: &mut Tx, added: Added) -> Result<(), Fault> {
    if added.item == "poison" {
        return Err(Fault::invalid("nobody eats this"));
    }
    tx.exec(
        "INSERT INTO line (n, item, count) SELECT coalesce(max(n), 0) + 1, $1, $2 FROM line",
        (added.item, added.count),
    )
    .await?;
    Ok(())
}

async fn tick(tx: &mut Tx, (): ()) -> Result<(), Fault> {
    added(tx, Added { item: "tick".to_owned(), count: 1000 }).await
}

async fn total(read: &Read, _: Total) -> Result<i64, Fault> {
    let (n,): (i64,) = read.one("SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM line", ()).await?;
    Ok(n)
}

fn routes(ctx: &Ctx) -> Routes {
    Routes::new()
        .post("/api/stall/items", http_add, |op| op.summary("Add an item").answers::<u32>(200, "the count"))
        .with_state(ctx.clone())
}

async fn http_add(
    State(ctx): State<Ctx>,
    _: Needs<Produce>,
    Json(add): Json<Add>,
) -> Result<Json<u32>, Problem> {
    Ok(Json(ctx.ask(add).await?))
}
