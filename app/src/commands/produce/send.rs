//! Sending a chunk until it is answered. Its idempotency key stays the same, so however often it arrives it is taken once.

use super::lines::Chunk;
use super::{Counts, Report};
use crate::cli::Target;
use crate::connect::{self, is_for_now};
use anyhow::{Context, Result, bail};
use artel_frame::client::{Answer, Client, Outgoing};
use http::Method;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

const PATH: &str = "/api/bridge/messages:batch";
/// How long a chunk may take to be answered before it is sent again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const UNAUTHENTICATED: u16 = 401;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the bridge answers to a batch.
#[derive(Debug, Deserialize)]
struct Answered {
    accepted: u64,
    refused: u64,
    #[serde(default)]
    errors: Vec<LineError>,
}

#[derive(Debug, Deserialize)]
struct LineError {
    /// In the chunk, from 1.
    line: u64,
    reason: String,
}

pub struct Sender<'a> {
    pub target: &'a Target,
    pub client: Client,
    /// Of this run; with a chunk's number it makes the chunk's key.
    pub run: Uuid,
    /// How long a chunk is tried; `None` = for ever.
    pub patience: Option<Duration>,
    pub report: &'a Report,
}

impl Sender<'_> {
    /// Sends until there is an answer, and counts what it says.
    pub async fn send(&mut self, chunk: &Chunk, counts: &mut Counts) -> Result<()> {
        let answer = self.until_answered(chunk).await?;
        connect::check(&answer).with_context(|| format!("lines {} were refused as a whole", range(chunk)))?;
        let answered: Answered = answer.json().context("the answer is not the bridge's; check --url")?;
        counts.accepted += answered.accepted;
        for (nth, error) in (counts.refused + 1..).zip(&answered.errors) {
            let index = usize::try_from(error.line).unwrap_or(0).checked_sub(1);
            let line = index.and_then(|index| chunk.lines.get(index)).copied().unwrap_or(error.line);
            self.report.bad(nth, line, &error.reason);
        }
        counts.refused += answered.refused;
        Ok(())
    }

    async fn until_answered(&mut self, chunk: &Chunk) -> Result<Answer> {
        let (begun, mut pause, mut said, mut asked_anew) = (Instant::now(), FIRST_PAUSE, false, false);
        loop {
            let request = Outgoing::new(Method::POST, PATH)
                .header("idempotency-key", format!("{}-{}", self.run.simple(), chunk.number))
                .body("application/x-ndjson", chunk.body.clone())
                .timeout(ANSWER_TIMEOUT);
            let (reason, wait) = match self.client.send(request).await {
                Ok(answer) if is_for_now(answer.status) => (answer.problem(), retry_after(&answer)),
                Ok(answer) if answer.status == UNAUTHENTICATED && !asked_anew => {
                    self.client = connect::client(self.target)?;
                    asked_anew = true;
                    continue;
                }
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    asked_anew = false;
                    (error.to_string(), None)
                }
            };
            if self.patience.is_some_and(|patience| begun.elapsed() >= patience) {
                bail!("lines {} have no answer: {reason}", range(chunk));
            }
            if !said {
                self.report
                    .say(&format!("lines {} are sent again until they are answered: {reason}", range(chunk)));
                said = true;
            }
            tokio::time::sleep(wait.unwrap_or(pause).min(LONGEST_PAUSE)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    answer.header("retry-after").parse().ok().map(Duration::from_secs)
}

fn range(chunk: &Chunk) -> String {
    match (chunk.lines.first(), chunk.lines.last()) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => "none".to_owned(),
    }
}
