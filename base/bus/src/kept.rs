//! A log that several nodes of one process share, in tests: the end of one closes it for no other.

use crate::BusError;
use crate::port::{
    Appended, Bounds, Bus, Fetch, Fetched, From, GroupOffset, Groups, Log, Record, Topic, TopicSpec, Topics,
};
use artel_message::Time;
use async_trait::async_trait;
use std::sync::Arc;

/// A log that closing leaves open.
pub struct Kept(Arc<dyn Bus>);

impl Kept {
    pub fn of(log: Arc<dyn Bus>) -> Arc<dyn Bus> {
        Arc::new(Kept(log))
    }
}

#[async_trait]
impl Log for Kept {
    fn system(&self) -> &'static str {
        self.0.system()
    }
    async fn append(&self, topic: &str, partition: u32, batch: &[Record<'_>]) -> Result<Appended, BusError> {
        self.0.append(topic, partition, batch).await
    }
    async fn read(&self, topic: &str, partition: u32, from: i64, fetch: Fetch) -> Result<Fetched, BusError> {
        self.0.read(topic, partition, from, fetch).await
    }
    async fn wait(&self, topic: &str, partition: u32, from: i64) -> Result<(), BusError> {
        self.0.wait(topic, partition, from).await
    }
    async fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, BusError> {
        self.0.bounds(topic, partition).await
    }
    async fn offset_at(&self, topic: &str, partition: u32, time: Time) -> Result<Option<i64>, BusError> {
        self.0.offset_at(topic, partition, time).await
    }
    async fn close(&self) {}
}

#[async_trait]
impl Topics for Kept {
    async fn make(&self, spec: TopicSpec) -> Result<Topic, BusError> {
        self.0.make(spec).await
    }
    async fn describe(&self, topic: &str) -> Result<Topic, BusError> {
        self.0.describe(topic).await
    }
    async fn list(&self) -> Result<Vec<Topic>, BusError> {
        self.0.list().await
    }
    async fn delete(&self, topic: &str) -> Result<(), BusError> {
        self.0.delete(topic).await
    }
}

#[async_trait]
impl Groups for Kept {
    async fn register(&self, group: &str, topic: &str, from: From) -> Result<(), BusError> {
        self.0.register(group, topic, from).await
    }
    async fn advise(&self, group: &str, topic: &str, partition: u32, next: i64) -> Result<(), BusError> {
        self.0.advise(group, topic, partition, next).await
    }
    async fn forget(&self, group: &str, topic: &str) -> Result<(), BusError> {
        self.0.forget(group, topic).await
    }
    async fn offsets(&self) -> Result<Vec<GroupOffset>, BusError> {
        self.0.offsets().await
    }
}
