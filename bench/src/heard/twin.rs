//! A loop by hand: a row, a mail, the row again.

use super::{address, event, server, text};
use crate::latency::{Shared, drive};
use crate::sqlite;
use anyhow::{Result, ensure};
use sqlx::{ConnectOptions, SqliteConnection};
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

pub(super) const TABLE: &str = "CREATE TABLE mail (n BIGINT PRIMARY KEY, address TEXT NOT NULL, event TEXT NOT NULL, state TEXT NOT NULL)";
pub(super) const BEGUN: &str = "INSERT INTO mail (n, address, event, state) VALUES ($1, $2, $3, 'begun')";
pub(super) const SENT: &str = "UPDATE mail SET state = 'sent' WHERE n = $1";

/// A connection to a mail server that is kept.
pub(super) struct Mailer(BufReader<TcpStream>);

impl Mailer {
    pub async fn connect(server: SocketAddr) -> Result<Mailer> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let mut mailer = Mailer(BufReader::new(stream));
        mailer.answer("220").await?;
        mailer.say("EHLO bench.example\r\n", "250").await?;
        Ok(mailer)
    }

    pub async fn send(&mut self, n: u32) -> Result<()> {
        let to = address(n);
        self.say("MAIL FROM:<parcels@example.com>\r\n", "250").await?;
        self.say(&format!("RCPT TO:<{to}>\r\n"), "250").await?;
        self.say("DATA\r\n", "354").await?;
        let mail = format!(
            "From: parcels@example.com\r\nTo: {to}\r\nSubject: Parcel {n}\r\nMessage-ID: <{n}@example.com>\r\n\r\n{}.\r\n",
            text().replace('\n', "\r\n")
        );
        self.say(&mail, "250").await
    }

    async fn say(&mut self, line: &str, wanted: &str) -> Result<()> {
        self.0.write_all(line.as_bytes()).await?;
        self.answer(wanted).await
    }

    async fn answer(&mut self, wanted: &str) -> Result<()> {
        let mut line = String::new();
        loop {
            line.clear();
            ensure!(self.0.read_line(&mut line).await? > 0, "the server hung up");
            ensure!(line.starts_with(wanted), "{line}");
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }
}

pub(super) async fn embedded(dir: &Path, rate: u32, seconds: u32) -> Result<Vec<f64>> {
    let moments = Shared::default();
    let server = server(&moments).await?;
    let mut mailer = Mailer::connect(server.address()).await?;
    let mut on: SqliteConnection = sqlite::twin(dir).connect().await?;
    sqlx::raw_sql(TABLE).execute(&mut on).await?;
    let (wake, mut woken) = mpsc::unbounded_channel::<u32>();
    let reading = tokio::spawn(async move {
        while let Some(n) = woken.recv().await {
            sqlx::query(BEGUN).bind(n).bind(address(n)).bind(event(n)).execute(&mut on).await?;
            mailer.send(n).await?;
            sqlx::query(SENT).bind(n).execute(&mut on).await?;
        }
        anyhow::Ok(())
    });
    let file = Arc::new(Mutex::new(File::create(dir.join("events"))?));
    let append = |n: u32, _| {
        let (file, wake) = (file.clone(), wake.clone());
        async move {
            let mut file = file.lock_owned().await;
            tokio::task::spawn_blocking(move || {
                file.write_all(event(n).as_bytes())?;
                file.sync_data()
            })
            .await??;
            Ok(wake.send(n)?)
        }
    };
    let took = drive(&moments, (rate, 1, seconds), append).await?;
    drop(wake);
    reading.await??;
    server.stop().await;
    Ok(took)
}
