//! Appending and reading.

use super::Kafka;
use super::delivery::{self, Delivery};
use super::facts::Facts;
use super::lane::Lane;
use super::readers::Fed;
use crate::storable::{self, alone};
use crate::{Appended, Bounds, BusError, Fetch, Fetched, Log, Record};
use artel_message::Time;
use async_trait::async_trait;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that librdkafka needs for a record of its own.
const RECORD_OVERHEAD: usize = 256;
/// Before a wait asks the brokers again that were away.
const AGAIN: Duration = Duration::from_millis(200);

#[async_trait]
impl Log for Kafka {
    fn system(&self) -> &'static str {
        "kafka"
    }

    async fn append(&self, topic: &str, partition: u32, batch: &[Record<'_>]) -> Result<Appended, BusError> {
        self.check_open()?;
        let facts = self.partition(topic, partition).await?;
        if batch.is_empty() {
            return Ok(Appended::whole(self.bounds(topic, partition).await?.end, 0));
        }
        storable::check(batch)?;
        let bytes = self.check_sizes(batch, facts)?;
        let lane = self.lane(facts.max_message_bytes)?;
        let held = bytes + batch.len() * RECORD_OVERHEAD;
        let held = u32::try_from(held).unwrap_or(u32::MAX).min(self.config.queue_bytes);
        let room = self.room.clone().acquire_many_owned(held).await.map_err(|_| BusError::Closed)?;
        let count = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        let (delivery, answer) = Delivery::new(topic, partition, count, Some(room));
        let delivery = Arc::new(delivery);
        lane.send(shard(topic, partition), batch, &delivery).await?;
        match answer.await {
            Ok(Ok(appended)) => {
                let end = appended.offset(count - 1) + 1;
                self.readers.told(topic, partition, end, false);
                Ok(appended)
            }
            Ok(Err(lost)) => {
                // What was believed of the topic was perhaps wrong.
                self.facts.forget(topic);
                Err(delivery::lost(&self.health, (topic, partition), bytes, facts.max_message_bytes, lost))
            }
            Err(_) => Err(self.health.away(&format!("appending to {topic}/{partition}"))),
        }
    }

    async fn read(&self, topic: &str, partition: u32, from: i64, fetch: Fetch) -> Result<Fetched, BusError> {
        self.unless_closed(self.read_on(topic, partition, from, fetch)).await
    }

    async fn wait(&self, topic: &str, partition: u32, from: i64) -> Result<(), BusError> {
        self.unless_closed(async {
            while !self.readers.holds(topic, partition, from) {
                let fed = match self.readers.find(topic, partition, from) {
                    Some(fed) => fed,
                    None => match self.open_for_wait(topic, partition, from).await {
                        Ok(fed) => fed,
                        // It goes on when they are back.
                        Err(BusError::Unavailable(_)) => {
                            tokio::time::sleep(AGAIN).await;
                            continue;
                        }
                        Err(error) => return Err(error),
                    },
                };
                let _waiting = fed.stream.wait();
                let mut signal = fed.stream.signal();
                let seen = signal.wait_for(|signal| signal.dead.is_some() || signal.last >= from).await;
                match seen.ok().and_then(|signal| signal.dead.clone()) {
                    // The place is none any more: what comes there later is another record than the one that is waited for.
                    Some(error @ BusError::OutOfRange { .. }) => return Err(error),
                    dead => dead.map_or(Ok(()), |error| self.outlive(topic, error))?,
                }
            }
            Ok(())
        })
        .await
    }

    async fn bounds(&self, topic: &str, partition: u32) -> Result<Bounds, BusError> {
        self.unless_closed(async {
            self.partition(topic, partition).await?;
            self.ask_bounds(topic, partition).await
        })
        .await
    }

    async fn offset_at(&self, topic: &str, partition: u32, time: Time) -> Result<Option<i64>, BusError> {
        self.unless_closed(async {
            self.partition(topic, partition).await?;
            self.ask_time(topic, partition, time).await
        })
        .await
    }

    async fn close(&self) {
        self.end().await;
    }
}

impl Kafka {
    /// Refuses what the topic can't hold; the batch's bytes otherwise.
    fn check_sizes(&self, batch: &[Record<'_>], facts: Facts) -> Result<usize, BusError> {
        let topic = facts.max_message_bytes;
        let own = self.config.max_message_bytes as usize;
        let (limit, setting) =
            if topic <= own { (topic, "max.message.bytes of the topic") } else { (own, "max_message_bytes") };
        let mut bytes = 0usize;
        for record in batch {
            let size = alone(record);
            if size > limit {
                return Err(BusError::TooLarge { what: "the message", size, limit, setting });
            }
            bytes += size;
        }
        let limit = self.config.max_batch_bytes as usize;
        if bytes > limit {
            return Err(BusError::TooLarge {
                what: "the batch",
                size: bytes,
                limit,
                setting: "max_batch_bytes",
            });
        }
        Ok(bytes)
    }

    /// The producer for topics with this limit: no batch that it makes may be refused.
    fn lane(&self, max_message_bytes: usize) -> Result<Arc<Lane>, BusError> {
        let most = self.config.max_message_bytes as usize;
        // As many as there are powers of two, not as many as there are limits.
        let class = if max_message_bytes >= most { most } else { power_below(max_message_bytes) };
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_open()?;
        if let Some(lane) = lanes.get(&class).filter(|lane| !lane.is_closed()) {
            return Ok(lane.clone());
        }
        let lane = Lane::start(self.config.clone(), self.health.clone(), class, self.alive()?)?;
        lanes.insert(class, lane.clone());
        Ok(lane)
    }

    /// What is known of the topic, if it has the partition.
    pub(super) async fn partition(&self, topic: &str, partition: u32) -> Result<Facts, BusError> {
        let facts = self.facts(topic).await?;
        if partition < facts.partitions {
            return Ok(facts);
        }
        // Somebody may have added partitions since.
        self.facts.forget(topic);
        let facts = self.facts(topic).await?;
        if partition < facts.partitions {
            return Ok(facts);
        }
        Err(BusError::UnknownPartition { topic: topic.to_owned(), partition, count: facts.partitions })
    }

    pub(super) async fn ask_bounds(&self, topic: &str, partition: u32) -> Result<Bounds, BusError> {
        let name = topic.to_owned();
        let doing = format!("asking what {topic}/{partition} holds");
        let found = self.blocking(&doing, move |clients| clients.asker.bounds(&name, partition)).await;
        let bounds = found.inspect_err(|error| self.learn_from(topic, error))?;
        self.readers.told(topic, partition, bounds.end, false);
        Ok(bounds)
    }

    pub(super) async fn ask_time(
        &self,
        topic: &str,
        partition: u32,
        time: Time,
    ) -> Result<Option<i64>, BusError> {
        let name = topic.to_owned();
        let doing = format!("looking for a time in {topic}/{partition}");
        let look = move |clients: &super::Clients| clients.asker.offset_at(&name, partition, time.millis());
        self.blocking(&doing, look).await.inspect_err(|error| self.learn_from(topic, error))
    }

    /// A topic that is gone is not believed to be there any more.
    fn learn_from(&self, topic: &str, error: &BusError) {
        if matches!(error, BusError::UnknownTopic(_)) {
            self.facts.forget(topic);
            self.readers.drop_topic(topic);
        }
    }

    async fn read_on(
        &self,
        topic: &str,
        partition: u32,
        from: i64,
        fetch: Fetch,
    ) -> Result<Fetched, BusError> {
        let begin = Instant::now();
        loop {
            let Some(fed) = self.readers.find(topic, partition, from) else {
                self.partition(topic, partition).await?;
                let Bounds { begin, end } = self.ask_bounds(topic, partition).await?;
                if from < begin || from > end {
                    let topic = topic.to_owned();
                    return Err(BusError::OutOfRange { topic, partition, offset: from, begin, end });
                }
                if from == end {
                    return Ok(Fetched { records: Vec::new(), next: from });
                }
                self.readers.open(topic, partition, from, self.alive()?)?;
                continue;
            };
            match fed.stream.read(from, fetch, self.readers.budget()) {
                Some(fetched) if !fetched.records.is_empty() || fetched.next > from => {
                    fed.fetcher.make_progress(&fed.stream);
                    return Ok(fetched);
                }
                Some(fetched) if self.readers.end(topic, partition) <= from => return Ok(fetched),
                Some(_) => {
                    let left = self.config.request_deadline.saturating_sub(begin.elapsed());
                    let more = self.await_more(topic, partition, from, &fed, left).await;
                    if matches!(more, Err(BusError::Stopped { .. }))
                        && let Some(rest) = fed.stream.read(from, fetch, self.readers.budget())
                        && !rest.records.is_empty()
                    {
                        return Ok(rest);
                    }
                    more?;
                }
                // The window has moved on, or the stream has ended: another one will do.
                None => {}
            }
        }
    }

    /// Waits for what is known to be there.
    async fn await_more(
        &self,
        topic: &str,
        partition: u32,
        from: i64,
        fed: &Fed,
        left: Duration,
    ) -> Result<(), BusError> {
        let _waiting = fed.stream.wait();
        let mut signal = fed.stream.signal();
        let more = signal.wait_for(|signal| signal.dead.is_some() || signal.next > from);
        let seen = tokio::time::timeout(left, more).await;
        if let Ok(seen) = seen.map(|seen| seen.ok().and_then(|signal| signal.dead.clone())) {
            return seen.map_or(Ok(()), |error| self.outlive(topic, error));
        }
        // Perhaps the brokers lost what was told to be there.
        let name = topic.to_owned();
        let doing = format!("reading {topic}/{partition}");
        let bounds = self.blocking(&doing, move |clients| clients.asker.bounds(&name, partition)).await?;
        self.readers.told(topic, partition, bounds.end, true);
        Err(self.health.away(&doing))
    }

    /// Whether a stream that ended so may be followed by another.
    fn outlive(&self, topic: &str, error: BusError) -> Result<(), BusError> {
        self.learn_from(topic, &error);
        match error {
            // It is said exactly by whoever asks for the bounds now.
            BusError::Unavailable(_) | BusError::OutOfRange { .. } => Ok(()),
            error => Err(error),
        }
    }

    /// A stream in which a record at or above `from` will appear.
    async fn open_for_wait(&self, topic: &str, partition: u32, from: i64) -> Result<Fed, BusError> {
        self.partition(topic, partition).await?;
        let bounds = self.ask_bounds(topic, partition).await?;
        // Where retention took the beginning, the first that is left will do; beyond the end it comes later.
        let at = from.clamp(bounds.begin, bounds.end);
        let fed = self.readers.open(topic, partition, at, self.alive()?)?;
        fed.stream.advance(from, self.readers.budget());
        Ok(fed)
    }
}

fn shard(topic: &str, partition: u32) -> usize {
    let mut hasher = DefaultHasher::new();
    (topic, partition).hash(&mut hasher);
    usize::try_from(hasher.finish() % 1024).unwrap_or(0)
}

/// The highest power of two that is not above, but at least librdkafka's least batch.
fn power_below(bytes: usize) -> usize {
    1 << bytes.max(1024).ilog2()
}
