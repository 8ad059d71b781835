//! Both sides on servers.

use super::twin::{BEGUN, Mailer, SENT, TABLE};
use super::{address, event, flow, server};
use crate::kafka::{Batch, producer};
use crate::latency::kafka::consumer;
use crate::latency::{Shared, drive, print};
use crate::postgres::Fresh;
use anyhow::{Context, Result};
use artel_bus::kafka::{Kafka, KafkaConfig, Security};
use artel_bus::{Bus, Log, Prefixed, TopicSpec, Topics};
use rdkafka::message::Message as _;
use rdkafka::producer::BaseRecord;
use sqlx::{Connection, PgConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;

pub(super) async fn on_servers(brokers: &str, postgres: &str, rate: u32, seconds: u32) -> Result<()> {
    let open = || Kafka::open(KafkaConfig::new(brokers.split(','), Security::Plaintext));
    let kafka = open()?;
    kafka.check().await?;
    let prefix = format!("bench{}.", Uuid::now_v7().simple());
    let bus: Arc<dyn Bus> = Prefixed::over(kafka, &prefix);
    let database = Fresh::new(postgres).await?;
    let ours = flow(bus, &database.url, rate, seconds).await?;
    database.remove().await?;
    // The runtime has closed its log.
    let kafka = open()?;
    let topic = format!("{prefix}twin");
    let spec = TopicSpec { name: topic.clone(), partitions: 1, retention_ms: None, retention_bytes: None };
    kafka.make(spec).await?;
    let database = Fresh::new(postgres).await?;
    let hand = twin(brokers, &topic, &database.url, rate, seconds).await?;
    database.remove().await?;
    for topic in kafka.list().await?.iter().filter(|topic| topic.name.starts_with(&prefix)) {
        kafka.delete(&topic.name).await?;
    }
    kafka.close().await;
    print(rate, &ours, &hand);
    Ok(())
}

async fn twin(brokers: &str, topic: &str, postgres: &str, rate: u32, seconds: u32) -> Result<Vec<f64>> {
    let moments = Shared::default();
    let server = server(&moments).await?;
    let mut mailer = Mailer::connect(server.address()).await?;
    let mut on = PgConnection::connect(postgres).await?;
    sqlx::raw_sql(TABLE).execute(&mut on).await?;
    let (read, mut come) = mpsc::unbounded_channel::<u32>();
    let (consumer, over) = (consumer(brokers, topic)?, Arc::new(AtomicBool::new(false)));
    let ended = over.clone();
    let reading = tokio::task::spawn_blocking(move || {
        while !ended.load(Ordering::Relaxed) {
            let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
            let message = message?;
            let key = message.key().and_then(|key| std::str::from_utf8(key).ok()).context("a key")?;
            read.send(key.parse()?)?;
        }
        anyhow::Ok(())
    });
    let sending = tokio::spawn(async move {
        while let Some(n) = come.recv().await {
            let id = i64::from(n);
            sqlx::query(BEGUN).bind(id).bind(address(n)).bind(event(n)).execute(&mut on).await?;
            mailer.send(n).await?;
            sqlx::query(SENT).bind(id).execute(&mut on).await?;
        }
        anyhow::Ok(())
    });
    let (producer, topic) = (Arc::new(producer(brokers)?), topic.to_owned());
    let append = |n: u32, _| {
        let (producer, topic) = (producer.clone(), topic.clone());
        async move {
            tokio::task::spawn_blocking(move || {
                let (batch, all) = Batch::new(1)?;
                let (key, value) = (n.to_string(), event(n));
                let record = BaseRecord::with_opaque_to(&topic, batch).partition(0).key(&key).payload(&value);
                producer.send(record).map_err(|(error, _)| error)?;
                Ok(all.recv()?)
            })
            .await?
        }
    };
    let took = drive(&moments, (rate, 1, seconds), append).await?;
    over.store(true, Ordering::Relaxed);
    reading.await??;
    sending.await??;
    server.stop().await;
    Ok(took)
}
