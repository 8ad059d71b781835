//! One partition as a group has it: its place, what is known of its sources, what has been fetched.

use super::GroupTask;
use super::fetching::{Brought, Check, Fetching, Room};
use super::parking::Paused;
use super::recent::Recent;
use super::sort::{Known, Opened, Place, Seen, Sorted, sort};
use crate::Failure;
use crate::ctx::Shared;
use crate::storage::{offsets, offsets::Offset, parked};
use artel_bus::{Bounds, Bus, BusError, Fetch, From as StartAt};
use artel_message::Envelope;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) struct Partition {
    pub topic: Arc<str>,
    /// As committed.
    pub offset: Offset,
    /// As committed.
    pub high: HashMap<String, i64>,
    /// Fetched and sorted, not yet taken in.
    pub buffer: VecDeque<Sorted>,
    /// Where to fetch on.
    pub fetch_from: i64,
    /// What is known of the sources behind the last fetched record.
    ahead: Known,
    /// Why nothing is taken in any more, for a person.
    pub stopped: Option<String>,
    /// Why it stopped before it was looked at again; shown until it is known to go on.
    pub doubt: Option<String>,
    pub check: Check,
    pub fetching: Option<Fetching>,
    /// Its last fetch took long: no round waits for the next one.
    pub slow: bool,
    /// How often in a row the log did not answer.
    pub failures: u32,
    /// When it is asked again after that.
    pub again_at: Option<Instant>,
    /// Whether the group has parked keys of it.
    pub parked: bool,
    pub paused: Option<Paused>,
    /// The key of its next message is somebody else's until about then.
    pub held_until: Option<Instant>,
    pub recent: Recent,
}

impl Partition {
    /// A partition at its place. What is known of its sources is read after the place: if somebody took the partition in between,
    /// its epoch has changed, and the fence of the first batch fails.
    pub async fn load(
        task: &GroupTask,
        topic: &Arc<str>,
        offset: Offset,
        log: Uuid,
    ) -> Result<Self, Failure> {
        let mut read = task.shared.db.read().await?;
        let marks = offsets::high_water(&mut read, &task.grp, topic, offset.partition).await?;
        let loose = marks.iter().filter(|mark| mark.loose).map(|mark| mark.source.clone()).collect();
        let mut high: HashMap<String, i64> = marks.into_iter().map(|mark| (mark.source, mark.seq)).collect();
        if planted!(ForgetsHighWater) {
            high.clear();
        }
        // Read after the place as well: an operator's replay changes the epoch.
        let parked =
            parked::any(&mut read, &task.grp, topic, offset.partition).await? && !planted!(ForgetsParked);
        Ok(Partition {
            topic: topic.clone(),
            fetch_from: offset.next,
            ahead: Known { high: high.clone(), loose },
            high,
            buffer: VecDeque::new(),
            stopped: None,
            doubt: None,
            check: Check::Against(log),
            fetching: None,
            slow: false,
            failures: 0,
            again_at: None,
            parked,
            paused: None,
            held_until: None,
            recent: Recent::over(task.shared.limits.failing_window),
            offset,
        })
    }

    /// At the same place as when `before` stopped, it most likely stops again for the same reason; and where the log did not
    /// answer, it most likely still does not.
    pub fn doubts(&mut self, before: &Partition) {
        if planted!(TrustsMemory) && self.topic == before.topic && self.number() == before.number() {
            self.ahead = before.ahead.clone();
        }
        let place = |p: &Partition| (p.topic.clone(), p.number(), p.offset.next, p.offset.epoch);
        if self.topic == before.topic && self.number() == before.number() {
            (self.paused, self.recent) = (before.paused.clone(), before.recent.clone());
            self.slow = before.slow || before.failures > 0 || before.fetching.is_some();
        }
        if place(self) == place(before) {
            self.doubt = before.wrong().map(str::to_owned);
        }
    }

    /// Why it is stopped, or was a moment ago.
    fn wrong(&self) -> Option<&str> {
        self.stopped.as_deref().or(self.doubt.as_deref())
    }

    /// What is shown: why it is stopped or pauses.
    pub fn trouble(&self) -> Option<&str> {
        self.wrong().or(self.paused.as_ref().map(|paused| paused.reason.as_str()))
    }

    /// Whether it only pauses: its handlers fail, the node does what it can.
    pub fn only_pauses(&self) -> bool {
        self.wrong().is_none() && self.paused.is_some()
    }

    /// How many of its messages may be taken in at once: one where it paused and a message is to be tried.
    pub fn may_take(&self, now: Instant) -> usize {
        match &self.paused {
            _ if self.stopped.is_some() || self.held_until.is_some_and(|until| now < until) => 0,
            None => usize::MAX,
            Some(paused) => usize::from(paused.probe_at <= now),
        }
    }

    /// When something is to be done by itself: the log is asked again, or a message is tried.
    pub fn again_at(&self) -> Option<Instant> {
        let probe_at = self.paused.as_ref().filter(|_| self.stopped.is_none() && !self.buffer.is_empty());
        let probe_at = probe_at.map(|paused| paused.probe_at);
        let held_until = self.held_until.filter(|_| self.paused.is_none() && !self.buffer.is_empty());
        // While something is in memory the log is not asked.
        let again_at = self.again_at.filter(|_| self.stopped.is_none() && self.buffer.is_empty());
        again_at.into_iter().chain(probe_at).chain(held_until).min()
    }

    pub fn number(&self) -> u32 {
        self.offset.partition
    }

    /// Takes what was read into memory.
    pub async fn received(&mut self, shared: &Shared, fetched: Brought) -> Result<(), Failure> {
        let mut ahead = self.ahead.clone();
        let mut sorted = self.sort_all(shared, fetched.records, &mut ahead);
        // Another node may have made this topic the service's own since this one looked; its messages came after that.
        let own = Envelope::source_of(shared.name());
        let unknown = |s: &Sorted| {
            s.seen == Seen::Foreign && s.envelope.as_ref().is_some_and(|e| e.seq.is_some() && e.source == own)
        };
        if shared.members.shared() && sorted.iter().any(unknown) && shared.learn_adopted(&self.topic).await? {
            ahead = self.ahead.clone();
            let records =
                sorted.into_iter().map(|s| Opened { record: s.record, envelope: s.envelope }).collect();
            sorted = self.sort_all(shared, records, &mut ahead);
        }
        self.ahead = ahead;
        self.buffer.extend(sorted);
        self.fetch_from = fetched.next;
        if self.buffer.is_empty() {
            self.doubt = None;
        }
        Ok(())
    }

    fn sort_all(&self, shared: &Shared, records: Vec<Opened>, ahead: &mut Known) -> Vec<Sorted> {
        let place = Place {
            topic: &self.topic,
            partition: self.offset.partition,
            log: self.offset.log,
            now: shared.now(),
        };
        let trusted = |source: &str| shared.trusts(&self.topic, source);
        records.into_iter().map(|record| sort(record, &place, trusted, ahead)).collect()
    }

    /// What of the memory a transaction with so much room would take: at least one message, however large.
    pub fn fits(&self, now: Instant, room: Room) -> Room {
        let most = room.records.min(self.may_take(now));
        let mut fitting = Room { records: 0, bytes: 0 };
        for sorted in self.buffer.iter().take(most) {
            if fitting.bytes >= room.bytes {
                break;
            }
            fitting.records += 1;
            fitting.bytes += sorted.bytes;
        }
        fitting
    }

    /// How many buffered records may be taken in now: up to a gap, which stops the partition when it comes first.
    pub fn ready(&mut self, most: usize) -> usize {
        let gap = self.buffer.iter().take(most).position(|s| matches!(s.seen, Seen::Gap { .. }));
        if gap == Some(0)
            && let Some(Sorted { seen: Seen::Gap { high, prev }, record, .. }) = self.buffer.front()
        {
            self.stopped = Some(format!(
                "{}/{} at offset {}: messages between seq {high} and {prev} are missing; nothing is skipped. \
                 Restore the missing part of the log, or go on without them: artel groups skip",
                self.topic, self.offset.partition, record.offset
            ));
        } else {
            self.doubt = None;
        }
        gap.unwrap_or_else(|| self.buffer.len().min(most))
    }
}

/// Whether waiting will not mend an error of the log: only this partition stops.
pub(crate) fn is_lost(error: &BusError) -> bool {
    matches!(
        error,
        BusError::UnknownTopic(_)
            | BusError::UnknownPartition { .. }
            | BusError::OutOfRange { .. }
            | BusError::Stopped { .. }
    )
}

/// The place a group starts at in a partition that it has not read before.
pub(crate) async fn start(
    bus: &dyn Bus,
    topic: &str,
    partition: u32,
    from: StartAt,
) -> Result<i64, BusError> {
    let Bounds { begin, end } = bus.bounds(topic, partition).await?;
    Ok(match from {
        StartAt::Earliest => begin,
        StartAt::Latest => end,
        StartAt::Offset(offset) if (begin..=end).contains(&offset) => offset,
        StartAt::Offset(offset) => {
            return Err(BusError::OutOfRange { topic: topic.to_owned(), partition, offset, begin, end });
        }
        StartAt::Time(time) => bus.offset_at(topic, partition, time).await?.unwrap_or(end),
    })
}

/// Compares the stored place with the log (flow, section 1.6). `Some` = why the partition must not go on.
pub(crate) async fn mismatch(bus: &dyn Bus, offset: &Offset, log: Uuid) -> Result<Option<String>, BusError> {
    let (topic, partition) = (offset.topic.as_str(), offset.partition);
    let say = |what: String| {
        Some(format!(
            "{topic}/{partition}: {what}; bring back the log that belongs to this database (does bus.url name another one?), \
             or go on at a place that this log has: artel groups skip"
        ))
    };
    if offset.log != log {
        return Ok(say(format!("the place was stored for log {}, this one is {log}", offset.log)));
    }
    let Bounds { begin, end } = bus.bounds(topic, partition).await?;
    if offset.next < begin {
        return Ok(say(format!(
            "retention has passed the place: next is {}, the log begins at {begin}",
            offset.next
        )));
    }
    if offset.next > end {
        return Ok(say(format!("the log ends at {end}, before the stored place {}", offset.next)));
    }
    let (Some(last), Some(id)) = (offset.last_offset, offset.last_id) else { return Ok(None) };
    if last < begin {
        return Ok(None);
    }
    let found = bus.read(topic, partition, last, Fetch { max_records: 1, max_bytes: 1 }).await?;
    let Some(record) = found.records.into_iter().find(|r| r.offset == last) else { return Ok(None) };
    let there = identity(&record, log, topic, partition);
    Ok(if there == id {
        None
    } else {
        say(format!("offset {last} holds message {there}, not {id} as stored"))
    })
}

/// The identity of a record for `last_id`: `ce_id`, otherwise derived from its place.
pub(crate) fn identity(record: &artel_bus::Received, log: Uuid, topic: &str, partition: u32) -> Uuid {
    match Envelope::from_headers(&record.headers) {
        Ok(envelope) => envelope.id,
        Err(_) => artel_message::Cause::foreign(log, topic, partition, record.offset, record.time).id(),
    }
}
