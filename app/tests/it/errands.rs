//! A service that puts everything off: calls that hang while the phone is busy, reminders in an hour, events of its own, of which
//! one key waits for the phone too.

use artel_flow::{Ctx, EffectDone, HandlerExt, Read, Service, Settings, Tx};
use artel_frame::Sandbox;
use artel_frame::config::{Compiled, Config, Sources};
use artel_message::{Command, Described, Effect, Event, Fault, Query};
use artel_store::Migrations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub const LATER: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "errands.plan", key = key)]
pub struct Plan {
    pub key: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "errands.remind", key = key)]
pub struct Remind {
    pub key: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "errands.planned", topic = "errands.plan", key = key)]
pub struct Planned {
    pub key: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Effect)]
#[effect(name = "errands.ring", done = String)]
pub struct Ring {
    pub key: String,
}

/// Every line, sorted.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "errands.journal", reply = Vec<String>)]
pub struct Journal {}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Phone {
    busy: bool,
}
impl Settings for Phone {}

const TABLES: Migrations = Migrations {
    component: "errands",
    files: &[(
        "0001_errands.sql",
        "CREATE TABLE errands_line (id UUID PRIMARY KEY, line TEXT NOT NULL, note JSONB, weight DOUBLE PRECISION, mark BYTEA);",
    )],
};

/// The bridge and this one.
pub fn services() -> Vec<Service> {
    vec![artel_bridge::service(), service()]
}

pub fn catalogue() -> Vec<Described> {
    let own = [
        Described::command::<Plan>(),
        Described::command::<Remind>(),
        Described::event::<Planned>(),
        Described::effect::<Ring>(),
        Described::query::<Journal>(),
    ];
    artel_contract::of(&["bridge"]).into_iter().chain(own).collect()
}

/// Settings of a node with these services that does not run.
pub fn config(set: impl FnOnce(Sources) -> Sources) -> Config {
    let sources =
        Sources::new().compiled(Compiled::of_this_build()).defaults("test", "[errands]\nbusy = false\n");
    Config::load(set(sources)).unwrap()
}

/// What the node says in its journal.
pub async fn journal_of(node: &Sandbox) -> Vec<String> {
    node.ctx("errands").query(Journal {}).await.unwrap()
}

fn service() -> Service {
    Service::new("errands")
        .migrations(TABLES)
        .settings::<Phone>()
        .command(plan)
        .command(remind)
        .on(heard)
        .effect(ring.tries(3))
        .done(rang)
        .query(journal)
}

async fn write(tx: &mut Tx, line: String) -> Result<(), Fault> {
    let id = tx.new_id();
    let note = artel_store::Json(serde_json::json!({ "of": [1.0, null, "ä"], "line": line }));
    tx.exec(
        "INSERT INTO errands_line (id, line, note, weight, mark) VALUES ($1, $2, $3, 2.0, $4)",
        (id, line.as_str(), note, line.as_bytes()),
    )
    .await?;
    Ok(())
}

async fn plan(tx: &mut Tx, plan: Plan) -> Result<(), Fault> {
    tx.publish(Planned { key: plan.key.clone() });
    if plan.key == "shy" {
        return Ok(());
    }
    tx.after(plan.key.clone(), Duration::ZERO, Ring { key: plan.key.clone() });
    tx.after(plan.key.clone(), LATER, Remind { key: plan.key });
    Ok(())
}

async fn remind(tx: &mut Tx, remind: Remind) -> Result<(), Fault> {
    write(tx, format!("reminded {}", remind.key)).await
}

async fn heard(tx: &mut Tx, planned: Planned) -> Result<(), Fault> {
    if planned.key == "bad" {
        return Err(Fault::invalid("nobody does that"));
    }
    if planned.key == "shy" && tx.settings::<Phone>().busy {
        return Err(Fault::unavailable("not while somebody calls"));
    }
    write(tx, format!("heard {}", planned.key)).await
}

async fn ring(ctx: &Ctx, ring: Ring) -> Result<String, Fault> {
    if ctx.settings::<Phone>().busy {
        std::future::pending::<()>().await;
    }
    Ok(ring.key)
}

async fn rang(tx: &mut Tx, done: EffectDone<Ring>) -> Result<(), Fault> {
    write(tx, format!("rang {}", done.result?)).await
}

async fn journal(read: &Read, _: Journal) -> Result<Vec<String>, Fault> {
    let lines: Vec<(String,)> = read.all("SELECT line FROM errands_line ORDER BY line", ()).await?;
    Ok(lines.into_iter().map(|(line,)| line).collect())
}
