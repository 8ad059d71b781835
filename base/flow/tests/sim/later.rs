//! What the services do later and outside: effects with their results, and schedules.

use crate::outside::Deed;
use crate::services::{leave, shy};
use artel_flow::{Call, Called, Ctx, EffectDone, Run, Tx};
use artel_message::{Command, Effect, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// One call for each, those of a key one after the other.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Effect)]
#[effect(name = "bob.dial", done = i64, key = key)]
pub struct Dial {
    pub key: String,
    pub n: i64,
    pub id: Uuid,
}

/// One call for many.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Effect)]
#[effect(name = "cat.mail", done = i64)]
pub struct Mail {
    pub key: String,
    pub n: i64,
    pub id: Uuid,
}

/// What came of a call, told to another service.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "cat.file", key = key)]
pub struct File {
    pub key: String,
    pub n: i64,
    pub id: Uuid,
}

/// Calls of one effect that a node may make at once.
pub const DIALS: usize = 2;
pub const MAILS: usize = 1;

/// Which things are told to whom.
pub fn is_dialed(n: i64) -> bool {
    n % 3 == 0
}

pub fn is_mailed(n: i64) -> bool {
    n % 4 == 1
}

async fn ask(ctx: &Ctx, what: &str, width: usize, deeds: &[Deed]) -> Result<(), Fault> {
    let call = Call::post(format!("http://outside/{what}")).header("width", &width.to_string()).json(&deeds);
    ctx.outbound().call(call).await?.success()?;
    Ok(())
}

pub async fn dial(ctx: &Ctx, dial: Dial) -> Result<i64, Fault> {
    // The outside has its own view of what doesn't work at first.
    shy(Uuid::from_u128(dial.id.as_u128() ^ 7)).map_err(|fault| Fault::unavailable(fault.reason))?;
    ask(ctx, "dial", DIALS, &[Deed { key: dial.key, n: dial.n, id: dial.id }]).await?;
    Ok(dial.n)
}

pub async fn dialed(tx: &mut Tx, done: EffectDone<Dial>) -> Result<(), Fault> {
    let Dial { key, n, id } = done.input;
    let what = if done.result == Ok(n) { "dialed" } else { "refused" };
    leave(tx, what, id, &key, n).await?;
    tx.send(File { key, n, id });
    Ok(())
}

pub async fn file(tx: &mut Tx, file: File) -> Result<(), Fault> {
    leave(tx, "filed", file.id, &file.key, file.n).await
}

pub async fn mail(ctx: &Ctx, mails: Vec<Called<Mail>>) -> Result<Vec<Result<i64, Fault>>, Fault> {
    let mails: Vec<Mail> = mails.into_iter().map(Called::into_inner).collect();
    let deed = |mail: &Mail| Deed { key: mail.key.clone(), n: mail.n, id: mail.id };
    ask(ctx, "mail", MAILS, &mails.iter().map(deed).collect::<Vec<_>>()).await?;
    Ok(mails.into_iter().map(|mail| Ok(mail.n)).collect())
}

pub async fn mailed(tx: &mut Tx, all: Vec<EffectDone<Mail>>) -> Result<(), Fault> {
    for done in all {
        let Mail { key, n, id } = done.input;
        leave(tx, if done.result == Ok(n) { "mailed" } else { "refused" }, id, &key, n).await?;
    }
    Ok(())
}

/// Schedules: their names and distances.
pub const EVERY: [(&str, Duration); 3] = [
    ("once", Duration::from_millis(2_000)),
    ("skip", Duration::from_millis(2_500)),
    ("all", Duration::from_millis(1_500)),
];

/// At most so many runs are made up for.
pub const MADE_UP: u32 = 3;

async fn ran(tx: &mut Tx, name: &str, run: Run) -> Result<(), Fault> {
    let (pos,): (i64,) = tx.one("UPDATE place SET pos = pos + 1 WHERE id = 1 RETURNING pos", ()).await?;
    tx.exec(
        "INSERT INTO ran (pos, name, due, missed) VALUES ($1, $2, $3, $4)",
        (pos, name, run.due, i64::from(run.missed)),
    )
    .await?;
    Ok(())
}

pub async fn once(tx: &mut Tx, run: Run) -> Result<(), Fault> {
    ran(tx, "once", run).await
}

pub async fn skip(tx: &mut Tx, run: Run) -> Result<(), Fault> {
    ran(tx, "skip", run).await
}

pub async fn all(tx: &mut Tx, run: Run) -> Result<(), Fault> {
    ran(tx, "all", run).await
}
