//! Traces by OTLP: protobuf over HTTP, batched and sent by a thread of its own. Nobody ever waits for a collector: what it does
//! not take in time is dropped and counted.

mod layer;

use super::{Identity, SpanCounts};
use crate::config::Telemetry as Settings;
use layer::Told;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter as Otlp, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::registry::LookupSpan;

/// A collector that takes longer loses the batch, not the process.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Spans that wait to be sent; further ones are dropped. About 1 KiB each.
const QUEUE: usize = 8_192;
/// Spans in one request.
const BATCH: usize = 512;
/// How long a span waits for others at most.
const DELAY: Duration = Duration::from_secs(1);
/// Spans that stand for log lines of the same work; what they are about is told with [`artel_flow::spans::TARGET`].
const FOR_LINES: [&str; 2] = ["artel_flow::around", "artel_frame::edge::request"];

/// Sends spans until it is shut down.
pub(super) struct Exporter(Arc<Queue>);

impl Exporter {
    /// Sends what is held back; blocks for [`TIMEOUT`] at most.
    pub(super) fn shutdown(self) {
        if let Err(error) = self.0.processor.shutdown_with_timeout(TIMEOUT) {
            tracing::warn!(%error, "not all traces were sent");
        }
    }
}

/// The layer that hands spans to the collector, where one is configured.
pub(super) fn layer<S>(
    settings: &Settings,
    who: &Identity,
    counts: &SpanCounts,
) -> Result<(Option<Exporter>, Option<impl Layer<S> + use<S>>), String>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let Some(url) = &settings.otlp_url else { return Ok((None, None)) };
    let otlp = Otlp::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", url.expose().trim_end_matches('/')))
        .with_timeout(TIMEOUT)
        .build()
        .map_err(|error| error.to_string())?;
    let resource = Resource::builder()
        .with_service_name(who.service.clone())
        .with_attribute(KeyValue::new("service.version", who.version.clone()))
        .with_attribute(KeyValue::new("service.instance.id", who.node.clone()))
        .build();
    let queue = Arc::new(Queue::new(otlp, &resource, counts.clone()));
    let wanted = |of: &Metadata<'_>| !(of.is_span() && FOR_LINES.contains(&of.target()));
    let filter = filter_fn(wanted).with_max_level_hint(LevelFilter::INFO);
    let layer = Told::new(queue.clone()).with_filter(filter).with_filter(LevelFilter::INFO);
    Ok((Some(Exporter(queue)), Some(layer)))
}

/// What the two ends of the queue share.
struct State {
    waiting: AtomicUsize,
    counts: SpanCounts,
}

/// Where spans that ended go.
struct Queue {
    processor: BatchSpanProcessor,
    state: Arc<State>,
}

impl Queue {
    fn new(otlp: Otlp, resource: &Resource, counts: SpanCounts) -> Queue {
        let state = Arc::new(State { waiting: AtomicUsize::new(0), counts });
        let watched = Watched { otlp, state: state.clone(), away: AtomicBool::new(false) };
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let mut processor = BatchSpanProcessor::builder(watched).with_batch_config(config).build();
        processor.set_resource(resource);
        Queue { processor, state }
    }

    /// Never waits.
    fn put(&self, span: SpanData) {
        if self.state.waiting.fetch_add(1, Ordering::Relaxed) < QUEUE {
            self.processor.on_end(span);
        } else {
            self.state.waiting.fetch_sub(1, Ordering::Relaxed);
            self.state.counts.add("dropped", 1);
        }
    }
}

/// Counts what the collector takes, and says once when it goes away and comes back.
#[derive(Debug)]
struct Watched {
    otlp: Otlp,
    state: Arc<State>,
    away: AtomicBool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State")
    }
}

impl SpanExporter for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let result = self.otlp.export(batch).await;
        self.state.waiting.fetch_sub(count, Ordering::Relaxed);
        self.state.counts.add(if result.is_ok() { "sent" } else { "refused" }, count);
        match (&result, self.away.swap(result.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => tracing::warn!(
                %error,
                "the collector (telemetry.otlp_url) takes no traces; they are dropped and counted until it does"
            ),
            (Ok(()), true) => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}
