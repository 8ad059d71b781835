//! The flow's metrics, under Prometheus names and units.

use crate::GroupLag;
use crate::stages::Stage;
use artel_message::{Code, Time};
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

#[derive(Debug, Clone, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct Parked {
    group: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Dead {
    group: String,
    code: String,
    cause: String,
}

/// How much of a group is parked.
pub(crate) struct ParkedNow {
    pub keys: i64,
    pub messages: i64,
    pub age: Duration,
}

/// More causes are counted together, as `other`.
const CAUSES: usize = 100;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AtStage {
    by: String,
    stage: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfEffect {
    service: String,
    effect: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfSchedule {
    service: String,
    schedule: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Moved {
    service: String,
    way: String,
}

/// How late a timer is: milliseconds while all is well, hours after a downtime.
const LATENESS: [f64; 15] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0, 86_400.0];

/// One set per node, shared by its services.
#[derive(Clone)]
pub struct FlowMetrics {
    handled: Family<Handled, Counter>,
    handler_seconds: Family<HandledTime, Histogram>,
    outbox: Family<Of, Gauge>,
    outbox_age: Family<Of, Gauge<f64, AtomicU64>>,
    published: Family<Of, Counter>,
    stages: Family<AtStage, Histogram>,
    taken: Family<OfGroup, Counter>,
    lag: Family<OfPartition, Gauge>,
    stopped: Family<OfPartition, Gauge>,
    leases_moved: Family<Moved, Counter>,
    reruns: Family<Of, Counter>,
    relays: Family<Of, Gauge>,
    parked_keys: Family<Parked, Gauge>,
    parked_messages: Family<Parked, Gauge>,
    parked_age: Family<Parked, Gauge<f64, AtomicU64>>,
    dead: Family<Dead, Counter>,
    causes: Arc<Mutex<BTreeSet<String>>>,
    timers_pending: Family<Of, Gauge>,
    timer_late: Family<Of, Histogram>,
    timers_failed: Family<Of, Counter>,
    schedules_missed: Family<OfSchedule, Counter>,
    effects_waiting: Family<OfEffect, Gauge>,
    effects_claimed: Family<OfEffect, Gauge>,
    effects_failed: Family<OfEffect, Counter>,
    effects_late: Family<OfEffect, Counter>,
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
            stages: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 18))),
            taken: Family::default(),
            lag: Family::default(),
            stopped: Family::default(),
            leases_moved: Family::default(),
            reruns: Family::default(),
            relays: Family::default(),
            parked_keys: Family::default(),
            parked_messages: Family::default(),
            parked_age: Family::default(),
            dead: Family::default(),
            causes: Arc::default(),
            timers_pending: Family::default(),
            timer_late: Family::new_with_constructor(|| Histogram::new(LATENESS)),
            timers_failed: Family::default(),
            schedules_missed: Family::default(),
            effects_waiting: Family::default(),
            effects_claimed: Family::default(),
            effects_failed: Family::default(),
            effects_late: Family::default(),
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
        r.register(
            "artel_flow_message_age_seconds",
            "How old messages are when they are relayed, logged, taken and handled",
            self.stages.clone(),
        );
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
        r.register(
            "artel_flow_parked_keys",
            "Keys whose messages wait, up to 100,000",
            self.parked_keys.clone(),
        );
        r.register(
            "artel_flow_parked_messages",
            "Messages that wait behind parked keys",
            self.parked_messages.clone(),
        );
        r.register(
            "artel_flow_parked_age_seconds",
            "How long the key that is parked longest has been",
            self.parked_age.clone(),
        );
        r.register("artel_flow_dead", "Messages given up on, by cause", self.dead.clone());
        r.register(
            "artel_flow_timers_pending",
            "Timers that were set and have not fired, as far as they are counted",
            self.timers_pending.clone(),
        );
        r.register(
            "artel_flow_timer_late_seconds",
            "From a timer's due time to the commit of what it did",
            self.timer_late.clone(),
        );
        r.register(
            "artel_flow_timers_failed",
            "Timers whose handler failed: put off, or given up",
            self.timers_failed.clone(),
        );
        r.register(
            "artel_flow_schedules_missed",
            "Runs of a schedule that came due and never were",
            self.schedules_missed.clone(),
        );
        r.register(
            "artel_flow_effects_waiting",
            "Effects that wait for their call, as far as they are counted",
            self.effects_waiting.clone(),
        );
        r.register(
            "artel_flow_effects_claimed",
            "Effects that are called or told of",
            self.effects_claimed.clone(),
        );
        r.register(
            "artel_flow_effects_failed",
            "Calls of an effect that failed: tried again, or given up",
            self.effects_failed.clone(),
        );
        r.register(
            "artel_flow_effects_late",
            "Results of an effect that came behind another one of it, and were dropped",
            self.effects_late.clone(),
        );
    }

    pub(crate) fn schedule_missed(&self, service: &str, schedule: &str, n: u32) {
        let label = OfSchedule { service: service.to_owned(), schedule: schedule.to_owned() };
        self.schedules_missed.get_or_create(&label).inc_by(u64::from(n));
    }

    pub(crate) fn effects(&self, service: &str, effect: &str, waiting: i64, claimed: i64) {
        let label = of_effect(service, effect);
        self.effects_waiting.get_or_create(&label).set(waiting);
        self.effects_claimed.get_or_create(&label).set(claimed);
    }

    pub(crate) fn effect_failed(&self, service: &str, effect: &str) {
        self.effects_failed.get_or_create(&of_effect(service, effect)).inc();
    }

    pub(crate) fn effect_late(&self, service: &str, effect: &str) {
        self.effects_late.get_or_create(&of_effect(service, effect)).inc();
    }

    pub(crate) fn timers_pending(&self, service: &str, n: i64) {
        self.timers_pending.get_or_create(&Of { service: service.to_owned() }).set(n);
    }

    /// Timers that were due at these times have been committed at `now`.
    pub(crate) fn timers_fired(&self, service: &str, due: &[Time], now: Time) {
        let late = self.timer_late.get_or_create(&Of { service: service.to_owned() });
        due.iter().for_each(|due| late.observe(now.since(*due).as_secs_f64()));
    }

    pub(crate) fn timer_failed(&self, service: &str) {
        self.timers_failed.get_or_create(&Of { service: service.to_owned() }).inc();
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

    pub(crate) fn stage(&self, by: &str, stage: Stage) -> Histogram {
        let label = AtStage { by: by.to_owned(), stage: stage.name() };
        self.stages.get_or_create(&label).clone()
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

    pub(crate) fn parked(&self, group: &str, now: &ParkedNow) {
        let label = Parked { group: group.to_owned() };
        self.parked_keys.get_or_create(&label).set(now.keys);
        self.parked_messages.get_or_create(&label).set(now.messages);
        self.parked_age.get_or_create(&label).set(now.age.as_secs_f64());
    }

    pub(crate) fn dead(&self, group: &str, code: &str, cause: &str) {
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        if causes.len() < CAUSES {
            causes.insert(cause.to_owned());
        }
        let cause = if causes.contains(cause) { cause } else { "other" };
        let (group, code, cause) = (group.to_owned(), code.to_owned(), cause.to_owned());
        self.dead.get_or_create(&Dead { group, code, cause }).inc();
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

fn of_effect(service: &str, effect: &str) -> OfEffect {
    OfEffect { service: service.to_owned(), effect: effect.to_owned() }
}

fn of_partition(group: &str, topic: &str, partition: u32) -> OfPartition {
    OfPartition { group: group.to_owned(), topic: topic.to_owned(), partition }
}
