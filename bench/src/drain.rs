//! An outbox that has grown while the log took nothing: how fast it empties, and what that takes of memory. It is filled by a
//! node whose log refuses everything; another node then starts on the same database with a log that is not. The twin: a loop by hand that
//! reads 2,000 rows in order, writes them (to a plain file with fdatasync; on Kafka with one producer, acks=all), and deletes them.

use crate::latency::{Sell, Shared, catalogue, services};
use crate::node::Node;
use anyhow::{Context, Result, bail, ensure};
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{
    Appended, Bounds, Bus, BusError, Fetch, Fetched, From, GroupOffset, Groups, Log, Record, Topic,
    TopicSpec, Topics,
};
use artel_flow::Limits;
use artel_message::Time;
use artel_store::{Store, StoreSettings};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const CHUNK: u32 = 2_000;

/// A log that takes nothing.
struct Shut(Arc<dyn Bus>);

#[async_trait]
impl Log for Shut {
    fn system(&self) -> &'static str {
        self.0.system()
    }
    async fn append(&self, _: &str, _: u32, _: &[Record<'_>]) -> Result<Appended, BusError> {
        Err(BusError::Unavailable("it is shut".to_owned()))
    }
    async fn read(&self, topic: &str, partition: u32, from: i64, fetch: Fetch) -> Result<Fetched, BusError> {
        self.0.read(topic, partition, from, fetch).await
    }
    async fn wait(&self, topic: &str, partition: u32, from: i64) -> Result<(), BusError> {
        self.0.wait(topic, partition, from).await
    }
    async fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, BusError> {
        self.0.bounds(topic, partition).await
    }
    async fn offset_at(&self, topic: &str, partition: u32, time: Time) -> Result<Option<i64>, BusError> {
        self.0.offset_at(topic, partition, time).await
    }
    async fn close(&self) {
        self.0.close().await;
    }
}

#[async_trait]
impl Topics for Shut {
    async fn make(&self, spec: TopicSpec) -> Result<Topic, BusError> {
        self.0.make(spec).await
    }
    async fn describe(&self, topic: &str) -> Result<Topic, BusError> {
        self.0.describe(topic).await
    }
    async fn list(&self) -> Result<Vec<Topic>, BusError> {
        self.0.list().await
    }
    async fn delete(&self, topic: &str) -> Result<(), BusError> {
        self.0.delete(topic).await
    }
}

#[async_trait]
impl Groups for Shut {
    async fn register(&self, group: &str, topic: &str, from: From) -> Result<(), BusError> {
        self.0.register(group, topic, from).await
    }
    async fn advise(&self, group: &str, topic: &str, partition: u32, next: i64) -> Result<(), BusError> {
        self.0.advise(group, topic, partition, next).await
    }
    async fn forget(&self, group: &str, topic: &str) -> Result<(), BusError> {
        self.0.forget(group, topic).await
    }
    async fn offsets(&self) -> Result<Vec<GroupOffset>, BusError> {
        self.0.offsets().await
    }
}

/// `drain [ROWS] [--kafka BROKERS --postgres URL]`
pub fn run(args: &[String]) -> Result<()> {
    const USAGE: &str = "drain [ROWS] [--kafka BROKERS --postgres URL]";
    let (mut rows, mut brokers, mut postgres) = (1_000_000, None, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--kafka" => brokers = Some(args.next().context(USAGE)?.clone()),
            "--postgres" => postgres = Some(args.next().context(USAGE)?.clone()),
            number => rows = number.parse().with_context(|| format!("{number}: {USAGE}"))?,
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match (brokers, postgres) {
            (None, None) => embedded(rows).await,
            #[cfg(feature = "kafka")]
            (Some(brokers), Some(postgres)) => on_servers(&brokers, &postgres, rows).await,
            #[cfg(not(feature = "kafka"))]
            (Some(_), Some(_)) => bail!("build it with --features kafka"),
            _ => bail!("{USAGE}: Kafka and PostgreSQL go together"),
        }
    })
}

async fn embedded(rows: u32) -> Result<()> {
    let dir = TempDir::new()?;
    let store = format!("sqlite:{}", dir.path().join("db").display());
    let open = || Segments::open(dir.path().join("log"), SegmentsConfig::default());
    fill(open()?, &store, rows).await?;
    drain(open()?, &store).await?;
    let twin = dir.path().join("twin");
    std::fs::create_dir(&twin)?;
    crate::consume::twin::drain(&twin, rows).await
}

#[cfg(feature = "kafka")]
async fn on_servers(brokers: &str, postgres: &str, rows: u32) -> Result<()> {
    use crate::postgres::Fresh;
    use artel_bus::Prefixed;
    use artel_bus::kafka::{Kafka, KafkaConfig, Security};
    let open = || Kafka::open(KafkaConfig::new(brokers.split(','), Security::Plaintext));
    let prefix = format!("bench{}.", uuid::Uuid::now_v7().simple());
    let database = Fresh::new(postgres).await?;
    fill(Prefixed::over(open()?, &prefix), &database.url, rows).await?;
    drain(Prefixed::over(open()?, &prefix), &database.url).await?;
    database.remove().await?;
    let kafka = open()?;
    let database = Fresh::new(postgres).await?;
    let topic = format!("{prefix}twin");
    crate::consume::twin_kafka::drain(&kafka, brokers, &topic, &database.url, rows).await?;
    database.remove().await?;
    for topic in kafka.list().await?.iter().filter(|topic| topic.name.starts_with(&prefix)) {
        kafka.delete(&topic.name).await?;
    }
    kafka.close().await;
    Ok(())
}

fn node(bus: Arc<dyn Bus>, store: &str) -> Node {
    Node {
        services: services(&Shared::default()),
        roles: vec!["till"],
        catalogue: catalogue(),
        bus,
        store: store.to_owned(),
        limits: Limits { outbox_rows: u64::MAX, ..Limits::default() },
    }
}

/// `log` is the one that the outbox is emptied into later, as the database remembers it.
async fn fill(log: Arc<dyn Bus>, store: &str, rows: u32) -> Result<()> {
    let runtime = node(Arc::new(Shut(log)), store).start().await?;
    let ctx = runtime.ctx("till").context("the service runs")?;
    for first in (0..rows).step_by(CHUNK as usize) {
        ctx.ask(Sell { first, count: CHUNK.min(rows - first) }).await?;
    }
    runtime.stop(Duration::from_secs(10)).await;
    Ok(())
}

async fn waiting(store: &Store) -> Result<i64> {
    let mut read = store.db("till").await?.read().await?;
    let (n,): (i64,) = read.one("SELECT count(*) FROM flow_outbox", ()).await?;
    Ok(n)
}

async fn drain(bus: Arc<dyn Bus>, url: &str) -> Result<()> {
    let store = Store::open(url, StoreSettings::default()).await?;
    let rows = waiting(&store).await?;
    store.close().await;
    ensure!(rows > 0, "the outbox is empty: the log took all of it");
    let before = resident()?;
    let started = Instant::now();
    let runtime = node(bus, url).start().await?;
    let ctx = runtime.ctx("till").context("the service runs")?;
    let mut most = before;
    while ctx.query(crate::latency::Any {}).await? {
        most = most.max(resident()?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = started.elapsed().as_secs_f64();
    println!(
        "flow: {rows} rows in {took:.1} s, {:.0} rows/s; resident {before} MiB before, {most} MiB at most",
        rows as f64 / took
    );
    runtime.stop(Duration::from_secs(10)).await;
    Ok(())
}

/// In MiB.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
    let Some(kib) = line.split_whitespace().nth(1) else { bail!("VmRSS without a number") };
    Ok(kib.parse::<u64>()? >> 10)
}
