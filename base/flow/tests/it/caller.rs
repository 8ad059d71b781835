//! A service of effects. What they do outside is a board in the test's hands: it sees each call as it begins, and opens the
//! slow ones.

use artel_flow::{Called, Ctx, EffectDone, HandlerExt, Read, Service, Tx, With};
use artel_message::{Command, Described, Effect, Fault, Query, Time};
use artel_store::Migrations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// Queues calls.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "caller.queue")]
pub struct Queue {
    pub calls: Vec<Dial>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Effect)]
#[effect(name = "caller.dial", done = String, key = key)]
pub struct Dial {
    pub key: String,
    pub number: String,
}

/// Makes done handlers fail, or work again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "caller.block")]
pub struct Block {
    pub on: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "caller.told", reply = Vec<String>)]
pub struct Told {}

/// Until when effects are claimed, in microseconds.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "caller.claims", reply = Vec<i64>)]
pub struct Claims {}

/// What was given up on: (topic, code, attempts).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "caller.letters", reply = Vec<(String, String, i64)>)]
pub struct Letters {}

/// Makes what waits older than what is called, as a clock that was set back would.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "caller.age")]
pub struct Age {}

/// Makes the row of what is called `stuck` one that can't be changed, or mends that; on SQLite.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "caller.break")]
pub struct Break {
    pub on: bool,
}

/// Writes a result as if another node had been quicker.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "caller.overtake")]
pub struct Overtake {}

pub fn catalogue() -> Vec<Described> {
    vec![
        Described::command::<Queue>(),
        Described::effect::<Dial>(),
        Described::command::<Block>(),
        Described::command::<Overtake>(),
        Described::command::<Age>(),
        Described::command::<Break>(),
        Described::query::<Told>(),
        Described::query::<Claims>(),
        Described::query::<Letters>(),
    ]
}

const TABLES: Migrations = Migrations {
    component: "caller",
    files: &[(
        "0001_caller.sql",
        "CREATE TABLE told (n BIGINT PRIMARY KEY, line TEXT NOT NULL);
         CREATE TABLE block (id BIGINT PRIMARY KEY);",
    )],
};

/// One call that began.
#[derive(Debug, Clone, PartialEq)]
pub struct Begun {
    pub number: String,
    pub attempt: u32,
    pub key: Uuid,
    pub at: Time,
    /// How many were in the same call.
    pub together: usize,
}

#[derive(Default)]
pub struct Board {
    pub begun: watch::Sender<Vec<Begun>>,
    pub open: watch::Sender<BTreeSet<String>>,
    /// (now, at most) under way.
    pub under_way: watch::Sender<(usize, usize)>,
    /// Numbers that nobody can be told of.
    pub poison: watch::Sender<BTreeSet<String>>,
    /// What was told together, also where that was undone.
    pub told: watch::Sender<Vec<Vec<String>>>,
    /// How often [`HELD`] was told of as far as to have its rows written.
    pub written: watch::Sender<usize>,
}

/// Telling of this number waits until `told first` is open.
pub const FIRST: &str = "first";

/// Who tells of this number waits, with its rows written, until `told N` is open where it is told of for the Nth time.
pub const HELD: &str = "held";

impl Board {
    pub fn numbers(&self) -> Vec<String> {
        self.begun.borrow().iter().map(|begun| begun.number.clone()).collect()
    }

    /// Returns when so many calls have begun.
    pub async fn begun(&self, calls: usize) {
        let mut begun = self.begun.subscribe();
        let enough = begun.wait_for(|begun| begun.len() >= calls);
        tokio::time::timeout(Duration::from_secs(60), enough).await.expect("calls begin").expect("a board");
    }

    /// Lets a slow call end.
    pub fn open(&self, number: &str) {
        self.open.send_modify(|open| {
            open.insert(number.to_owned());
        });
    }

    fn begin(&self, dial: &Dial, (attempt, key): (u32, Uuid), at: Time, together: usize) {
        let number = dial.number.clone();
        self.begun.send_modify(|all| all.push(Begun { number, attempt, key, at, together }));
    }

    /// Returns when telling of so many together has begun.
    pub async fn telling(&self, times: usize) {
        let mut told = self.told.subscribe();
        let enough = told.wait_for(|told| told.len() >= times);
        tokio::time::timeout(Duration::from_secs(60), enough).await.expect("it is told").expect("a board");
    }

    /// Returns when so often the rows of [`HELD`] were written.
    pub async fn written(&self, times: usize) {
        let mut written = self.written.subscribe();
        let enough = written.wait_for(|written| *written >= times);
        tokio::time::timeout(Duration::from_secs(60), enough).await.expect("it is written").expect("a board");
    }

    /// Returns when no call runs.
    pub async fn none_under_way(&self) {
        let mut under_way = self.under_way.subscribe();
        under_way.wait_for(|(now, _)| *now == 0).await.expect("a board");
    }

    async fn tell(&self, tx: &mut Tx, all: Vec<EffectDone<Dial>>) -> Result<(), Fault> {
        let numbers: Vec<String> = all.iter().map(|done| done.input.number.clone()).collect();
        self.told.send_modify(|told| told.push(numbers.clone()));
        if numbers.iter().any(|number| number == FIRST) {
            let mut open = self.open.subscribe();
            open.wait_for(|open| open.contains("told first")).await.expect("a board");
        }
        for done in all {
            write(tx, done).await?;
        }
        if numbers.iter().any(|number| number == HELD) {
            self.written.send_modify(|written| *written += 1);
            let (now, mut open) = (format!("told {}", *self.written.borrow()), self.open.subscribe());
            open.wait_for(|open| open.contains(&now)).await.expect("a board");
        }
        let poisoned = numbers.iter().any(|number| self.poison.borrow().contains(number));
        if poisoned { Err(Fault::unavailable("not this one")) } else { Ok(()) }
    }

    async fn dial(&self, dial: Dial, attempt: u32) -> Result<String, Fault> {
        self.under_way.send_modify(|(now, most)| (*now, *most) = (*now + 1, (*now + 1).max(*most)));
        if dial.number.starts_with("slow") {
            let mut open = self.open.subscribe();
            open.wait_for(|open| open.contains(&dial.number)).await.expect("a board");
        }
        self.under_way.send_modify(|(now, _)| *now -= 1);
        let busy = dial.number.strip_prefix("busy ").and_then(|n| n.parse::<u32>().ok());
        match dial.number.as_str() {
            "wrong" => Err(Fault::invalid("no such number")),
            "come again" if attempt == 1 => {
                Err(Fault::unavailable("later").with(serde_json::json!({ "retry_after": 120 })))
            }
            _ if busy.is_some_and(|busy| attempt <= busy) => Err(Fault::unavailable("busy")),
            number => Ok(number.to_owned()),
        }
    }
}

/// A handler that calls one number, whose work holds on to nothing of the node.
pub fn one(board: &Arc<Board>) -> impl Fn(&Ctx, Dial) -> OneCall + Clone + Send + Sync + 'static {
    let board = board.clone();
    move |ctx: &Ctx, dial: Dial| {
        let (board, at) = (board.clone(), ctx.now());
        let (attempt, key) = ctx.effect().map_or((0, Uuid::nil()), |call| (call.attempt, call.key));
        Box::pin(async move {
            board.begin(&dial, (attempt, key), at, 1);
            board.dial(dial, attempt).await
        })
    }
}

pub type OneCall = std::pin::Pin<Box<dyn Future<Output = Result<String, Fault>> + Send>>;
pub type ManyCalls =
    std::pin::Pin<Box<dyn Future<Output = Result<Vec<Result<String, Fault>>, Fault>> + Send>>;

/// The same for many at once.
pub fn many(board: &Arc<Board>) -> impl Fn(&Ctx, Vec<Called<Dial>>) -> ManyCalls + Send + Sync + 'static {
    let board = board.clone();
    move |ctx: &Ctx, calls: Vec<Called<Dial>>| {
        let (board, at) = (board.clone(), ctx.now());
        Box::pin(async move {
            let together = calls.len();
            let mut results = Vec::new();
            for called in calls {
                let (attempt, key) = (called.call.attempt, called.call.key);
                board.begin(&called, (attempt, key), at, together);
                results.push(board.dial(called.into_inner(), attempt).await);
            }
            Ok(results)
        })
    }
}

/// The service with this way of calling.
pub fn caller<F>(handler: With<F>) -> Service
where
    F: for<'a> Fn(&'a Ctx, Dial) -> OneCall + Send + Sync + 'static,
{
    rest(Service::new("caller").effect(handler))
}

/// The same with a board that is told what came of each, one by one or many at once.
pub fn caller_telling<F>(handler: With<F>, board: &Arc<Board>, many: bool) -> Service
where
    F: for<'a> Fn(&'a Ctx, Dial) -> OneCall + Send + Sync + 'static,
{
    let service = Service::new("caller").effect(handler);
    beside(if many { service.done_batch(telling_many(board)) } else { service.done(telling_one(board)) })
}

type Telling<'a> = std::pin::Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + 'a>>;

fn telling_one(
    board: &Arc<Board>,
) -> impl for<'a> Fn(&'a mut Tx, EffectDone<Dial>) -> Telling<'a> + Send + Sync + use<> {
    let board = board.clone();
    move |tx, done| {
        let board = board.clone();
        Box::pin(async move { board.tell(tx, vec![done]).await })
    }
}

fn telling_many(
    board: &Arc<Board>,
) -> impl for<'a> Fn(&'a mut Tx, Vec<EffectDone<Dial>>) -> Telling<'a> + Send + Sync + use<> {
    let board = board.clone();
    move |tx, all| {
        let board = board.clone();
        Box::pin(async move { board.tell(tx, all).await })
    }
}

pub fn caller_of_many<F>(handler: With<F>) -> Service
where
    F: for<'a> Fn(&'a Ctx, Vec<Called<Dial>>) -> ManyCalls + Send + Sync + 'static,
{
    rest(Service::new("caller").effect_batch(handler))
}

/// Without options.
pub fn plain<F: HandlerExt>(handler: F) -> With<F> {
    handler.options()
}

fn rest(service: Service) -> Service {
    beside(service.done(ended))
}

fn beside(service: Service) -> Service {
    service
        .migrations(TABLES)
        .command(queue)
        .command(block)
        .command(overtake)
        .command(age)
        .command(break_it)
        .query(told)
        .query(claims)
        .query(letters)
}

async fn queue(tx: &mut Tx, queue: Queue) -> Result<(), Fault> {
    for dial in queue.calls {
        // Whatever order their identities have, they are called in this one.
        let identity = tx.random();
        tx.after(identity.to_string(), Duration::ZERO, dial);
    }
    Ok(())
}

async fn block(tx: &mut Tx, block: Block) -> Result<(), Fault> {
    tx.exec("DELETE FROM block", ()).await?;
    if block.on {
        tx.exec("INSERT INTO block (id) VALUES (1)", ()).await?;
    }
    Ok(())
}

async fn age(tx: &mut Tx, _: Age) -> Result<(), Fault> {
    tx.exec("UPDATE flow_effect SET made_at = made_at - 60000000 WHERE claimed_until IS NULL", ()).await?;
    Ok(())
}

async fn break_it(tx: &mut Tx, to: Break) -> Result<(), Fault> {
    if to.on {
        tx.exec(
            "CREATE TRIGGER no_result BEFORE UPDATE OF result ON flow_effect WHEN CAST(OLD.body AS TEXT) LIKE '%stuck%'
             BEGIN SELECT RAISE(ABORT, 'stuck'); END",
            (),
        )
        .await?;
        tx.exec(
            "CREATE TRIGGER no_end BEFORE DELETE ON flow_effect WHEN CAST(OLD.body AS TEXT) LIKE '%stuck%'
             BEGIN SELECT RAISE(ABORT, 'stuck'); END",
            (),
        )
        .await?;
    } else {
        tx.exec("DROP TRIGGER no_result", ()).await?;
        tx.exec("DROP TRIGGER no_end", ()).await?;
    }
    Ok(())
}

async fn overtake(tx: &mut Tx, _: Overtake) -> Result<(), Fault> {
    let result = bytes::Bytes::from_static(b"\"quicker\"");
    tx.exec("UPDATE flow_effect SET ok = TRUE, result = $1", (result,)).await?;
    Ok(())
}

async fn ended(tx: &mut Tx, done: EffectDone<Dial>) -> Result<(), Fault> {
    if tx.opt::<(i64,)>("SELECT id FROM block", ()).await?.is_some() {
        return Err(Fault::unavailable("not now"));
    }
    write(tx, done).await
}

async fn write(tx: &mut Tx, done: EffectDone<Dial>) -> Result<(), Fault> {
    let line = match done.result {
        Ok(said) => format!("{} said {said} after {}", done.input.number, done.attempts),
        Err(fault) => format!("{} gave {} after {}", done.input.number, fault.code, done.attempts),
    };
    tx.exec("INSERT INTO told (n, line) SELECT coalesce(max(n), 0) + 1, $1 FROM told", (line,)).await?;
    Ok(())
}

async fn told(read: &Read, _: Told) -> Result<Vec<String>, Fault> {
    let rows: Vec<(String,)> = read.all("SELECT line FROM told ORDER BY n", ()).await?;
    Ok(rows.into_iter().map(|(line,)| line).collect())
}

async fn claims(read: &Read, _: Claims) -> Result<Vec<i64>, Fault> {
    let sql = "SELECT claimed_until FROM flow_effect WHERE claimed_until IS NOT NULL";
    let rows: Vec<(i64,)> = read.all(sql, ()).await?;
    Ok(rows.into_iter().map(|(until,)| until).collect())
}

async fn letters(read: &Read, _: Letters) -> Result<Vec<(String, String, i64)>, Fault> {
    Ok(read.all("SELECT topic, code, attempts FROM flow_dead ORDER BY code, attempts", ()).await?)
}
