//! The log port on Kafka beside a plain loop on rdkafka, on the same brokers in the same run.
//!
//! **Append.** The port: callers that each append a batch, wait until it is durable, and append the next. Its twin: one
//! producer with the same promises (acks=all, idempotent), whose callers' threads each send the same records and wait for
//! the reports of a batch before the next; nothing is checked or counted.
//!
//! **Read.** The port: `read` from the first offset to the last, 1 MiB at a time, one task a partition, into records with
//! owned headers. Its twin: one consumer with the same partitions assigned, which looks at every key, value and header.

use anyhow::{Context as _, Result};
use artel_bus::kafka::{Kafka, KafkaConfig, Security};
use artel_bus::{Fetch, Log, Record, TopicSpec, Topics};
use artel_message::Time;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{DeliveryResult, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const RUNS: usize = 5;
const VALUE_BYTES: usize = 256;
const PARTITIONS: u32 = 4;

struct Load {
    name: &'static str,
    callers: usize,
    batch: usize,
    /// Appends of all callers together.
    appends: usize,
    headers: bool,
}

const LOADS: [Load; 3] = [
    Load { name: "8 callers, batches of 1,000", callers: 8, batch: 1_000, appends: 800, headers: false },
    Load {
        name: "8 callers, batches of 1,000, 9 headers",
        callers: 8,
        batch: 1_000,
        appends: 400,
        headers: true,
    },
    Load { name: "64 callers, single records", callers: 64, batch: 1, appends: 40_000, headers: false },
];

pub fn run(args: &[String]) -> Result<()> {
    let [brokers] = args else { anyhow::bail!("usage: artel-bench kafka BROKERS") };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let bus = Kafka::open(KafkaConfig::new(brokers.split(','), Security::Plaintext))?;
    runtime.block_on(bus.check())?;
    println!(
        "values of {VALUE_BYTES} bytes, {PARTITIONS} partitions; records/s, medians of {RUNS} alternating runs\n"
    );
    println!("| | port append | rdkafka | ratio | port read | rdkafka | ratio |");
    println!("|---|---|---|---|---|---|---|");
    for load in &LOADS {
        let mut rates: [Vec<f64>; 4] = Default::default();
        // The first run warms the brokers up.
        for run in 0..=RUNS {
            let measured = measure(&runtime, &bus, brokers, load)?;
            if run > 0 {
                rates.iter_mut().zip(measured).for_each(|(all, rate)| all.push(rate));
            }
        }
        let [append, raw_append, read, raw_read] = rates.map(median);
        println!(
            "| {} | {append:.0} | {raw_append:.0} | {:.0} % | {read:.0} | {raw_read:.0} | {:.0} % |",
            load.name,
            100.0 * append / raw_append,
            100.0 * read / raw_read
        );
    }
    runtime.block_on(bus.close());
    Ok(())
}

fn measure(
    runtime: &tokio::runtime::Runtime,
    bus: &Arc<Kafka>,
    brokers: &str,
    load: &Load,
) -> Result<[f64; 4]> {
    let count = load.batch * load.appends;
    let rate = |took: Duration| count as f64 / took.as_secs_f64();
    let (own, raw) = (runtime.block_on(topic(bus, "own"))?, runtime.block_on(topic(bus, "raw"))?);
    let append = runtime.block_on(append_port(bus, &own, load))?;
    let raw_append = append_raw(brokers, &raw, load)?;
    let read = runtime.block_on(read_port(bus, &own))?;
    let raw_read = read_raw(brokers, &own, count)?;
    runtime.block_on(async {
        bus.delete(&own).await?;
        bus.delete(&raw).await
    })?;
    Ok([append, raw_append, read, raw_read].map(rate))
}

async fn topic(bus: &Kafka, kind: &str) -> Result<String> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let name = format!("bench-{kind}-{}", since.as_nanos());
    let spec = TopicSpec { name, partitions: PARTITIONS, retention_ms: None, retention_bytes: None };
    Ok(bus.make(spec).await?.name)
}

fn headers(load: &Load) -> &'static [(&'static str, Option<&'static [u8]>)] {
    if load.headers { &crate::log::HEADERS } else { &[] }
}

/// The partition of a caller's append.
fn place(caller: usize, append: usize) -> Result<u32> {
    Ok(u32::try_from(caller + append)? % PARTITIONS)
}

async fn append_port(bus: &Arc<Kafka>, topic: &str, load: &Load) -> Result<Duration> {
    let start = Instant::now();
    let callers: Vec<_> = (0..load.callers)
        .map(|caller| {
            let (bus, topic, batch, headers) = (bus.clone(), topic.to_owned(), load.batch, headers(load));
            let appends = load.appends / load.callers;
            tokio::spawn(async move {
                let value = [b'v'; VALUE_BYTES];
                let time = Time::from_millis(1_700_000_000_000);
                let record = Record { key: Some(b"key-of-16-bytes."), value: Some(&value), headers, time };
                let records = vec![record; batch];
                for append in 0..appends {
                    bus.append(&topic, place(caller, append)?, &records).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    Ok(start.elapsed())
}

/// Counts the reports of a batch and tells its caller.
pub(crate) struct Reports;
pub(crate) struct Batch {
    left: AtomicU64,
    done: mpsc::SyncSender<()>,
}

impl Batch {
    /// A batch of so many records, and what tells when all are there.
    pub(crate) fn new(count: usize) -> Result<(Arc<Batch>, mpsc::Receiver<()>)> {
        let (done, answer) = mpsc::sync_channel(1);
        Ok((Arc::new(Batch { left: AtomicU64::new(u64::try_from(count)?), done }), answer))
    }
}

/// With the promises that ours makes.
pub(crate) fn producer(brokers: &str) -> Result<ThreadedProducer<Reports>> {
    let mut settings = client(brokers);
    settings.set("acks", "all").set("enable.idempotence", "true").set("linger.ms", "1");
    settings.set("queue.buffering.max.messages", "0").set("batch.num.messages", "100000");
    Ok(settings.create_with_context(Reports)?)
}

impl ClientContext for Reports {}
impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Batch>;

    fn delivery(&self, result: &DeliveryResult<'_>, batch: Arc<Batch>) {
        if result.is_ok() && batch.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let _ = batch.done.send(());
        }
    }
}

fn client(brokers: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers);
    client
}

fn append_raw(brokers: &str, topic: &str, load: &Load) -> Result<Duration> {
    let producer = producer(brokers)?;
    // Connected, and with an id, before the clock starts.
    send(&producer, topic, 0, load, 1)?.recv()?;
    let start = Instant::now();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..load.callers)
            .map(|caller| {
                let producer = &producer;
                scope.spawn(move || {
                    for append in 0..load.appends / load.callers {
                        send(producer, topic, place(caller, append)?, load, load.batch)?.recv()?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        callers
            .into_iter()
            .try_for_each(|caller| caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))?)
    })?;
    Ok(start.elapsed())
}

fn send(
    producer: &ThreadedProducer<Reports>,
    topic: &str,
    partition: u32,
    load: &Load,
    count: usize,
) -> Result<mpsc::Receiver<()>> {
    let value = [b'v'; VALUE_BYTES];
    let (batch, answer) = Batch::new(count)?;
    for _ in 0..count {
        let mut record = BaseRecord::with_opaque_to(topic, batch.clone())
            .partition(i32::try_from(partition)?)
            .key(&b"key-of-16-bytes."[..])
            .payload(&value[..])
            .timestamp(1_700_000_000_000);
        if load.headers {
            let all = OwnedHeaders::new_with_capacity(9);
            let all = headers(load).iter().fold(all, |all, (key, value)| {
                all.insert(Header { key, value: Some(value.unwrap_or_default()) })
            });
            record = record.headers(all);
        }
        producer.send(record).map_err(|(error, _)| error)?;
    }
    Ok(answer)
}

async fn read_port(bus: &Arc<Kafka>, topic: &str) -> Result<Duration> {
    let start = Instant::now();
    let readers: Vec<_> = (0..PARTITIONS)
        .map(|partition| {
            let (bus, topic) = (bus.clone(), topic.to_owned());
            tokio::spawn(async move {
                let end = bus.bounds(&topic, partition).await?.end;
                let fetch = Fetch { max_records: usize::MAX, max_bytes: 1 << 20 };
                let mut at = 0;
                while at < end {
                    let fetched = bus.read(&topic, partition, at, fetch).await?;
                    std::hint::black_box(&fetched.records);
                    at = fetched.next;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for reader in readers {
        reader.await??;
    }
    Ok(start.elapsed())
}

fn read_raw(brokers: &str, topic: &str, count: usize) -> Result<Duration> {
    let mut settings = client(brokers);
    settings.set("group.id", "artel.bench").set("enable.auto.commit", "false").set("check.crcs", "true");
    settings.set("fetch.queue.backoff.ms", "5").set("fetch.wait.max.ms", "100");
    let start = Instant::now();
    let consumer: BaseConsumer = settings.create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, i32::try_from(partition)?, Offset::Offset(0))?;
    }
    consumer.assign(&list)?;
    for _ in 0..count {
        let message = consumer.poll(Duration::from_secs(20)).context("no message for 20 s")??;
        std::hint::black_box((message.key(), message.payload(), message.timestamp()));
        for header in message.headers().iter().flat_map(|headers| headers.iter()) {
            std::hint::black_box((header.key, header.value));
        }
    }
    Ok(start.elapsed())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
