//! The node's own metrics: what it is, and what is measured now and then.

use super::Overrides;
use crate::edge::Readiness;
use crate::telemetry::Metrics;
use artel_flow::{FlowMetrics, Runtime};
use artel_store::Store;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often what costs a look at the log or a database is measured: the interval of a scrape.
const EVERY: Duration = Duration::from_secs(15);

/// What a node shows from its first moment on.
pub(super) fn begin(metrics: &Metrics, readiness: &Readiness, overrides: &Overrides) {
    readiness.show(metrics);
    let info = Info::new([("version", overrides.info.version.clone())]);
    metrics.register(|registry| {
        registry.register("artel_build", "What runs here", info);
        overrides.spans.register(registry);
    });
}

/// What it shows of its services and its databases.
pub(super) fn show(metrics: &Metrics, flow: &FlowMetrics, store: &Store) {
    metrics.register(|registry| {
        flow.register(registry);
        registry.register_collector(Box::new(Connections(store.clone())));
    });
}

/// Measures until the node closes.
pub(super) async fn run(runtime: Arc<Runtime>, closing: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => runtime.measure().await,
            () = closing.cancelled() => return,
        }
    }
}

/// Connections of the databases, read when the metrics are. Files have none.
struct Connections(Store);

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connections")
    }
}

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(now) = self.0.connections() else { return Ok(()) };
        let gauges = [
            ("artel_store_connections", "Connections to the database that are open", now.open),
            ("artel_store_connections_used", "Connections to the database that run something", now.used),
            ("artel_store_connections_max", "Connections to the database that this node may open", now.max),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let kind = gauge.metric_type();
            gauge.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
        }
        Ok(())
    }
}
