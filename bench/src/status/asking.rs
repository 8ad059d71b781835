//! Requests at a rate, over connections that are kept; HTTP/1.1 by hand, so that asking costs little beside answering.

use anyhow::{Context, Result, ensure};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

pub(super) struct Load {
    /// HOST:PORT
    pub url: String,
    pub token: Option<String>,
    /// In turn.
    pub paths: Vec<String>,
    pub seconds: u32,
    pub rate: u32,
    pub connections: u32,
}

/// Milliseconds, ascending; the first second is left out.
#[derive(Default)]
pub(super) struct Answered {
    /// Of answers that say that they are from the cache.
    pub cached: Vec<f64>,
    pub all: Vec<f64>,
}

impl Answered {
    pub fn at(all: &[f64], share: f64) -> f64 {
        let index = ((all.len() as f64 * share) as usize).min(all.len().saturating_sub(1));
        all.get(index).copied().unwrap_or_default()
    }
}

pub(super) async fn run(load: Load) -> Result<Answered> {
    let load = std::sync::Arc::new(load);
    let mut asking = JoinSet::new();
    let begun = Instant::now() + Duration::from_millis(100);
    for connection in 0..load.connections {
        asking.spawn(one(load.clone(), connection, begun));
    }
    let mut answered = Answered::default();
    while let Some(own) = asking.join_next().await {
        let own = own??;
        answered.cached.extend(own.cached);
        answered.all.extend(own.all);
    }
    answered.cached.sort_by(f64::total_cmp);
    answered.all.sort_by(f64::total_cmp);
    ensure!(!answered.all.is_empty(), "nothing was asked");
    Ok(answered)
}

/// Every so many-th request of all.
async fn one(load: std::sync::Arc<Load>, connection: u32, begun: Instant) -> Result<Answered> {
    let mut stream = BufReader::new(TcpStream::connect(&load.url).await?);
    stream.get_ref().set_nodelay(true)?;
    let (mut answered, mut body) = (Answered::default(), Vec::new());
    let total = load.rate * (load.seconds + 1);
    for n in (connection..total).step_by(load.connections as usize) {
        let due = begun + Duration::from_secs_f64(f64::from(n) / f64::from(load.rate));
        sleep_until(due).await;
        let path = &load.paths[n as usize % load.paths.len()];
        let token = load
            .token
            .as_ref()
            .map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{token}\r\n", load.url);
        stream.write_all(request.as_bytes()).await?;
        answer(&mut stream, &mut body).await?;
        if n >= load.rate {
            let took = due.elapsed().as_secs_f64() * 1e3;
            answered.all.push(took);
            if body.windows(16).any(|text| text == b"\"source\":\"cache\"") {
                answered.cached.push(took);
            }
        }
    }
    Ok(answered)
}

/// Reads one whose length is said.
async fn answer(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Result<()> {
    let (mut line, mut length, mut first) = (String::new(), None, true);
    loop {
        line.clear();
        ensure!(stream.read_line(&mut line).await? > 0, "the connection was closed");
        if first {
            ensure!(line.starts_with("HTTP/1.1 200"), "{line}");
            first = false;
        }
        let Some((name, value)) = line.trim().split_once(':') else {
            if line.trim().is_empty() {
                break;
            }
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>()?);
        }
    }
    body.resize(length.context("an answer without its length")?, 0);
    stream.read_exact(body).await?;
    Ok(())
}
