//! From spans of `tracing` to those of OpenTelemetry. What says its own place (`artel_flow::spans`) has it; any other span
//! below such a one, like those that a service makes within a handler, becomes its child. Log lines within are events.

use super::Queue;
use artel_flow::spans::TARGET;
use artel_flow::trace::Trace;
use opentelemetry::trace::{
    Event as SpanEvent, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Log lines kept of one span.
const EVENTS: usize = 128;

pub(super) struct Told {
    queue: Arc<Queue>,
    scope: InstrumentationScope,
}

impl Told {
    pub fn new(queue: Arc<Queue>) -> Told {
        Told { queue, scope: InstrumentationScope::builder("artel").build() }
    }

    fn draft(&self, fields: Fields, (context, parent): (SpanContext, Option<SpanContext>)) -> SpanData {
        let now = SystemTime::now();
        let mut links = SpanLinks::default();
        links.links = fields.links.into_iter().map(|cause| Link::new(remote(cause), Vec::new(), 0)).collect();
        SpanData {
            span_context: context,
            parent_span_id: parent.as_ref().map_or(SpanId::INVALID, SpanContext::span_id),
            parent_span_is_remote: parent.is_some_and(|parent| parent.is_remote()),
            span_kind: fields.kind,
            name: fields.name.into(),
            start_time: fields.start.map_or(now, |start| start.min(now)),
            end_time: now,
            attributes: fields.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links,
            status: fields.status,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

/// A place in a trace that was made elsewhere, or in another span's past.
fn remote(trace: Trace) -> SpanContext {
    context(trace.trace, SpanId::from_bytes(trace.span.to_be_bytes()), trace.flags, true)
}

fn context(trace: u128, span: SpanId, flags: u8, remote: bool) -> SpanContext {
    let trace = TraceId::from_bytes(trace.to_be_bytes());
    SpanContext::new(trace, span, TraceFlags::new(flags), remote, TraceState::default())
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Told {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let place = if span.metadata().target() == TARGET {
            None
        } else {
            let above = span
                .parent()
                .and_then(|above| above.extensions().get::<SpanData>().map(|s| s.span_context.clone()));
            let Some(above) = above else { return };
            let own = RandomIdGenerator::default().new_span_id();
            let flags = above.trace_flags().to_u8();
            let trace = u128::from_be_bytes(above.trace_id().to_bytes());
            Some((context(trace, own, flags, false), Some(above)))
        };
        let mut fields = Fields { name: span.name().to_owned(), ..Fields::default() };
        attributes.record(&mut fields);
        let place = place.or_else(|| {
            let own = fields.own.filter(|own| own.sampled())?;
            let own = context(own.trace, SpanId::from_bytes(own.span.to_be_bytes()), own.flags, false);
            Some((own, fields.parent.map(remote)))
        });
        if let Some(place) = place {
            span.extensions_mut().insert(self.draft(fields, place));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if let Some(draft) = extensions.get_mut::<SpanData>() {
            let mut fields = Fields { status: std::mem::take(&mut draft.status), ..Fields::default() };
            values.record(&mut fields);
            draft.status = fields.status;
            draft.attributes.append(&mut fields.attributes);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let Some(span) = ctx.event_span(event) else { return };
        let mut extensions = span.extensions_mut();
        let Some(draft) = extensions.get_mut::<SpanData>() else { return };
        if draft.events.len() >= EVENTS {
            draft.events.dropped_count = draft.events.dropped_count.saturating_add(1);
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields.attributes.push(KeyValue::new("level", event.metadata().level().as_str()));
        draft.events.events.push(SpanEvent::new(fields.message, SystemTime::now(), fields.attributes, 0));
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        let draft = ctx.span(&id).and_then(|span| span.extensions_mut().remove::<SpanData>());
        if let Some(mut draft) = draft {
            draft.end_time = SystemTime::now();
            self.queue.put(draft);
        }
    }
}

/// The fields of a span or an event: what they say of the span itself, and attributes.
struct Fields {
    own: Option<Trace>,
    parent: Option<Trace>,
    name: String,
    message: String,
    kind: SpanKind,
    start: Option<SystemTime>,
    links: Vec<Trace>,
    status: Status,
    attributes: Vec<KeyValue>,
}

impl Default for Fields {
    fn default() -> Fields {
        Fields {
            own: None,
            parent: None,
            name: String::new(),
            message: String::new(),
            kind: SpanKind::Internal,
            start: None,
            links: Vec::new(),
            status: Status::Unset,
            attributes: Vec::new(),
        }
    }
}

impl Fields {
    fn attribute(&mut self, field: &Field, value: impl Into<Value>) {
        self.attributes.push(KeyValue::new(field.name(), value));
    }

    /// Whether it was about the span itself.
    fn own(&mut self, name: &str, text: &str) -> bool {
        match name {
            "otel.context" => self.own = text.parse().ok(),
            "otel.parent" => self.parent = text.parse().ok(),
            "otel.name" => text.clone_into(&mut self.name),
            "otel.links" => {
                self.links = text.split_whitespace().filter_map(|link| link.parse().ok()).collect()
            }
            "otel.status" => self.status = Status::error(text.to_owned()),
            "otel.kind" => {
                self.kind = match text {
                    "server" => SpanKind::Server,
                    "client" => SpanKind::Client,
                    "producer" => SpanKind::Producer,
                    "consumer" => SpanKind::Consumer,
                    _ => SpanKind::Internal,
                }
            }
            "message" => text.clone_into(&mut self.message),
            _ => return false,
        }
        true
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.attribute(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "otel.start" {
            let since = Duration::from_micros(u64::try_from(value).unwrap_or(0));
            self.start = Some(SystemTime::UNIX_EPOCH + since);
        } else {
            self.attribute(field, value);
        }
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.attribute(field, i64::try_from(value).unwrap_or(i64::MAX));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.attribute(field, value);
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if !self.own(field.name(), value) {
            self.attribute(field, value.to_owned());
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
