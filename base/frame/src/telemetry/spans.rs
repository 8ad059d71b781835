//! What became of the spans that were to be sent, counted; also where nobody collects, so that the metric's name stays.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Became {
    result: &'static str,
}

/// Counts spans by what became of them: `sent`, `refused` by the collector, `dropped` because too many waited.
#[derive(Debug, Clone, Default)]
pub struct SpanCounts(Family<Became, Counter>);

impl SpanCounts {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("artel_spans", "Spans for the collector, by what became of them", self.0.clone());
    }

    #[cfg(feature = "otlp")]
    pub(super) fn add(&self, result: &'static str, count: usize) {
        self.0.get_or_create(&Became { result }).inc_by(u64::try_from(count).unwrap_or(0));
    }
}
