//! Three services that leave a trail: what each handler did, for which message, in which order.
//!
//! `ann` makes things of keys and tells of them; `bob` takes note and has `cat` work on them; `cat` works, takes note of the same
//! things in batches, and of notes that a stranger writes. Each effect is a row that nothing keeps from being there twice.

use crate::later::{self, DIALS, Dial, EVERY, File, MADE_UP, MAILS, Mail};
use crate::stage::Stage;
use artel_flow::{Answer, HandlerExt, Missed, Msg, Schedule, Service, Tx};
use artel_message::{Command, Described, Event, Fault};
use artel_store::Migrations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "ann.make", reply = i64, key = key)]
pub struct Make {
    pub key: String,
    pub request: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "ann.ring", key = key)]
pub struct Ring {
    pub key: String,
    pub n: i64,
    pub id: Uuid,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "ann.made", topic = "ann.thing", key = key)]
pub struct Made {
    pub key: String,
    pub n: i64,
    pub id: Uuid,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "cat.work", reply = i64, key = key)]
pub struct Work {
    pub key: String,
    pub n: i64,
    pub id: Uuid,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "ext.noted", topic = "ext.note", key = key)]
pub struct Noted {
    pub key: String,
    pub n: i64,
    pub id: Uuid,
}

pub const NAMES: [&str; 3] = ["ann", "bob", "cat"];

pub fn catalogue() -> Vec<Described> {
    vec![
        Described::command::<Make>(),
        Described::command::<Ring>(),
        Described::event::<Made>(),
        Described::command::<Work>(),
        Described::event::<Noted>(),
        Described::effect::<Dial>(),
        Described::effect::<Mail>(),
        Described::command::<File>(),
    ]
}

pub fn services() -> Vec<Service> {
    let [once, skip, all] = EVERY.map(|(_, distance)| Schedule::every(distance));
    vec![
        Service::new("ann").migrations(tables("ann")).command(make).command(ring),
        Service::new("bob")
            .migrations(tables("bob"))
            .on(made)
            .reply(worked)
            .effect(later::dial.width(DIALS).per_key())
            .done(later::dialed),
        Service::new("cat")
            .migrations(tables("cat"))
            .command(work)
            .on_batch(made_all.group("count"))
            .on(noted)
            .command(later::file)
            .effect_batch(later::mail.batch(4).width(MAILS))
            .done_batch(later::mailed)
            .every("once", once, later::once)
            .every("skip", skip.missed(Missed::Skip), later::skip)
            .every("all", all.missed(Missed::All(MADE_UP)), later::all),
    ]
}

fn tables(component: &'static str) -> Migrations {
    Migrations {
        component,
        files: &[(
            "0001_trail.sql",
            "CREATE TABLE effect (pos BIGINT PRIMARY KEY, what TEXT NOT NULL, cause UUID NOT NULL, key TEXT NOT NULL,
                 n BIGINT NOT NULL);
             CREATE TABLE place (id BIGINT PRIMARY KEY, pos BIGINT NOT NULL);
             INSERT INTO place (id, pos) VALUES (1, 0);
             CREATE TABLE made (id UUID PRIMARY KEY, key TEXT NOT NULL, n BIGINT NOT NULL, request TEXT NOT NULL);
             CREATE TABLE made_key (key TEXT PRIMARY KEY, n BIGINT NOT NULL);
             CREATE TABLE ran (pos BIGINT PRIMARY KEY, name TEXT NOT NULL, due BIGINT NOT NULL, missed BIGINT NOT NULL);
             CREATE TABLE asked (command UUID PRIMARY KEY, id UUID NOT NULL, key TEXT NOT NULL, n BIGINT NOT NULL);",
        )],
    }
}

pub async fn leave(tx: &mut Tx, what: &str, id: Uuid, key: &str, n: i64) -> Result<(), Fault> {
    let (pos,): (i64,) = tx.one("UPDATE place SET pos = pos + 1 WHERE id = 1 RETURNING pos", ()).await?;
    tx.exec(
        "INSERT INTO effect (pos, what, cause, key, n) VALUES ($1, $2, $3, $4, $5)",
        (pos, what, id, key, n),
    )
    .await?;
    Ok(())
}

/// Some things don't work at first, and some of them not before their key is parked.
pub fn shy(id: Uuid) -> Result<(), Fault> {
    let fails = match id.as_u128() {
        n if n.is_multiple_of(27) => 6,
        n if n.is_multiple_of(9) => 2,
        _ => 0,
    };
    if fails > 0 && Stage::here().attempt(id) <= fails {
        return Err(Fault::not_found("not yet"));
    }
    Ok(())
}

async fn make(tx: &mut Tx, make: Make) -> Result<i64, Fault> {
    let (n,): (i64,) = tx
        .one(
            "INSERT INTO made_key (key, n) VALUES ($1, 1) ON CONFLICT (key) DO UPDATE SET n = made_key.n + 1
             RETURNING n",
            (make.key.as_str(),),
        )
        .await?;
    let id = tx.new_id();
    let row = (id, make.key.as_str(), n, make.request.as_str());
    tx.exec("INSERT INTO made (id, key, n, request) VALUES ($1, $2, $3, $4)", row).await?;
    tx.publish(Made { key: make.key.clone(), n, id });
    if n % 4 == 0 {
        let wait = Duration::from_millis(tx.random() % 5_000);
        tx.after(id.to_string(), wait, Ring { key: make.key, n, id });
    }
    Ok(n)
}

async fn ring(tx: &mut Tx, ring: Ring) -> Result<(), Fault> {
    leave(tx, "ring", ring.id, &ring.key, ring.n).await
}

async fn made(tx: &mut Tx, made: Made) -> Result<(), Fault> {
    leave(tx, "made", made.id, &made.key, made.n).await?;
    if later::is_dialed(made.n) {
        let dial = Dial { key: made.key.clone(), n: made.n, id: made.id };
        tx.after(made.id.to_string(), Duration::ZERO, dial);
    }
    let command = tx.send(Work { key: made.key.clone(), n: made.n, id: made.id });
    let row = (command, made.id, made.key, made.n);
    // A restored database sends what it had sent already once more, under the same ids.
    tx.exec(
        "INSERT INTO asked (command, id, key, n) VALUES ($1, $2, $3, $4)
             ON CONFLICT (command) DO UPDATE SET id = excluded.id, key = excluded.key, n = excluded.n",
        row,
    )
    .await?;
    Ok(())
}

async fn worked(tx: &mut Tx, answer: Answer<Work>) -> Result<(), Fault> {
    let row: Option<(Uuid, String, i64)> =
        tx.opt("SELECT id, key, n FROM asked WHERE command = $1", (answer.command_id,)).await?;
    let what = if answer.result.is_ok() { "worked" } else { "refused" };
    match row {
        Some((id, key, n)) => leave(tx, what, id, &key, n).await,
        None => leave(tx, "stray", answer.command_id, "", 0).await,
    }
}

async fn work(tx: &mut Tx, work: Work) -> Result<i64, Fault> {
    leave(tx, "work", work.id, &work.key, work.n).await?;
    shy(work.id)?;
    Ok(work.n)
}

async fn made_all(tx: &mut Tx, all: Vec<Msg<Made>>) -> Result<(), Fault> {
    for made in all {
        leave(tx, "counted", made.id, &made.key, made.n).await?;
        if later::is_mailed(made.n) {
            let mail = Mail { key: made.key.clone(), n: made.n, id: made.id };
            tx.after(made.id.to_string(), Duration::ZERO, mail);
        }
    }
    Ok(())
}

async fn noted(tx: &mut Tx, noted: Noted) -> Result<(), Fault> {
    leave(tx, "noted", noted.id, &noted.key, noted.n).await
}
