//! An outbox by hand, embedded.

use super::{Shared, drive, note};
use crate::sqlite;
use anyhow::Result;
use sqlx::{ConnectOptions, Connection};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc};

pub(super) async fn embedded(dir: &Path, rate: u32, at_once: u32, seconds: u32) -> Result<Vec<f64>> {
    let mut on = sqlite::twin(dir).connect().await?;
    sqlx::raw_sql("CREATE TABLE outbox (id BIGINT PRIMARY KEY, value TEXT NOT NULL)")
        .execute(&mut on)
        .await?;
    let (wake, mut woken) = mpsc::unbounded_channel::<()>();
    let moments = Shared::default();
    let (handled, mut file, mut reader) =
        (moments.clone(), File::create(dir.join("out"))?, sqlite::twin(dir).connect().await?);
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
            let text: String = rows.iter().map(|(_, value)| value.as_str()).collect();
            file = tokio::task::spawn_blocking(move || {
                file.write_all(text.as_bytes())?;
                file.sync_data()?;
                anyhow::Ok(file)
            })
            .await??;
            for (id, _) in rows {
                note(&handled, u32::try_from(id)?, false);
            }
        }
        anyhow::Ok(())
    });
    let on = Arc::new(Mutex::new(on));
    let commit = |first: u32, count: u32| {
        let (on, wake) = (on.clone(), wake.clone());
        async move {
            let mut on = on.lock().await;
            let mut tx = on.begin_with("BEGIN IMMEDIATE").await?;
            for n in first..first + count {
                sqlx::query("INSERT INTO outbox (id, value) VALUES ($1, $2)")
                    .bind(n)
                    .bind("x".repeat(256))
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
            wake.send(())?;
            Ok(())
        }
    };
    let took = drive(&moments, (rate, at_once, seconds), commit).await?;
    drop(wake);
    relay.await??;
    Ok(took)
}
