//! The topics this node knows: how many partitions, whose they are, who may write there with a seq.

use crate::limits::Limits;
use artel_bus::{Bus, BusError, Topic, TopicSpec};
use artel_message::{Envelope, Fault, dead_letter_topic};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
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
    /// Topics of the table → who may write there.
    writers: BTreeMap<String, Writers>,
    known: RwLock<HashMap<String, Known>>,
    /// Topics that somebody wrote to and that this node does not know, and whether the log said that there is none.
    missing: Mutex<BTreeMap<String, bool>>,
}

/// So many topics are looked for at once.
const MISSING: usize = 64;

impl Topics {
    pub(crate) fn new(
        bus: Arc<dyn Bus>,
        limits: &Limits,
        services: Vec<String>,
        writers: BTreeMap<String, Writers>,
    ) -> Topics {
        let retention = limits.retention.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        Topics(Arc::new(Inner {
            bus,
            partitions: limits.partitions,
            retention_ms: retention,
            retention_bytes: limits.retention_bytes,
            services,
            writers,
            known: RwLock::default(),
            missing: Mutex::default(),
        }))
    }

    /// The service a topic belongs to, by the first part of its name: only that service's messages go there.
    pub fn owner(&self, topic: &str) -> Option<&str> {
        let (first, _) = topic.split_once('.')?;
        self.0.services.iter().find(|service| *service == first).map(String::as_str)
    }

    /// Why a message can't be for a topic that is not known. It may come, or have been made by another node; only one that the
    /// log was asked for meanwhile and that is nobody's does not exist.
    pub(crate) fn absent(&self, message: &str, topic: &str) -> Fault {
        let mut missing = self.0.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = format!("{message}: topic '{topic}' does not exist");
        if missing.get(topic) == Some(&true) {
            // Said once: who comes later asks again.
            missing.remove(topic);
            if self.owner(topic).is_none() {
                return Fault::invalid(reason);
            }
        }
        if missing.len() >= MISSING && !missing.contains_key(topic) {
            missing.pop_first();
        }
        missing.insert(topic.to_owned(), false);
        Fault::unavailable(reason)
    }

    /// Asks the log for the topics that were missing since the last time; true when the next try may say something else. For
    /// whoever tries again what failed.
    pub(crate) async fn look_for_missing(&self) -> bool {
        let wanted: Vec<String> = {
            let missing = self.0.missing.lock().unwrap_or_else(PoisonError::into_inner);
            missing.iter().filter(|(_, asked)| !**asked).map(|(topic, _)| topic.clone()).collect()
        };
        let mut news = false;
        for topic in wanted {
            let found = self.0.bus.describe(&topic).await;
            let mut missing = self.0.missing.lock().unwrap_or_else(PoisonError::into_inner);
            match found {
                Ok(found) => {
                    missing.remove(&topic);
                    self.learn(&found);
                }
                Err(BusError::UnknownTopic(_)) => {
                    missing.insert(topic, true);
                }
                Err(_) => continue,
            }
            news = true;
        }
        news
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

    /// Makes the topic that messages given up on in `topic` go to, unless it exists; one partition, kept for ever.
    pub(crate) async fn ensure_dead_letters(&self, topic: &str) -> Result<(String, Known), BusError> {
        let name = dead_letter_topic(topic);
        if let Some(known) = self.known(&name) {
            return Ok((name, known));
        }
        let found = match self.0.bus.describe(&name).await {
            Err(BusError::UnknownTopic(_)) => {
                let (retention_ms, retention_bytes) = (None, None);
                let spec = TopicSpec { name: name.clone(), partitions: 1, retention_ms, retention_bytes };
                self.0.bus.make(spec).await?
            }
            found => found?,
        };
        self.learn(&found);
        Ok((name, Known { id: found.id, partitions: found.partitions }))
    }

    /// Makes every topic of the registry; one that exists with another number of partitions keeps its own.
    pub(crate) async fn make_all(&self) -> Result<(), BusError> {
        for topic in self.0.writers.keys() {
            self.ensure(topic).await?;
        }
        Ok(())
    }

    /// The topics of the table that are a service's, and how many partitions the log has for each.
    pub(crate) fn of(&self, service: &str) -> Vec<(String, u32)> {
        let own = self.0.writers.keys().filter(|topic| self.owner(topic) == Some(service));
        own.filter_map(|topic| Some((topic.clone(), self.known(topic)?.partitions))).collect()
    }

    pub(crate) async fn describe(&self, topic: &str) -> Result<Known, BusError> {
        let found = self.0.bus.describe(topic).await?;
        self.learn(&found);
        Ok(Known { id: found.id, partitions: found.partitions })
    }

    pub(crate) fn known(&self, topic: &str) -> Option<Known> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner).get(topic).copied()
    }

    fn learn(&self, topic: &Topic) {
        let known = Known { id: topic.id, partitions: topic.partitions };
        self.0.known.write().unwrap_or_else(PoisonError::into_inner).insert(topic.name.clone(), known);
    }

    /// Whether `source` may write to `topic` with a seq, as far as the registry says; `None` = it says nothing.
    pub(crate) fn may_write(&self, topic: &str, source: &str) -> Option<bool> {
        Some(match self.0.writers.get(topic)? {
            Writers::One(service) => source == Envelope::source_of(service),
            Writers::Services => self.0.services.iter().any(|s| source == Envelope::source_of(s)),
        })
    }

    /// Whether nobody else may, by the table.
    pub(crate) fn is_only_writer(&self, topic: &str, service: &str) -> bool {
        matches!(self.0.writers.get(topic), Some(Writers::One(of)) if of == service)
    }

    pub fn bus(&self) -> &Arc<dyn Bus> {
        &self.0.bus
    }
}
