//! The plain loop: sqlx, the same table and indexes, the same rows, one connection and no other work.

use super::{How, Took};
use crate::cpu::Used;
#[cfg(feature = "postgres")]
use crate::postgres::Fresh;
use anyhow::Result;
use sqlx::{ConnectOptions, Connection, QueryBuilder, SqliteConnection};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use uuid::Uuid;

/// As many at once as the flow takes.
const ROUND: i64 = 500;
const CHUNK: u32 = 2_000;

const TABLES: &str = "CREATE TABLE effect (
        id UUID PRIMARY KEY, name TEXT NOT NULL, key TEXT, body BYTEA NOT NULL, trace TEXT, made_at BIGINT NOT NULL,
        due BIGINT NOT NULL, attempts BIGINT NOT NULL, owner UUID, claimed_until BIGINT, ok BOOLEAN, result BYTEA);
     CREATE INDEX effect_due ON effect (name, due, made_at);
     CREATE INDEX effect_key ON effect (name, key, made_at, id) WHERE key IS NOT NULL;
     CREATE INDEX effect_claimed ON effect (name, key) WHERE claimed_until IS NOT NULL AND key IS NOT NULL;
     CREATE TABLE blown (n BIGINT PRIMARY KEY, said BIGINT NOT NULL);";

const CLAIM_SQLITE: &str = "UPDATE effect SET owner = $1, claimed_until = 1, attempts = attempts + 1
     WHERE id IN (SELECT id FROM effect WHERE name = 'horn.blow' AND due <= $2 AND claimed_until IS NULL
         ORDER BY due, made_at LIMIT $3) RETURNING id, body";

#[cfg(feature = "postgres")]
const CLAIM_POSTGRES: &str = "UPDATE effect SET owner = $1, claimed_until = 1, attempts = attempts + 1
     WHERE id = ANY (ARRAY(SELECT id FROM effect WHERE name = 'horn.blow' AND due <= $2 AND claimed_until IS NULL
         ORDER BY due, made_at LIMIT (SELECT CAST($3 AS BIGINT)) FOR UPDATE SKIP LOCKED)) RETURNING id, body";

/// What a loop does, once for each engine: only the types differ.
macro_rules! side {
    ($module:ident, $connection:ty, $claim:expr, $begin:expr) => {
        mod $module {
            use super::*;

            async fn queue(on: &mut $connection, effects: u32) -> Result<()> {
                for first in (0..effects).step_by(CHUNK as usize) {
                    let mut tx = on.begin().await?;
                    let mut insert =
                        QueryBuilder::new("INSERT INTO effect (id, name, body, made_at, due, attempts) ");
                    insert.push_values(first..effects.min(first + CHUNK), |mut row, n| {
                        row.push_bind(Uuid::now_v7())
                            .push_bind("horn.blow")
                            .push_bind(format!("{{\"n\":{n}}}").into_bytes())
                            .push_bind(i64::from(n))
                            .push_bind(0i64)
                            .push_bind(0i64);
                    });
                    insert.build().execute(&mut *tx).await?;
                    tx.commit().await?;
                }
                Ok(())
            }

            async fn end(on: &mut $connection, how: How) -> Result<()> {
                loop {
                    let mut tx = on.begin_with($begin).await?;
                    let claimed: Vec<(Uuid, Vec<u8>)> = sqlx::query_as($claim)
                        .bind(Uuid::nil())
                        .bind(1i64)
                        .bind(ROUND)
                        .fetch_all(&mut *tx)
                        .await?;
                    tx.commit().await?;
                    if claimed.is_empty() {
                        return Ok(());
                    }
                    let numbers = claimed.iter().map(|(_, body)| {
                        let text = String::from_utf8_lossy(body);
                        text.trim_matches(|c: char| !c.is_ascii_digit()).parse::<i64>().unwrap_or(0)
                    });
                    let numbers: Vec<i64> = numbers.collect();
                    let mut tx = on.begin_with($begin).await?;
                    let mut delete = QueryBuilder::new("DELETE FROM effect WHERE id IN (");
                    let mut ids = delete.separated(", ");
                    claimed.iter().for_each(|(id, _)| {
                        ids.push_bind(*id);
                    });
                    delete.push(")");
                    delete.build().execute(&mut *tx).await?;
                    if how == How::One {
                        for n in numbers {
                            sqlx::query("INSERT INTO blown (n, said) VALUES ($1, $2)")
                                .bind(n)
                                .bind(n)
                                .execute(&mut *tx)
                                .await?;
                        }
                    } else {
                        let mut insert = QueryBuilder::new("INSERT INTO blown (n, said) ");
                        insert.push_values(numbers, |mut row, n| {
                            row.push_bind(n).push_bind(n);
                        });
                        insert.build().execute(&mut *tx).await?;
                    }
                    tx.commit().await?;
                }
            }

            pub async fn both(on: &mut $connection, effects: u32, how: How) -> Result<Took> {
                queue(on, effects).await?;
                let (begun, before) = (Instant::now(), Used::now());
                end(on, how).await?;
                Ok(Took {
                    queueing: Duration::ZERO,
                    ending: begun.elapsed(),
                    used: Used::now().since(before),
                })
            }
        }
    };
}

side!(sqlite, SqliteConnection, CLAIM_SQLITE, "BEGIN IMMEDIATE");
#[cfg(feature = "postgres")]
side!(postgres, sqlx::PgConnection, CLAIM_POSTGRES, "BEGIN");

pub(super) async fn measure(effects: u32, how: How, postgres: Option<&str>) -> Result<Took> {
    match postgres {
        #[cfg(feature = "postgres")]
        Some(url) => {
            let database = Fresh::new(url).await?;
            let mut on = sqlx::PgConnection::connect(&database.url).await?;
            sqlx::raw_sql(TABLES).execute(&mut on).await?;
            sqlx::raw_sql("SET enable_seqscan = off").execute(&mut on).await?;
            let measured = postgres::both(&mut on, effects, how).await;
            on.close().await?;
            database.remove().await?;
            measured
        }
        _ => {
            let dir = TempDir::new()?;
            let mut on = crate::sqlite::twin(dir.path()).connect().await?;
            sqlx::raw_sql(TABLES).execute(&mut on).await?;
            sqlite::both(&mut on, effects, how).await
        }
    }
}
