//! The plain loop: sqlx, the same table and indexes, the same rows, one connection that fires and no other work.

use super::{Late, Load, Measured, burst_of};
#[cfg(feature = "postgres")]
use crate::postgres::Fresh;
use anyhow::Result;
use sqlx::{ConnectOptions, Connection, QueryBuilder, SqliteConnection};
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;
use uuid::Uuid;

/// As many at once as the flow takes.
const ROUND: i64 = 2_000;
const CHUNK: u32 = 2_000;

const TABLES: &str = "CREATE TABLE timer (
        name TEXT NOT NULL, key TEXT NOT NULL, ordered_by TEXT, due BIGINT NOT NULL, body BYTEA NOT NULL,
        cause UUID NOT NULL, trace TEXT, attempts BIGINT NOT NULL, since BIGINT, PRIMARY KEY (name, key));
     CREATE INDEX timer_due ON timer (due);
     CREATE TABLE fired (n BIGINT PRIMARY KEY, late BIGINT NOT NULL);";

const TAKE_SQLITE: &str =
    "DELETE FROM timer WHERE rowid IN (SELECT rowid FROM timer WHERE due <= $1 ORDER BY due LIMIT $2)
     RETURNING key, due, body";

#[cfg(feature = "postgres")]
const TAKE_POSTGRES: &str = "DELETE FROM timer WHERE ctid = ANY (ARRAY(
         SELECT ctid FROM timer WHERE due <= $1 ORDER BY due LIMIT $2 FOR UPDATE SKIP LOCKED))
     RETURNING key, due, body";

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// What a loop does, once for each engine: only the types differ.
macro_rules! side {
    ($module:ident, $connection:ty, $take:expr, $begin:expr) => {
        mod $module {
            use super::*;

            /// Sets timers; number n is due at `from` + n * `step`.
            async fn set(on: &mut $connection, timers: u32, from: i64, step: f64) -> Result<()> {
                for first in (0..timers).step_by(CHUNK as usize) {
                    let mut tx = on.begin().await?;
                    let mut insert =
                        QueryBuilder::new("INSERT INTO timer (name, key, due, body, cause, attempts) ");
                    insert.push_values(first..timers.min(first + CHUNK), |mut row, n| {
                        let due = from + (f64::from(n) * step) as i64;
                        let body = format!("{{\"n\":{n},\"due\":\"{due}\"}}").into_bytes();
                        row.push_bind("bell.chime")
                            .push_bind(n.to_string())
                            .push_bind(due)
                            .push_bind(body)
                            .push_bind(Uuid::nil())
                            .push_bind(0i64);
                    });
                    insert.build().execute(&mut *tx).await?;
                    tx.commit().await?;
                }
                Ok(())
            }

            /// Fires until `timers` have fired; how late each was at its commit.
            async fn fire(on: &mut $connection, timers: u32) -> Result<Vec<i64>> {
                let mut late = Vec::with_capacity(timers as usize);
                while late.len() < timers as usize {
                    let mut tx = on.begin_with($begin).await?;
                    let at = now();
                    let taken: Vec<(String, i64, Vec<u8>)> =
                        sqlx::query_as($take).bind(at).bind(ROUND).fetch_all(&mut *tx).await?;
                    if taken.is_empty() {
                        tx.rollback().await?;
                        let next: Option<(i64,)> =
                            sqlx::query_as("SELECT due FROM timer ORDER BY due LIMIT 1")
                                .fetch_optional(&mut *on)
                                .await?;
                        let wait = next.map_or(0, |(due,)| (due - now()).max(0));
                        tokio::time::sleep(Duration::from_micros(wait.unsigned_abs())).await;
                        continue;
                    }
                    let mut insert = QueryBuilder::new("INSERT INTO fired (n, late) ");
                    insert.push_values(&taken, |mut row, (key, due, _)| {
                        row.push_bind(key.parse::<i64>().unwrap_or(0)).push_bind(at - due);
                    });
                    insert.build().execute(&mut *tx).await?;
                    tx.commit().await?;
                    let committed = now();
                    late.extend(taken.iter().map(|(_, due, _)| committed - due));
                }
                Ok(late)
            }

            pub async fn both(on: &mut $connection, load: &Load) -> Result<Measured> {
                let from = now() + 5_000_000 + i64::from(load.timers) * 100;
                set(on, load.timers, from, load.over.as_micros() as f64 / f64::from(load.timers)).await?;
                let late = Late::of(fire(on, load.timers).await?, None);
                sqlx::query("DELETE FROM fired").execute(&mut *on).await?;
                let many = burst_of(load);
                set(on, many, now(), 0.0).await?;
                let begun = Instant::now();
                fire(on, many).await?;
                Ok(Measured { late, burst: f64::from(many) / begun.elapsed().as_secs_f64() })
            }
        }
    };
}

side!(sqlite, SqliteConnection, TAKE_SQLITE, "BEGIN IMMEDIATE");
#[cfg(feature = "postgres")]
side!(postgres, sqlx::PgConnection, TAKE_POSTGRES, "BEGIN");

pub(super) async fn measure(load: &Load) -> Result<Measured> {
    match &load.postgres {
        #[cfg(feature = "postgres")]
        Some(url) => {
            let database = Fresh::new(url).await?;
            let mut on = sqlx::PgConnection::connect(&database.url).await?;
            sqlx::raw_sql(TABLES).execute(&mut on).await?;
            let measured = postgres::both(&mut on, load).await;
            on.close().await?;
            database.remove().await?;
            measured
        }
        _ => {
            let dir = TempDir::new()?;
            let mut on = crate::sqlite::twin(dir.path()).connect().await?;
            sqlx::raw_sql(TABLES).execute(&mut on).await?;
            sqlite::both(&mut on, load).await
        }
    }
}
