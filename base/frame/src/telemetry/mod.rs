//! Logs, traces and metrics. The dispatcher is built here and installed once by `main`; tests use it for a scope.

mod ecs;
mod exposition;
mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
mod process;
mod spans;

pub use artel_flow::trace::Trace;
pub use ecs::EcsLayer;
pub use exposition::Exposition;
pub use metrics::Metrics;
pub use process::ProcessCollector;
pub use spans::SpanCounts;

use crate::config::{LogFormat, Telemetry as Settings};
use std::io::IsTerminal;
use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("telemetry.log_filter: {0}")]
    Filter(String),
    #[error("telemetry.otlp_url: {0}")]
    Otlp(String),
    #[error("another tracing dispatcher is installed already; install telemetry once, in main")]
    Installed,
}

/// Who logs: ECS `service.name`, `service.version`, `service.node.name`.
#[derive(Debug, Clone)]
pub struct Identity {
    pub service: String,
    pub version: String,
    pub node: String,
}

/// What log lines are written by, and what must be flushed at the end.
pub struct Telemetry {
    pub dispatch: Dispatch,
    spans: SpanCounts,
    #[cfg(feature = "otlp")]
    exporter: Option<otlp::Exporter>,
}

/// Reads a filter such as `info,artel_flow=debug`.
pub fn log_filter(text: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder().parse(text).map_err(|error| {
        format!("'{text}' is not a filter ({error}); write it as \"info\" or \"info,artel_flow=debug\"")
    })
}

impl Telemetry {
    /// Builds the dispatcher: lines to `writer`, as text where `terminal` or the settings ask for it, else as JSON.
    pub fn new<W>(
        settings: &Settings,
        who: Identity,
        writer: W,
        terminal: bool,
    ) -> Result<Telemetry, TelemetryError>
    where
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        let filter = log_filter(&settings.log_filter).map_err(TelemetryError::Filter)?;
        let text = match settings.log_format {
            LogFormat::Auto => terminal,
            LogFormat::Text => true,
            LogFormat::Json => false,
        };
        let spans = SpanCounts::default();
        #[cfg(feature = "otlp")]
        let (exporter, told) = otlp::layer(settings, &who, &spans).map_err(TelemetryError::Otlp)?;
        let lines = if text {
            tracing_subscriber::fmt::layer().with_ansi(terminal).with_writer(writer).boxed()
        } else {
            EcsLayer::new(who, writer).boxed()
        };
        // Spans for a collector are no lines, and what is logged is no matter of a collector.
        let elsewhere = artel_flow::spans::TARGET;
        let lines = lines.with_filter(filter).with_filter(filter_fn(move |of| of.target() != elsewhere));
        let subscriber = tracing_subscriber::registry().with(lines);
        #[cfg(feature = "otlp")]
        let subscriber = subscriber.with(told);
        Ok(Telemetry {
            dispatch: Dispatch::new(subscriber),
            spans,
            #[cfg(feature = "otlp")]
            exporter,
        })
    }

    /// Logs of this process to standard error, for all of its threads, panics included. Only `main` calls this.
    pub fn install(settings: &Settings, who: Identity) -> Result<Telemetry, TelemetryError> {
        let telemetry = Telemetry::new(settings, who, std::io::stderr, std::io::stderr().is_terminal())?;
        tracing::dispatcher::set_global_default(telemetry.dispatch.clone())
            .map_err(|_| TelemetryError::Installed)?;
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let reason = panic.payload_as_str().unwrap_or("no message");
            tracing::error!(error = reason, log.origin = place, "panicked");
        }));
        Ok(telemetry)
    }

    /// What became of spans, as a metric that a node shows.
    pub fn spans(&self) -> SpanCounts {
        self.spans.clone()
    }

    /// Sends what is still held back. Blocks for as long as a collector needs, a few seconds at most.
    pub fn flush(self) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = self.exporter {
            exporter.shutdown();
        }
    }
}
