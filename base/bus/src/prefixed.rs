//! Several installations on one cluster: each has its topics under a prefix of its own, and sees no others.

use crate::BusError;
use crate::name;
use crate::port::{
    Appended, Bounds, Bus, Fetch, Fetched, From, GroupOffset, Groups, Log, Record, Topic, TopicSpec, Topics,
};
use artel_message::Time;
use async_trait::async_trait;
use std::sync::Arc;

/// A log whose topics stand under `PREFIX` on the adapter behind it; its callers never see the prefix, but in paths
/// and sentences that an error quotes.
pub struct Prefixed {
    inner: Arc<dyn Bus>,
    prefix: String,
}

impl Prefixed {
    /// `inner` itself where the prefix is empty.
    pub fn over(inner: Arc<dyn Bus>, prefix: &str) -> Arc<dyn Bus> {
        if prefix.is_empty() { inner } else { Arc::new(Prefixed { inner, prefix: prefix.to_owned() }) }
    }

    fn full(&self, topic: &str) -> String {
        format!("{}{topic}", self.prefix)
    }

    /// The error as the caller knows its topic.
    fn error(&self, mut error: BusError) -> BusError {
        match &mut error {
            BusError::UnknownTopic(topic)
            | BusError::UnknownPartition { topic, .. }
            | BusError::InvalidTopic { name: topic, .. }
            | BusError::PartitionCount { topic, .. }
            | BusError::OutOfRange { topic, .. }
            | BusError::UnknownGroup { topic, .. }
            | BusError::Full { topic, .. }
            | BusError::Stopped { topic, .. } => {
                if let Some(own) = topic.strip_prefix(&self.prefix) {
                    *topic = own.to_owned();
                }
            }
            BusError::TooLarge { .. }
            | BusError::InvalidRecord { .. }
            | BusError::Limit { .. }
            | BusError::DiskFull { .. }
            | BusError::Unavailable(_)
            | BusError::Denied(_)
            | BusError::Closed
            | BusError::Io { .. } => {}
        }
        error
    }

    fn own(&self, mut topic: Topic) -> Option<Topic> {
        topic.name = topic.name.strip_prefix(&self.prefix)?.to_owned();
        Some(topic)
    }
}

#[async_trait]
impl Log for Prefixed {
    fn system(&self) -> &'static str {
        self.inner.system()
    }

    async fn append(&self, topic: &str, partition: u32, batch: &[Record<'_>]) -> Result<Appended, BusError> {
        self.inner.append(&self.full(topic), partition, batch).await.map_err(|error| self.error(error))
    }

    async fn read(&self, topic: &str, partition: u32, from: i64, fetch: Fetch) -> Result<Fetched, BusError> {
        self.inner.read(&self.full(topic), partition, from, fetch).await.map_err(|error| self.error(error))
    }

    async fn wait(&self, topic: &str, partition: u32, from: i64) -> Result<(), BusError> {
        self.inner.wait(&self.full(topic), partition, from).await.map_err(|error| self.error(error))
    }

    async fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, BusError> {
        self.inner.bounds(&self.full(topic), partition).await.map_err(|error| self.error(error))
    }

    async fn offset_at(&self, topic: &str, partition: u32, time: Time) -> Result<Option<i64>, BusError> {
        self.inner.offset_at(&self.full(topic), partition, time).await.map_err(|error| self.error(error))
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Topics for Prefixed {
    async fn make(&self, spec: TopicSpec) -> Result<Topic, BusError> {
        // Behind the prefix an empty name would be a good one.
        name::check(&spec.name)?;
        let (name, full) = (spec.name.clone(), self.full(&spec.name));
        if full.len() > name::MAX {
            let reason = "with the prefix of this installation it is longer than 249 characters";
            return Err(BusError::InvalidTopic { name, reason });
        }
        let made = self.inner.make(TopicSpec { name: full, ..spec }).await;
        let made = made.map_err(|error| self.error(error))?;
        Ok(Topic { name, ..made })
    }

    async fn describe(&self, topic: &str) -> Result<Topic, BusError> {
        let found = self.inner.describe(&self.full(topic)).await.map_err(|error| self.error(error))?;
        Ok(Topic { name: topic.to_owned(), ..found })
    }

    async fn list(&self) -> Result<Vec<Topic>, BusError> {
        Ok(self.inner.list().await?.into_iter().filter_map(|topic| self.own(topic)).collect())
    }

    async fn delete(&self, topic: &str) -> Result<(), BusError> {
        self.inner.delete(&self.full(topic)).await.map_err(|error| self.error(error))
    }
}

#[async_trait]
impl Groups for Prefixed {
    async fn register(&self, group: &str, topic: &str, from: From) -> Result<(), BusError> {
        self.inner.register(group, &self.full(topic), from).await.map_err(|error| self.error(error))
    }

    async fn advise(&self, group: &str, topic: &str, partition: u32, next: i64) -> Result<(), BusError> {
        self.inner.advise(group, &self.full(topic), partition, next).await.map_err(|error| self.error(error))
    }

    async fn forget(&self, group: &str, topic: &str) -> Result<(), BusError> {
        self.inner.forget(group, &self.full(topic)).await.map_err(|error| self.error(error))
    }

    async fn offsets(&self) -> Result<Vec<GroupOffset>, BusError> {
        let own = |mut offset: GroupOffset| {
            offset.topic = offset.topic.strip_prefix(&self.prefix)?.to_owned();
            Some(offset)
        };
        Ok(self.inner.offsets().await?.into_iter().filter_map(own).collect())
    }
}
