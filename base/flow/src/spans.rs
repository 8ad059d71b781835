//! Spans for a collector, beside those of the log. What has a place in a sampled trace is told as a span of `tracing` with
//! the target [`TARGET`] and ids of its own in its fields; whoever collects reads them there. In a trace that is not sampled, or
//! where nobody collects, no span is made: the price is one look at the flags.
//!
//! | field | what it says |
//! |---|---|
//! | `otel.context` | the span itself, as a `traceparent` |
//! | `otel.parent` | the span above it, as a `traceparent` |
//! | `otel.name`, `otel.kind` | its name, and `server`, `producer`, `consumer` or `internal` |
//! | `otel.start` | microseconds since the epoch, where it began before it was told |
//! | `otel.links` | further causes, `traceparent`s with spaces between |
//! | `error.type`, `otel.status` | given when it failed: what kind, and a sentence |
//!
//! All other fields are attributes, named by OpenTelemetry's semantic conventions where these have a name.

use crate::Failure;
use crate::ctx::Shared;
use crate::storage::outbox::Waiting;
use crate::trace::{Trace, is_sampled};
use crate::wire::{self, PARENT};
use artel_message::{Envelope, Headers};
use bytes::Bytes;
use tracing::Span;
use uuid::Uuid;

/// The target of spans that a collector gets.
pub const TARGET: &str = "artel_trace";

/// More causes than this are not linked.
const LINKS: usize = 128;

/// Whether anybody collects.
pub(crate) fn wanted() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::INFO)
}

/// What a handler runs for, where that is a message of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub group: &'a str,
    pub topic: &'a str,
    pub partition: u32,
    /// Of the first message.
    pub offset: i64,
    pub id: Uuid,
    /// How many messages, of a batch.
    pub count: Option<usize>,
}

/// A handler's place in a trace that is sampled.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub own: Trace,
    parent: Trace,
    links: String,
}

impl Place {
    /// A new span below `parent`; none where that is not sampled or nobody collects.
    pub fn below(shared: &Shared, parent: Option<&str>) -> Option<Place> {
        let parent = parent.filter(|text| is_sampled(text) && wanted())?.parse::<Trace>().ok()?;
        let own = parent.child(shared.ids.fresh(shared.now()).as_u128());
        Some(Place { own, parent, links: String::new() })
    }

    /// Names further causes.
    pub fn link<'a>(&mut self, causes: impl Iterator<Item = &'a str>) {
        for cause in causes.filter(|cause| is_sampled(cause)).take(LINKS) {
            self.links.push_str(cause);
            self.links.push(' ');
        }
    }

    /// The span of a handler.
    pub fn handler(&self, shared: &Shared, (kind, name): (&str, &str), origin: Option<Origin<'_>>) -> Span {
        let of = |origin: Origin<'_>| (format!("process {}", origin.topic), "consumer");
        let (title, role) = origin.map_or_else(|| (format!("{kind} {name}"), "internal"), of);
        let links = Some(self.links.as_str()).filter(|links| !links.is_empty());
        tracing::info_span!(
            target: TARGET,
            "handler",
            otel.context = %self.own,
            otel.parent = %self.parent,
            otel.name = title,
            otel.kind = role,
            otel.links = links,
            otel.status = tracing::field::Empty,
            error.r#type = tracing::field::Empty,
            messaging.system = origin.map(|_| shared.topics.bus().system()),
            messaging.operation.name = origin.map(|_| "process"),
            messaging.operation.r#type = origin.map(|_| "process"),
            messaging.consumer.group.name = origin.map(|o| o.group),
            messaging.destination.name = origin.map(|o| o.topic),
            messaging.destination.partition.id = origin.map(|o| o.partition.to_string()),
            messaging.kafka.offset = origin.map(|o| o.offset),
            messaging.message.id = origin.filter(|o| o.count.is_none()).map(|o| o.id.to_string()),
            messaging.batch.message_count = origin.and_then(|o| o.count),
            artel.service = shared.name(),
            artel.handler.kind = kind,
            artel.handler.name = name,
        )
    }
}

/// Says how a span failed. What the caller did wrong is no failure of the one who says so.
pub(crate) fn failed(span: &Span, failure: &Failure) {
    span.record("error.type", failure.code().as_str());
    span.record("otel.status", failure.to_string());
}

/// Headers as the outbox keeps them: with the span that made the message, where its trace is sampled.
pub(crate) fn stored(mut headers: Headers, envelope: &Envelope, parent: Option<&str>) -> Bytes {
    if let Some(parent) = parent.filter(|parent| envelope.trace.is_some() && is_sampled(parent)) {
        headers.push(PARENT, Some(parent.as_bytes()));
    }
    wire::encode(&headers)
}

/// Tells of messages that the log has: each is a span from its commit to here, and what handles it is below it.
pub(crate) fn sent(shared: &Shared, confirmed: &[(Waiting, i64)]) {
    if !wanted() {
        return;
    }
    for (row, offset) in confirmed {
        let text = |name: &str| {
            wire::find(&row.message.headers, name).and_then(|value| std::str::from_utf8(value).ok())
        };
        let Some(own) = text("traceparent").filter(|own| is_sampled(own)) else { continue };
        let message = &row.message;
        drop(tracing::info_span!(
            target: TARGET,
            "sent",
            otel.context = own,
            otel.parent = text(PARENT),
            otel.name = format!("send {}", message.topic),
            otel.kind = "producer",
            otel.start = message.at.micros(),
            messaging.system = shared.topics.bus().system(),
            messaging.operation.name = "send",
            messaging.operation.r#type = "send",
            messaging.destination.name = message.topic,
            messaging.destination.partition.id = message.partition.to_string(),
            messaging.kafka.offset = offset,
            messaging.message.id = %message.message,
            messaging.message.body.size = message.value.as_ref().map(Bytes::len),
            artel.service = shared.name(),
            artel.message = message.name,
        ));
    }
}
