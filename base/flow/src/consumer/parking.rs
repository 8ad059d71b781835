//! Parked keys as the consumer sees them: messages of a parked key go behind it, a message that fails parks its key, and a
//! partition pauses where that would copy the log into the database.

use super::attempt::{self, Broken, Done, Overlay};
use super::sort::{Seen, Sorted};
use super::{GroupTask, Plan};
use crate::fingerprint::{self, Chain, tame};
use crate::storage::counts;
use crate::storage::parked::{self, Failing, Found, Hold, New, Parked, lane};
use crate::{Failure, Tx};
use artel_message::Time;
use artel_store::{StoreError, Values};
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// What waits in a group is looked up this often at most; in between it is known but for what retries took away.
const LOOK: Duration = Duration::from_secs(1);
/// How soon a partition is looked at again whose next message belongs to a key that is being tried.
const HELD_UP: Duration = Duration::from_millis(20);
/// The longest reason that is kept, in characters.
pub(crate) const REASON: usize = 2_000;
/// A partition that paused tries a message at least once in so many of its first pauses.
const LONGEST_PROBE: u32 = 30;

/// What counts how much of a group is parked now.
pub(crate) const MESSAGES: &str = "parked-now";
pub(crate) const BYTES: &str = "parked-bytes";

/// Why a partition takes nothing in for a while, though its messages are there.
#[derive(Debug, Clone)]
pub(crate) struct Paused {
    pub why: Why,
    pub reason: String,
    /// How long the pause is, in doublings.
    failures: u32,
    /// When a message is tried.
    pub probe_at: Instant,
}

/// The first message of a partition that paused.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub offset: i64,
    pub attempts: u32,
    pub since: Time,
    pub errors: Chain,
    /// Attempts since the partition paused.
    pub probes: u32,
}

impl Paused {
    /// Whether it waits for the end of this cause.
    pub fn is_for(&self, cause: &str) -> bool {
        matches!(&self.why, Why::Failing { cause: of, .. } if of == cause)
    }

    /// What the message at this offset went through, where it is the first one still.
    pub fn head_at(&self, offset: i64) -> Option<&Head> {
        match &self.why {
            Why::Failing { head, .. } => head.as_ref().filter(|head| head.offset == offset),
            Why::Full => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Why {
    /// No more may wait.
    Full,
    /// Most messages fail with this cause.
    Failing { cause: String, head: Option<Head> },
}

/// What waits in a group.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Filled {
    messages: i64,
    bytes: i64,
    looked_at: Option<Instant>,
}

/// The parked keys that a batch has messages of, and what goes behind them with its commit.
#[derive(Default)]
pub(crate) struct Joins {
    keys: HashMap<(usize, Bytes), Joining>,
    rows: Vec<Values>,
    bytes: i64,
}

/// Why a message may not go behind its key now.
#[derive(Debug)]
pub(crate) enum Held {
    /// No more may wait.
    Full(String),
    /// Its key's first message is being tried: the partition waits a moment, and no other.
    Busy,
}

struct Joining {
    hold: Hold,
    busy: bool,
    count: i64,
    bytes: i64,
}

impl Joins {
    /// Looks up all keys of the plan's partitions that have parked ones, in key order.
    pub async fn look_up(task: &GroupTask, tx: &mut Tx, plan: &Plan) -> Result<Joins, StoreError> {
        let mut places = HashMap::new();
        let mut lanes = BTreeSet::new();
        for (index, count) in plan {
            let partition = &task.partitions[*index];
            if !partition.parked {
                continue;
            }
            let place = (partition.topic.to_string(), partition.number());
            for sorted in partition.buffer.iter().take(*count).filter(|s| s.seen != Seen::Repeat) {
                if let Some(key) = &sorted.record.key {
                    lanes.insert((place.0.clone(), place.1, lane(Some(key), 0)));
                }
            }
            places.insert(place, *index);
        }
        if lanes.is_empty() || planted!(OvertakesParked) {
            return Ok(Joins::default());
        }
        let engine = task.shared.db.engine();
        let found = parked::find(tx.write(), engine, &task.grp, lanes.into_iter().collect()).await?;
        let keys = found.into_iter().filter_map(|Found { hold, busy }| {
            let index = *places.get(&(hold.topic.clone(), hold.partition))?;
            Some(((index, hold.lane.clone()), Joining { hold, busy, count: 0, bytes: 0 }))
        });
        Ok(Joins { keys: keys.collect(), ..Joins::default() })
    }

    pub fn is_parked(&self, index: usize, sorted: &Sorted) -> bool {
        !self.keys.is_empty()
            && sorted
                .record
                .key
                .as_ref()
                .is_some_and(|key| self.keys.contains_key(&(index, lane(Some(key), 0))))
    }

    /// Puts a message behind its key; false where that is not parked.
    pub fn join(&mut self, task: &GroupTask, index: usize, sorted: &Sorted) -> Result<bool, Held> {
        if self.keys.is_empty() || sorted.seen == Seen::Repeat {
            return Ok(false);
        }
        let Some(key) = &sorted.record.key else { return Ok(false) };
        let Some(joining) = self.keys.get_mut(&(index, lane(Some(key), 0))) else { return Ok(false) };
        if joining.busy {
            return Err(Held::Busy);
        }
        let limits = &task.shared.limits;
        let most = i64::try_from(limits.parked_per_key).unwrap_or(i64::MAX);
        let waiting = joining.hold.waiting + joining.count;
        if waiting >= most {
            return Err(Held::Full(format!(
                "{waiting} messages wait behind one parked key, as many as may (setting flow.parked_per_key); the partition goes on \
                 when they are taken in: mend what the first of them fails with, or drop it (artel parked)"
            )));
        }
        task.room(i64::try_from(self.rows.len()).unwrap_or(i64::MAX), self.bytes).map_err(Held::Full)?;
        let message = message_of(sorted);
        let size = message.size();
        self.rows.push(message.row(joining.hold.id));
        (joining.count, joining.bytes, self.bytes) =
            (joining.count + 1, joining.bytes + size, self.bytes + size);
        Ok(true)
    }

    /// Writes what has joined.
    pub async fn write(self, task: &GroupTask, tx: &mut Tx) -> Result<(i64, i64), StoreError> {
        if self.rows.is_empty() {
            return Ok((0, 0));
        }
        let count = i64::try_from(self.rows.len()).unwrap_or(i64::MAX);
        let keys = self.keys.into_values().filter(|k| k.count > 0);
        let keys = keys.map(|k| (k.hold.id, k.count, k.bytes)).collect();
        parked::join(tx.write(), keys, self.rows).await?;
        tx.count_in(&task.grp, MESSAGES, count);
        tx.count_in(&task.grp, BYTES, self.bytes);
        Ok((count, self.bytes))
    }
}

/// A message as it is parked.
fn message_of(sorted: &Sorted) -> Parked {
    Parked {
        offset: sorted.record.offset,
        cause: sorted.cause,
        ours: sorted.seen != Seen::Foreign,
        time: sorted.record.time,
        key: sorted.record.key.clone(),
        headers: Parked::headers_of(&sorted.record.headers),
        value: sorted.record.value.clone(),
        letter: None,
    }
}

/// What a message went through before it was parked or given up.
pub(crate) struct Tried<'a> {
    /// The latest.
    pub failure: &'a Failure,
    pub attempts: u32,
    pub since: Time,
    /// All of them.
    pub errors: Chain,
}

impl Tried<'_> {
    pub fn failing(&self) -> Failing {
        Failing {
            attempts: self.attempts,
            since: Some(self.since),
            code: Some(self.failure.code().as_str().to_owned()),
            reason: Some(tame(&self.failure.to_string(), REASON)),
            fingerprint: Some(fingerprint::of(self.failure)),
            errors: Some(self.errors.text()),
        }
    }
}

/// Takes in the first record of a partition by parking its key behind it.
pub(super) async fn park(task: &GroupTask, index: usize, tried: &Tried<'_>) -> Result<Overlay, Broken> {
    let partition = &task.partitions[index];
    let sorted = &partition.buffer[0];
    let plan = vec![(index, 1)];
    let mut tx = attempt::open(task, &plan).await?;
    tx.enter("parked", sorted.cause, true, None);
    let message = message_of(sorted);
    let size = message.size();
    let now = task.shared.now();
    let new = New {
        id: tx.new_id(),
        now,
        due: Some(crate::retry::due(
            &task.shared,
            now,
            tried.since,
            task.reader.policy(&partition.topic, sorted),
        )),
        failing: tried.failing(),
        ..place_of(task, index)
    };
    parked::park(tx.write(), new, Some(message)).await?;
    tx.count_in(&task.grp, MESSAGES, 1);
    tx.count_in(&task.grp, BYTES, size);
    let mut overlay = Overlay { joined: (1, size), ..Overlay::default() };
    overlay.taken(index, sorted, "parked");
    overlay.parks.insert(index);
    attempt::close(task, tx, &plan, &plan, &overlay).await?;
    tracing::info!(
        group = %task.grp, topic = %partition.topic, partition = partition.number(), offset = sorted.record.offset,
        error = %tried.failure, "message parked; its key waits, other keys go on"
    );
    Ok(overlay)
}

/// The key of the first record of a partition, stopped, without a message.
pub(super) fn place_of(task: &GroupTask, index: usize) -> New<'_> {
    let partition = &task.partitions[index];
    let record = &partition.buffer[0].record;
    New {
        id: Uuid::nil(),
        grp: &task.grp,
        topic: &partition.topic,
        partition: partition.number(),
        lane: lane(record.key.as_deref(), record.offset),
        now: task.shared.now(),
        due: None,
        stopped_at: None,
        failing: Failing::default(),
    }
}

impl GroupTask {
    /// Whether this much more may wait in the group; a sentence where not.
    fn room(&self, messages: i64, bytes: i64) -> Result<(), String> {
        let limits = &self.shared.limits;
        let most = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let (messages, bytes) = (self.filled.messages + messages, self.filled.bytes + bytes);
        if messages >= most(limits.parked_messages) || bytes >= most(limits.parked_bytes) {
            return Err(format!(
                "{messages} messages of {bytes} bytes of group '{}' are parked, as many as may (settings flow.parked_messages, \
                 flow.parked_bytes); it goes on when they are taken in: mend what they fail with, or drop them (artel parked)",
                self.grp
            ));
        }
        Ok(())
    }

    /// Looks up how much of the group is parked.
    pub(super) async fn look_at_filled(&mut self, now: Instant) -> Result<(), Failure> {
        if self.filled.looked_at.is_some_and(|at| now < at + LOOK) {
            return Ok(());
        }
        let mut read = self.shared.db.read().await?;
        let messages = counts::of_group(&mut read, &self.grp, MESSAGES).await?;
        let bytes = counts::of_group(&mut read, &self.grp, BYTES).await?;
        self.filled = Filled { messages, bytes, looked_at: Some(now) };
        // Only this task parks keys here, and an operator's replay raises the epoch: none that is gone comes back unnoticed.
        for partition in self.partitions.iter_mut().filter(|p| p.parked) {
            partition.parked =
                parked::any(&mut read, &self.grp, &partition.topic, partition.offset.partition).await?;
        }
        Ok(())
    }

    /// Parks the first message of a partition, or pauses where no more may wait.
    pub(super) async fn park(&mut self, index: usize, tried: &Tried<'_>) -> Result<(), Failure> {
        self.look_at_filled(Instant::now()).await?;
        if let Err(reason) = self.room(0, 0) {
            self.pause_partition(index, Why::Full, reason);
            return Ok(());
        }
        let task = &*self;
        let overlay =
            self.shared.rerun(|| async { park(task, index, tried).await.map_err(|b| b.failure) }).await?;
        let plan = vec![(index, 1)];
        self.merge(&plan, overlay);
        self.advise(&plan).await;
        Ok(())
    }

    pub(super) fn pause_partition(&mut self, index: usize, why: Why, reason: String) {
        let limits = &self.shared.limits;
        let partition = &mut self.partitions[index];
        let failures = match &why {
            // What can never work is given up at a steady pace.
            Why::Failing { head: None, .. } => 1,
            _ => partition.paused.as_ref().map_or(1, |paused| paused.failures.saturating_add(1)),
        };
        let pause = limits.probe_pause * 2u32.saturating_pow(failures - 1).min(LONGEST_PROBE);
        let reason = format!("{}/{}: {reason}", partition.topic, partition.number());
        partition.paused = Some(Paused { why, reason, failures, probe_at: Instant::now() + pause });
        self.report();
    }

    /// What a commit changes in what is known of parked keys and pauses.
    pub(super) fn merge_parking(&mut self, done: &Done, overlay: &Overlay) {
        self.filled.messages += overlay.joined.0;
        self.filled.bytes += overlay.joined.1;
        for (index, _) in done.iter().filter(|(_, count)| *count > 0) {
            let partition = &mut self.partitions[*index];
            partition.parked |= overlay.parks.contains(index);
            let ran = overlay.ran.get(index).copied().unwrap_or(0);
            partition.recent.ran(ran);
            match &mut partition.paused {
                Some(paused) if matches!(paused.why, Why::Full) || ran > 0 => {
                    tracing::info!(reason = paused.reason, "partition goes on");
                    partition.paused = None;
                    partition.recent.forget();
                }
                // What ran no handler says nothing: the next one is the probe.
                Some(paused) => paused.probe_at = Instant::now(),
                None => {}
            }
        }
        if !overlay.parks.is_empty() {
            self.shared.wake.parked.notify_one();
        }
        for (index, held) in &overlay.held {
            match held {
                Held::Busy => self.partitions[*index].held_until = Some(Instant::now() + HELD_UP),
                Held::Full(reason) if done.iter().any(|(i, count)| i == index && *count == 0) => {
                    self.pause_partition(*index, Why::Full, reason.clone());
                }
                Held::Full(_) => {}
            }
        }
    }
}
