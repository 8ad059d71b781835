//! One transaction of a group: fences first, then the messages in order, then what is known of their sources.

use super::GroupTask;
use super::handle::{name_of, ran, run_batch, run_one};
use super::parking::{Held, Joins};
use super::sort::{Seen, Sorted};
use crate::storage::{offsets, offsets::Offset};
use crate::{Failure, Tx};
use artel_message::Time;
use artel_store::Lane;
use std::collections::{BTreeMap, BTreeSet, HashMap};

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
    /// When the attempt began, and when the messages were made that handlers took in.
    pub begun: Option<Time>,
    pub made: Vec<Time>,
    pub high: HashMap<usize, HashMap<String, i64>>,
    pub counts: BTreeMap<&'static str, i64>,
    /// How many messages a handler took in, per partition.
    pub ran: HashMap<usize, usize>,
    /// Partitions with a key that was parked.
    pub parks: BTreeSet<usize>,
    /// Messages that wait now, and their bytes.
    pub joined: (i64, i64),
    /// Partitions with a message that may not go behind its key now.
    pub held: HashMap<usize, Held>,
}

impl Overlay {
    /// Notes that a record has been taken in, whatever became of it.
    pub fn taken(&mut self, index: usize, sorted: &Sorted, outcome: &'static str) {
        if let (Seen::New(seq), Some(envelope)) = (sorted.seen, &sorted.envelope) {
            self.high.entry(index).or_default().insert(envelope.source.clone(), seq);
        }
        if matches!(outcome, "run" | "foreign") {
            *self.ran.entry(index).or_default() += 1;
            self.made.push(sorted.envelope.as_ref().map_or(sorted.record.time, |envelope| envelope.time));
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
    tx.clear_away();
    if planted!(AdvisesAhead) {
        task.tell_of(done).await;
    }
    tx.commit().await.map_err(Broken::from)
}

/// Takes in the plan, or as much of it as fits before somebody in the interactive lane waits too long.
pub(crate) async fn run(task: &GroupTask, plan: &Plan) -> Result<(Done, Overlay), Broken> {
    let mut tx = open(task, plan).await?;
    let mut joins = Joins::look_up(task, &mut tx, plan).await?;
    let mut overlay = Overlay { begun: Some(task.shared.now()), ..Overlay::default() };
    let mut done: Done = plan.iter().map(|(index, _)| (*index, 0)).collect();
    let mut any = false;
    'plan: for (slot, (index, count)) in plan.iter().enumerate() {
        let mut position = 0;
        while position < *count {
            if any && tx.pressed() {
                break 'plan;
            }
            let sorted = &task.partitions[*index].buffer[position];
            match joins.join(task, *index, sorted) {
                Ok(false) => {}
                Ok(true) => {
                    overlay.taken(*index, sorted, "parked");
                    position += 1;
                    done[slot].1 = position;
                    continue;
                }
                Err(held) => {
                    overlay.held.insert(*index, held);
                    break;
                }
            }
            let place = Step { index: *index, position, count: *count };
            let taken = match step(task, &mut tx, place, &joins, &mut overlay).await {
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
    overlay.joined = joins.write(task, &mut tx).await?;
    close(task, tx, plan, &done, &overlay).await?;
    Ok((done, overlay))
}

/// A record in a plan.
#[derive(Clone, Copy)]
struct Step {
    index: usize,
    position: usize,
    /// The partition's part of the plan ends here.
    count: usize,
}

/// Takes in the record at `position`, with those behind it that its batch handler takes too. Returns how many.
async fn step(
    task: &GroupTask,
    tx: &mut Tx,
    Step { index, position, count }: Step,
    joins: &Joins,
    overlay: &mut Overlay,
) -> Result<usize, (Failure, usize)> {
    let reader = &*task.reader;
    let partition = &task.partitions[index];
    let sorted = &partition.buffer[position];
    if sorted.seen == Seen::Repeat {
        overlay.taken(index, sorted, "repeat");
        return Ok(1);
    }
    if let Some(batch) = reader.batch_of(&partition.topic, sorted) {
        let fits = |s: &&Sorted| reader.batch_of(&partition.topic, s).is_some();
        let same = |s: &&Sorted| {
            s.seen != Seen::Repeat
                && name_of(s) == name_of(sorted)
                && !reader.expired(s)
                && fits(s)
                && !joins.is_parked(index, s)
        };
        let records: Vec<&Sorted> =
            partition.buffer.iter().take(count).skip(position).take_while(same).collect();
        if !records.is_empty() {
            let place = (&*partition.topic, partition.number());
            run_batch(reader, tx, batch, place, &records)
                .await
                .map_err(|failure| (failure, records.len()))?;
            records.iter().for_each(|s| overlay.taken(index, s, ran(s)));
            return Ok(records.len());
        }
    }
    let mark = tx.mark();
    let alone = |failure| (failure, 1);
    let result = run_one(reader, tx, &partition.topic, partition.number(), sorted, true).await;
    let outcome = tx.verdict(result).map_err(alone)?;
    tx.check(mark).map_err(alone)?;
    overlay.taken(index, sorted, if outcome == "run" { ran(sorted) } else { outcome });
    Ok(1)
}
