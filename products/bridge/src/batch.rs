//! The batch: NDJSON read as it comes, taken in by the thousand, in bounded memory. One bad line takes no other with it.

use crate::http::asked;
use crate::lines::{Line, Lines};
use crate::message_send::MessageSend;
use artel_contract::bridge::{NewMessage, bounds};
use artel_flow::{Asked, Ctx};
use artel_frame::edge::{
    IdempotencyKey, Json, Needs, Problem, Produce, RequestInfo, broke_off, parse_json, wrong_type,
};
use artel_message::{Code, Fault};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use futures::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// Lines of one request.
const LINES: u64 = 1_000_000;
/// Bytes of lines that wait for their transaction.
const CHUNK_BYTES: usize = 8 << 20;
/// Refusals that are told in full.
const ERRORS: usize = 100;
/// What a line may have around the value: key and headers with everything escaped, and the names of the fields.
const AROUND_A_VALUE: usize = 256 << 10;
/// How long a chunk waits for room in the outbox, and the pauses between its attempts.
const ROOM_WITHIN: Duration = Duration::from_secs(30);
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    pub accepted: u64,
    pub refused: u64,
    /// The first hundred refusals.
    pub errors: Vec<Refused>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// From 1.
    pub line: u64,
    pub reason: String,
}

struct Batch<'a> {
    ctx: &'a Ctx,
    send: MessageSend<'a>,
    asked: Asked,
    line: u64,
    /// Everything up to this line has been taken in or refused.
    settled: u64,
    chunk: Vec<NewMessage>,
    chunk_bytes: usize,
    chunks: u64,
    report: Report,
}

pub async fn produce_batch(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    key: IdempotencyKey,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Report>, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-ndjson") {
        return Err(wrong_type("application/x-ndjson"));
    }
    let mut batch = Batch {
        ctx: &ctx,
        send: MessageSend::new(&ctx),
        asked: asked(&caller.name, &info).key(key.0),
        line: 0,
        settled: 0,
        chunk: Vec::new(),
        chunk_bytes: 0,
        chunks: 0,
        report: Report::default(),
    };
    match batch.read(body).await {
        Ok(()) => Ok(Json(batch.report)),
        Err(problem) => Err(batch.so_far(problem)),
    }
}

impl Batch<'_> {
    async fn read(&mut self, body: Body) -> Result<(), Problem> {
        let mut stream = body.into_data_stream();
        let mut lines = Lines::new(self.ctx.message_bytes() + AROUND_A_VALUE);
        while let Some(piece) = stream.next().await {
            lines.push(&piece.map_err(|error| broke_off(error, "send the rest again"))?);
            while let Some(line) = lines.next() {
                self.take(line, lines.limit()).await?;
            }
        }
        if let Some(line) = lines.last() {
            self.take(line, lines.limit()).await?;
        }
        Ok(self.flush().await?)
    }

    /// Takes a line in; empty ones are passed over.
    async fn take(&mut self, line: Line, limit: usize) -> Result<(), Fault> {
        if self.line == LINES {
            self.flush().await?;
            return Err(Fault::invalid(format!(
                "a batch has at most {LINES} lines; send the rest in another"
            )));
        }
        self.line += 1;
        let Line::Whole(line) = line else {
            self.refuse(format!("is longer than {limit} bytes (setting bus.max_message_bytes)"));
            return Ok(());
        };
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        match self.message(&line).await {
            Ok(message) => {
                self.chunk.push(message);
                self.chunk_bytes += line.len();
            }
            Err(fault) if is_of_the_line(&fault) => self.refuse(fault.reason),
            Err(fault) => return Err(fault),
        }
        if self.chunk.len() >= bounds::CHUNK || self.chunk_bytes >= CHUNK_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn message(&self, line: &[u8]) -> Result<NewMessage, Fault> {
        let message: NewMessage = parse_json(line).map_err(in_a_line)?;
        self.send.acceptable(&message).await?;
        Ok(message)
    }

    fn refuse(&mut self, reason: String) {
        self.report.refused += 1;
        if self.report.errors.len() < ERRORS {
            self.report.errors.push(Refused { line: self.line, reason });
        }
    }

    /// One transaction. With an idempotency key each chunk has one of its own: the key and the chunk's number.
    async fn flush(&mut self) -> Result<(), Fault> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        self.chunks += 1;
        self.chunk_bytes = 0;
        let mut asked = self.asked.clone();
        asked.key = asked.key.map(|key| format!("{key}#{}", self.chunks));
        let chunk = std::mem::take(&mut self.chunk);
        self.report.accepted += u64::from(self.when_there_is_room(chunk, asked).await?);
        self.settled = self.line;
        Ok(())
    }

    /// A full outbox slows the sender down: it empties within moments, and a batch that was cut off there would have to be sent
    /// again from a line that its sender does not know.
    async fn when_there_is_room(&self, chunk: Vec<NewMessage>, asked: Asked) -> Result<u32, Fault> {
        let until = Instant::now() + ROOM_WITHIN;
        loop {
            match self.send.many(chunk.clone(), asked.clone()).await {
                Err(full)
                    if full.code == Code::Exhausted && !full.is_storage_full() && Instant::now() < until =>
                {
                    tokio::select! {
                        () = tokio::time::sleep(ROOM_PAUSE) => {}
                        () = self.ctx.shutdown().cancelled() => return Err(full),
                    }
                }
                done => return done,
            }
        }
    }

    /// What ended the batch, with what was taken in before: the sender goes on behind it.
    fn so_far(&self, mut problem: Problem) -> Problem {
        let own = problem.fault.detail.take().map_or(Value::Null, |detail| *detail);
        let mut detail = own.as_object().cloned().unwrap_or_default();
        detail.insert("accepted".to_owned(), self.report.accepted.into());
        detail.insert("refused".to_owned(), self.report.refused.into());
        detail.insert("line".to_owned(), self.settled.into());
        problem.fault.detail = Some(Box::new(Value::Object(detail)));
        let (reason, accepted, settled) = (&problem.fault.reason, self.report.accepted, self.settled);
        problem.fault.reason = format!("{reason}; accepted are {accepted} lines, up to line {settled}");
        problem
    }
}

/// Whether only this line is at fault. A topic for which there is no room is; a log that is away is not.
fn is_of_the_line(fault: &Fault) -> bool {
    match fault.code {
        Code::Invalid | Code::Forbidden | Code::Conflict => true,
        Code::Exhausted => !fault.is_storage_full(),
        _ => false,
    }
}

/// The line is named beside: within it only the column counts.
fn in_a_line(mut fault: Fault) -> Fault {
    let reason = fault.reason.replace(" at line 1 column ", " at column ");
    fault.reason = reason.replace("the body does not fit", "does not fit");
    fault
}
