//! A second service for the driver of crashes, and the program of its nodes: one that runs the bridge and this service. It numbers
//! what it reads of each key in the transaction that takes it in, publishes each number, and counts what comes to it twice, out of
//! order, or not at all. Unlike the bridge it is told nothing of what it published: what the relay has done with its outbox is
//! deleted later, by the way.

use artel_bus::From as Begin;
use artel_flow::{Asked, Ctx, Raw, Read, Service, Tx};
use artel_frame::Sandbox;
use artel_frame::config::{LogFormat, Telemetry as Settings};
use artel_frame::edge::{Json, Needs, Problem, Produce, Read as MayRead, Routes};
use artel_frame::telemetry::{Identity, Telemetry};
use artel_message::{Command, Described, Event, Fault, Query};
use artel_store::Migrations;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::Write;
use tokio::signal::unix::{SignalKind, signal};

/// Where a node of this program listens, where its data is, and its file of settings.
pub const LISTEN: &str = "ARTEL_TEST_NODE_LISTEN";
pub const DATA: &str = "ARTEL_TEST_NODE_DATA";
pub const CONFIG: &str = "ARTEL_TEST_NODE_CONFIG";
/// The test that is such a node.
pub const NODE: &str = "keyed::a_node_of_the_driver";

const TABLES: Migrations = Migrations {
    component: "keyed",
    files: &[(
        "0001_keyed.sql",
        "CREATE TABLE keyed_record (message UUID PRIMARY KEY, partition BIGINT NOT NULL, position BIGINT NOT NULL);
         CREATE TABLE keyed_read (key TEXT PRIMARY KEY, number BIGINT NOT NULL, line BIGINT NOT NULL);
         CREATE TABLE keyed_heard (key TEXT PRIMARY KEY, number BIGINT NOT NULL);",
    )],
};

/// Reads a topic from its beginning on.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "keyed.follow", reply = u32)]
pub struct Follow {
    pub topic: String,
}

/// A message of a key was read, and has this number among them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "keyed.numbered", topic = "keyed.number", key = key)]
pub struct Numbered {
    pub key: String,
    pub number: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "keyed.count", reply = Counted)]
pub struct Count {}

/// Since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counted {
    /// Messages of the topics, each counted once.
    pub read: i64,
    /// Numbers that came in their turn.
    pub heard: i64,
    /// Records that were there once more, as a crash of the relay leaves them. Another service's are known by their place only.
    pub published_again: i64,
    /// Records and numbers that were taken in before.
    pub again: i64,
    /// Lines that came behind a later one of their key.
    pub late: i64,
    /// Numbers that never came.
    pub missing: i64,
}

pub fn service() -> Service {
    Service::new("keyed").migrations(TABLES).command(follow).query(count).on_raw(read).on(hear).routes(routes)
}

fn services() -> Vec<Service> {
    vec![artel_bridge::service(), service()]
}

fn catalogue() -> Vec<Described> {
    let own = [Described::command::<Follow>(), Described::event::<Numbered>(), Described::query::<Count>()];
    artel_contract::of(&["bridge"]).into_iter().chain(own).collect()
}

async fn follow(tx: &mut Tx, follow: Follow) -> Result<u32, Fault> {
    tx.start_group(&follow.topic, &follow.topic, Begin::Earliest).await?;
    Ok(1)
}

#[derive(Deserialize)]
struct Line {
    n: i64,
}

async fn read(tx: &mut Tx, raw: Raw) -> Result<(), Fault> {
    let message = artel_message::Envelope::from_headers(&raw.headers).map_or(raw.id, |envelope| envelope.id);
    let known: Option<(i64, i64)> =
        tx.opt("SELECT partition, position FROM keyed_record WHERE message = $1", (message,)).await?;
    if let Some(place) = known {
        let same = place == (i64::from(raw.partition), raw.offset);
        tx.count(if same { "again" } else { "published_again" }, 1);
        return Ok(());
    }
    tx.exec(
        "INSERT INTO keyed_record (message, partition, position) VALUES ($1, $2, $3)",
        (message, raw.partition, raw.offset),
    )
    .await?;
    let line: Line = serde_json::from_slice(raw.value.as_deref().unwrap_or_default())
        .map_err(|e| Fault::invalid(e.to_string()))?;
    let key = format!("{} {}", raw.topic, String::from_utf8_lossy(raw.key.as_deref().unwrap_or_default()));
    let before: Option<(i64, i64)> =
        tx.opt("SELECT number, line FROM keyed_read WHERE key = $1", (key.as_str(),)).await?;
    let (number, last) = before.map_or((1, -1), |(number, line)| (number + 1, line));
    tx.count("late", i64::from(line.n <= last));
    tx.exec(
        "INSERT INTO keyed_read (key, number, line) VALUES ($1, $2, $3)
         ON CONFLICT (key) DO UPDATE SET number = excluded.number, line = excluded.line",
        (key.as_str(), number, line.n.max(last)),
    )
    .await?;
    tx.count("read", 1);
    tx.publish(Numbered { key, number });
    Ok(())
}

async fn hear(tx: &mut Tx, Numbered { key, number }: Numbered) -> Result<(), Fault> {
    let before: Option<(i64,)> =
        tx.opt("SELECT number FROM keyed_heard WHERE key = $1", (key.as_str(),)).await?;
    let before = before.map_or(0, |(number,)| number);
    if number <= before {
        tx.count("again", 1);
        return Ok(());
    }
    tx.count("missing", number - before - 1);
    tx.count("heard", 1);
    tx.exec(
        "INSERT INTO keyed_heard (key, number) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET number = excluded.number",
        (key, number),
    )
    .await?;
    Ok(())
}

async fn count(read: &Read, _: Count) -> Result<Counted, Fault> {
    Ok(Counted {
        read: read.total("read").await?,
        heard: read.total("heard").await?,
        published_again: read.total("published_again").await?,
        again: read.total("again").await?,
        late: read.total("late").await?,
        missing: read.total("missing").await?,
    })
}

fn routes(ctx: &Ctx) -> Routes {
    Routes::new()
        .post("/api/keyed/follow", http_follow, |op| {
            op.summary("Read a topic").answers::<u32>(200, "how many")
        })
        .get("/api/keyed/count", http_count, |op| op.summary("Count").answers::<Counted>(200, "totals"))
        .with_state(ctx.clone())
}

async fn http_follow(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    Json(follow): Json<Follow>,
) -> Result<Json<u32>, Problem> {
    Ok(Json(ctx.ask_as(follow, Asked::by(&*caller.name)).await?))
}

async fn http_count(State(ctx): State<Ctx>, _: Needs<MayRead>) -> Result<Json<Counted>, Problem> {
    Ok(Json(ctx.query(Count {}).await?))
}

/// The program of the driver's nodes: this test, started by the driver in a process of its own, until it is killed or asked to end. Among the other
/// tests it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_the_driver() {
    let (Ok(listen), Ok(data)) = (std::env::var(LISTEN), std::env::var(DATA)) else { return };
    let who = Identity { service: "artel".into(), version: "test".into(), node: listen.clone() };
    let log =
        Settings { log_format: LogFormat::Json, log_filter: "info".into(), otlp_url: None, trace_ratio: 0.0 };
    let _telemetry = Telemetry::install(&log, who).unwrap();
    let mut node =
        Sandbox::of(services, catalogue).setting("node.data_dir", data).setting("http.listen", listen);
    if let Ok(config) = std::env::var(CONFIG) {
        node = node.file(config);
    }
    let node = node.start().await.unwrap();
    let mut asked_to_end = signal(SignalKind::terminate()).unwrap();
    writeln!(std::io::stdout(), "the node is ready at {}", node.url()).unwrap();
    asked_to_end.recv().await;
    node.stop().await;
}
