//! What is known of each host: its rate, its circuit, its budget of repeats, and until when it wants to be left alone.

use super::breaker::{Breaker, Outcome, Permit};
use super::rate::Gcra;
use super::retry::Budget;
use super::transport::Checked;
use super::{OutboundSettings, metrics::OutboundMetrics};
use artel_flow::Clock;
use artel_message::Time;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Further hosts are counted together.
const LABELS: usize = 200;
const FURTHER: &str = "other";
/// Hosts that users name are counted together: anybody could make up any number of them.
const USERS: &str = "user_given";

pub(super) struct Host {
    /// How metrics call it.
    pub(super) label: String,
    state: Mutex<HostState>,
}

pub(super) struct HostState {
    pub(super) gcra: Gcra,
    pub(super) breaker: Breaker,
    pub(super) budget: Budget,
    /// From `Retry-After`.
    pub(super) not_before: Option<Time>,
}

impl Host {
    pub(super) fn lock(&self) -> MutexGuard<'_, HostState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hosts called lately; the one not called for longest is forgotten first.
#[derive(Default)]
pub(super) struct Hosts(Mutex<Known>);

#[derive(Default)]
struct Known {
    hosts: HashMap<(String, bool), (Arc<Host>, u64)>,
    labels: BTreeSet<String>,
    uses: u64,
}

impl Hosts {
    pub(super) fn get(&self, call: &Checked, settings: &OutboundSettings) -> Arc<Host> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut *known;
        known.uses += 1;
        let key = (call.host.clone(), call.call.from_user);
        if let Some((host, used)) = known.hosts.get_mut(&key) {
            *used = known.uses;
            return Arc::clone(host);
        }
        if known.hosts.len() >= settings.hosts.max(1) {
            let oldest = known.hosts.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            oldest.and_then(|key| known.hosts.remove(&key));
        }
        let label = known.label(call);
        let state = HostState {
            gcra: Gcra::default(),
            breaker: Breaker::new(settings.breaker),
            budget: Budget::new(&settings.retry),
            not_before: None,
        };
        let host = Arc::new(Host { label, state: Mutex::new(state) });
        known.hosts.insert(key, (Arc::clone(&host), known.uses));
        host
    }
}

impl Known {
    fn label(&mut self, call: &Checked) -> String {
        if call.call.from_user {
            return USERS.to_owned();
        }
        if self.labels.len() < LABELS {
            self.labels.insert(call.host.clone());
        }
        self.labels.get(&call.host).cloned().unwrap_or_else(|| FURTHER.to_owned())
    }
}

/// A call that its host's circuit let pass. Dropped without a word it was given up by the caller.
pub(super) struct Passed<'a> {
    pub(super) host: &'a Host,
    pub(super) clock: &'a Clock,
    pub(super) metrics: &'a OutboundMetrics,
    pub(super) permit: Option<Permit>,
}

impl Passed<'_> {
    pub(super) fn done(mut self, outcome: Outcome) {
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: Outcome) {
        if let Some(permit) = self.permit.take() {
            let mut state = self.host.lock();
            let before = state.breaker.is_open();
            state.breaker.done(permit, outcome, self.clock.now());
            let now = state.breaker.is_open();
            drop(state);
            if before != now {
                let host = &self.host.label;
                if now {
                    tracing::warn!(host, "too many calls failed; the host is not called for a while");
                } else {
                    tracing::info!(host, "the host answers again");
                }
                self.metrics.circuit(host, now);
            }
        }
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        self.tell(Outcome::Unknown);
    }
}
