//! A log in which single partitions stop answering, or refuse, until they are let go: as without a leader, or with too few
//! replicas in sync.

use artel_bus::{
    Appended, Bounds, Bus, BusError, Fetch, Fetched, From, GroupOffset, Groups, Log, Record, Topic,
    TopicSpec, Topics,
};
use artel_message::Time;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// What is asked of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    Append,
    /// Reading, and where it begins and ends.
    Read,
    /// Making the topic; its partition is 0.
    Make,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// None, until it is let go.
    Silence,
    Refusal,
}

type Held = BTreeMap<(String, u32, Asked), Answer>;

/// Which partitions don't answer; shared by the test and every log of a place.
#[derive(Clone, Default)]
pub struct Gates {
    held: Arc<watch::Sender<Held>>,
    /// What the log did about groups and places: `register GROUP TOPIC`, `bounds TOPIC`, in order.
    did: Arc<Mutex<Vec<String>>>,
    /// How many bytes of values were read of each topic.
    read: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Gates {
    pub fn hold(&self, topic: &str, partition: u32, asked: Asked, answer: Answer) {
        self.held.send_modify(|held| {
            held.insert((topic.to_owned(), partition, asked), answer);
        });
    }

    pub fn let_go(&self) {
        self.held.send_modify(Held::clear);
    }

    /// How many things the log did before it first did this one.
    pub fn when(&self, what: &str) -> Option<usize> {
        self.did.lock().expect("no panic").iter().position(|did| did == what)
    }

    /// How many bytes of values were read of a topic so far.
    pub fn read(&self, topic: &str) -> usize {
        self.read.lock().expect("no panic").get(topic).copied().unwrap_or(0)
    }

    /// Until this has been refused so often.
    pub async fn refused(&self, topic: &str, times: usize) {
        let what = format!("refused {topic}");
        let mut again = tokio::time::interval(std::time::Duration::from_millis(5));
        let times_so_far = || self.did.lock().expect("no panic").iter().filter(|did| **did == what).count();
        while times_so_far() < times {
            again.tick().await;
        }
    }

    fn note(&self, what: String) {
        self.did.lock().expect("no panic").push(what);
    }

    async fn pass(&self, topic: &str, partition: u32, asked: Asked) -> Result<(), BusError> {
        let (place, mut held) = ((topic.to_owned(), partition, asked), self.held.subscribe());
        let answers = held.wait_for(|held| held.get(&place) != Some(&Answer::Silence)).await;
        match answers.ok().and_then(|held| held.get(&place).copied()) {
            Some(_) => {
                self.note(format!("refused {topic}"));
                Err(BusError::Unavailable(format!("{topic}/{partition} has no leader")))
            }
            None => Ok(()),
        }
    }
}

pub struct Gated {
    pub log: Arc<dyn Bus>,
    pub gates: Gates,
}

#[async_trait]
impl Log for Gated {
    fn system(&self) -> &'static str {
        self.log.system()
    }
    async fn append(&self, topic: &str, partition: u32, batch: &[Record<'_>]) -> Result<Appended, BusError> {
        self.gates.pass(topic, partition, Asked::Append).await?;
        self.log.append(topic, partition, batch).await
    }
    async fn read(&self, topic: &str, partition: u32, from: i64, fetch: Fetch) -> Result<Fetched, BusError> {
        self.gates.pass(topic, partition, Asked::Read).await?;
        let fetched = self.log.read(topic, partition, from, fetch).await?;
        let bytes: usize =
            fetched.records.iter().filter_map(|record| Some(record.value.as_ref()?.len())).sum();
        *self.gates.read.lock().expect("no panic").entry(topic.to_owned()).or_default() += bytes;
        Ok(fetched)
    }
    async fn wait(&self, topic: &str, partition: u32, from: i64) -> Result<(), BusError> {
        self.log.wait(topic, partition, from).await
    }
    async fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, BusError> {
        self.gates.pass(topic, partition, Asked::Read).await?;
        self.gates.note(format!("bounds {topic}"));
        self.log.bounds(topic, partition).await
    }
    async fn offset_at(&self, topic: &str, partition: u32, time: Time) -> Result<Option<i64>, BusError> {
        self.log.offset_at(topic, partition, time).await
    }
    async fn close(&self) {
        self.log.close().await;
    }
}

#[async_trait]
impl Topics for Gated {
    async fn make(&self, spec: TopicSpec) -> Result<Topic, BusError> {
        self.gates.note(format!("make {}", spec.name));
        self.gates.pass(&spec.name, 0, Asked::Make).await?;
        self.log.make(spec).await
    }
    async fn describe(&self, topic: &str) -> Result<Topic, BusError> {
        self.log.describe(topic).await
    }
    async fn list(&self) -> Result<Vec<Topic>, BusError> {
        self.log.list().await
    }
    async fn delete(&self, topic: &str) -> Result<(), BusError> {
        self.log.delete(topic).await
    }
}

#[async_trait]
impl Groups for Gated {
    async fn register(&self, group: &str, topic: &str, from: From) -> Result<(), BusError> {
        self.log.register(group, topic, from).await?;
        self.gates.note(format!("register {group} {topic}"));
        Ok(())
    }
    async fn advise(&self, group: &str, topic: &str, partition: u32, next: i64) -> Result<(), BusError> {
        self.log.advise(group, topic, partition, next).await
    }
    async fn forget(&self, group: &str, topic: &str) -> Result<(), BusError> {
        self.log.forget(group, topic).await
    }
    async fn offsets(&self) -> Result<Vec<GroupOffset>, BusError> {
        self.log.offsets().await
    }
}
