//! Both sides on servers.

use super::{RATES, Shared, drive, flow, note, print};
use crate::kafka::{Batch, producer};
use crate::postgres::Fresh;
use anyhow::{Context, Result};
use artel_bus::kafka::{Kafka, KafkaConfig, Security};
use artel_bus::{Bus, Log, Prefixed, TopicSpec, Topics};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sqlx::{Connection, PgConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use uuid::Uuid;

pub(super) async fn on_servers(brokers: &str, postgres: &str, seconds: u32) -> Result<()> {
    for (rate, at_once) in RATES {
        let kafka = Kafka::open(KafkaConfig::new(brokers.split(','), Security::Plaintext))?;
        kafka.check().await?;
        let prefix = format!("bench{}.", Uuid::now_v7().simple());
        let bus: Arc<dyn Bus> = Prefixed::over(kafka.clone(), &prefix);
        let database = Fresh::new(postgres).await?;
        let ours = flow(bus.clone(), &database.url, rate, at_once, seconds).await?;
        database.remove().await?;
        // The runtime has closed its log.
        let kafka = Kafka::open(KafkaConfig::new(brokers.split(','), Security::Plaintext))?;
        let topic = format!("{prefix}twin");
        let spec =
            TopicSpec { name: topic.clone(), partitions: 1, retention_ms: None, retention_bytes: None };
        kafka.make(spec).await?;
        let database = Fresh::new(postgres).await?;
        let hand = twin(brokers, &topic, &database.url, (rate, at_once, seconds)).await?;
        database.remove().await?;
        for topic in kafka.list().await?.iter().filter(|topic| topic.name.starts_with(&prefix)) {
            kafka.delete(&topic.name).await?;
        }
        kafka.close().await;
        print(rate, &ours, &hand);
    }
    Ok(())
}

pub(crate) fn consumer(brokers: &str, topic: &str) -> Result<BaseConsumer> {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", brokers)
        .set("group.id", "artel.bench")
        .set("enable.auto.commit", "false");
    client.set("fetch.wait.max.ms", "100");
    let consumer: BaseConsumer = client.create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(0))?;
    consumer.assign(&list)?;
    Ok(consumer)
}

async fn twin(brokers: &str, topic: &str, postgres: &str, load: (u32, u32, u32)) -> Result<Vec<f64>> {
    let mut on = PgConnection::connect(postgres).await?;
    sqlx::raw_sql("CREATE TABLE outbox (id BIGINT PRIMARY KEY, value TEXT NOT NULL)")
        .execute(&mut on)
        .await?;
    let mut reader = PgConnection::connect(postgres).await?;
    let (wake, mut woken) = mpsc::unbounded_channel::<()>();
    let (moments, over) = (Shared::default(), Arc::new(AtomicBool::new(false)));
    let (handled, consumer, ended) = (moments.clone(), consumer(brokers, topic)?, over.clone());
    let reading = tokio::task::spawn_blocking(move || {
        while !ended.load(Ordering::Relaxed) {
            let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
            let message = message?;
            let key = message.key().and_then(|key| std::str::from_utf8(key).ok()).context("a key")?;
            note(&handled, key.parse()?, false);
        }
        anyhow::Ok(())
    });
    let (producer, topic) = (Arc::new(producer(brokers)?), topic.to_owned());
    let relay = tokio::spawn(async move {
        let mut last = -1i64;
        while woken.recv().await.is_some() {
            let rows: Vec<(i64, String)> =
                sqlx::query_as("SELECT id, value FROM outbox WHERE id > $1 ORDER BY id")
                    .bind(last)
                    .fetch_all(&mut reader)
                    .await?;
            let Some((newest, _)) = rows.last() else { continue };
            last = *newest;
            let (producer, topic) = (producer.clone(), topic.clone());
            tokio::task::spawn_blocking(move || {
                let (batch, all) = Batch::new(rows.len())?;
                for (id, value) in &rows {
                    let key = id.to_string();
                    let record = BaseRecord::with_opaque_to(&topic, batch.clone())
                        .partition(0)
                        .key(&key)
                        .payload(value);
                    producer.send(record).map_err(|(error, _)| error)?;
                }
                all.recv()?;
                anyhow::Ok(())
            })
            .await??;
        }
        anyhow::Ok(())
    });
    let on = Arc::new(Mutex::new(on));
    let commit = |first: u32, count: u32| {
        let (on, wake) = (on.clone(), wake.clone());
        async move {
            let mut on = on.lock().await;
            let mut tx = on.begin().await?;
            for n in first..first + count {
                sqlx::query("INSERT INTO outbox (id, value) VALUES ($1, $2)")
                    .bind(i64::from(n))
                    .bind("x".repeat(256))
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
            wake.send(())?;
            Ok(())
        }
    };
    let took = drive(&moments, load, commit).await?;
    drop(wake);
    relay.await??;
    over.store(true, Ordering::Relaxed);
    reading.await??;
    Ok(took)
}
