//! The batch: NDJSON read as it comes, taken in by the thousand, in bounded memory.

use crate::http::asked;
use crate::message_send::MessageSend;
use artel_contract::bridge::{NewMessage, bounds};
use artel_flow::{Asked, Ctx};
use artel_frame::edge::{IdempotencyKey, Json, Needs, Problem, Produce, RequestInfo, parse_json, wrong_type};
use artel_message::Fault;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use bytes::{Buf, BytesMut};
use futures::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lines of one request.
const LINES: u64 = 1_000_000;
/// Bytes of one line: a message with its headers.
const LINE_BYTES: usize = 4 << 20;
/// Bytes of lines that wait for their transaction.
const CHUNK_BYTES: usize = 8 << 20;
/// Refusals that are told in full.
const ERRORS: usize = 100;

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
    send: MessageSend<'a>,
    asked: Asked,
    line: u64,
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
    if kind.split(';').next().map(str::trim) != Some("application/x-ndjson") {
        return Err(wrong_type("application/x-ndjson"));
    }
    let mut batch = Batch {
        send: MessageSend::new(&ctx),
        asked: asked(&caller.name, &info).key(key.0),
        line: 0,
        chunk: Vec::new(),
        chunk_bytes: 0,
        chunks: 0,
        report: Report::default(),
    };
    let mut stream = body.into_data_stream();
    let mut buffer = BytesMut::new();
    while let Some(piece) = stream.next().await {
        let broken = |e| Fault::invalid(format!("the body broke off after line {}: {e}", batch.line));
        buffer.extend_from_slice(&piece.map_err(broken)?);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end);
            buffer.advance(1);
            batch.take(&line).await?;
        }
        if buffer.len() > LINE_BYTES {
            let line = batch.line + 1;
            return Err(Fault::invalid(format!(
                "line {line} is longer than {LINE_BYTES} bytes; lines before it are taken in by the thousand"
            ))
            .into());
        }
    }
    if !buffer.is_empty() {
        batch.take(&buffer).await?;
    }
    batch.flush().await?;
    Ok(Json(batch.report))
}

impl Batch<'_> {
    /// Takes a line in; empty ones are passed over.
    async fn take(&mut self, line: &[u8]) -> Result<(), Fault> {
        self.line += 1;
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        if self.line > LINES {
            return Err(Fault::invalid(format!(
                "a batch has at most {LINES} lines; send the rest in another"
            )));
        }
        match self.message(line) {
            Ok(message) => {
                self.chunk.push(message);
                self.chunk_bytes += line.len();
            }
            Err(fault) => self.refuse(fault.reason),
        }
        if self.chunk.len() >= bounds::CHUNK || self.chunk_bytes >= CHUNK_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    fn message(&self, line: &[u8]) -> Result<NewMessage, Fault> {
        let message: NewMessage = parse_json(line)?;
        message.check()?;
        self.send.allowed(&message.topic)?;
        self.send.fits(&message)?;
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
        self.report.accepted += u64::from(self.send.many(std::mem::take(&mut self.chunk), asked).await?);
        Ok(())
    }
}
