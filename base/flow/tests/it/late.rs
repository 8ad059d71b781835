//! A service of timers, an effect and a schedule whose luck is in the test's hands: a board says what fails, and sees each run,
//! also those that are rolled back.

use artel_flow::{
    Ctx, EffectDone, GivenUp, HandlerExt, Missed, Produce, Raw, Read, Schedule, Service, Tx, With,
};
use artel_message::{Command, Described, Effect, Fault, Query};
use artel_store::Migrations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// Sets timers: for `late.do`, or for the effect.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "late.set")]
pub struct Set {
    pub timers: Vec<Timer>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Timer {
    pub key: String,
    pub after_ms: u64,
    pub what: What,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub enum What {
    Do(String),
    Call(Call),
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "late.do")]
pub struct Do {
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Effect)]
#[effect(name = "late.call", done = String, key = key)]
pub struct Call {
    pub key: String,
    pub text: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "late.lines", reply = Vec<String>)]
pub struct Lines {}

/// Of another service: sends `late.do`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "boss.send")]
pub struct Send {
    pub text: String,
}

pub fn catalogue() -> Vec<Described> {
    let mut all = catalogue_before();
    all.extend([Described::command::<Do>(), Described::effect::<Call>()]);
    all
}

/// Of the version that has neither the command nor the effect.
pub fn catalogue_before() -> Vec<Described> {
    vec![Described::command::<Set>(), Described::query::<Lines>()]
}

/// With the other service.
pub fn and_boss(mut catalogue: Vec<Described>) -> Vec<Described> {
    catalogue.push(Described::command::<Send>());
    catalogue
}

const TABLES: Migrations = Migrations {
    component: "late",
    files: &[("0001_late.sql", "CREATE TABLE line (n BIGINT PRIMARY KEY, text TEXT NOT NULL);")],
};

/// One run that began.
#[derive(Debug, Clone, PartialEq)]
pub struct Began {
    pub text: String,
    /// The idempotency key of a call.
    pub key: Uuid,
}

#[derive(Default)]
pub struct Board {
    pub began: watch::Sender<Vec<Began>>,
    /// Texts that fail, and with which code.
    bad: watch::Sender<BTreeMap<String, &'static str>>,
}

impl Board {
    pub fn fails(&self, text: &str, code: &'static str) {
        self.bad.send_modify(|bad| {
            bad.insert(text.to_owned(), code);
        });
    }

    pub fn works(&self, text: &str) {
        self.bad.send_modify(|bad| {
            bad.remove(text);
        });
    }

    pub fn runs(&self, text: &str) -> usize {
        self.began.borrow().iter().filter(|began| began.text == text).count()
    }

    /// Returns when this has been run so often.
    pub async fn ran(&self, text: &str, times: usize) {
        let mut began = self.began.subscribe();
        let enough = began.wait_for(|all| all.iter().filter(|began| began.text == text).count() >= times);
        tokio::time::timeout(Duration::from_secs(60), enough).await.expect("it runs").expect("a board");
    }

    fn run(&self, text: &str, key: Uuid) -> Result<(), Fault> {
        // Decided before it is told: whoever hears of this run may let the next one work.
        let bad = self.bad.borrow().get(text).copied();
        self.began.send_modify(|all| all.push(Began { text: text.to_owned(), key }));
        match bad {
            None => Ok(()),
            Some("unavailable") => Err(Fault::unavailable("not now")),
            Some(_) => Err(Fault::invalid("not ever")),
        }
    }
}

type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + std::marker::Send + 'a>>;

fn doing(
    board: &Arc<Board>,
) -> impl for<'a> Fn(&'a mut Tx, Do) -> Work<'a, ()> + std::marker::Send + Sync + use<> {
    let board = board.clone();
    move |tx, what| {
        let board = board.clone();
        Box::pin(async move {
            board.run(&what.text, Uuid::nil())?;
            act(tx, what.text).await
        })
    }
}

async fn act(tx: &mut Tx, text: String) -> Result<(), Fault> {
    match text.split_once(' ') {
        Some(("out", topic)) => {
            tx.produce("late.out", Produce { topic: topic.to_owned(), ..Produce::default() });
        }
        Some(("group", topic)) => tx.start_group("reader", topic, artel_bus::From::Earliest).await?,
        Some(("slow", _)) => {
            let begun = std::time::Instant::now();
            while begun.elapsed() < Duration::from_millis(150) {
                tokio::task::yield_now().await;
            }
        }
        Some(("answers", _)) => {
            let (n,): (i64,) = tx.one("SELECT count(*) FROM flow_answered", ()).await?;
            return write(tx, format!("{n} answers are kept")).await;
        }
        _ => {}
    }
    write(tx, text).await
}

pub fn call_of(key: &str, text: &str) -> Call {
    Call { key: key.to_owned(), text: text.to_owned() }
}

pub fn calling(
    board: &Arc<Board>,
) -> impl Fn(&Ctx, Call) -> Work<'static, String> + std::marker::Send + Sync + use<> {
    let board = board.clone();
    move |ctx, call| {
        let (board, key) = (board.clone(), ctx.effect().map_or(Uuid::nil(), |call| call.key));
        Box::pin(async move {
            board.run(&call.text, key)?;
            if call.text == "never ends" {
                std::future::pending::<()>().await;
            }
            Ok(call.text)
        })
    }
}

fn ending(
    board: &Arc<Board>,
) -> impl for<'a> Fn(&'a mut Tx, EffectDone<Call>) -> Work<'a, ()> + std::marker::Send + Sync + use<> {
    let board = board.clone();
    move |tx, done| {
        let board = board.clone();
        Box::pin(async move {
            board.run(&format!("done {}", done.input.text), done.id)?;
            let line = match done.result {
                Ok(said) => format!("said {said} after {}", done.attempts),
                Err(fault) => format!("{} gave {} after {}", done.input.text, fault.code, done.attempts),
            };
            write(tx, line).await
        })
    }
}

fn nightly(
    board: &Arc<Board>,
) -> impl for<'a> Fn(&'a mut Tx, ()) -> Work<'a, ()> + std::marker::Send + Sync + use<> {
    let board = board.clone();
    move |tx, ()| {
        let board = board.clone();
        Box::pin(async move {
            board.run("nightly", Uuid::nil())?;
            write(tx, "nightly".to_owned()).await
        })
    }
}

fn reading(
    board: &Arc<Board>,
) -> impl for<'a> Fn(&'a mut Tx, Raw) -> Work<'a, ()> + std::marker::Send + Sync + use<> {
    let board = board.clone();
    move |tx, raw| {
        let board = board.clone();
        Box::pin(async move {
            board.run("raw", Uuid::nil())?;
            write(tx, format!("raw of {}", raw.topic)).await
        })
    }
}

/// The whole service.
pub fn late(board: &Arc<Board>) -> Service {
    late_with(board, calling(board).options())
}

/// The same with options for its effect.
pub fn late_with<F>(board: &Arc<Board>, calling: With<F>) -> Service
where
    F: for<'a> Fn(&'a Ctx, Call) -> Work<'static, String> + std::marker::Send + Sync + 'static,
{
    late_before()
        .command(doing(board))
        .effect(calling)
        .done(ending(board))
        .on_raw(reading(board))
        .given_up(given_up)
}

/// A version that has neither the command nor the effect.
pub fn late_before() -> Service {
    Service::new("late").migrations(TABLES).command(set).query(lines)
}

/// With a run at each full hour that is skipped where it was missed.
pub fn late_nightly(board: &Arc<Board>) -> Service {
    late_before().every("late.nightly", Schedule::cron("0 * * * *").missed(Missed::Skip), nightly(board))
}

pub fn boss() -> Service {
    Service::new("boss").command(send)
}

async fn send(tx: &mut Tx, send: Send) -> Result<(), Fault> {
    tx.send(Do { text: send.text });
    Ok(())
}

async fn set(tx: &mut Tx, set: Set) -> Result<(), Fault> {
    for Timer { key, after_ms, what } in set.timers {
        let wait = Duration::from_millis(after_ms);
        match what {
            What::Do(text) => tx.after(key, wait, Do { text }),
            What::Call(call) => tx.after(key, wait, call),
        }
    }
    Ok(())
}

async fn given_up(tx: &mut Tx, given: GivenUp) -> Result<(), Fault> {
    if given.value.as_ref().is_some_and(|value| value.windows(8).any(|part| part == b"unspoken")) {
        return Err(Fault::internal("this is not for telling"));
    }
    write(tx, format!("given up: {} of {}", given.name.unwrap_or_default(), given.topic)).await
}

async fn write(tx: &mut Tx, text: String) -> Result<(), Fault> {
    tx.exec("INSERT INTO line (n, text) SELECT coalesce(max(n), 0) + 1, $1 FROM line", (text,)).await?;
    Ok(())
}

async fn lines(read: &Read, _: Lines) -> Result<Vec<String>, Fault> {
    let rows: Vec<(String,)> = read.all("SELECT text FROM line ORDER BY n", ()).await?;
    Ok(rows.into_iter().map(|(text,)| text).collect())
}
