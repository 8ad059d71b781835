//! A service that fails as it is told to: `mill` says numbers under keys, and hears them unless the key is broken.

use crate::kit::Node;
use artel_flow::{HandlerExt, Msg, Read, Service, Tx};
use artel_message::{Code, Command, Described, Event, Fault, Query};
use artel_store::Migrations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Says numbers, each as an event of its kind.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "mill.say")]
pub struct Say {
    pub key: String,
    pub numbers: Vec<u32>,
    pub kind: String,
}

/// What hearing a key ends with from now on: a code, or nothing once it is mended. A key with '*' at its end stands for all that
/// begin so.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "mill.break")]
pub struct Break {
    pub key: String,
    pub code: String,
}

macro_rules! heard {
    ($($name:ident $text:literal),*) => {$(
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Event)]
        #[event(name = $text, topic = "mill.talk", key = key)]
        pub struct $name {
            pub key: String,
            pub number: u32,
        }
    )*};
}

heard!(
    Said "mill.said", Batched "mill.batched", Strict "mill.strict", Brief "mill.brief", Aged "mill.aged", Loud "mill.loud"
);

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "mill.heard", reply = Vec<String>)]
pub struct Heard {}

const TABLES: Migrations = Migrations {
    component: "mill",
    files: &[(
        "0001_mill.sql",
        "CREATE TABLE broken (key TEXT PRIMARY KEY, code TEXT NOT NULL);
         CREATE TABLE heard (n BIGINT PRIMARY KEY, line TEXT NOT NULL);",
    )],
};

pub fn catalogue() -> Vec<Described> {
    vec![
        Described::command::<Say>(),
        Described::command::<Break>(),
        Described::event::<Said>(),
        Described::event::<Batched>(),
        Described::event::<Strict>(),
        Described::event::<Brief>(),
        Described::event::<Aged>(),
        Described::event::<Loud>(),
        Described::query::<Heard>(),
    ]
}

pub fn mill() -> Service {
    deaf_mill().on(brief.attempts(6).retry_for(Duration::from_secs(100_000)))
}

/// As it was before it heard what is brief.
pub fn deaf_mill() -> Service {
    Service::new("mill")
        .migrations(TABLES)
        .command(say)
        .command(break_key)
        .on(said)
        .on_batch(batched)
        .on(strict.stop_key())
        .on(aged.max_age(Duration::from_secs(60)))
        .query(heard)
}

async fn say(tx: &mut Tx, say: Say) -> Result<(), Fault> {
    for number in say.numbers {
        let key = say.key.clone();
        match say.kind.as_str() {
            "batched" => tx.publish(Batched { key, number }),
            "strict" => tx.publish(Strict { key, number }),
            "brief" => tx.publish(Brief { key, number }),
            "aged" => tx.publish(Aged { key, number }),
            "loud" => tx.publish(Loud { key, number }),
            _ => tx.publish(Said { key, number }),
        }
    }
    Ok(())
}

async fn break_key(tx: &mut Tx, told: Break) -> Result<(), Fault> {
    tx.exec("DELETE FROM broken WHERE key = $1", (told.key.as_str(),)).await?;
    if !told.code.is_empty() {
        tx.exec("INSERT INTO broken (key, code) VALUES ($1, $2)", (told.key, told.code)).await?;
    }
    Ok(())
}

async fn hear(tx: &mut Tx, key: String, number: u32) -> Result<(), Fault> {
    // Written first: an attempt that fails must leave none of it.
    let line = format!("{key} {number}");
    tx.exec("INSERT INTO heard (n, line) SELECT coalesce(max(n), 0) + 1, $1 FROM heard", (line,)).await?;
    let all = format!("{}*", key.split('-').next().unwrap_or_default());
    let exact = format!("{key}#{number}");
    let broken: Option<(String,)> =
        tx.opt("SELECT code FROM broken WHERE key = $1 OR key = $2 OR key = $3", (key, all, exact)).await?;
    match broken {
        Some((code,)) => Err(Fault::new(
            serde_json::from_value::<Code>(code.into()).unwrap_or(Code::Internal),
            format!("number {number} is too loud"),
        )),
        None => Ok(()),
    }
}

async fn said(tx: &mut Tx, said: Said) -> Result<(), Fault> {
    hear(tx, said.key, said.number).await
}

async fn strict(tx: &mut Tx, strict: Strict) -> Result<(), Fault> {
    hear(tx, strict.key, strict.number).await
}

async fn aged(tx: &mut Tx, aged: Aged) -> Result<(), Fault> {
    hear(tx, aged.key, aged.number).await
}

async fn brief(tx: &mut Tx, brief: Brief) -> Result<(), Fault> {
    hear(tx, brief.key, brief.number).await
}

async fn batched(tx: &mut Tx, messages: Vec<Msg<Batched>>) -> Result<(), Fault> {
    for message in messages {
        let batched = message.into_inner();
        hear(tx, batched.key, batched.number).await?;
    }
    Ok(())
}

async fn heard(read: &Read, _: Heard) -> Result<Vec<String>, Fault> {
    let rows: Vec<(String,)> = read.all("SELECT line FROM heard ORDER BY n", ()).await?;
    Ok(rows.into_iter().map(|(line,)| line).collect())
}

pub async fn say_as(node: &Node, kind: &str, key: &str, numbers: impl IntoIterator<Item = u32>) {
    let (key, kind) = (key.to_owned(), kind.to_owned());
    let say = Say { key, numbers: numbers.into_iter().collect(), kind };
    node.ctx("mill").ask(say).await.expect("said");
}

pub async fn break_it(node: &Node, key: &str, code: &str) {
    let told = Break { key: key.to_owned(), code: code.to_owned() };
    node.ctx("mill").ask(told).await.expect("told");
}

pub async fn mend(node: &Node, key: &str) {
    break_it(node, key, "").await;
}

/// What was heard, in order.
pub async fn lines(node: &Node) -> Vec<String> {
    node.ctx("mill").query(Heard {}).await.expect("lines")
}

/// What was heard of one key, in order.
pub async fn numbers(node: &Node, key: &str) -> Vec<u32> {
    let lines = lines(node).await;
    let of = lines.iter().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    of.map(|number| number.parse().expect("a number")).collect()
}

/// What hears loud numbers: it fails, or does not come back, as it is told.
#[derive(Default)]
pub struct Door {
    /// Keys that fail, and those whose hearing does not end.
    pub shut: watch::Sender<BTreeSet<String>>,
    pub stuck: watch::Sender<BTreeSet<String>>,
    /// Those that were tried, in order.
    pub tried: watch::Sender<Vec<(String, u32)>>,
}

type Hearing = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>;

impl Door {
    pub fn handler(self: &Arc<Door>) -> impl Fn(&mut Tx, Loud) -> Hearing + Clone + Send + Sync + 'static {
        let door = self.clone();
        move |_: &mut Tx, Loud { key, number }: Loud| {
            let door = door.clone();
            Box::pin(async move {
                door.tried.send_modify(|tried| tried.push((key.clone(), number)));
                door.stuck.subscribe().wait_for(|stuck| !stuck.contains(&key)).await.expect("a door");
                if door.shut.borrow().contains(&key) {
                    return Err(Fault::unavailable("the door is shut"));
                }
                Ok(())
            })
        }
    }

    pub fn shut(&self, key: &str, shut: bool) {
        Door::set(&self.shut, key, shut);
    }

    pub fn stuck(&self, key: &str, stuck: bool) {
        Door::set(&self.stuck, key, stuck);
    }

    fn set(of: &watch::Sender<BTreeSet<String>>, key: &str, is: bool) {
        of.send_modify(|keys| {
            if is {
                keys.insert(key.to_owned());
            } else {
                keys.remove(key);
            }
        });
    }

    /// Returns when a number has been tried so often.
    pub async fn tried(&self, key: &str, number: u32, times: usize) {
        let one = (key.to_owned(), number);
        let mut tried = self.tried.subscribe();
        let enough = tried.wait_for(|tried| tried.iter().filter(|t| **t == one).count() >= times);
        tokio::time::timeout(Duration::from_secs(30), enough).await.expect("it is tried").expect("a door");
    }
}
