//! Log lines as JSON in the fields of the Elastic Common Schema, one object per line, with the fields of the spans around.

use super::Identity;
use serde_json::{Map, Value};
use std::fmt::{Debug, Write as _};
use std::io::Write as _;
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// The version of the schema whose fields are used.
const ECS_VERSION: &str = "8.17.0";
/// Field sets of the schema whose dotted names pass as they are; everything else becomes a label.
const FIELD_SETS: [&str; 17] = [
    "client",
    "destination",
    "error",
    "event",
    "host",
    "http",
    "log",
    "network",
    "process",
    "server",
    "service",
    "source",
    "span",
    "trace",
    "transaction",
    "url",
    "user",
];

/// Writes each event as one line of JSON.
pub struct EcsLayer<W> {
    who: Identity,
    writer: W,
}

impl<W> EcsLayer<W> {
    pub fn new(who: Identity, writer: W) -> EcsLayer<W> {
        EcsLayer { who, writer }
    }
}

/// The fields of one span, under their names in the schema.
struct SpanFields(Fields);

#[derive(Default)]
struct Fields(Map<String, Value>);

/// `user_id` becomes `labels.user_id`, `http.request.method` stays.
fn schema_name(name: &str) -> String {
    match name {
        "message" => "message".to_owned(),
        "error" => "error.message".to_owned(),
        "trace_id" => "trace.id".to_owned(),
        "span_id" => "span.id".to_owned(),
        _ => match name.split_once('.') {
            Some((set, _)) if FIELD_SETS.contains(&set) => name.to_owned(),
            _ => format!("labels.{}", name.replace('.', "_")),
        },
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(schema_name(field.name()), value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(schema_name(field.name()), value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(schema_name(field.name()), value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(schema_name(field.name()), value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(schema_name(field.name()), value.into());
    }
    fn record_error(&mut self, field: &Field, error: &(dyn std::error::Error + 'static)) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.0.insert(schema_name(field.name()), text.into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(schema_name(field.name()), format!("{value:?}").into());
    }
}

impl<S, W> Layer<S> for EcsLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(SpanFields(fields));
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(SpanFields(fields)) = span.extensions_mut().get_mut() {
            record.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(SpanFields(Fields(outer))) = span.extensions().get() {
                fields.0.extend(outer.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        event.record(&mut fields);
        let line = self.line(event.metadata(), fields.0);
        // There is nowhere left to report a log that cannot be written.
        let _ = self.writer.make_writer_for(event.metadata()).write_all(line.as_bytes());
    }
}

impl<W> EcsLayer<W> {
    /// One line: what every reader wants first stands first.
    fn line(&self, metadata: &tracing::Metadata<'_>, mut fields: Map<String, Value>) -> String {
        let now = artel_message::Time::from_system(SystemTime::now());
        let message = fields.remove("message").unwrap_or_default();
        let level = metadata.level().as_str().to_ascii_lowercase();
        let first: [(&str, Value); 8] = [
            ("@timestamp", now.to_string().into()),
            ("log.level", level.into()),
            ("message", message),
            ("ecs.version", ECS_VERSION.into()),
            ("service.name", self.who.service.as_str().into()),
            ("service.version", self.who.version.as_str().into()),
            ("service.node.name", self.who.node.as_str().into()),
            ("log.logger", metadata.target().into()),
        ];
        let mut line = String::with_capacity(384);
        let rest = fields.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in first.iter().map(|(name, value)| (*name, value)).chain(rest) {
            line.push(if line.is_empty() { '{' } else { ',' });
            let _ = write!(line, "{}:{value}", Value::from(name));
        }
        line.push_str("}\n");
        line
    }
}
