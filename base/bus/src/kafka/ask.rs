//! The client that asks: which topics there are, what a partition holds, which offset a time has. Everything here blocks.

use super::client::{self, Context, Heard};
use super::config::KafkaConfig;
use super::error;
use super::health::Health;
use crate::{Bounds, BusError};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long one request may take before it is seen whether there is any hope.
const SLICE: Duration = Duration::from_millis(1000);
/// How long librdkafka may take to log what it just learned.
const LOGGED: Duration = Duration::from_millis(500);

/// The topics' ids as librdkafka tells them in its log: its safe binding has no call that returns them.
#[derive(Default)]
struct Ids(Mutex<HashMap<String, Uuid>>);

impl Heard for Ids {
    fn id_changed(&self, topic: &str, id: Uuid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned(), id);
    }
}

pub(super) struct Asker {
    consumer: BaseConsumer<Context<Ids>>,
    /// One at a time takes events out, so that whoever finds none knows that all were handled.
    polling: Mutex<()>,
    health: Arc<Health>,
    deadline: Duration,
}

/// A topic as the brokers list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub name: String,
    pub partitions: u32,
    /// Whether every partition has a leader.
    pub is_ready: bool,
}

impl Asker {
    pub fn new(config: &KafkaConfig, health: Arc<Health>) -> Result<Asker, BusError> {
        let context = Context::new(health.clone(), Ids::default());
        let consumer = BaseConsumer::from_config_and_context(&client::asker(config), context)
            .map_err(|error| client::refused(&error))?;
        Ok(Asker { consumer, polling: Mutex::default(), health, deadline: config.request_deadline })
    }

    /// Handles log lines and errors; called now and then, or they would pile up.
    pub fn poll(&self) {
        let _alone = self.polling.lock().unwrap_or_else(PoisonError::into_inner);
        // Each call consumes events for as long as there are any, but a millisecond at the most.
        while self.consumer.poll(Duration::from_millis(1)).is_some() {}
    }

    /// Repeats a request until it is answered, the deadline is over, or waiting is in vain.
    fn ask<T>(
        &self,
        topic: &str,
        doing: &str,
        request: impl Fn(Duration) -> KafkaResult<T>,
    ) -> Result<T, BusError> {
        let begin = Instant::now();
        loop {
            let left = self.deadline.saturating_sub(begin.elapsed()).max(Duration::from_millis(1));
            let failure = match request(left.min(SLICE)) {
                Ok(answer) => {
                    self.health.fine();
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            self.poll();
            let away = failure.rdkafka_error_code().is_none_or(error::is_away);
            if !away || self.health.is_hopeless() || begin.elapsed() >= self.deadline {
                return Err(error::of(&self.health, topic, doing, &failure));
            }
            // A refusal that came at once: the next may come as quickly.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn metadata(&self, topic: Option<&str>, doing: &str) -> Result<Metadata, BusError> {
        self.ask(topic.unwrap_or_default(), doing, |timeout| self.consumer.fetch_metadata(topic, timeout))
    }

    /// The topic, or `UnknownTopic`.
    pub fn topic(&self, name: &str) -> Result<Listed, BusError> {
        let doing = format!("asking for topic '{name}'");
        let metadata = self.metadata(Some(name), &doing)?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
            return Err(BusError::UnknownTopic(name.to_owned()));
        };
        if let Some(code) = topic.error().map(code)
            && !error::is_away(code)
        {
            // A name that Kafka doesn't allow can't be there either.
            let unknown = code == Code::InvalidTopic;
            return Err(if unknown {
                BusError::UnknownTopic(name.to_owned())
            } else {
                self.refusal(name, &doing, code)
            });
        }
        Ok(listed(topic))
    }

    fn refusal(&self, topic: &str, doing: &str, code: Code) -> BusError {
        error::of_code(&self.health, topic, doing, code)
    }

    /// Every topic that is not Kafka's own.
    pub fn topics(&self) -> Result<Vec<Listed>, BusError> {
        let metadata = self.metadata(None, "listing the topics")?;
        let own = |name: &str| name.starts_with("__");
        let mut topics: Vec<Listed> =
            metadata.topics().iter().filter(|t| !own(t.name())).map(listed).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// How many brokers there are.
    pub fn brokers(&self) -> Result<usize, BusError> {
        // Whether this topic is there does not matter; asking for all would be much to answer.
        Ok(self.metadata(Some("__consumer_offsets"), "looking for the brokers")?.brokers().len())
    }

    /// Kafka's own id of a topic that [`Asker::topic`] has just found.
    pub fn id(&self, name: &str) -> Result<Uuid, BusError> {
        let begin = Instant::now();
        loop {
            self.poll();
            let ids = &self.consumer.context().heard.0;
            if let Some(id) = ids.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
                return Ok(*id);
            }
            if begin.elapsed() > LOGGED {
                return Err(BusError::Io {
                    context: format!("asking for the id of topic '{name}'"),
                    reason: "the brokers gave none; they have to be Kafka 2.8 or later".to_owned(),
                });
            }
        }
    }

    pub fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, BusError> {
        let doing = format!("asking what {topic}/{partition} holds");
        let number = number(partition);
        let (begin, end) =
            self.ask(topic, &doing, |timeout| self.consumer.fetch_watermarks(topic, number, timeout))?;
        Ok(Bounds { begin, end })
    }

    /// The first offset at or after a time in milliseconds.
    pub fn offset_at(&self, topic: &str, partition: u32, millis: i64) -> Result<Option<i64>, BusError> {
        let doing = format!("looking for a time in {topic}/{partition}");
        // Below zero are Kafka's own marks for begin and end.
        let asked = Offset::Offset(millis.max(0));
        let found = self.ask(topic, &doing, |timeout| {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, number(partition), asked)?;
            let found = self.consumer.offsets_for_times(list, timeout)?;
            let element = found.elements().first().map(|e| e.error().map(|()| e.offset()));
            element.unwrap_or(Err(KafkaError::OffsetFetch(Code::Fail)))
        })?;
        Ok(match found {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        })
    }

    /// Names of groups on the brokers that begin so.
    pub fn groups(&self, prefix: &str) -> Result<Vec<String>, BusError> {
        let list =
            self.ask("", "listing the groups", |timeout| self.consumer.fetch_group_list(None, timeout))?;
        let names = list.groups().iter().map(|group| group.name());
        Ok(names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect())
    }
}

/// As librdkafka numbers it; a number beyond is no partition of any topic.
pub(super) fn number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

fn code(raw: RDKafkaRespErr) -> Code {
    raw.into()
}

fn listed(topic: &rdkafka::metadata::MetadataTopic) -> Listed {
    let partitions = topic.partitions();
    Listed {
        name: topic.name().to_owned(),
        partitions: u32::try_from(partitions.len()).unwrap_or(u32::MAX),
        is_ready: topic.error().is_none()
            && partitions.iter().all(|partition| partition.leader() >= 0 && partition.error().is_none()),
    }
}
