//! The plain loop: sqlx, rows as large, one connection and no other work.

use super::Took;
use crate::cpu::Used;
#[cfg(feature = "postgres")]
use crate::postgres::Fresh;
use anyhow::Result;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, QueryBuilder, SqliteConnection};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use uuid::Uuid;

/// As many at once as the module stores.
const ROUND: i64 = 500;
const CHUNK: u32 = 1_000;

const TABLES: &str = "CREATE TABLE delivery (
        id UUID PRIMARY KEY, rev BIGINT NOT NULL, state TEXT NOT NULL, plan TEXT NOT NULL, trail TEXT NOT NULL,
        changed_at BIGINT NOT NULL);
     CREATE INDEX delivery_open ON delivery (state, id) WHERE state <> 'sent' AND state <> 'delivered';
     CREATE TABLE event (id UUID PRIMARY KEY, topic TEXT NOT NULL, headers TEXT NOT NULL, value TEXT NOT NULL);";

/// As long as the module's own.
const PLAN: &str = r#"{"mode":"first","legs":[{"channel":"sms","started":true,"attempts":[{"provider":"none","begun_at":"2026-01-01T00:00:00.000000Z","fact":"taken"}]}]}"#;
const LINE: &str = r#"{"at":"2026-01-01T00:00:00.000000Z","what":"answered","channel":"sms","attempt":1,"from":"sending","to":"sent"}"#;
const HEADERS: &str = "ce_id ce_type ce_source ce_time ce_specversion content-type artel_seq artel_prev, and what stands in them: some 300 bytes with the ids, \
     the times and the names of a message such as notify.delivery-changed, its trace, and its cause.";
const EVENT: &str = r#"{"delivery":"0190f5a0-0000-7000-8000-000000000001","state":"sent","channel":"sms","leg_state":"sent","at":"2026-01-01T00:00:00.000000Z"}"#;

/// What a loop does, once for each engine: only the types differ.
macro_rules! side {
    ($module:ident, $connection:ty, $begin:expr) => {
        mod $module {
            use super::*;

            async fn accept(on: &mut $connection, messages: u32) -> Result<()> {
                for first in (0..messages).step_by(CHUNK as usize) {
                    let mut tx = on.begin().await?;
                    let mut insert =
                        QueryBuilder::new("INSERT INTO delivery (id, rev, state, plan, trail, changed_at) ");
                    insert.push_values(first..messages.min(first + CHUNK), |mut row, _| {
                        row.push_bind(Uuid::now_v7())
                            .push_bind(1i64)
                            .push_bind("accepted")
                            .push_bind(PLAN)
                            .push_bind(LINE)
                            .push_bind(0i64);
                    });
                    insert.build().execute(&mut *tx).await?;
                    tx.commit().await?;
                }
                Ok(())
            }

            async fn send(on: &mut $connection) -> Result<()> {
                loop {
                    let ids: Vec<(Uuid,)> = sqlx::query_as(
                        "SELECT id FROM delivery WHERE state <> 'sent' AND state <> 'delivered' AND state = 'accepted'
                         ORDER BY id LIMIT $1",
                    )
                    .bind(ROUND)
                    .fetch_all(&mut *on)
                    .await?;
                    if ids.is_empty() {
                        return Ok(());
                    }
                    let mut tx = on.begin_with($begin).await?;
                    let mut update =
                        QueryBuilder::new("UPDATE delivery SET rev = rev + 1, state = 'sent', changed_at = 1, plan = ");
                    update.push_bind(PLAN).push(", trail = trail || ").push_bind(LINE).push(" WHERE id IN (");
                    let mut list = update.separated(", ");
                    ids.iter().for_each(|(id,)| {
                        list.push_bind(*id);
                    });
                    update.push(")");
                    update.build().execute(&mut *tx).await?;
                    let mut insert = QueryBuilder::new("INSERT INTO event (id, topic, headers, value) ");
                    insert.push_values(&ids, |mut row, (id,)| {
                        row.push_bind(*id).push_bind("notify.delivery").push_bind(HEADERS).push_bind(EVENT);
                    });
                    insert.build().execute(&mut *tx).await?;
                    tx.commit().await?;
                    let mut delete = QueryBuilder::new("DELETE FROM event WHERE id IN (");
                    let mut list = delete.separated(", ");
                    ids.iter().for_each(|(id,)| {
                        list.push_bind(*id);
                    });
                    delete.push(")");
                    delete.build().execute(&mut *on).await?;
                }
            }

            pub async fn both(on: &mut $connection, messages: u32) -> Result<Took> {
                let begun = Instant::now();
                accept(on, messages).await?;
                let accepting: Duration = begun.elapsed();
                let (begun, before) = (Instant::now(), Used::now());
                send(on).await?;
                Ok(Took { accepting, sending: begun.elapsed(), used: Used::now().since(before) })
            }
        }
    };
}

side!(sqlite, SqliteConnection, "BEGIN IMMEDIATE");
#[cfg(feature = "postgres")]
side!(postgres, sqlx::PgConnection, "BEGIN");

pub(super) async fn measure(messages: u32, postgres: Option<&str>) -> Result<Took> {
    match postgres {
        #[cfg(feature = "postgres")]
        Some(url) => {
            let database = Fresh::new(url).await?;
            let mut on = sqlx::PgConnection::connect(&database.url).await?;
            sqlx::raw_sql(TABLES).execute(&mut on).await?;
            sqlx::raw_sql("SET enable_seqscan = off").execute(&mut on).await?;
            let measured = postgres::both(&mut on, messages).await;
            on.close().await?;
            database.remove().await?;
            measured
        }
        _ => {
            let dir = TempDir::new()?;
            let mut on = SqliteConnectOptions::new()
                .filename(dir.path().join("twin.db"))
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .connect()
                .await?;
            sqlx::raw_sql(TABLES).execute(&mut on).await?;
            sqlite::both(&mut on, messages).await
        }
    }
}
