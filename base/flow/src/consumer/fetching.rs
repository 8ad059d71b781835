//! Asking the log, each partition by itself: one that is not answered (it has no leader) holds up no other.

use super::GroupTask;
use super::attempt::Plan;
use super::partition::{self, Partition, is_lost};
use super::sort::Opened;
use crate::limits::Limits;
use crate::outage;
use crate::topics::Topics;
use crate::{Failure, storage::offsets::Offset};
use artel_bus::{BusError, Fetch, Fetched};
use artel_message::Fault;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinError;
use tokio::time::Instant;
use uuid::Uuid;

/// A fetch that takes longer is waited for by its own partition only.
const PATIENCE: Duration = Duration::from_millis(100);
/// How many fetches a round waits for at a time. Each may bring a whole batch.
const WIDTH: usize = 4;

/// Whether the place in a partition has been compared with the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Not yet; the topic had this identity at the assignment.
    Against(Uuid),
    /// To be done again, since the log was away: the topic may be another one by now.
    Again,
    Done,
}

/// A fetch under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fetching {
    /// Since when it could be waited for.
    since: Instant,
    awaited: bool,
    /// It was begun while what came before it was being taken in.
    ahead: bool,
}

/// Messages and bytes that still fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub records: usize,
    pub bytes: usize,
}

impl Room {
    pub fn is_used_up(self) -> bool {
        self.records == 0 || self.bytes == 0
    }

    pub fn take(&mut self, taken: Room) {
        self.records = self.records.saturating_sub(taken.records);
        self.bytes = self.bytes.saturating_sub(taken.bytes);
    }
}

/// Records with their headers looked at, and where to read on.
pub(crate) struct Brought {
    pub records: Vec<Opened>,
    pub next: i64,
}

pub(super) enum Asked {
    Records(Brought),
    /// The place does not fit the log.
    Mismatch(String),
}

pub(super) struct Answer {
    topic: Arc<str>,
    partition: u32,
    /// The epoch that it was asked under, and where it was to read.
    place: (i64, i64),
    asked: Result<Asked, BusError>,
    took: Duration,
}

/// Why the place does not fit the log, if it does not.
async fn compared(topics: &Topics, place: &Offset, check: Check) -> Result<Option<String>, BusError> {
    let log = match check {
        Check::Done => return Ok(None),
        Check::Against(log) => log,
        Check::Again => topics.describe(&place.topic).await?.id,
    };
    partition::mismatch(topics.bus().as_ref(), place, log).await
}

/// Compares the place with the log where that has not been done, then reads. What is out of range is compared in any case: the log may
/// have lost what was there.
async fn ask(
    topics: Topics,
    place: Offset,
    check: Check,
    from: i64,
    fetch: Fetch,
) -> Result<Asked, BusError> {
    if let Some(mismatch) = compared(&topics, &place, check).await? {
        return Ok(Asked::Mismatch(mismatch));
    }
    let read = topics.bus().read(&place.topic, place.partition, from, fetch).await;
    if let Err(BusError::OutOfRange { .. }) = &read
        && let Some(mismatch) = compared(&topics, &place, Check::Again).await?
    {
        return Ok(Asked::Mismatch(mismatch));
    }
    let Fetched { records, next } = read?;
    let records = records.into_iter().map(Opened::from).collect();
    Ok(Asked::Records(Brought { records, next }))
}

impl GroupTask {
    /// Fetches for the partitions that have nothing in memory, in their order, until those that come first have enough for a batch:
    /// what lies further behind keeps nobody from being asked. Returns when all that answer soon have answered.
    pub(super) async fn fetch(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        self.partitions.iter_mut().for_each(|p| p.await_ahead(now));
        let mut room = self.batch();
        let mut next = 0;
        while !room.is_used_up() {
            while self.awaited() < WIDTH && next < self.partitions.len() && !room.is_used_up() {
                if self.partitions[next].wants(now) {
                    self.begin_fetch(next, false);
                } else {
                    room.take(self.partitions[next].fits(now, room));
                }
                next += 1;
            }
            let Some(until) = self.awaited_until().filter(|_| !room.is_used_up()) else { break };
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => self.partitions.iter_mut().for_each(Partition::go_alone),
                Some(answer) = self.fetches.join_next() => {
                    if let Some(index) = self.answered(answer).await?.filter(|index| *index < next) {
                        room.take(self.partitions[index].fits(now, room));
                    }
                }
            }
        }
        while let Some(answer) = self.fetches.try_join_next() {
            self.answered(answer).await?;
        }
        Ok(())
    }

    /// What one transaction may take in.
    pub(super) fn batch(&self) -> Room {
        Room { records: self.shared.limits.batch_records, bytes: self.shared.limits.batch_bytes }
    }

    /// Reads on in partitions of which all that is in memory is being taken in, while it is: there is more than fits a batch.
    pub(super) fn fetch_ahead(&mut self, plan: &Plan) {
        for (index, count) in plan {
            if self.fetches.len() >= WIDTH {
                break;
            }
            let partition = &self.partitions[*index];
            let drained = partition.buffer.len() == *count && partition.fetching.is_none();
            if drained && partition.check == Check::Done && partition.again_at.is_none() && !partition.slow {
                self.begin_fetch(*index, true);
            }
        }
    }

    fn awaited(&self) -> usize {
        self.partitions.iter().filter(|p| p.fetching.is_some_and(|f| f.awaited)).count()
    }

    fn awaited_until(&self) -> Option<Instant> {
        let awaited = self.partitions.iter().filter_map(|p| p.fetching.filter(|f| f.awaited));
        awaited.map(|f| f.since + PATIENCE).min()
    }

    fn begin_fetch(&mut self, index: usize, ahead: bool) {
        let limits = &self.shared.limits;
        let fetch = Fetch { max_records: limits.batch_records, max_bytes: limits.batch_bytes };
        let partition = &mut self.partitions[index];
        partition.again_at = None;
        let since = Instant::now();
        partition.fetching = Some(Fetching { since, awaited: !partition.slow, ahead });
        let (topic, number) = (partition.topic.clone(), partition.number());
        let place = (partition.offset.epoch, partition.fetch_from);
        let ask = ask(
            self.shared.topics.clone(),
            partition.offset.clone(),
            partition.check,
            partition.fetch_from,
            fetch,
        );
        self.fetches.spawn(async move {
            let asked = ask.await;
            Answer { topic, partition: number, place, asked, took: since.elapsed() }
        });
    }

    /// Takes an answer into memory; says for which partition, if it is still this group's.
    pub(super) async fn answered(
        &mut self,
        answer: Result<Answer, JoinError>,
    ) -> Result<Option<usize>, Failure> {
        let Answer { topic, partition, place, asked, took } = answer.map_err(|error| {
            Failure::Infrastructure(Fault::internal(format!("reading for group {} ended: {error}", self.grp)))
        })?;
        let same = |p: &Partition| p.topic == topic && p.number() == partition;
        let Some(index) = self.partitions.iter().position(same) else { return Ok(None) };
        let p = &mut self.partitions[index];
        // Its place was read again since: it was asked anew.
        if (p.offset.epoch, p.fetch_from) != place && !planted!(KeepsReadAhead) {
            return Ok(None);
        }
        p.fetching = None;
        p.slow = took >= PATIENCE;
        match asked {
            Ok(Asked::Records(fetched)) => {
                p.received(&self.shared, fetched).await?;
                p.check = Check::Done;
                // That there is nothing is said also where reading is not allowed.
                if !p.buffer.is_empty() {
                    p.failures = 0;
                }
            }
            Ok(Asked::Mismatch(reason)) => p.stopped = Some(reason),
            Err(error) => p.failed(&self.grp, &self.shared.limits, &error),
        }
        Ok(Some(index))
    }
}

impl Partition {
    /// What was begun while others were taken in is waited for from now on.
    fn await_ahead(&mut self, now: Instant) {
        if let Some(fetching) = self.fetching.as_mut().filter(|fetching| fetching.ahead) {
            (fetching.since, fetching.ahead) = (now, false);
        }
    }

    /// Whether it is to be asked for messages.
    fn wants(&self, now: Instant) -> bool {
        self.stopped.is_none()
            && self.buffer.is_empty()
            && self.fetching.is_none()
            && self.again_at.is_none_or(|again| again <= now)
    }

    /// The log did not answer, or refused. It is asked again after a pause, and only for this partition.
    pub(super) fn failed(&mut self, group: &str, limits: &Limits, error: &BusError) {
        if is_lost(error) {
            self.stopped = Some(error.to_string());
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.check = Check::Again;
        self.again_at = Some(Instant::now() + outage::pause(limits, self.failures));
        if self.failures.is_power_of_two() {
            let (topic, partition, failures) = (&self.topic, self.number(), self.failures);
            tracing::warn!(group, %topic, partition, %error, failures, "a partition waits for the log");
        }
    }

    fn go_alone(&mut self) {
        if let Some(fetching) = &mut self.fetching
            && fetching.since.elapsed() >= PATIENCE
        {
            fetching.awaited = false;
        }
    }

    /// Whether the log tells when there is more: not while it is asked, or was away a moment ago.
    pub fn waits(&self) -> bool {
        self.stopped.is_none() && self.fetching.is_none() && self.again_at.is_none() && self.buffer.is_empty()
    }
}
