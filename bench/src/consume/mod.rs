//! Taking in: a group that reads a full topic and does durable work for each message, beside a loop by hand that does the same.
//!
//! Each message is a JSON document of about 256 bytes with the headers of a message of ours. `one`: a handler for each
//! message decodes it, writes a row, and publishes an event; the offset, the marks of the sources and the outbox's row are
//! in the same transaction, 500 messages to one. `batch`: the same with a handler that takes what is there at once. `decode`:
//! a handler that looks at the message and writes nothing; the offset is kept.
//!
//! The twin reads the same messages (from a plain file; on Kafka with one consumer of rdkafka), decodes them, and writes the
//! same rows, offset, marks and outbox (with the headers of its messages, their numbers and those before them) in transactions of
//! 500 with sqlx on one connection: `one` with a statement for each row,
//! `batch` with one for all. `decode` writes nothing at all. On both sides the outbox is published and deleted meanwhile, up
//! to 2,000 rows at once (the twin: to a plain file; on Kafka with one producer, acks=all); the time ends when all is taken in.

pub(crate) mod flow;
mod pace;
pub(crate) mod twin;
#[cfg(feature = "kafka")]
pub(crate) mod twin_kafka;

use crate::node::median;
use anyhow::{Context, Result, bail, ensure};
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{Bus, Record, TopicSpec, partition};
use artel_flow::Clock;
use artel_message::{Envelope, Headers};
use pace::Taken;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const PARTITIONS: u32 = 4;
/// Messages of one transaction: the flow's default.
const BATCH: usize = 500;
pub(crate) const TOPIC: &str = "shop.sale";
/// Rows that are published at once: the flow's default.
const RELAY: i64 = 2_000;
const RUNS: usize = 3;

/// What is done for each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    One,
    Batch,
    Decode,
}

impl How {
    fn name(self) -> &'static str {
        match self {
            How::One => "a row and an event each, one by one",
            How::Batch => "a row and an event each, batch handler",
            How::Decode => "decoded only",
        }
    }
}

/// A message's body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Body {
    pub n: u32,
    pub sku: String,
    pub text: String,
}

/// Where it runs.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Embedded,
    #[cfg_attr(not(feature = "kafka"), allow(dead_code))]
    Servers {
        brokers: String,
        postgres: String,
    },
}

/// What is measured, where, with how many messages.
struct Load {
    place: Place,
    messages: u32,
    hows: Vec<How>,
    runs: usize,
    /// Messages of one transaction.
    batch: usize,
}

fn load(args: &[String]) -> Result<Load> {
    const USAGE: &str = "consume [MESSAGES] [--kafka BROKERS --postgres URL] [--only one|batch|decode] [--runs N] [--batch N]";
    let (mut messages, mut brokers, mut postgres) = (200_000, None, None);
    let (mut hows, mut runs) = (vec![How::One, How::Batch, How::Decode], RUNS);
    let mut batch = BATCH;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--kafka" => brokers = Some(args.next().context(USAGE)?.clone()),
            "--postgres" => postgres = Some(args.next().context(USAGE)?.clone()),
            "--only" => {
                let name = args.next().context(USAGE)?.to_lowercase();
                hows.retain(|how| format!("{how:?}").to_lowercase() == name);
                ensure!(!hows.is_empty(), "{name}: {USAGE}");
            }
            "--runs" => runs = args.next().context(USAGE)?.parse().context(USAGE)?,
            "--batch" => batch = args.next().context(USAGE)?.parse().context(USAGE)?,
            number => messages = number.parse().with_context(|| format!("{number}: {USAGE}"))?,
        }
    }
    let place = match (brokers, postgres) {
        (None, None) => Place::Embedded,
        (Some(brokers), Some(postgres)) => Place::Servers { brokers, postgres },
        _ => bail!("{USAGE}: Kafka and PostgreSQL go together"),
    };
    Ok(Load { place, messages, hows, runs, batch })
}

/// `consume [MESSAGES] [--kafka BROKERS --postgres URL] [--only one|batch|decode] [--runs N] [--batch N]`
pub fn run(args: &[String]) -> Result<()> {
    let Load { place, messages, hows, runs, batch } = load(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!(
        "{messages} messages of about 256 bytes, {PARTITIONS} partitions; messages/s, medians of {runs} runs\n"
    );
    println!(
        "| | flow | by hand | ratio | with the start: flow | by hand | ratio |\n|---|---|---|---|---|---|---|"
    );
    for how in hows {
        let mut taken = Vec::new();
        for _ in 0..runs {
            taken.push(runtime.block_on(measure(&place, how, messages, batch))?);
        }
        let middle = |of: &dyn Fn(&(Taken, Taken)) -> f64| median(taken.iter().map(of).collect());
        let (flow, hand) = (middle(&|it| it.0.rate), middle(&|it| it.1.rate));
        let (whole, hand_whole) = (middle(&|it| it.0.whole), middle(&|it| it.1.whole));
        println!(
            "| {} | {flow:.0} | {hand:.0} | {:.0} % | {whole:.0} | {hand_whole:.0} | {:.0} % |",
            how.name(),
            100.0 * flow / hand,
            100.0 * whole / hand_whole
        );
    }
    Ok(())
}

async fn measure(place: &Place, how: How, messages: u32, batch: usize) -> Result<(Taken, Taken)> {
    let dir = TempDir::new()?;
    match place {
        Place::Embedded => {
            let bus: Arc<dyn Bus> = Segments::open(dir.path().join("log"), SegmentsConfig::default())?;
            fill(bus.as_ref(), messages).await?;
            let store = format!("sqlite:{}", dir.path().join("db").display());
            let ours = flow::measure(bus, &store, how, messages, batch).await?;
            let file = twin::write_file(dir.path(), messages)?;
            Ok((ours, twin::measure(dir.path(), &file, how, messages, batch).await?))
        }
        #[cfg(feature = "kafka")]
        Place::Servers { brokers, postgres } => on_servers(brokers, postgres, how, messages, batch).await,
        #[cfg(not(feature = "kafka"))]
        Place::Servers { .. } => bail!("build it with --features kafka"),
    }
}

#[cfg(feature = "kafka")]
async fn on_servers(
    brokers: &str,
    postgres: &str,
    how: How,
    messages: u32,
    batch: usize,
) -> Result<(Taken, Taken)> {
    use crate::postgres::Fresh;
    use artel_bus::kafka::{Kafka, KafkaConfig, Security};
    use artel_bus::{Log, Prefixed};
    let open = || Kafka::open(KafkaConfig::new(brokers.split(','), Security::Plaintext));
    let kafka = open()?;
    kafka.check().await?;
    let prefix = format!("bench{}.", Uuid::now_v7().simple());
    let bus: Arc<dyn Bus> = Prefixed::over(kafka.clone(), &prefix);
    fill(bus.as_ref(), messages).await?;
    let ours = {
        let database = Fresh::new(postgres).await?;
        // A node closes its log when it stops.
        let took =
            flow::measure(Prefixed::over(open()?, &prefix), &database.url, how, messages, batch).await?;
        database.remove().await?;
        took
    };
    let database = Fresh::new(postgres).await?;
    let topic = format!("{prefix}{TOPIC}");
    let out = TopicSpec {
        name: format!("{TOPIC}.out"),
        partitions: PARTITIONS,
        retention_ms: None,
        retention_bytes: None,
    };
    bus.make(out).await?;
    let hand = twin_kafka::measure(brokers, &topic, &database.url, how, messages, batch).await?;
    database.remove().await?;
    for topic in bus.list().await? {
        bus.delete(&topic.name).await?;
    }
    kafka.close().await;
    Ok((ours, hand))
}

/// What stands in the outbox beside the body of what is told of message `n`: lines of headers, as a service by hand would store them.
pub(crate) fn headers_by_hand(n: u32, id: Uuid) -> Vec<u8> {
    format!(
        "ce_specversion:1.0\nce_id:{id}\nce_type:sink.noted\nce_source:by/hand\nce_time:2026-01-01T00:00:00.{n:06}Z\n\
         content-type:application/json\ntraceparent:00-{:032x}-{n:016x}-00\ncause:{id}\n",
        id.as_u128()
    )
    .into_bytes()
}

/// The body of it, or the whole message again where an outbox is only emptied.
pub(crate) fn value_by_hand(body: &Body, whole: bool) -> Vec<u8> {
    if whole {
        return serde_json::to_vec(body).unwrap_or_default();
    }
    format!("{{\"n\":{},\"sku\":\"{}\"}}", body.n, body.sku).into_bytes()
}

/// Message `n`, as its service would have published it.
pub(crate) fn body(n: u32) -> Body {
    Body { n, sku: format!("sku-{}", n % 1000), text: "x".repeat(210) }
}

/// Key, value, headers.
type Made = (Vec<u8>, Vec<u8>, Headers);

/// Fills the topic as a relay would have.
pub(crate) async fn fill(bus: &dyn Bus, messages: u32) -> Result<()> {
    let spec =
        TopicSpec { name: TOPIC.into(), partitions: PARTITIONS, retention_ms: None, retention_bytes: None };
    bus.make(spec).await?;
    let now = Clock::system().now();
    let mut prev = vec![None; PARTITIONS as usize];
    for first in (0..messages).step_by(4_000) {
        let mut parts: Vec<Vec<Made>> = vec![Vec::new(); PARTITIONS as usize];
        for n in first..messages.min(first + 4_000) {
            let body = body(n);
            let at = partition::of_key(body.sku.as_bytes(), PARTITIONS) as usize;
            let seq = i64::from(n) + 1;
            let envelope = Envelope {
                id: Uuid::now_v7(),
                name: "shop.sold".into(),
                source: Envelope::source_of("shop"),
                time: now,
                trace: None,
                seq: Some(seq),
                prev: prev[at].replace(seq),
                cause: None,
                reply: false,
                extra: Headers::new(),
            };
            parts[at].push((
                body.sku.clone().into_bytes(),
                serde_json::to_vec(&body)?,
                envelope.to_headers(),
            ));
        }
        for (part, made) in (0..PARTITIONS).zip(&parts) {
            let headers: Vec<Vec<_>> = made.iter().map(|(_, _, headers)| headers.iter().collect()).collect();
            let records: Vec<Record<'_>> = made
                .iter()
                .zip(&headers)
                .map(|((key, value, _), headers)| Record {
                    key: Some(key),
                    value: Some(value),
                    headers,
                    time: now,
                })
                .collect();
            bus.append(TOPIC, part, &records).await?;
        }
    }
    let mut total = 0;
    for part in 0..PARTITIONS {
        total += bus.bounds(TOPIC, part).await?.end;
    }
    ensure!(total == i64::from(messages), "the topic holds {total} messages");
    Ok(())
}
