//! From an event to its mail: the time between the return of the call that appended an event to the log and the moment at which a mail
//! server has its mail, to the final dot. A rule makes a notification of each event, with a template of its own, to another recipient
//! each; its state is stored before and after its mail. The server is our simulator, in this process.
//!
//! The twin is a loop by hand: the event stands in a plain file with fdatasync (on Kafka: one producer, acks=all, without lingering),
//! whoever reads it stores a row, writes the mail to a connection that is kept, and stores that it was sent. It keeps no offset,
//! knows no repeats, and sends one at a time.

#[cfg(feature = "kafka")]
mod kafka;
mod twin;

use crate::latency::{Shared, drive, note, print};
use crate::node::Node;
use anyhow::{Context, Result, bail, ensure};
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{Bus, Record, TopicSpec};
use artel_contract::notify::rules::PutRule;
use artel_contract::notify::templates::PutTemplate;
use artel_flow::Limits;
use artel_message::Time;
use artel_wires::simulators::smtp::{Settings, Simulator};
use artel_wires::simulators::{Arrival, Behaviour, Board, Judge};
use serde_json::json;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const TOPIC: &str = "parcels";
const PARTITIONS: u32 = 4;
/// Bytes of arrivals that the server remembers: nobody looks at them.
const REMEMBERED: usize = 1 << 20;

const USAGE: &str = "heard [SECONDS] [--rate 100] [--kafka BROKERS --postgres URL]";

/// See [`USAGE`].
pub fn run(args: &[String]) -> Result<()> {
    let (mut seconds, mut rate, mut brokers, mut postgres) = (20, 100, None, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--kafka" => brokers = Some(args.next().context(USAGE)?.clone()),
            "--postgres" => postgres = Some(args.next().context(USAGE)?.clone()),
            "--rate" => rate = args.next().context(USAGE)?.parse().context(USAGE)?,
            number => seconds = number.parse().with_context(|| format!("{number}: {USAGE}"))?,
        }
    }
    ensure!(seconds > 0 && rate > 0, USAGE);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("event in the log to mail at the server, {seconds} s\n");
    println!(
        "| events/s | ours p50 ms | p99 ms | most ms | by hand p50 ms | p99 ms | most ms |\n|---|---|---|---|---|---|---|"
    );
    runtime.block_on(async {
        match (brokers, postgres) {
            (None, None) => embedded(rate, seconds).await,
            #[cfg(feature = "kafka")]
            (Some(brokers), Some(postgres)) => kafka::on_servers(&brokers, &postgres, rate, seconds).await,
            #[cfg(not(feature = "kafka"))]
            (Some(_), Some(_)) => bail!("build it with --features kafka"),
            _ => bail!("{USAGE}: Kafka and PostgreSQL go together"),
        }
    })
}

async fn embedded(rate: u32, seconds: u32) -> Result<()> {
    let dir = TempDir::new()?;
    let bus: Arc<dyn Bus> = Segments::open(dir.path().join("log"), SegmentsConfig::default())?;
    let store = format!("sqlite:{}", dir.path().join("db").display());
    let ours = flow(bus, &store, rate, seconds).await?;
    let hand = twin::embedded(dir.path(), rate, seconds).await?;
    print(rate, &ours, &hand);
    Ok(())
}

/// A mail server that notes which events have arrived.
async fn server(moments: &Shared) -> Result<Simulator> {
    let heard = moments.clone();
    let judge: Judge = Arc::new(move |arrival: &Arrival| {
        if let Some(n) = arrival.title.strip_prefix("Parcel ").and_then(|n| n.parse().ok()) {
            note(&heard, n, false);
        }
        Behaviour::default()
    });
    let board = Board::new(REMEMBERED, Arc::new(|| 0));
    Ok(Simulator::start(Settings::on((Ipv4Addr::LOCALHOST, 0).into()), board, judge).await?)
}

/// One event, as it stands in the log.
fn event(n: u32) -> String {
    json!({ "n": n, "email": address(n), "about": "x".repeat(150) }).to_string()
}

fn address(n: u32) -> String {
    format!("anna-{n}@example.org")
}

fn text() -> String {
    "Your parcel is on its way, and here is a line about it.\n".repeat(10)
}

async fn flow(bus: Arc<dyn Bus>, store: &str, rate: u32, seconds: u32) -> Result<Vec<f64>> {
    let moments = Shared::default();
    let server = server(&moments).await?;
    let spec = TopicSpec {
        name: TOPIC.to_owned(),
        partitions: PARTITIONS,
        retention_ms: None,
        retention_bytes: None,
    };
    bus.make(spec).await?;
    let node = Node {
        services: vec![artel_notify::service()],
        roles: vec!["notify"],
        catalogue: artel_contract::of(&["notify", "logistics"]),
        bus: bus.clone(),
        store: store.to_owned(),
        limits: Limits::default(),
    };
    let smtp = json!({
        "host": "127.0.0.1", "port": server.address().port(), "security": "none", "from": "parcels@example.com",
    });
    let settings = json!({ "example": false, "email": { "accounts": [{ "name": "mail", "smtp": smtp }] } });
    let runtime = node.with_settings("notify", settings).await?;
    let ctx = runtime.ctx("notify").context("the service runs")?;
    let texts = json!({ "email": { "subject": "Parcel {{ n }}", "text": text() } });
    let template = json!({
        "template": "parcel", "by": "bench", "body": { "default_language": "en", "languages": { "en": texts } },
    });
    ctx.ask(serde_json::from_value::<PutTemplate>(template)?).await?;
    let rule = json!({ "rule": "parcels", "by": "bench", "body": {
        "on": { "topic": TOPIC }, "template": "parcel", "topic": "parcels", "channels": ["email"],
        "to": { "event": { "email": "email" } },
    } });
    ctx.ask(serde_json::from_value::<PutRule>(rule)?).await?;
    let append = |n: u32, _| {
        let bus = bus.clone();
        async move {
            let (key, value) = (n.to_string(), event(n));
            let record = Record {
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                headers: &[],
                time: now(),
            };
            bus.append(TOPIC, n % PARTITIONS, &[record]).await?;
            Ok(())
        }
    };
    let took = drive(&moments, (rate, 1, seconds), append).await?;
    runtime.stop(Duration::from_secs(10)).await;
    server.stop().await;
    Ok(took)
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
