//! What a fetcher's thread does over and over: takes messages out of librdkafka and hands them to their streams.

use super::ask::number;
use super::chunk::Builder;
use super::client::{self, Context};
use super::error;
use super::fetcher::{Fetcher, Identity, no_longer};
use super::stream::Stream;
use super::topics::NEWS;
use crate::BusError;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages taken out of librdkafka before what else there is to do is looked at.
const DRAIN: usize = 4096;
/// A chunk is handed over when it has so many bytes or records: fewer cost more hand-overs (measured), more hold the reader up.
const CHUNK_BYTES: usize = 512 << 10;
const CHUNK_RECORDS: usize = 2048;
/// librdkafka wakes this thread when its queue is not empty any more. rdkafka's poll returns for an event of its own as it does
/// for an empty queue. Log lines are counted; behind another the queue is looked at again so often, and after this long to be sure.
const LOOK: usize = 3;
const WATCHDOG: Duration = Duration::from_millis(100);
/// How often a topic that somebody waits on is asked for: librdkafka does not say that it was deleted.
const STILL_THERE: Duration = Duration::from_secs(3);
const REQUEST: Duration = Duration::from_secs(2);

pub(super) type Consumer = BaseConsumer<Context<Arc<Identity>>>;

/// What only the thread knows.
#[derive(Default)]
struct State {
    /// Assigned in librdkafka.
    assigned: HashMap<u32, Assigned>,
    paused: HashSet<u32>,
    looked: Option<Instant>,
    checked: Option<Instant>,
    unknown_since: Option<Instant>,
    empty_since: Option<Instant>,
}

struct Assigned {
    stream: Arc<Stream>,
    /// What was taken out and not handed over yet.
    builder: Builder,
}

impl Assigned {
    fn flush(&mut self, budget: usize) {
        if !self.builder.is_empty() {
            self.stream.push(self.builder.take(), budget);
        }
    }
}

pub(super) struct Turn<'a> {
    fetcher: &'a Arc<Fetcher>,
    consumer: &'a Consumer,
    identity: &'a Identity,
    state: State,
}

impl<'a> Turn<'a> {
    pub fn new(fetcher: &'a Arc<Fetcher>, consumer: &'a Consumer, identity: &'a Identity) -> Turn<'a> {
        Turn { fetcher, consumer, identity, state: State::default() }
    }

    /// Until there is nothing to do any more, or the fetcher is told to end.
    pub fn run(mut self) {
        loop {
            let (leave, new, end) = self.fetcher.take_mail();
            if let Some(error) = end {
                new.iter().for_each(|stream| stream.kill(error.clone()));
                return self.kill_all(&error);
            }
            for partition in leave {
                // Unless it was given to somebody else since.
                if !self.fetcher.streams().contains_key(&partition) {
                    self.unassign(partition);
                }
            }
            for stream in new {
                self.assign(stream);
            }
            let more = self.drain();
            self.flush_all();
            self.balance();
            if self.tidy_up() {
                return;
            }
            if !more {
                self.fetcher.park(WATCHDOG);
            }
        }
    }

    fn limit(&self) -> usize {
        self.fetcher.budget.of_one() / 2
    }

    /// Takes out messages. True when there may be more at once.
    fn drain(&mut self) -> bool {
        let budget = self.fetcher.budget.of_one();
        let chunk_bytes = CHUNK_BYTES.min(budget / 2);
        let mut empty = 0;
        let mut lines = self.consumer.context().lines();
        for taken in 0..DRAIN {
            // Full streams leave it to librdkafka, which bounds its own queue, to stop fetching.
            if taken % 256 == 0 && !self.is_hungry() {
                self.fetcher.set_full(true);
                // What was read in the meantime did not see that yet.
                if !self.is_hungry() {
                    return false;
                }
            }
            match self.consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    empty = 0;
                    let partition = message.partition().unsigned_abs();
                    let Some(assigned) = self.state.assigned.get_mut(&partition) else { continue };
                    let builder = &mut assigned.builder;
                    if builder.is_empty() && message.offset() < assigned.stream.next() {
                        continue;
                    }
                    builder.push(&message);
                    if builder.count() >= CHUNK_RECORDS || builder.size() >= chunk_bytes {
                        assigned.flush(budget);
                    }
                }
                Some(Err(failure)) => {
                    empty = 0;
                    self.trouble(&failure);
                }
                None => {
                    let so_far = self.consumer.context().lines();
                    empty = if so_far > lines { 0 } else { empty + 1 };
                    lines = so_far;
                    // A line may have said that what comes now is of another topic with this name.
                    if empty >= LOOK || self.identity.has_changed() {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn is_hungry(&self) -> bool {
        let limit = self.limit();
        self.state.assigned.values().any(|it| it.stream.ahead() + it.builder.size() < limit)
    }

    fn flush(&mut self, partition: u32) {
        let budget = self.fetcher.budget.of_one();
        if let Some(assigned) = self.state.assigned.get_mut(&partition) {
            assigned.flush(budget);
        }
    }

    fn flush_all(&mut self) {
        let budget = self.fetcher.budget.of_one();
        self.state.assigned.values_mut().for_each(|assigned| assigned.flush(budget));
    }

    fn streams(&self) -> impl Iterator<Item = &Arc<Stream>> {
        self.state.assigned.values().map(|assigned| &assigned.stream)
    }

    /// In a list of their own, for whoever changes what is assigned.
    fn all_streams(&self) -> Vec<Arc<Stream>> {
        self.streams().cloned().collect()
    }

    /// Where some streams are full and others are not, those stop being fetched that are twice as far ahead as they should be: to
    /// pause throws away what librdkafka has fetched of a partition, which is then fetched again. Readers that take turns leave
    /// their streams uneven all the time, by less than that.
    fn balance(&mut self) {
        let limit = self.limit();
        let full = self.streams().filter(|stream| stream.ahead() >= limit).count();
        let is_mixed = full < self.state.assigned.len();
        let pause: Vec<u32> = self
            .streams()
            .filter(|stream| is_mixed && stream.ahead() >= 2 * limit)
            .map(|stream| stream.partition)
            .filter(|partition| !self.state.paused.contains(partition))
            .collect();
        let resume: Vec<u32> = self
            .state
            .paused
            .iter()
            .filter(|partition| {
                self.state.assigned.get(partition).is_none_or(|it| it.stream.ahead() <= limit / 2)
            })
            .copied()
            .collect();
        if !pause.is_empty() && self.said("pausing", self.consumer.pause(&self.list(&pause))) {
            self.state.paused.extend(pause);
        }
        let stopped = !self.state.paused.is_empty() || (full > 0 && !is_mixed);
        self.fetcher.set_full(stopped);
        if !resume.is_empty() && self.said("resuming", self.consumer.resume(&self.list(&resume))) {
            self.state.paused.retain(|partition| !resume.contains(partition));
        }
    }

    fn list(&self, partitions: &[u32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.fetcher.topic, number(*partition));
        }
        list
    }

    fn said(&self, what: &str, result: KafkaResult<()>) -> bool {
        if let Err(error) = &result {
            tracing::warn!(target: "artel_bus::kafka", "{what} partitions of {}: {error}", self.fetcher.topic);
        }
        result.is_ok()
    }

    fn assign(&mut self, stream: Arc<Stream>) {
        let partition = stream.partition;
        self.unassign(partition);
        let mut list = TopicPartitionList::new();
        let added =
            list.add_partition_offset(&self.fetcher.topic, number(partition), Offset::Offset(stream.next()));
        match added.and_then(|()| self.consumer.incremental_assign(&list)) {
            Ok(()) => {
                self.state.assigned.insert(partition, Assigned { stream, builder: Builder::default() });
            }
            Err(failure) => {
                self.fetcher.forget(partition);
                let doing = format!("reading {}/{partition}", self.fetcher.topic);
                stream.kill(error::of(&self.fetcher.health, &self.fetcher.topic, &doing, &failure));
            }
        }
    }

    fn unassign(&mut self, partition: u32) {
        self.state.paused.remove(&partition);
        if self.state.assigned.remove(&partition).is_some() {
            self.said("leaving", self.consumer.incremental_unassign(&self.list(&[partition])));
        }
    }

    /// An event that is no message.
    fn trouble(&mut self, failure: &KafkaError) {
        let reason = self.consumer.context().take_reason();
        if let KafkaError::PartitionEOF(partition) = failure {
            let partition = partition.unsigned_abs();
            self.flush(partition);
            if let Some(assigned) = self.state.assigned.get(&partition)
                && let Some(end) = client::end_offset(&reason)
            {
                self.fetcher.health.fine();
                assigned.stream.reached(end);
            }
            return;
        }
        let Some(code) = failure.rdkafka_error_code() else { return };
        let topic = self.fetcher.topic.clone();
        match code {
            // The group is a name only; nothing is done with it.
            Code::GroupAuthorizationFailed => {}
            Code::AutoOffsetReset => self.find_lost(),
            code if error::is_unknown(code) => self.check_topic(),
            // librdkafka would go on behind it.
            Code::BadMessage | Code::BadCompression | Code::MessageSizeTooLarge => self.damaged(&reason),
            code if error::is_denied(code) => {
                self.kill_all(&error::denied(&format!("reading '{topic}'"), code));
            }
            _ if matches!(failure, KafkaError::MessageConsumptionFatal(_)) => {
                let context = format!("reading '{topic}'");
                self.kill_all(&BusError::Io { context, reason });
            }
            // librdkafka goes on by itself.
            _ => {}
        }
    }

    /// What lies next in some partition can't be read. In which one is not said: where it is the only one here, it ends; else
    /// all are begun anew, each with a fetcher of its own, and it is found so.
    fn damaged(&mut self, reason: &str) {
        self.fetcher.tear();
        let streams = self.all_streams();
        if let [stream] = &streams[..] {
            let (topic, partition) = (self.fetcher.topic.clone(), stream.partition);
            // What lies before the damage is good.
            self.flush(partition);
            let offset = stream.next();
            let reason = format!("what the brokers hold behind offset {offset} can't be read: {reason}");
            tracing::error!(target: "artel_bus::kafka", "{topic}/{partition} is stopped: {reason}");
            self.kill(stream, BusError::Stopped { topic, partition, reason });
        }
        self.kill_all(&no_longer());
        self.fetcher.end(no_longer());
    }

    /// A position is outside of what its partition holds, or behind what its brokers have lost; which one was not said. One that fits
    /// by now may lie behind records that took the places of lost ones: whoever reads there has to look whether its place is still
    /// what it was.
    fn find_lost(&mut self) {
        self.flush_all();
        let streams = self.all_streams();
        for stream in streams {
            let (topic, partition, offset) = (&self.fetcher.topic, stream.partition, stream.next());
            match self.consumer.fetch_watermarks(topic, number(partition), REQUEST) {
                Ok((begin, end)) if offset < begin || offset > end => {
                    let topic = topic.clone();
                    self.kill(&stream, BusError::OutOfRange { topic, partition, offset, begin, end });
                }
                Ok(_) => {
                    let context = format!("reading {topic}/{partition}");
                    let reason = format!(
                        "the brokers did not know offset {offset} for a moment: they may have lost what was there"
                    );
                    self.kill(&stream, BusError::Io { context, reason });
                }
                // Nobody knows: fetch again from there.
                Err(_) => self.assign(stream),
            }
        }
    }

    fn check_topic(&mut self) {
        let topic = self.fetcher.topic.clone();
        let Ok(metadata) = self.consumer.fetch_metadata(Some(&topic), REQUEST) else { return };
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let unknown = |raw: rdkafka::types::RDKafkaRespErr| error::is_unknown(raw.into());
        if !found.is_none_or(|found| found.error().is_some_and(unknown)) {
            self.state.unknown_since = None;
            return;
        }
        let since = *self.state.unknown_since.get_or_insert_with(Instant::now);
        // A topic that was never seen here may be so new that this broker has not heard of it.
        if self.identity.is_known() || since.elapsed() > NEWS {
            self.kill_all(&BusError::UnknownTopic(topic));
        }
    }

    fn kill(&mut self, stream: &Arc<Stream>, error: BusError) {
        self.unassign(stream.partition);
        self.fetcher.forget(stream.partition);
        stream.kill(error);
    }

    fn kill_all(&mut self, error: &BusError) {
        let streams = self.all_streams();
        for stream in streams {
            self.kill(&stream, error.clone());
        }
        self.fetcher.bury(error);
    }

    /// Drops streams that nobody reads, and looks for what librdkafka doesn't tell. True when there is nothing to do any more.
    fn tidy_up(&mut self) -> bool {
        let now = Instant::now();
        if self.identity.has_changed() {
            self.identity.accept();
            self.kill_all(&BusError::UnknownTopic(self.fetcher.topic.clone()));
        }
        if self.state.looked.is_some_and(|at| now - at < Duration::from_millis(250)) {
            return false;
        }
        self.state.looked = Some(now);
        let is_awaited = self.streams().any(|stream| stream.is_awaited());
        if is_awaited && self.state.checked.is_none_or(|at| now - at > STILL_THERE) {
            self.state.checked = Some(now);
            self.check_topic();
        }
        let idle: Vec<Arc<Stream>> =
            self.streams().filter(|s| s.idle() > self.fetcher.idle).cloned().collect();
        for stream in idle {
            self.kill(&stream, no_longer());
        }
        if !self.fetcher.streams().is_empty() {
            self.state.empty_since = None;
            return false;
        }
        now - *self.state.empty_since.get_or_insert(now) > self.fetcher.idle
    }
}
