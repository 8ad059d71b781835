//! Traces by OTLP: protobuf over HTTP, batched and sent by a thread of its own.

use super::{Identity, Trace};
use crate::config::Telemetry as Settings;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use std::time::Duration;
use tracing::Subscriber;
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

/// A collector that takes longer loses the batch, not the process.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends spans until it is shut down.
pub(super) struct Exporter(SdkTracerProvider);

impl Exporter {
    /// Sends what is held back; blocks for [`TIMEOUT`] at most.
    pub(super) fn shutdown(self) {
        if let Err(error) = self.0.shutdown_with_timeout(TIMEOUT) {
            tracing::warn!(error = %error, "not all traces were sent");
        }
    }
}

/// The layer that makes spans of OpenTelemetry, where a collector is configured.
pub(super) fn layer<S>(
    settings: &Settings,
    who: &Identity,
) -> Result<(Option<Exporter>, Option<impl Layer<S> + use<S>>), String>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let Some(url) = &settings.otlp_url else { return Ok((None, None)) };
    let exporter = SpanExporter::builder()
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
    // Whether a trace is sent was decided where it began; `telemetry.trace_ratio` decides for those that begin here.
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.trace_ratio))))
        .with_resource(resource)
        .build();
    let layer = OpenTelemetryLayer::new(provider.tracer("artel"));
    Ok((Some(Exporter(provider)), Some(layer)))
}

/// Makes `span` a part of the trace of `parent`. False where no layer takes it.
pub(super) fn join(span: &tracing::Span, parent: Trace) -> bool {
    let context = SpanContext::new(
        TraceId::from_bytes(parent.trace.to_be_bytes()),
        SpanId::from_bytes(parent.span.to_be_bytes()),
        TraceFlags::new(parent.flags),
        true,
        TraceState::default(),
    );
    span.set_parent(Context::new().with_remote_span_context(context)).is_ok()
}
