//! What is counted of the traffic between nodes.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Duration;

/// Seconds.
const LATENCY: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Called {
    service: String,
    /// `ok`, or the fault's code.
    result: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Of {
    service: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Refused {
    reason: &'static str,
}

#[derive(Clone)]
pub(super) struct PeerMetrics {
    calls: Family<Called, Counter>,
    seconds: Family<Of, Histogram, fn() -> Histogram>,
    seconds_tries: Family<Of, Counter>,
    refused: Family<Refused, Counter>,
}

impl Default for PeerMetrics {
    fn default() -> PeerMetrics {
        PeerMetrics {
            calls: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(LATENCY)),
            seconds_tries: Family::default(),
            refused: Family::default(),
        }
    }
}

impl PeerMetrics {
    pub fn register(&self, registry: &mut Registry) {
        let (calls, seconds) = (self.calls.clone(), self.seconds.clone());
        registry.register("artel_peer_calls", "commands and queries to other nodes, by result", calls);
        registry.register("artel_peer_call_duration_seconds", "time to another node's answer", seconds);
        let (again, refused) = (self.seconds_tries.clone(), self.refused.clone());
        registry.register("artel_peer_second_tries", "calls that a second node or try was needed for", again);
        registry.register(
            "artel_peer_refused",
            "requests on the listener for nodes that were refused",
            refused,
        );
    }

    pub fn called(&self, service: &str, result: &'static str, took: Duration) {
        let service = service.to_owned();
        self.seconds.get_or_create(&Of { service: service.clone() }).observe(took.as_secs_f64());
        self.calls.get_or_create(&Called { service, result }).inc();
    }

    pub fn again(&self, service: &str) {
        self.seconds_tries.get_or_create(&Of { service: service.to_owned() }).inc();
    }

    /// How many there were for this reason, with this one.
    pub fn refused(&self, reason: &'static str) -> u64 {
        self.refused.get_or_create(&Refused { reason }).inc() + 1
    }
}
