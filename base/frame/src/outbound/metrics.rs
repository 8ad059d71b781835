//! What is counted of calls to the outside, by host.

use crate::telemetry::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

const SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    host: String,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Host {
    host: String,
}

#[derive(Clone)]
pub(super) struct OutboundMetrics {
    calls: Family<Outcome, Counter>,
    seconds: Family<Host, Histogram, fn() -> Histogram>,
    repeats: Family<Host, Counter>,
    open: Family<Host, Gauge>,
}

impl OutboundMetrics {
    pub(super) fn new() -> OutboundMetrics {
        OutboundMetrics {
            calls: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            repeats: Family::default(),
            open: Family::default(),
        }
    }

    pub(super) fn register(&self, metrics: &Metrics) {
        metrics.register(|registry| {
            let Self { calls, seconds, repeats, open } = self.clone();
            registry.register(
                "artel_outbound_requests",
                "Requests sent to other hosts, by status or failure",
                calls,
            );
            registry.register("artel_outbound_seconds", "Time to the whole answer of a request", seconds);
            registry.register("artel_outbound_repeats", "Requests that were sent again", repeats);
            registry.register(
                "artel_outbound_circuit_open",
                "1 while a host is not called since too much failed",
                open,
            );
        });
    }

    /// `outcome` is a class of statuses such as `2xx`, or the name of a failure.
    pub(super) fn done(&self, host: &str, outcome: String, seconds: Option<f64>) {
        self.calls.get_or_create(&Outcome { host: host.to_owned(), outcome }).inc();
        if let Some(seconds) = seconds {
            self.seconds.get_or_create(&Host { host: host.to_owned() }).observe(seconds);
        }
    }

    pub(super) fn repeated(&self, host: &str) {
        self.repeats.get_or_create(&Host { host: host.to_owned() }).inc();
    }

    pub(super) fn circuit(&self, host: &str, open: bool) {
        self.open.get_or_create(&Host { host: host.to_owned() }).set(i64::from(open));
    }
}
