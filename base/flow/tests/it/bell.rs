//! A service of timers: what was set rings, one by one or together, and writes a line for each.

use artel_flow::{Msg, Read, Service, Tx};
use artel_message::{Command, Described, Fault, Query};
use artel_store::{Args, Migrations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Sets timers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "bell.set")]
pub struct Set {
    pub timers: Vec<Entry>,
    /// Whether they ring together.
    pub together: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    pub key: String,
    pub after_ms: u64,
    pub text: String,
}

/// Rings alone.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "bell.ring")]
pub struct Ring {
    pub text: String,
}

/// Rings with others.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "bell.chime")]
pub struct Chime {
    pub text: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "bell.lines", reply = Vec<String>)]
pub struct Lines {}

/// What was given up on: (key, code, attempts).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "bell.letters", reply = Vec<(String, String, i64)>)]
pub struct Letters {}

pub fn catalogue() -> Vec<Described> {
    vec![
        Described::command::<Set>(),
        Described::command::<Ring>(),
        Described::command::<Chime>(),
        Described::query::<Lines>(),
        Described::query::<Letters>(),
    ]
}

const TABLES: Migrations = Migrations {
    component: "bell",
    files: &[("0001_bell.sql", "CREATE TABLE line (n BIGINT PRIMARY KEY, text TEXT NOT NULL);")],
};

pub fn bell() -> Service {
    Service::new("bell")
        .migrations(TABLES)
        .command(set)
        .command(ring)
        .command_batch(chime)
        .query(lines)
        .query(letters)
}

async fn set(tx: &mut Tx, set: Set) -> Result<(), Fault> {
    for entry in set.timers {
        let (wait, text) = (Duration::from_millis(entry.after_ms), entry.text);
        if set.together {
            tx.after(entry.key, wait, Chime { text });
        } else {
            tx.after(entry.key, wait, Ring { text });
        }
    }
    Ok(())
}

async fn write(tx: &mut Tx, texts: Vec<String>) -> Result<(), Fault> {
    let (last,): (i64,) = tx.one("SELECT coalesce(max(n), 0) FROM line", ()).await?;
    let rows = texts.into_iter().zip(last + 1..).map(|(text, n)| (n, text).values()).collect();
    tx.exec_rows("INSERT INTO line (n, text) VALUES {rows}", (), rows).await?;
    Ok(())
}

async fn ring(tx: &mut Tx, ring: Ring) -> Result<(), Fault> {
    write(tx, vec![ring.text.clone()]).await?;
    match ring.text.split_once(' ') {
        Some(("busy", _)) => Err(Fault::unavailable("not now")),
        Some(("never", _)) => Err(Fault::invalid("not ever")),
        Some(("large", _)) => {
            tx.after("large", Duration::ZERO, Ring { text: "x".repeat(2_000_000) });
            Ok(())
        }
        Some(("cancel", key)) => {
            let pending = tx.cancel::<Ring>(key).await?;
            write(tx, vec![format!("{key} was pending: {pending}")]).await
        }
        Some(("again", key)) => {
            tx.after(key, Duration::from_secs(60), Ring { text: format!("{key} again") });
            Ok(())
        }
        _ => Ok(()),
    }
}

async fn chime(tx: &mut Tx, chimes: Vec<Msg<Chime>>) -> Result<(), Fault> {
    if chimes.iter().any(|chime| chime.text.starts_with("never")) {
        return Err(Fault::invalid("not ever"));
    }
    write(tx, chimes.into_iter().map(|chime| chime.into_inner().text).collect()).await
}

async fn lines(read: &Read, _: Lines) -> Result<Vec<String>, Fault> {
    let rows: Vec<(String,)> = read.all("SELECT text FROM line ORDER BY n", ()).await?;
    Ok(rows.into_iter().map(|(text,)| text).collect())
}

async fn letters(read: &Read, _: Letters) -> Result<Vec<(String, String, i64)>, Fault> {
    let rows: Vec<(bytes::Bytes, String, i64)> =
        read.all("SELECT key, code, attempts FROM flow_dead ORDER BY at, key", ()).await?;
    Ok(rows.into_iter().map(|(key, code, n)| (String::from_utf8_lossy(&key).into_owned(), code, n)).collect())
}
