//! Where a group begins in partitions that it has not read before: each is asked for by itself, like what it holds.

use super::GroupTask;
use super::partition::{self, is_lost};
use crate::outage;
use crate::storage::offsets::Offset;
use crate::topics::Known;
use artel_bus::{BusError, From as StartAt};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

/// How long the others wait for the answers. What comes later is begun with later.
const PATIENCE: Duration = Duration::from_secs(1);

type Place = (Arc<str>, u32);

#[derive(Default)]
pub(super) struct Starts {
    pub under_way: JoinSet<(Place, Result<Offset, BusError>)>,
    asked: BTreeSet<Place>,
    /// Not written down yet.
    found: Vec<Offset>,
    failures: u32,
    /// When those are asked for again that were not answered.
    pub again_at: Option<Instant>,
}

impl Starts {
    /// Whether some partition's beginning is not known yet.
    pub fn are_open(&self) -> bool {
        !self.asked.is_empty() || !self.found.is_empty() || self.again_at.is_some()
    }
}

impl GroupTask {
    /// The places of partitions that have none, as far as the log says.
    pub(super) async fn new_places(&mut self, stored: &[Offset], logs: &[(Arc<str>, Known)]) -> Vec<Offset> {
        if self.starts.again_at.is_some_and(|again| again > Instant::now()) {
            // It is the group that asked too soon, for another reason.
            return self.complete(stored, logs);
        }
        self.starts.again_at = None;
        let mut any = false;
        for (topic, known) in logs {
            for number in 0..known.partitions {
                let place = (topic.clone(), number);
                let is_known = stored.iter().any(|o| *o.topic == **topic && o.partition == number)
                    || self.starts.found.iter().any(|o| *o.topic == **topic && o.partition == number);
                if !is_known && self.starts.asked.insert(place.clone()) {
                    any = true;
                    self.ask_start(stored, place, *known);
                }
            }
        }
        let until = Instant::now() + PATIENCE;
        while any && !self.starts.asked.is_empty() {
            match tokio::time::timeout_at(until, self.starts.under_way.join_next()).await {
                Ok(Some(answer)) => self.begins(answer),
                Ok(None) | Err(_) => break,
            }
        }
        self.complete(stored, logs)
    }

    /// What may be written down. A partition without a place in a topic that has some is taken for one that came later; so those of a
    /// new topic are written down together, unless they begin where a later one does.
    fn complete(&mut self, stored: &[Offset], logs: &[(Arc<str>, Known)]) -> Vec<Offset> {
        let is_complete = |topic: &str| {
            let found = self.starts.found.iter().filter(|o| o.topic == topic).count();
            let lost = self.lost.iter().filter(|((lost, _), _)| lost == topic).count();
            let known = logs.iter().find(|(log, _)| **log == *topic).map_or(0, |(_, known)| known.partitions);
            found + lost >= known as usize
        };
        let from_any = self.from == StartAt::Earliest;
        let may = |o: &Offset| from_any || stored.iter().any(|s| s.topic == o.topic) || is_complete(&o.topic);
        let ready: Vec<bool> = self.starts.found.iter().map(may).collect();
        let mut ready = ready.into_iter();
        self.starts.found.extract_if(.., |_| ready.next().unwrap_or(false)).collect()
    }

    fn ask_start(&mut self, stored: &[Offset], place: Place, known: Known) {
        // A partition that came later is read from its beginning.
        let known_topic = stored.iter().any(|o| *o.topic == *place.0);
        let from = if known_topic { StartAt::Earliest } else { self.from };
        let from = if planted!(StartsLatest) { StartAt::Latest } else { from };
        let bus = self.shared.topics.bus().clone();
        let offset = Offset {
            topic: place.0.to_string(),
            partition: place.1,
            next: 0,
            epoch: self.shared.fresh_epoch(),
            owner: (!self.shared.members.shared()).then_some(self.shared.node),
            log: known.id,
            last_offset: None,
            last_id: None,
        };
        self.starts.under_way.spawn(async move {
            let next = partition::start(bus.as_ref(), &place.0, place.1, from).await;
            (place, next.map(|next| Offset { next, ..offset }))
        });
    }

    /// Takes note of an answer; what was found is written down at the next assignment.
    pub(super) fn begins(&mut self, answer: Result<(Place, Result<Offset, BusError>), JoinError>) {
        let (place, error) = match answer {
            Ok((place, Ok(offset))) => {
                self.starts.asked.remove(&place);
                self.starts.found.push(offset);
                self.starts.failures = 0;
                return;
            }
            Ok((place, Err(error))) => (place, error),
            Err(_) => {
                // Nobody knows which one it was: all are asked for again.
                self.starts = Starts::default();
                self.starts.again_at = Some(Instant::now() + outage::pause(&self.shared.limits, 1));
                return;
            }
        };
        self.starts.asked.remove(&place);
        if is_lost(&error) {
            self.lost.push(((place.0.to_string(), place.1), error.to_string()));
            return;
        }
        let failures = self.starts.failures.saturating_add(1);
        self.starts.failures = failures;
        if failures.is_power_of_two() {
            tracing::warn!(group = %self.grp, topic = %place.0, partition = place.1, %error, failures, "a partition can't be begun yet");
        }
        self.starts.again_at = Some(Instant::now() + outage::pause(&self.shared.limits, failures));
    }
}
