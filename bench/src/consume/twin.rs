//! By hand, embedded: a plain file of messages, serde_json, sqlx on one SQLite connection.

use super::pace::{Pace, Taken};
use super::{Body, How, PARTITIONS, RELAY, TOPIC, body, headers_by_hand, value_by_hand};
use crate::sqlite;
use anyhow::{Context, Result, ensure};
use artel_bus::partition;
use sqlx::{ConnectOptions, Connection, QueryBuilder, Sqlite, Transaction};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use uuid::Uuid;

const TABLES: &str = "CREATE TABLE sale (n BIGINT PRIMARY KEY, sku TEXT NOT NULL, text TEXT NOT NULL);
    CREATE TABLE place (topic TEXT NOT NULL, partition BIGINT NOT NULL, next BIGINT NOT NULL,
        PRIMARY KEY (topic, partition));
    CREATE TABLE high (topic TEXT NOT NULL, partition BIGINT NOT NULL, source TEXT NOT NULL, seq BIGINT NOT NULL,
        PRIMARY KEY (topic, partition, source));
    CREATE TABLE outbox (id BIGINT PRIMARY KEY, topic TEXT NOT NULL, partition BIGINT NOT NULL, message BLOB NOT NULL,
        name TEXT NOT NULL, key BLOB NOT NULL, headers BLOB NOT NULL, value BLOB NOT NULL, seq BIGINT, prev BIGINT);";

/// Messages as length, partition, JSON.
pub(super) fn write_file(dir: &Path, messages: u32) -> Result<PathBuf> {
    let path = dir.join("messages");
    let mut file = BufWriter::new(File::create(&path)?);
    for n in 0..messages {
        let body = body(n);
        let value = serde_json::to_vec(&body)?;
        file.write_all(&u32::try_from(value.len())?.to_le_bytes())?;
        file.write_all(&partition::of_key(body.sku.as_bytes(), PARTITIONS).to_le_bytes())?;
        file.write_all(&value)?;
    }
    file.flush()?;
    Ok(path)
}

struct Messages(BufReader<File>);

impl Messages {
    fn next(&mut self) -> Result<(u32, Body)> {
        let mut head = [0; 8];
        self.0.read_exact(&mut head)?;
        let length = u32::from_le_bytes(head[..4].try_into()?);
        let mut value = vec![0; length as usize];
        self.0.read_exact(&mut value)?;
        Ok((u32::from_le_bytes(head[4..].try_into()?), serde_json::from_slice(&value)?))
    }
}

pub(super) async fn measure(dir: &Path, file: &Path, how: How, messages: u32, size: usize) -> Result<Taken> {
    let mut on = sqlite::twin(dir).connect().await?;
    sqlx::raw_sql(TABLES).execute(&mut on).await?;
    let relay =
        tokio::spawn(publish(dir.to_owned(), if how == How::Decode { 0 } else { i64::from(messages) }));
    let mut pace = Pace::begin(messages);
    let mut source = Messages(BufReader::with_capacity(1 << 20, File::open(file)?));
    let mut next = [0i64; PARTITIONS as usize];
    for first in (0..messages).step_by(size) {
        let count = size.min((messages - first) as usize);
        let mut batch = Vec::with_capacity(count);
        for _ in 0..count {
            let (part, body) = source.next()?;
            *next.get_mut(part as usize).context("a partition of the file")? += 1;
            batch.push(body);
        }
        if how == How::Decode {
            std::hint::black_box(&batch);
            pace.saw(first + u32::try_from(count)?);
            continue;
        }
        let mut tx = on.begin_with("BEGIN IMMEDIATE").await?;
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

/// id, partition, message, name, key, headers, value
type Row = (i64, i64, Uuid, String, Vec<u8>, Vec<u8>, Vec<u8>);

/// The outbox to a plain file: rows are read in order, written, synced, deleted, on a connection of its own.
async fn publish(dir: PathBuf, messages: i64) -> Result<()> {
    let mut on = sqlite::twin(&dir).connect().await?;
    let mut file = File::create(dir.join("published"))?;
    let mut last = 0;
    while last < messages {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, partition, message, name, key, headers, value FROM outbox WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(last)
        .bind(RELAY)
        .fetch_all(&mut on)
        .await?;
        let Some((newest, ..)) = rows.last() else {
            // The twin has no wake-ups; it looks again soon.
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        last = *newest;
        let mut bytes = Vec::new();
        for (id, partition, message, name, key, headers, value) in &rows {
            let line = format!("{id} {partition} {message} {name} ");
            [line.as_bytes(), key, headers, value].iter().for_each(|part| bytes.extend_from_slice(part));
        }
        file = tokio::task::spawn_blocking(move || {
            file.write_all(&bytes)?;
            file.sync_data()?;
            anyhow::Ok(file)
        })
        .await??;
        sqlx::query("DELETE FROM outbox WHERE id <= $1").bind(last).execute(&mut on).await?;
    }
    Ok(on.close().await?)
}

async fn places(tx: &mut Transaction<'_, Sqlite>, next: &[i64], seq: i64) -> Result<()> {
    for (part, next) in (0i64..).zip(next) {
        sqlx::query(
            "INSERT INTO place (topic, partition, next) VALUES ($1, $2, $3)
             ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next",
        )
        .bind(TOPIC)
        .bind(part)
        .bind(*next)
        .execute(&mut **tx)
        .await?;
    }
    let mut marks = QueryBuilder::new("INSERT INTO high (topic, partition, source, seq) ");
    marks.push_values(0..i64::from(PARTITIONS), |mut row, part| {
        row.push_bind(TOPIC).push_bind(part).push_bind("artel/shop").push_bind(seq);
    });
    marks.push(" ON CONFLICT (topic, partition, source) DO UPDATE SET seq = excluded.seq");
    marks.build().execute(&mut **tx).await?;
    Ok(())
}

async fn rows(tx: &mut Transaction<'_, Sqlite>, how: How, batch: &[Body]) -> Result<()> {
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
    let mut insert = QueryBuilder::new("INSERT INTO sale (n, sku, text) ");
    insert.push_values(batch, |mut row, body| {
        row.push_bind(i64::from(body.n)).push_bind(&body.sku).push_bind(&body.text);
    });
    insert.build().execute(&mut **tx).await?;
    Ok(())
}

async fn outbox(tx: &mut Transaction<'_, Sqlite>, batch: &[Body], whole: bool) -> Result<()> {
    let mut insert = QueryBuilder::new(
        "INSERT INTO outbox (id, topic, partition, message, name, key, headers, value, seq, prev) ",
    );
    insert.push_values(batch, |mut row, body| {
        let part = i64::from(partition::of_key(body.sku.as_bytes(), PARTITIONS));
        let message = Uuid::now_v7();
        row.push_bind(i64::from(body.n) + 1)
            .push_bind("sink.note")
            .push_bind(part)
            .push_bind(message)
            .push_bind("sink.noted")
            .push_bind(body.sku.as_bytes())
            .push_bind(headers_by_hand(body.n, message))
            .push_bind(value_by_hand(body, whole))
            .push_bind(i64::from(body.n) + 1)
            .push_bind(i64::from(body.n));
    });
    insert.build().execute(&mut **tx).await?;
    Ok(())
}

/// Fills an outbox and empties it.
pub(crate) async fn drain(dir: &Path, rows: u32) -> Result<()> {
    let mut on = sqlite::twin(dir).connect().await?;
    sqlx::raw_sql(TABLES).execute(&mut on).await?;
    for first in (0..rows).step_by(2_000) {
        let bodies: Vec<Body> = (first..rows.min(first + 2_000)).map(body).collect();
        let mut tx = on.begin_with("BEGIN IMMEDIATE").await?;
        outbox(&mut tx, &bodies, true).await?;
        tx.commit().await?;
    }
    on.close().await?;
    let started = Instant::now();
    publish(dir.to_owned(), i64::from(rows)).await?;
    let took = started.elapsed().as_secs_f64();
    println!("by hand: {rows} rows in {took:.1} s, {:.0} rows/s", f64::from(rows) / took);
    Ok(())
}
