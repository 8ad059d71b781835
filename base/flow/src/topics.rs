//! The topics this node knows: how many partitions, whose they are, who may write there with a seq.

use crate::limits::Limits;
use artel_bus::{Bus, BusError, Topic, TopicSpec};
use artel_message::{Envelope, dead_letter_topic};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use uuid::Uuid;

/// Who may write to a topic of the registry with a seq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Writers {
    /// Commands and replies: every service of the table.
    Services,
    /// An event topic: the one service it belongs to.
    One(String),
}

/// What is cached of a topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub id: Uuid,
    pub partitions: u32,
}

/// The directory of topics, shared by all services of a node.
#[derive(Clone)]
pub struct Topics(Arc<Inner>);

struct Inner {
    bus: Arc<dyn Bus>,
    partitions: u32,
    retention_ms: Option<i64>,
    retention_bytes: Option<u64>,
    services: Vec<String>,
    /// Topic → the service it belongs to; dead-letter topics too.
    owners: BTreeMap<String, (String, Writers)>,
    known: RwLock<HashMap<String, Known>>,
}

impl Topics {
    pub(crate) fn new(
        bus: Arc<dyn Bus>,
        limits: &Limits,
        services: Vec<String>,
        owners: BTreeMap<String, (String, Writers)>,
    ) -> Topics {
        let retention = limits.retention.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        Topics(Arc::new(Inner {
            bus,
            partitions: limits.partitions,
            retention_ms: retention,
            retention_bytes: limits.retention_bytes,
            services,
            owners,
            known: RwLock::default(),
        }))
    }

    /// The service a topic belongs to: only that service's messages go there.
    pub fn owner(&self, topic: &str) -> Option<&str> {
        let of = |name: &str| self.0.owners.get(name).map(|(service, _)| service.as_str());
        of(topic).or_else(|| of(topic.strip_suffix(".dlq")?))
    }

    /// Makes the topic with the configured number of partitions, unless it exists.
    pub async fn ensure(&self, topic: &str) -> Result<(), BusError> {
        if self.known(topic).is_some() {
            return Ok(());
        }
        match self.0.bus.describe(topic).await {
            Ok(found) => self.learn(&found),
            Err(BusError::UnknownTopic(_)) => {
                let (retention_ms, retention_bytes) = (self.0.retention_ms, self.0.retention_bytes);
                let (name, partitions) = (topic.to_owned(), self.0.partitions);
                let spec = TopicSpec { name, partitions, retention_ms, retention_bytes };
                let made = self.0.bus.make(spec).await?;
                self.learn(&made);
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Makes the topic that messages given up on in `topic` go to; one partition, kept for ever.
    pub(crate) async fn ensure_dead_letters(&self, topic: &str) -> Result<String, BusError> {
        let name = dead_letter_topic(topic);
        if self.known(&name).is_none() {
            let (retention_ms, retention_bytes) = (None, None);
            let spec = TopicSpec { name: name.clone(), partitions: 1, retention_ms, retention_bytes };
            self.learn(&self.0.bus.make(spec).await?);
        }
        Ok(name)
    }

    /// Makes every topic of the registry; one that exists with another number of partitions keeps its own.
    pub(crate) async fn make_all(&self) -> Result<(), BusError> {
        for topic in self.0.owners.keys() {
            self.ensure(topic).await?;
        }
        Ok(())
    }

    pub(crate) async fn describe(&self, topic: &str) -> Result<Known, BusError> {
        let found = self.0.bus.describe(topic).await?;
        self.learn(&found);
        Ok(Known { id: found.id, partitions: found.partitions })
    }

    pub(crate) fn known(&self, topic: &str) -> Option<Known> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner).get(topic).copied()
    }

    /// Forgets what is cached, after the topic went away behind our back.
    pub(crate) fn unlearn(&self, topic: &str) {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner).remove(topic);
    }

    fn learn(&self, topic: &Topic) {
        let known = Known { id: topic.id, partitions: topic.partitions };
        self.0.known.write().unwrap_or_else(PoisonError::into_inner).insert(topic.name.clone(), known);
    }

    /// Whether `source` may write to `topic` with a seq, as far as the registry says; `None` = it says nothing.
    pub(crate) fn may_write(&self, topic: &str, source: &str) -> Option<bool> {
        let (_, writers) = self.0.owners.get(topic)?;
        Some(match writers {
            Writers::One(service) => source == Envelope::source_of(service),
            Writers::Services => self.0.services.iter().any(|s| source == Envelope::source_of(s)),
        })
    }

    pub fn bus(&self) -> &Arc<dyn Bus> {
        &self.0.bus
    }
}
