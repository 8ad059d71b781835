//! One transaction of a group: fences first, then the messages in order, then what is known of their sources.

use super::sort::{Seen, Sorted};
use super::{GroupKind, GroupTask};
use crate::around::{Call, around};
use crate::handler::Raw;
use crate::service::EventKind;
use crate::spans::Origin;
use crate::storage::{offsets, offsets::Offset};
use crate::{Failure, Tx};
use artel_message::{Fault, commands_topic, replies_topic};
use artel_store::Lane;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// So many records from the front of a partition's buffer: (index of the partition, how many).
pub(crate) type Plan = Vec<(usize, usize)>;

/// What an attempt left committed: per partition, how many records.
pub(crate) type Done = Vec<(usize, usize)>;

/// Why an attempt failed, and at which message, when it was a message's own failure.
pub(crate) struct Broken {
    pub failure: Failure,
    pub at: Option<(usize, usize)>,
    /// How many messages the handler that failed was given.
    pub span: usize,
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Broken {
        Broken { failure, at: None, span: 0 }
    }
}

impl From<artel_store::StoreError> for Broken {
    fn from(error: artel_store::StoreError) -> Broken {
        Failure::from(error).into()
    }
}

/// The overlay of one attempt, merged after its commit only.
#[derive(Default)]
pub(crate) struct Overlay {
    pub high: HashMap<usize, HashMap<String, i64>>,
    pub counts: BTreeMap<&'static str, i64>,
}

impl Overlay {
    /// Notes that a record has been taken in, whatever became of it.
    pub fn taken(&mut self, index: usize, sorted: &Sorted, outcome: &'static str) {
        if let (Seen::New(seq), Some(envelope)) = (sorted.seen, &sorted.envelope) {
            self.high.entry(index).or_default().insert(envelope.source.clone(), seq);
        }
        if outcome != "run" {
            *self.counts.entry(outcome).or_default() += 1;
        }
    }
}

/// The offset after `count` records of a partition's buffer.
fn advanced(task: &GroupTask, index: usize, count: usize) -> Offset {
    let partition = &task.partitions[index];
    let mut offset = partition.offset.clone();
    if let Some(last) = count.checked_sub(1).and_then(|i| partition.buffer.get(i)) {
        offset.next = last.record.offset + 1;
        offset.last_offset = Some(last.record.offset);
        offset.last_id =
            Some(super::partition::identity(&last.record, offset.log, &offset.topic, offset.partition));
    }
    offset
}

/// Opens the transaction and writes the fences.
pub(crate) async fn open(task: &GroupTask, plan: &Plan) -> Result<Tx, Broken> {
    let mut tx = Tx::begin(&task.shared, Lane::Background).await?;
    tx.scope(&task.grp);
    for (index, count) in plan {
        let old = &task.partitions[*index].offset;
        let new = advanced(task, *index, *count);
        if !offsets::fence(tx.write(), &task.grp, old, &new).await? {
            tx.rollback().await;
            return Err(Failure::Fenced { topic: old.topic.clone(), partition: old.partition }.into());
        }
    }
    if planted!(OffsetBeforeState) {
        tx.commit().await?;
        tx = Tx::begin(&task.shared, Lane::Background).await?;
        tx.scope(&task.grp);
    }
    Ok(tx)
}

/// Writes what is known of the sources, moves fences back where the attempt ended early, commits.
pub(crate) async fn close(
    task: &GroupTask,
    mut tx: Tx,
    plan: &Plan,
    done: &Done,
    overlay: &Overlay,
) -> Result<(), Broken> {
    for ((index, planned), (_, count)) in plan.iter().zip(done) {
        if count < planned && !planted!(KeepsWholeBatch) {
            let (ahead, actual) = (advanced(task, *index, *planned), advanced(task, *index, *count));
            offsets::fence(tx.write(), &task.grp, &ahead, &actual).await?;
        }
    }
    let mut marks = Vec::new();
    for (index, high) in &overlay.high {
        let partition = &task.partitions[*index];
        let place = (partition.topic.to_string(), partition.number());
        marks.extend(high.iter().map(|(source, seq)| (place.0.clone(), place.1, source.clone(), *seq)));
    }
    if planted!(HighWaterNotStored) {
        marks.clear();
    }
    offsets::raise(tx.write(), &task.grp, marks).await?;
    for (kind, n) in &overlay.counts {
        tx.count_in(&task.grp, kind, *n);
    }
    if planted!(AdvisesAhead) {
        task.tell_of(done).await;
    }
    tx.commit().await.map_err(Broken::from)
}

/// Takes in the plan, or as much of it as fits before somebody in the interactive lane waits too long.
pub(crate) async fn run(task: &GroupTask, plan: &Plan) -> Result<(Done, Overlay), Broken> {
    let mut tx = open(task, plan).await?;
    let mut overlay = Overlay::default();
    let mut done: Done = plan.iter().map(|(index, _)| (*index, 0)).collect();
    let mut any = false;
    'plan: for (slot, (index, count)) in plan.iter().enumerate() {
        let mut position = 0;
        while position < *count {
            if any && tx.pressed() {
                break 'plan;
            }
            let taken = match step(task, &mut tx, *index, position, *count, &mut overlay).await {
                Ok(taken) => taken,
                Err((failure, span)) => {
                    tx.rollback().await;
                    return Err(Broken { failure, at: Some((*index, position)), span });
                }
            };
            position += taken;
            done[slot].1 = position;
            any = true;
        }
    }
    close(task, tx, plan, &done, &overlay).await?;
    Ok((done, overlay))
}

/// Takes in the record at `position`, with those behind it that its batch handler takes too. Returns how many.
async fn step(
    task: &GroupTask,
    tx: &mut Tx,
    index: usize,
    position: usize,
    count: usize,
    overlay: &mut Overlay,
) -> Result<usize, (Failure, usize)> {
    let partition = &task.partitions[index];
    let sorted = &partition.buffer[position];
    if sorted.seen == Seen::Repeat {
        overlay.taken(index, sorted, "repeat");
        return Ok(1);
    }
    if let Some(batch) = task.batch_of(&partition.topic, sorted) {
        let fits = |s: &&Sorted| task.batch_of(&partition.topic, s).is_some();
        let same = |s: &&Sorted| {
            s.seen != Seen::Repeat && name_of(s) == name_of(sorted) && !task.expired(s) && fits(s)
        };
        let records: Vec<&Sorted> =
            partition.buffer.iter().take(count).skip(position).take_while(same).collect();
        if !records.is_empty() {
            let place = (&*partition.topic, partition.number());
            run_batch(task, tx, batch, place, &records).await.map_err(|failure| (failure, records.len()))?;
            records.iter().for_each(|s| overlay.taken(index, s, ran(s)));
            return Ok(records.len());
        }
    }
    let mark = tx.mark();
    let alone = |failure| (failure, 1);
    let result = run_one(task, tx, &partition.topic, partition.number(), sorted).await;
    let outcome = tx.verdict(result).map_err(alone)?;
    tx.check(mark).map_err(alone)?;
    overlay.taken(index, sorted, if outcome == "run" { ran(sorted) } else { outcome });
    Ok(1)
}

/// How a message counts that a handler took in.
fn ran(sorted: &Sorted) -> &'static str {
    if sorted.seen == Seen::Foreign { "foreign" } else { "run" }
}

fn name_of(sorted: &Sorted) -> Option<&str> {
    sorted.envelope.as_ref().map(|e| e.name.as_str())
}

fn body_of(sorted: &Sorted) -> Bytes {
    sorted.record.value.clone().unwrap_or_default()
}

async fn run_batch(
    task: &GroupTask,
    tx: &mut Tx,
    handler: &crate::erase::Erased<Vec<(artel_message::Cause, Bytes)>, ()>,
    place: (&str, u32),
    records: &[&Sorted],
) -> Result<(), Failure> {
    let Some(first) = records.first() else { return Ok(()) };
    let name = name_of(first).unwrap_or_default();
    let traces = || records.iter().filter_map(|s| s.envelope.as_ref()?.trace.as_deref());
    // A trace that somebody follows goes on, the others are named.
    let lead = traces().position(crate::trace::is_sampled).unwrap_or(0);
    let origin = Origin { count: Some(records.len()), ..origin_of(task, place, first) };
    let others = traces().enumerate().filter(|(at, _)| *at != lead).map(|(_, trace)| trace);
    let call = Call::new(&task.shared, "batch", name, traces().nth(lead)).of(origin).link(others);
    tx.enter(task.stored_name(name), first.cause, true, call.trace());
    tx.at(*first.moment.get_or_init(|| task.shared.now()));
    let mark = tx.mark();
    let bodies = records.iter().map(|s| (s.cause, body_of(s))).collect();
    let result = around(call, task.shared.limits.handler_time, handler(tx, bodies)).await;
    tx.verdict(result)?;
    tx.check(mark)
}

/// Runs the handler of one record; says what became of it.
async fn run_one(
    task: &GroupTask,
    tx: &mut Tx,
    topic: &Arc<str>,
    partition: u32,
    sorted: &Sorted,
) -> Result<&'static str, Failure> {
    let shared = &task.shared;
    let limit = shared.limits.handler_time;
    let envelope = sorted.envelope.as_ref();
    let name = name_of(sorted).unwrap_or_default();
    let enter = |tx: &mut Tx, stored: &'static str, trace: Option<String>| {
        tx.enter(stored, sorted.cause, true, trace);
        tx.at(*sorted.moment.get_or_init(|| shared.now()));
    };
    let trace = envelope.and_then(|e| e.trace.as_deref());
    let call =
        |kind, name| Call::new(shared, kind, name, trace).of(origin_of(task, (topic, partition), sorted));
    match &task.kind {
        GroupKind::RunTime { name: group, .. } => {
            let Some(handler) = &shared.service.raw else { return Ok("unhandled") };
            let call = call("raw", topic);
            enter(tx, "raw", call.trace());
            let raw = raw_of(group, topic, partition, sorted);
            around(call, limit, handler(tx, raw)).await?;
            Ok("run")
        }
        GroupKind::Declared { .. } if **topic == *commands_topic(shared.name()) => {
            let Some((stored, entry)) = shared.service.commands.get_key_value(name) else {
                if let Some(envelope) = envelope.filter(|e| e.reply) {
                    enter(tx, "unhandled", trace.map(str::to_owned));
                    let fault =
                        Fault::not_found(format!("service '{}' has no command '{name}'", shared.name()));
                    super::giveup::answer(tx, envelope, sorted.record.key.clone(), &Err(fault))?;
                }
                return Ok("unhandled");
            };
            let call = call("command", name);
            enter(tx, stored, call.trace());
            let reply = around(call, limit, (entry.handler)(tx, body_of(sorted))).await?;
            if let Some(envelope) = envelope.filter(|e| e.reply) {
                super::giveup::answer(tx, envelope, sorted.record.key.clone(), &Ok(reply))?;
            }
            Ok("run")
        }
        GroupKind::Declared { .. } if **topic == *replies_topic(shared.name()) => {
            let command = name.strip_suffix(".reply").unwrap_or_default();
            let entry = shared.service.replies.get_key_value(command);
            let (Some((stored, handler)), Some(id)) = (entry, envelope.and_then(|e| e.cause)) else {
                return Ok("unhandled");
            };
            let call = call("reply", name);
            enter(tx, stored, call.trace());
            around(call, limit, handler(tx, (id, body_of(sorted)))).await?;
            Ok("run")
        }
        GroupKind::Declared { events } => {
            let Some((stored, entry)) = shared.service.events.get(events).and_then(|e| e.get_key_value(name))
            else {
                return Ok("unhandled");
            };
            if task.expired(sorted) {
                return Ok("expired");
            }
            let EventKind::Single(handler) = &entry.kind else { return Ok("unhandled") };
            let call = call("event", name);
            enter(tx, stored, call.trace());
            around(call, limit, handler(tx, body_of(sorted))).await?;
            Ok("run")
        }
    }
}

fn origin_of<'a>(task: &'a GroupTask, (topic, partition): (&'a str, u32), sorted: &Sorted) -> Origin<'a> {
    let (offset, id) = (sorted.record.offset, sorted.cause.id());
    Origin { group: &task.grp, topic, partition, offset, id, count: None }
}

fn raw_of(group: &Arc<str>, topic: &Arc<str>, partition: u32, sorted: &Sorted) -> Raw {
    let record = &sorted.record;
    // An id that nobody vouches for is not believed: a copy must not pass for the message it copies.
    let id: Uuid = sorted.cause.id();
    Raw {
        group: group.clone(),
        topic: topic.clone(),
        partition,
        offset: record.offset,
        key: record.key.clone(),
        headers: record.headers.clone(),
        value: record.value.clone(),
        time: record.time,
        id,
    }
}
