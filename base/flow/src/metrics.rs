//! The flow's metrics, under Prometheus names and units.

use crate::GroupLag;
use artel_message::Code;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Handled {
    service: String,
    kind: String,
    message: String,
    result: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HandledTime {
    service: String,
    kind: String,
    message: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Of {
    service: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfGroup {
    group: String,
    outcome: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct OfPartition {
    group: String,
    topic: String,
    partition: u32,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Moved {
    service: String,
    way: String,
}

/// One set per node, shared by its services.
#[derive(Clone)]
pub struct FlowMetrics {
    handled: Family<Handled, Counter>,
    handler_seconds: Family<HandledTime, Histogram>,
    outbox: Family<Of, Gauge>,
    outbox_age: Family<Of, Gauge<f64, AtomicU64>>,
    published: Family<Of, Counter>,
    taken: Family<OfGroup, Counter>,
    lag: Family<OfPartition, Gauge>,
    stopped: Family<OfPartition, Gauge>,
    leases_moved: Family<Moved, Counter>,
    reruns: Family<Of, Counter>,
    relays: Family<Of, Gauge>,
    /// The partitions that were there when it was measured last.
    measured: Arc<Mutex<BTreeSet<OfPartition>>>,
}

impl Default for FlowMetrics {
    fn default() -> FlowMetrics {
        FlowMetrics {
            handled: Family::default(),
            handler_seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.000_05, 3.0, 14))
            }),
            outbox: Family::default(),
            outbox_age: Family::default(),
            published: Family::default(),
            taken: Family::default(),
            lag: Family::default(),
            stopped: Family::default(),
            leases_moved: Family::default(),
            reruns: Family::default(),
            relays: Family::default(),
            measured: Arc::default(),
        }
    }
}

impl FlowMetrics {
    /// Makes the set known to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let r = registry;
        r.register("artel_flow_handled", "Handlers that ended, by result", self.handled.clone());
        r.register("artel_flow_handler_seconds", "Time a handler took", self.handler_seconds.clone());
        r.register(
            "artel_flow_outbox_messages",
            "Committed messages not yet confirmed by the log",
            self.outbox.clone(),
        );
        r.register(
            "artel_flow_outbox_age_seconds",
            "How long the oldest message in the outbox has waited",
            self.outbox_age.clone(),
        );
        r.register("artel_flow_published", "Messages confirmed by the log", self.published.clone());
        r.register("artel_flow_taken", "Messages taken in, by outcome", self.taken.clone());
        r.register("artel_flow_lag_messages", "Messages a group has not taken in yet", self.lag.clone());
        r.register(
            "artel_flow_stopped_partitions",
            "1 where a group's partition is stopped",
            self.stopped.clone(),
        );
        r.register("artel_flow_leases_moved", "Leases taken and given back", self.leases_moved.clone());
        r.register(
            "artel_flow_reruns",
            "Transactions run again because they collided with another",
            self.reruns.clone(),
        );
        r.register(
            "artel_flow_relays",
            "1 where this node publishes a service's outbox",
            self.relays.clone(),
        );
    }

    pub(crate) fn handled(
        &self,
        service: &str,
        kind: &str,
        message: &str,
        error: Option<Code>,
        took: Duration,
    ) {
        let result = error.map_or("ok", Code::as_str).to_owned();
        let (service, kind, message) = (service.to_owned(), kind.to_owned(), message.to_owned());
        let time = HandledTime { service: service.clone(), kind: kind.clone(), message: message.clone() };
        self.handler_seconds.get_or_create(&time).observe(took.as_secs_f64());
        self.handled.get_or_create(&Handled { service, kind, message, result }).inc();
    }

    pub(crate) fn outbox(&self, service: &str, rows: i64) {
        self.outbox.get_or_create(&Of { service: service.to_owned() }).set(rows);
    }

    pub(crate) fn published(&self, service: &str, n: u64) {
        self.published.get_or_create(&Of { service: service.to_owned() }).inc_by(n);
    }

    pub(crate) fn taken(&self, group: &str, outcome: &str, n: u64) {
        self.taken.get_or_create(&OfGroup { group: group.to_owned(), outcome: outcome.to_owned() }).inc_by(n);
    }

    /// Sets the lag of every partition that is here, and takes those away that are not any more.
    pub(crate) fn measured(&self, lags: &[GroupLag]) {
        let mut known = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let here: BTreeSet<OfPartition> =
            lags.iter().map(|lag| of_partition(&lag.group, &lag.topic, lag.partition)).collect();
        for gone in known.difference(&here) {
            self.lag.remove(gone);
            self.stopped.remove(gone);
        }
        for row in lags {
            if let Some(lag) = row.lag {
                self.lag.get_or_create(&of_partition(&row.group, &row.topic, row.partition)).set(lag);
            }
        }
        *known = here;
    }

    pub(crate) fn outbox_age(&self, service: &str, age: Duration) {
        self.outbox_age.get_or_create(&Of { service: service.to_owned() }).set(age.as_secs_f64());
    }

    pub(crate) fn forget_outbox_age(&self, service: &str) {
        self.outbox_age.remove(&Of { service: service.to_owned() });
    }

    pub(crate) fn leases_moved(&self, service: &str, taken: usize, given: usize) {
        for (way, n) in [("taken", taken), ("given", given)] {
            let label = Moved { service: service.to_owned(), way: way.to_owned() };
            self.leases_moved.get_or_create(&label).inc_by(u64::try_from(n).unwrap_or(0));
        }
    }

    pub(crate) fn rerun(&self, service: &str) {
        self.reruns.get_or_create(&Of { service: service.to_owned() }).inc();
    }

    pub(crate) fn relays(&self, service: &str, here: bool) {
        self.relays.get_or_create(&Of { service: service.to_owned() }).set(i64::from(here));
    }

    /// Takes a partition's gauges away: another node has it now.
    pub(crate) fn forget_partition(&self, group: &str, topic: &str, partition: u32) {
        let label = of_partition(group, topic, partition);
        self.lag.remove(&label);
        self.stopped.remove(&label);
    }

    pub(crate) fn stopped(&self, group: &str, topic: &str, partition: u32, stopped: bool) {
        self.stopped.get_or_create(&of_partition(group, topic, partition)).set(i64::from(stopped));
    }
}

fn of_partition(group: &str, topic: &str, partition: u32) -> OfPartition {
    OfPartition { group: group.to_owned(), topic: topic.to_owned(), partition }
}
