//! The adapter on real brokers.
//!
//! ARTEL_TEST_KAFKA is the address of one that all tests share; ARTEL_TEST_KAFKA_LIBS the folder with Kafka's jars, for
//! tests that need brokers of their own. Without them the tests say that they are skipped; on CI they fail.

mod conformance;
mod damage;
mod failover;
mod foreign;
mod own;
mod refused;
mod secure;
mod tools;
mod traps;

use artel_bus::kafka::{Kafka, KafkaConfig, Security};
use artel_bus::{BusError, Fetch, Log, Received, Record, TopicSpec, Topics};
use artel_message::Time;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// What hangs has failed. Brokers start and elect leaders in the meantime.
const PATIENCE: Duration = Duration::from_secs(120);
const ALL: Fetch = Fetch { max_records: usize::MAX, max_bytes: usize::MAX };

/// The shared broker, or a reason said aloud.
fn shared(test: &str) -> Option<String> {
    if let Ok(brokers) = std::env::var("ARTEL_TEST_KAFKA") {
        return Some(brokers);
    }
    assert!(
        std::env::var("CI").map_or(true, |ci| ci != "true"),
        "ARTEL_TEST_KAFKA is not set; `cargo xtask backends up` starts a broker"
    );
    println!(
        "skipped: kafka_broker::{test}: ARTEL_TEST_KAFKA is not set (a broker, from cargo xtask backends up)"
    );
    None
}

fn config(brokers: &str) -> KafkaConfig {
    let own = uuid::Uuid::now_v7();
    KafkaConfig {
        group_prefix: format!("artel-test-{own}."),
        ..KafkaConfig::new(brokers.split(','), Security::Plaintext)
    }
}

fn open(config: KafkaConfig) -> Arc<Kafka> {
    Kafka::open(config).expect("the settings fit")
}

/// Opened, with brokers that answer.
async fn ready(config: KafkaConfig) -> Arc<Kafka> {
    let bus = open(config);
    until("the brokers answer", async || bus.check().await.is_ok()).await;
    bus
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("it should come to an end: {what}"))
}

/// Looks again and again.
async fn until(what: &str, mut met: impl AsyncFnMut() -> bool) {
    within(what, async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while !met().await {
            look.tick().await;
        }
    })
    .await;
}

fn fresh(partitions: u32) -> TopicSpec {
    let name = format!("test-{}", uuid::Uuid::now_v7());
    TopicSpec { name, partitions, retention_ms: None, retention_bytes: None }
}

/// A topic that all brokers may still have to hear of.
async fn topic(bus: &Kafka, partitions: u32) -> String {
    let spec = fresh(partitions);
    within("making a topic", async {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        while let Err(error) = bus.make(spec.clone()).await {
            assert!(error.is_retriable(), "{error}");
            look.tick().await;
        }
    })
    .await;
    spec.name
}

fn record(value: &[u8]) -> Record<'_> {
    Record { key: None, value: Some(value), headers: &[], time: Time::from_millis(1_700_000_000_000) }
}

async fn append(bus: &Kafka, topic: &str, texts: &[String]) -> Result<i64, BusError> {
    let batch: Vec<Record<'_>> = texts.iter().map(|text| record(text.as_bytes())).collect();
    bus.append(topic, 0, &batch).await.map(|appended| appended.base)
}

fn text(record: &Received) -> String {
    String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned()
}

/// Everything from `from` to the present end.
async fn read_all(bus: &Kafka, topic: &str, from: i64) -> Vec<Received> {
    let end = bus.bounds(topic, 0).await.expect("bounds").end;
    let (mut at, mut all) = (from, Vec::new());
    while at < end {
        let fetched = within("a read", bus.read(topic, 0, at, ALL)).await.expect("a read succeeds");
        assert!(fetched.next > at, "a read below the end makes progress");
        at = fetched.next;
        all.extend(fetched.records);
    }
    all
}
