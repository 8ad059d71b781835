//! A log in memory that outlives the nodes, with what a cluster of brokers may do to whoever uses it.

use crate::life::Life;
use crate::stage::{START, Stage, pass};
use artel_bus::{
    Appended, Bounds, BusError, Fetch, Fetched, From, GroupOffset, Groups, Log, Received, Record, Topic,
    TopicSpec, Topics,
};
use artel_message::{Envelope, Headers, Time};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

struct Partition {
    begin: i64,
    records: Vec<Received>,
    /// All that ever was there, for the judge.
    history: Vec<Received>,
    grown: Arc<Notify>,
    /// Without a leader until then.
    leaderless: Option<Instant>,
}

impl Partition {
    fn end(&self) -> i64 {
        self.begin + i64::try_from(self.records.len()).unwrap_or(i64::MAX)
    }
}

struct Kept {
    id: Uuid,
    partitions: Vec<Partition>,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<String, Kept>,
    /// (group, topic) → the next offset of each partition.
    groups: BTreeMap<(String, String), Vec<i64>>,
}

/// The log itself.
pub struct SimLog {
    pub stage: Arc<Stage>,
    state: Mutex<State>,
    /// (topic, when): the next append there is confirmed and lost, as by brokers that lose power before they have written.
    loses: Mutex<Option<(String, Instant)>>,
    lost: Mutex<Option<Lost>>,
    keeps_for: Mutex<Option<Duration>>,
}

/// The append that was lost.
#[derive(Debug, Clone)]
pub struct Lost {
    pub topic: String,
    pub partition: u32,
    /// What came before it, if anything, and its last message.
    pub prev: Option<i64>,
    pub last: i64,
}

/// The number of a message, and the one before it.
fn numbers(record: &Received) -> Option<(i64, Option<i64>)> {
    let envelope = Envelope::from_headers(&record.headers).ok()?;
    Some((envelope.seq?, envelope.prev))
}

impl SimLog {
    pub fn new(stage: &Arc<Stage>) -> Arc<SimLog> {
        let (state, loses, lost, keeps_for) = Default::default();
        Arc::new(SimLog { stage: stage.clone(), state, loses, lost, keeps_for })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(
        &self,
        topic: &str,
        partition: u32,
        work: impl FnOnce(&mut Partition) -> Result<T, BusError>,
    ) -> Result<T, BusError> {
        let mut state = self.state();
        let kept = state.topics.get_mut(topic).ok_or_else(|| BusError::UnknownTopic(topic.to_owned()))?;
        let count = u32::try_from(kept.partitions.len()).unwrap_or(u32::MAX);
        let unknown = || BusError::UnknownPartition { topic: topic.to_owned(), partition, count };
        work(kept.partitions.get_mut(partition as usize).ok_or_else(unknown)?)
    }

    /// Stores records as they are, and wakes who waits.
    pub fn store(&self, topic: &str, partition: u32, records: &[Received]) -> Result<i64, BusError> {
        self.with(topic, partition, |partition| {
            let base = partition.end();
            for (offset, record) in (base..).zip(records) {
                partition.records.push(Received { offset, ..record.clone() });
                partition.history.push(Received { offset, ..record.clone() });
            }
            partition.grown.notify_waiters();
            Ok(base)
        })
    }

    /// From then on one append to that topic will be lost, though it is confirmed.
    pub fn lose(&self, topic: &str, after: Duration) {
        *self.loses.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((topic.to_owned(), Instant::now() + after));
    }

    /// Whether this append is the one. Where nothing was before, nobody could notice.
    fn is_lost(&self, topic: &str, partition: u32, records: &[Received]) -> Result<Option<i64>, BusError> {
        let end = self.with(topic, partition, |p| Ok(p.end()))?;
        let mut loses = self.loses.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = loses.take_if(|(of, after)| of == topic && end > 0 && *after <= Instant::now());
        let ends = records.first().and_then(numbers).zip(records.last().and_then(numbers));
        if let (Some(_), Some(((_, prev), (last, _)))) = (&lost, ends) {
            let lost = Lost { topic: topic.to_owned(), partition, prev, last };
            *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(lost);
        }
        Ok(lost.map(|_| end))
    }

    /// What was confirmed and lost, if anything.
    pub fn lost(&self) -> Option<Lost> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All that ever was in a partition, in order.
    pub fn history(&self, topic: &str, partition: u32) -> Vec<Received> {
        self.with(topic, partition, |p| Ok(p.history.clone())).unwrap_or_default()
    }

    pub fn partitions(&self, topic: &str) -> u32 {
        let state = self.state();
        state.topics.get(topic).map_or(0, |kept| u32::try_from(kept.partitions.len()).unwrap_or(0))
    }

    /// (topic, partition, begin, end) of everything.
    pub fn ends(&self) -> Vec<(String, u32, i64, i64)> {
        let state = self.state();
        let all = state.topics.iter().flat_map(|(topic, kept)| {
            (0u32..).zip(&kept.partitions).map(|(number, p)| (topic.clone(), number, p.begin, p.end()))
        });
        all.collect()
    }

    /// From then on nothing is deleted that is not as old as that.
    pub fn keep_for(&self, age: Duration) {
        *self.keeps_for.lock().unwrap_or_else(PoisonError::into_inner) = Some(age);
    }

    /// Whether a message is old enough to be deleted, by the log's own clock.
    fn is_old(&self, record: &Received) -> bool {
        let age = *self.keeps_for.lock().unwrap_or_else(PoisonError::into_inner);
        age.is_none_or(|age| record.time + age < START + self.stage.elapsed())
    }

    /// Deletes what all registered groups have taken in, as far as they have said.
    fn retain(&self, topic: &str, partition: u32) {
        let mut state = self.state();
        let known = state.groups.iter().filter(|((_, of), _)| of == topic);
        let Some(least) = known.filter_map(|(_, next)| next.get(partition as usize).copied()).min() else {
            return;
        };
        if let Some(p) = state.topics.get_mut(topic).and_then(|k| k.partitions.get_mut(partition as usize)) {
            let taken_in = usize::try_from((least - p.begin).max(0)).unwrap_or(0);
            let gone = p.records.iter().take(taken_in).take_while(|record| self.is_old(record)).count();
            p.records.drain(..gone);
            p.begin += i64::try_from(gone).unwrap_or(0);
        }
    }

    /// Takes the leaders of all partitions of a topic away for a while.
    pub fn lose_leaders(&self, topic: &str) {
        let how_long = self.stage.chance(|chance| chance.millis(2_000..12_000));
        self.stage.note(90, "no leaders", &format!("{topic} for {how_long:?}"));
        let mut state = self.state();
        for partition in state.topics.get_mut(topic).into_iter().flat_map(|kept| &mut kept.partitions) {
            partition.leaderless = Some(Instant::now() + how_long);
        }
    }

    /// Takes the leader of some partition away for a while.
    pub fn lose_a_leader(&self) {
        let (pick, how_long) = self.stage.chance(|chance| (chance.next(), chance.millis(50..6_000)));
        let mut state = self.state();
        let mut all: Vec<&mut Partition> =
            state.topics.values_mut().flat_map(|kept| &mut kept.partitions).collect();
        if let Some(count) = u64::try_from(all.len()).ok().filter(|count| *count > 0) {
            let index = usize::try_from(pick % count).unwrap_or(0);
            all[index].leaderless = Some(Instant::now() + how_long);
            self.stage.note(90, "no leader", &format!("{index} for {how_long:?}"));
        }
    }
}

/// The log as one life of a node has it.
pub struct NodeLog {
    pub log: Arc<SimLog>,
    pub life: Arc<Life>,
}

/// What becomes of an append.
enum Outcome {
    Done,
    Refused,
    /// So many records are stored, and nobody is told.
    Unknown(usize),
    /// Nobody is told, and later they are stored.
    Late,
}

fn away(topic: &str, partition: u32) -> BusError {
    BusError::Unavailable(format!("{topic}/{partition} does not answer"))
}

impl NodeLog {
    async fn led(&self, topic: &str, partition: u32) -> Result<(), BusError> {
        let until =
            self.log.with(topic, partition, |p| Ok(p.leaderless.filter(|at| *at > Instant::now())))?;
        let Some(until) = until.filter(|_| self.life.stage.has_faults()) else { return Ok(()) };
        if self.life.stage.strikes(5_000) {
            tokio::time::sleep_until(until).await;
        }
        Err(away(topic, partition))
    }

    fn outcome(&self, count: usize) -> Outcome {
        let stage = &self.life.stage;
        if !stage.strikes(stage.weather.append_fails) {
            return Outcome::Done;
        }
        match stage.chance(|chance| chance.range(0..10)) {
            0..3 => Outcome::Refused,
            3..6 => Outcome::Unknown(count),
            6..8 => {
                Outcome::Unknown(usize::try_from(stage.chance(|c| c.range(0..count as u64 + 1))).unwrap_or(0))
            }
            _ => Outcome::Late,
        }
    }
}

fn received(record: &Record<'_>) -> Received {
    let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
    let mut headers = Headers::new();
    record.headers.iter().for_each(|(name, value)| headers.push(name, *value));
    let time = Time::from_micros(record.time.micros().div_euclid(1000) * 1000);
    Received { offset: 0, time, key: copy(record.key), value: copy(record.value), headers }
}

#[async_trait]
impl Log for NodeLog {
    fn system(&self) -> &'static str {
        "simulated"
    }

    async fn append(&self, topic: &str, partition: u32, batch: &[Record<'_>]) -> Result<Appended, BusError> {
        let records: Vec<Received> = batch.iter().map(received).collect();
        let ends = [records.first(), records.last()].map(|record| record.and_then(numbers));
        self.life.pass("appends", &format!("{topic}/{partition} {} {ends:?}", batch.len())).await;
        self.led(topic, partition).await?;
        let (stage, count) = (&self.life.stage, u32::try_from(records.len()).unwrap_or(u32::MAX));
        match self.outcome(records.len()) {
            Outcome::Done => {
                if let Some(end) = self.log.is_lost(topic, partition, &records)? {
                    stage.note(self.life.node, "LOSES", &format!("{topic}/{partition} {count}"));
                    stage.count(|counts| counts.lost_tails += 1);
                    return Ok(Appended::whole(end, count));
                }
                let base = self.log.store(topic, partition, &records)?;
                self.life.pass("appended", topic).await;
                Ok(Appended::whole(base, count))
            }
            Outcome::Refused => Err(away(topic, partition)),
            Outcome::Unknown(stored) => {
                stage.note(self.life.node, "unknown append", &stored.to_string());
                stage.count(|counts| counts.unknown_appends += 1);
                self.log.store(topic, partition, &records[..stored])?;
                self.life.pass("appended?", topic).await;
                Err(away(topic, partition))
            }
            Outcome::Late => {
                let wait = stage.chance(|chance| chance.millis(1..4_000));
                stage.note(self.life.node, "late append", &format!("{wait:?}"));
                stage.count(|counts| counts.unknown_appends += 1);
                let (log, topic_of) = (self.log.clone(), topic.to_owned());
                tokio::spawn(async move {
                    pass(wait).await;
                    let _ = log.store(&topic_of, partition, &records);
                });
                Err(away(topic, partition))
            }
        }
    }

    async fn read(&self, topic: &str, partition: u32, from: i64, fetch: Fetch) -> Result<Fetched, BusError> {
        self.life.pass("reads", &format!("{topic}/{partition} {from}")).await;
        self.led(topic, partition).await?;
        if self.life.stage.strikes(self.life.stage.weather.read_fails) {
            return Err(away(topic, partition));
        }
        let few = self.life.stage.strikes(2_000);
        let most = if few { 1 } else { fetch.max_records.max(1) };
        let fetched = self.log.with(topic, partition, |p| {
            let (begin, end) = (p.begin, p.end());
            if !(begin..=end).contains(&from) {
                let topic = topic.to_owned();
                return Err(BusError::OutOfRange { topic, partition, offset: from, begin, end });
            }
            let skipped = usize::try_from(from - begin).unwrap_or(0);
            let records: Vec<Received> = p.records.iter().skip(skipped).take(most).cloned().collect();
            let next = records.last().map_or(from, |last| last.offset + 1);
            Ok(Fetched { records, next })
        })?;
        self.life.pass("read", &format!("{topic}/{partition} {}", fetched.records.len())).await;
        Ok(fetched)
    }

    async fn wait(&self, topic: &str, partition: u32, from: i64) -> Result<(), BusError> {
        loop {
            let grown = self.log.with(topic, partition, |p| {
                Ok((p.end() <= from).then(|| p.grown.clone().notified_owned()))
            })?;
            match grown {
                Some(grown) => grown.await,
                None => return Ok(()),
            }
        }
    }

    async fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, BusError> {
        self.life.pass("asks bounds", &format!("{topic}/{partition}")).await;
        self.led(topic, partition).await?;
        self.log.with(topic, partition, |p| Ok(Bounds { begin: p.begin, end: p.end() }))
    }

    async fn offset_at(&self, topic: &str, partition: u32, time: Time) -> Result<Option<i64>, BusError> {
        self.life.pass("asks offset", topic).await;
        self.log.with(topic, partition, |p| {
            Ok(p.records.iter().find(|record| record.time >= time).map(|record| record.offset))
        })
    }

    async fn close(&self) {}
}

#[async_trait]
impl Topics for NodeLog {
    async fn make(&self, spec: TopicSpec) -> Result<Topic, BusError> {
        self.life.pass("makes", &spec.name).await;
        let id = Uuid::from_u128(self.life.stage.chance(|chance| u128::from(chance.next()) << 64 | 1));
        let partition = || Partition {
            begin: 0,
            records: Vec::new(),
            history: Vec::new(),
            grown: Arc::default(),
            leaderless: None,
        };
        {
            let mut state = self.log.state();
            state.topics.entry(spec.name.clone()).or_insert_with(|| Kept {
                id,
                partitions: (0..spec.partitions).map(|_| partition()).collect(),
            });
        }
        self.describe(&spec.name).await
    }

    async fn describe(&self, topic: &str) -> Result<Topic, BusError> {
        self.life.pass("describes", topic).await;
        let state = self.log.state();
        let kept = state.topics.get(topic).ok_or_else(|| BusError::UnknownTopic(topic.to_owned()))?;
        let partitions = u32::try_from(kept.partitions.len()).unwrap_or(0);
        Ok(Topic {
            name: topic.to_owned(),
            id: kept.id,
            partitions,
            bytes: Vec::new(),
            retention_ms: None,
            retention_bytes: None,
        })
    }

    async fn list(&self) -> Result<Vec<Topic>, BusError> {
        let names: Vec<String> = self.log.state().topics.keys().cloned().collect();
        let mut all = Vec::new();
        for name in names {
            all.push(self.describe(&name).await?);
        }
        Ok(all)
    }

    async fn delete(&self, topic: &str) -> Result<(), BusError> {
        self.life.pass("deletes", topic).await;
        self.log.state().topics.remove(topic);
        Ok(())
    }
}

#[async_trait]
impl Groups for NodeLog {
    async fn register(&self, group: &str, topic: &str, from: From) -> Result<(), BusError> {
        self.life.pass("registers", &format!("{group} {topic}")).await;
        let mut state = self.log.state();
        let kept = state.topics.get(topic).ok_or_else(|| BusError::UnknownTopic(topic.to_owned()))?;
        let next = kept.partitions.iter().map(|p| if from == From::Latest { p.end() } else { p.begin });
        let next = next.collect();
        state.groups.entry((group.to_owned(), topic.to_owned())).or_insert(next);
        Ok(())
    }

    async fn advise(&self, group: &str, topic: &str, partition: u32, next: i64) -> Result<(), BusError> {
        self.life.pass("advises", &format!("{group} {topic}/{partition} {next}")).await;
        {
            let mut state = self.log.state();
            let places = state.groups.get_mut(&(group.to_owned(), topic.to_owned()));
            let (group, topic) = (group.to_owned(), topic.to_owned());
            let places = places.ok_or(BusError::UnknownGroup { group, topic })?;
            if let Some(place) = places.get_mut(partition as usize) {
                *place = next;
            }
        }
        if self.life.stage.strikes(1_000) {
            self.log.retain(topic, partition);
        }
        Ok(())
    }

    async fn forget(&self, group: &str, topic: &str) -> Result<(), BusError> {
        self.log.state().groups.remove(&(group.to_owned(), topic.to_owned()));
        Ok(())
    }

    async fn offsets(&self) -> Result<Vec<GroupOffset>, BusError> {
        self.life.pass("asks offsets", "").await;
        let state = self.log.state();
        let all = state.groups.iter().flat_map(|((group, topic), places)| {
            (0u32..).zip(places).map(|(partition, next)| GroupOffset {
                group: group.clone(),
                topic: topic.clone(),
                partition,
                next: *next,
            })
        });
        Ok(all.collect())
    }
}
