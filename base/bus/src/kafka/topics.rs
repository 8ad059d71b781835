//! Making, describing and deleting topics.

use super::ask::Listed;
use super::facts::Facts;
use super::{Kafka, error};
use crate::{BusError, Topic, TopicSpec, Topics};
use async_trait::async_trait;
use rdkafka::admin::{AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Between two looks at whether the brokers have carried something out.
const LOOK: Duration = Duration::from_millis(20);
/// How long a new topic may take to be known to every broker.
pub(super) const NEWS: Duration = Duration::from_secs(5);

/// What a topic's settings say.
struct Settings {
    retention_ms: Option<i64>,
    retention_bytes: Option<u64>,
    max_message_bytes: usize,
}

#[async_trait]
impl Topics for Kafka {
    async fn make(&self, spec: TopicSpec) -> Result<Topic, BusError> {
        crate::name::check(&spec.name)?;
        let name = spec.name.clone();
        self.unless_closed(async {
            let listed = match self.listed(&name).await {
                Err(BusError::UnknownTopic(_)) => {
                    self.create(&spec).await?;
                    self.facts.forget(&name);
                    self.carried_out(&name, "making", |found| matches!(found, Ok(topic) if topic.is_ready))
                        .await??
                }
                found => found?,
            };
            if listed.partitions != spec.partitions {
                let (actual, wanted) = (listed.partitions, spec.partitions);
                return Err(BusError::PartitionCount { topic: name.clone(), actual, wanted });
            }
            self.topic(listed).await
        })
        .await
    }

    async fn describe(&self, topic: &str) -> Result<Topic, BusError> {
        self.unless_closed(async {
            let listed = self.listed(topic).await?;
            self.topic(listed).await
        })
        .await
    }

    async fn list(&self) -> Result<Vec<Topic>, BusError> {
        self.unless_closed(async {
            let all = self.blocking("listing the topics", |clients| clients.asker.topics()).await?;
            let names: Vec<String> = all.iter().map(|topic| topic.name.clone()).collect();
            let mut settings = self.settings(&names).await?;
            let mut topics = Vec::with_capacity(all.len());
            for listed in all {
                // Not there any more.
                let Some(settings) = settings.remove(&listed.name) else { continue };
                match self.with_id(listed, settings).await {
                    Ok(topic) => topics.push(topic),
                    Err(BusError::UnknownTopic(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(topics)
        })
        .await
    }

    async fn delete(&self, topic: &str) -> Result<(), BusError> {
        self.unless_closed(async {
            self.listed(topic).await?;
            let doing = format!("deleting topic '{topic}'");
            let clients = self.clients()?;
            let deleted = clients.admin.delete_topics(&[topic], &self.options()).await;
            self.of_one(topic, &doing, deleted.map(|mut all| all.pop()))?;
            let gone = |found: &Result<Listed, BusError>| matches!(found, Err(BusError::UnknownTopic(_)));
            let _ = self.carried_out(topic, "deleting", gone).await?;
            self.facts.forget(topic);
            self.groups.drop_topic(topic);
            self.readers.drop_topic(topic);
            Ok(())
        })
        .await
    }
}

impl Kafka {
    fn options(&self) -> AdminOptions {
        let deadline = self.config.request_deadline;
        AdminOptions::new().request_timeout(Some(deadline)).operation_timeout(Some(deadline))
    }

    pub(super) async fn listed(&self, topic: &str) -> Result<Listed, BusError> {
        let name = topic.to_owned();
        let doing = format!("asking for topic '{topic}'");
        let found = self.blocking(&doing, move |clients| clients.asker.topic(&name)).await;
        if matches!(found, Err(BusError::UnknownTopic(_))) {
            self.facts.forget(topic);
        }
        found
    }

    /// Waits until the brokers say what an administration's call asked for; they answer before all of them know.
    async fn carried_out(
        &self,
        topic: &str,
        doing: &str,
        done: impl Fn(&Result<Listed, BusError>) -> bool,
    ) -> Result<Result<Listed, BusError>, BusError> {
        let begin = Instant::now();
        loop {
            let found = self.listed(topic).await;
            if done(&found) {
                return Ok(found);
            }
            if begin.elapsed() > self.config.request_deadline {
                return Err(match found {
                    Err(error) if !matches!(error, BusError::UnknownTopic(_)) => error,
                    _ => self.health.away(&format!("{doing} topic '{topic}'")),
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn create(&self, spec: &TopicSpec) -> Result<(), BusError> {
        let doing = format!("making topic '{}'", spec.name);
        let retention_ms = spec.retention_ms.unwrap_or(-1).to_string();
        let retention_bytes =
            spec.retention_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)).to_string();
        let max_message_bytes = self.config.max_message_bytes.to_string();
        let any_time = i64::MAX.to_string();
        let in_sync = self.config.min_insync_replicas.map(|count| count.to_string());
        let copies = self.config.replication_factor.map_or(-1, i32::from);
        let partitions = i32::try_from(spec.partitions).unwrap_or(i32::MAX);
        let mut topic = NewTopic::new(&spec.name, partitions, TopicReplication::Fixed(copies))
            .set("cleanup.policy", "delete")
            .set("retention.ms", &retention_ms)
            .set("retention.bytes", &retention_bytes)
            .set("max.message.bytes", &max_message_bytes)
            // A record has its own time, however old or early it is.
            .set("message.timestamp.type", "CreateTime")
            .set("message.timestamp.before.max.ms", &any_time)
            .set("message.timestamp.after.max.ms", &any_time);
        if let Some(in_sync) = &in_sync {
            topic = topic.set("min.insync.replicas", in_sync);
        }
        let clients = self.clients()?;
        let made = clients.admin.create_topics([&topic], &self.options()).await;
        match self.of_one(&spec.name, &doing, made.map(|mut all| all.pop())) {
            // Somebody else was quicker.
            Err(BusError::Io { reason, .. }) if reason.contains("already exists") => Ok(()),
            result => result,
        }
    }

    /// The answer about the one topic that was asked for.
    fn of_one(
        &self,
        topic: &str,
        doing: &str,
        result: rdkafka::error::KafkaResult<Option<Result<String, (String, Code)>>>,
    ) -> Result<(), BusError> {
        match result {
            Ok(Some(Err((_, Code::InvalidReplicationFactor)))) => Err(BusError::Io {
                context: doing.to_owned(),
                reason: "there are fewer brokers than copies asked for (setting replication_factor)"
                    .to_owned(),
            }),
            Ok(Some(Err((_, code)))) => Err(error::of_code(&self.health, topic, doing, code)),
            Ok(_) => Ok(()),
            Err(failure) => Err(error::of(&self.health, topic, doing, &failure)),
        }
    }

    /// What the brokers say of a topic that one of them has named. Another one may not know it yet, a moment after somebody made it.
    async fn topic(&self, listed: Listed) -> Result<Topic, BusError> {
        let begin = Instant::now();
        let mut listed = listed;
        loop {
            let name = listed.name.clone();
            let described = match self.settings(std::slice::from_ref(&name)).await?.remove(&name) {
                Some(settings) => self.with_id(listed, settings).await,
                None => Err(BusError::UnknownTopic(name.clone())),
            };
            match described {
                Err(BusError::UnknownTopic(_)) if begin.elapsed() < NEWS => tokio::time::sleep(LOOK).await,
                described => return described,
            }
            // Where it was deleted, that is the end of it.
            listed = self.listed(&name).await?;
        }
    }

    async fn with_id(&self, listed: Listed, settings: Settings) -> Result<Topic, BusError> {
        let name = listed.name.clone();
        let id = self
            .blocking(&format!("asking for topic '{name}'"), move |clients| {
                clients.asker.topic(&name)?;
                clients.asker.id(&name)
            })
            .await?;
        if self.facts.is_another(&listed.name, id) {
            // Nothing of the old one is read under the new identity.
            self.readers.drop_topic(&listed.name);
        }
        let facts = Facts { partitions: listed.partitions, max_message_bytes: settings.max_message_bytes };
        self.facts.put(&listed.name, facts);
        Ok(Topic {
            name: listed.name,
            id,
            partitions: listed.partitions,
            // The safe binding can't ask for the sizes of log folders.
            bytes: Vec::new(),
            retention_ms: settings.retention_ms,
            retention_bytes: settings.retention_bytes,
        })
    }

    async fn settings(&self, topics: &[String]) -> Result<HashMap<String, Settings>, BusError> {
        if topics.is_empty() {
            return Ok(HashMap::new());
        }
        let asked: Vec<ResourceSpecifier<'_>> =
            topics.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let clients = self.clients()?;
        let doing = if topics.len() == 1 {
            format!("reading the settings of topic '{}'", topics[0])
        } else {
            "reading the settings of the topics".to_owned()
        };
        let all = clients.admin.describe_configs(&asked, &self.options()).await;
        let all = all.map_err(|failure| error::of(&self.health, "", &doing, &failure))?;
        let mut found = HashMap::new();
        for (name, result) in topics.iter().zip(all) {
            match result {
                Ok(resource) => {
                    found.insert(name.clone(), self.read_settings(&resource));
                }
                Err(code) if error::is_unknown(code) => {}
                Err(code) => return Err(error::of_code(&self.health, "", &doing, code)),
            }
        }
        Ok(found)
    }

    fn read_settings(&self, resource: &ConfigResource) -> Settings {
        let value = |name: &str| resource.get(name).and_then(|entry| entry.value.as_deref());
        let number = |name: &str| value(name).and_then(|text| text.parse::<i64>().ok());
        let own = self.config.max_message_bytes as usize;
        Settings {
            retention_ms: number("retention.ms").filter(|ms| *ms >= 0),
            retention_bytes: number("retention.bytes").and_then(|bytes| u64::try_from(bytes).ok()),
            max_message_bytes: number("max.message.bytes")
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(own),
        }
    }

    /// What is known of a topic, from memory if it was asked for lately.
    pub(super) async fn facts(&self, topic: &str) -> Result<Facts, BusError> {
        if let Some(facts) = self.facts.get(topic) {
            return Ok(facts);
        }
        let listed = self.listed(topic).await?;
        let settings = match self.settings(std::slice::from_ref(&listed.name)).await {
            Ok(mut found) => found.remove(topic),
            // Whoever may write but not look: the brokers will say when something is too large.
            Err(BusError::Denied(_)) => None,
            Err(error) => return Err(error),
        };
        let own = self.config.max_message_bytes as usize;
        let max_message_bytes = settings.map_or(own, |settings| settings.max_message_bytes);
        let facts = Facts { partitions: listed.partitions, max_message_bytes };
        self.facts.put(topic, facts);
        Ok(facts)
    }
}
