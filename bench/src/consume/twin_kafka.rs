//! By hand, on servers: one consumer of rdkafka, serde_json, sqlx on one connection to PostgreSQL.

use super::pace::{Pace, Taken};
use super::{Body, How, PARTITIONS, RELAY, body, headers_by_hand, value_by_hand};
use crate::kafka::{Batch, Reports, producer};
use anyhow::{Context, Result, ensure};
use artel_bus::kafka::Kafka;
use artel_bus::{TopicSpec, Topics as _, partition};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sqlx::{Connection, PgConnection, Postgres, Transaction};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

const TABLES: &str = "CREATE TABLE sale (n BIGINT PRIMARY KEY, sku TEXT NOT NULL, text TEXT NOT NULL);
    CREATE TABLE place (topic TEXT NOT NULL, partition BIGINT NOT NULL, next BIGINT NOT NULL,
        PRIMARY KEY (topic, partition));
    CREATE TABLE high (topic TEXT NOT NULL, partition BIGINT NOT NULL, source TEXT NOT NULL, seq BIGINT NOT NULL,
        PRIMARY KEY (topic, partition, source));
    CREATE TABLE outbox (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic TEXT NOT NULL,
        partition BIGINT NOT NULL, message UUID NOT NULL, name TEXT NOT NULL, key BYTEA NOT NULL, headers BYTEA NOT NULL,
        value BYTEA NOT NULL, seq BIGINT, prev BIGINT);";

fn consumer(brokers: &str, topic: &str) -> Result<BaseConsumer> {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", brokers)
        .set("group.id", "artel.bench")
        .set("enable.auto.commit", "false");
    client.set("fetch.queue.backoff.ms", "5").set("fetch.wait.max.ms", "100").set("check.crcs", "true");
    let consumer: BaseConsumer = client.create()?;
    let mut list = TopicPartitionList::new();
    for part in 0..PARTITIONS {
        list.add_partition_offset(topic, i32::try_from(part)?, Offset::Offset(0))?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

/// From the making of the consumer to the commit of the last message.
pub(super) async fn measure(
    brokers: &str,
    topic: &str,
    postgres: &str,
    how: How,
    messages: u32,
    size: usize,
) -> Result<Taken> {
    let mut on = PgConnection::connect(postgres).await?;
    sqlx::raw_sql(TABLES).execute(&mut on).await?;
    let last = if how == How::Decode { 0 } else { i64::from(messages) };
    let relay = tokio::spawn(publish(brokers.to_owned(), format!("{topic}.out"), postgres.to_owned(), last));
    let mut pace = Pace::begin(messages);
    let consumer = consumer(brokers, topic)?;
    let mut next = [0i64; PARTITIONS as usize];
    for first in (0..messages).step_by(size) {
        let count = size.min((messages - first) as usize);
        let mut batch: Vec<Body> = Vec::with_capacity(count);
        tokio::task::block_in_place(|| {
            for _ in 0..count {
                let message = consumer.poll(Duration::from_secs(20)).context("no message for 20 s")??;
                let part = usize::try_from(message.partition())?;
                *next.get_mut(part).context("a partition of the topic")? = message.offset() + 1;
                batch.push(serde_json::from_slice(message.payload().unwrap_or_default())?);
            }
            anyhow::Ok(())
        })?;
        if how == How::Decode {
            std::hint::black_box(&batch);
            pace.saw(first + u32::try_from(count)?);
            continue;
        }
        let mut tx = on.begin().await?;
        places(&mut tx, &next, i64::from(first) + count as i64).await?;
        rows(&mut tx, how, &batch).await?;
        outbox(&mut tx, &batch, false).await?;
        tx.commit().await?;
        pace.saw(first + u32::try_from(count)?);
    }
    let taken = pace.end(&format!("{how:?} by hand"));
    if how != How::Decode {
        let (n,): (i64,) = sqlx::query_as("SELECT count(*) FROM sale").fetch_one(&mut on).await?;
        ensure!(n == i64::from(messages), "{n} rows");
    }
    relay.await??;
    on.close().await?;
    Ok(taken)
}

/// id, partition, key, headers, value
type Row = (i64, i64, Vec<u8>, Vec<u8>, Vec<u8>);

/// Returns when all are there.
fn send(producer: &ThreadedProducer<Reports>, topic: &str, rows: &[Row]) -> Result<()> {
    let (batch, all) = Batch::new(rows.len())?;
    for (_, partition, key, lines, value) in rows {
        let mut headers = OwnedHeaders::new_with_capacity(8);
        for (key, value) in std::str::from_utf8(lines)?.lines().filter_map(|line| line.split_once(':')) {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let record = BaseRecord::with_opaque_to(topic, batch.clone())
            .partition(i32::try_from(*partition)?)
            .key(key)
            .payload(value)
            .headers(headers);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    Ok(all.recv()?)
}

/// The outbox to a topic: rows are read in order, sent, awaited, deleted, on a connection of its own.
async fn publish(brokers: String, topic: String, postgres: String, messages: i64) -> Result<()> {
    let mut on = PgConnection::connect(&postgres).await?;
    let producer = Arc::new(producer(&brokers)?);
    let mut sent = 0;
    while sent < messages {
        let rows: Vec<Row> =
            sqlx::query_as("SELECT id, partition, key, headers, value FROM outbox ORDER BY id LIMIT $1")
                .bind(RELAY)
                .fetch_all(&mut on)
                .await?;
        let Some((newest, ..)) = rows.last() else {
            // The twin has no wake-ups; it looks again soon.
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        let (newest, count) = (*newest, i64::try_from(rows.len())?);
        let (producer, topic) = (producer.clone(), topic.clone());
        tokio::task::spawn_blocking(move || send(&producer, &topic, &rows)).await??;
        // One connection writes the rows, so that none with a lower number comes later.
        sqlx::query("DELETE FROM outbox WHERE id <= $1").bind(newest).execute(&mut on).await?;
        sent += count;
    }
    Ok(on.close().await?)
}

async fn places(tx: &mut Transaction<'_, Postgres>, next: &[i64], seq: i64) -> Result<()> {
    let parts: Vec<i64> = (0..i64::from(PARTITIONS)).collect();
    sqlx::query(
        "INSERT INTO place (topic, partition, next) SELECT $1, * FROM UNNEST($2::BIGINT[], $3::BIGINT[])
         ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next",
    )
    .bind(super::TOPIC)
    .bind(&parts)
    .bind(next)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "INSERT INTO high (topic, partition, source, seq) SELECT $1, p, 'artel/shop', $3 FROM UNNEST($2::BIGINT[]) AS p
         ON CONFLICT (topic, partition, source) DO UPDATE SET seq = excluded.seq",
    )
    .bind(super::TOPIC)
    .bind(&parts)
    .bind(seq)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn rows(tx: &mut Transaction<'_, Postgres>, how: How, batch: &[Body]) -> Result<()> {
    if how == How::One {
        for body in batch {
            sqlx::query("INSERT INTO sale (n, sku, text) VALUES ($1, $2, $3)")
                .bind(i64::from(body.n))
                .bind(&body.sku)
                .bind(&body.text)
                .execute(&mut **tx)
                .await?;
        }
        return Ok(());
    }
    let n: Vec<i64> = batch.iter().map(|body| i64::from(body.n)).collect();
    let sku: Vec<&str> = batch.iter().map(|body| body.sku.as_str()).collect();
    let text: Vec<&str> = batch.iter().map(|body| body.text.as_str()).collect();
    sqlx::query("INSERT INTO sale (n, sku, text) SELECT * FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::TEXT[])")
        .bind(n)
        .bind(sku)
        .bind(text)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn outbox(tx: &mut Transaction<'_, Postgres>, batch: &[Body], whole: bool) -> Result<()> {
    let part: Vec<i64> =
        batch.iter().map(|body| i64::from(partition::of_key(body.sku.as_bytes(), PARTITIONS))).collect();
    let id: Vec<Uuid> = batch.iter().map(|_| Uuid::now_v7()).collect();
    let key: Vec<&[u8]> = batch.iter().map(|body| body.sku.as_bytes()).collect();
    let headers: Vec<Vec<u8>> =
        batch.iter().zip(&id).map(|(body, id)| headers_by_hand(body.n, *id)).collect();
    let value: Vec<Vec<u8>> = batch.iter().map(|body| value_by_hand(body, whole)).collect();
    let seq: Vec<i64> = batch.iter().map(|body| i64::from(body.n) + 1).collect();
    sqlx::query(
        "INSERT INTO outbox (topic, partition, message, name, key, headers, value, seq, prev)
         SELECT 'sink.note', p, m, 'sink.noted', k, h, v, s, s - 1
         FROM UNNEST($1::BIGINT[], $2::UUID[], $3::BYTEA[], $4::BYTEA[], $5::BYTEA[], $6::BIGINT[])
             AS rows (p, m, k, h, v, s)",
    )
    .bind(part)
    .bind(id)
    .bind(key)
    .bind(headers)
    .bind(value)
    .bind(seq)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Fills an outbox and empties it.
pub(crate) async fn drain(
    kafka: &Kafka,
    brokers: &str,
    topic: &str,
    postgres: &str,
    rows: u32,
) -> Result<()> {
    let out = format!("{topic}.out");
    let spec =
        TopicSpec { name: out.clone(), partitions: PARTITIONS, retention_ms: None, retention_bytes: None };
    kafka.make(spec).await?;
    let mut on = PgConnection::connect(postgres).await?;
    sqlx::raw_sql(TABLES).execute(&mut on).await?;
    for first in (0..rows).step_by(2_000) {
        let bodies: Vec<Body> = (first..rows.min(first + 2_000)).map(body).collect();
        let mut tx = on.begin().await?;
        outbox(&mut tx, &bodies, true).await?;
        tx.commit().await?;
    }
    on.close().await?;
    let started = Instant::now();
    publish(brokers.to_owned(), out, postgres.to_owned(), i64::from(rows)).await?;
    let took = started.elapsed().as_secs_f64();
    println!("by hand: {rows} rows in {took:.1} s, {:.0} rows/s", f64::from(rows) / took);
    Ok(())
}
