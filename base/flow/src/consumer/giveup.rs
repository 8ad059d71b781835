//! Giving up on a message: kept whole with its cause, published to `<topic>.dlq`, and answered where somebody waits.

use super::attempt::{self, Broken, Overlay};
use super::{GroupKind, GroupTask};
use crate::around::{Call, around};
use crate::failure::Class;
use crate::handler::{GivenUp, GivenUpAt};
use crate::storage::dead::{self, DeadLetter};
use crate::storage::outbox::Outgoing;
use crate::tx::HEADER_BYTES;
use crate::{Failure, Tx};
use artel_message::{Envelope, Fault, Headers, replies_topic, service_of};
use bytes::Bytes;

/// The longest reason that is kept, in characters.
const REASON: usize = 2_000;
/// A copy in the dead-letter topic has at most so many of the original headers.
const HEADERS: usize = 200;

/// Takes in the first record of a partition as given up on. The letter is kept even where its copy can't be published, or
/// where the service's handler of messages given up on fails.
pub(crate) async fn give_up(
    task: &GroupTask,
    index: usize,
    failure: &Failure,
    attempts: u32,
) -> Result<Overlay, Broken> {
    match write(task, index, failure, attempts, true).await {
        Err(broken) if broken.failure.class() != Class::Infrastructure => {
            tracing::error!(
                group = %task.grp, error = %broken.failure,
                "the handler of messages given up on fails; the dead letter is written without it"
            );
            write(task, index, failure, attempts, false).await
        }
        done => done,
    }
}

async fn write(
    task: &GroupTask,
    index: usize,
    failure: &Failure,
    attempts: u32,
    told: bool,
) -> Result<Overlay, Broken> {
    let partition = &task.partitions[index];
    let dlq = task.shared.topics.ensure_dead_letters(&partition.topic).await;
    let plan = vec![(index, 1)];
    let mut tx = attempt::open(task, &plan).await?;
    let sorted = &partition.buffer[0];
    tx.enter("dead-letter", sorted.cause, true, None);
    let letter = letter(task, index, failure, attempts, &mut tx);
    let (id, code) = (letter.id, letter.code.clone());
    let given = given_up(task, index, &letter);
    match dlq {
        Ok((topic, known)) => {
            let key = letter.key.clone().unwrap_or_default();
            let place = artel_bus::partition::of_key(&key, known.partitions);
            let seq = sorted.envelope.as_ref().and_then(|e| e.seq);
            tx.put_raw(dead_message(&letter, topic, place, seq, task.shared.limits.message_bytes));
        }
        Err(error) => tracing::warn!(group = %task.grp, %error, "a dead letter is kept but not published"),
    }
    dead::insert(tx.write(), letter).await?;
    let is_command = task.is_command(&partition.topic);
    if let Some(envelope) = sorted.envelope.as_ref().filter(|e| e.reply && is_command) {
        let fault = failure.clone().into_fault();
        answer(&mut tx, envelope, sorted.record.key.clone(), &Err(fault))?;
    }
    if told && let Err(failure) = tell(task, &mut tx, sorted, given).await {
        tx.rollback().await;
        return Err(failure.into());
    }
    let mut overlay = Overlay::default();
    overlay.taken(index, sorted, "dead");
    attempt::close(task, tx, &plan, &plan, &overlay).await?;
    tracing::warn!(
        group = %task.grp, topic = %partition.topic, partition = partition.number(), dead.letter = %id, code,
        error = %failure, "message given up"
    );
    Ok(overlay)
}

fn given_up(task: &GroupTask, index: usize, letter: &DeadLetter) -> GivenUp {
    let sorted = &task.partitions[index].buffer[0];
    GivenUp {
        id: sorted.cause.id(),
        name: letter.name.clone(),
        topic: letter.topic.clone(),
        partition: letter.partition,
        read: Some(GivenUpAt {
            group: task.grp.clone(),
            run_time: matches!(task.kind, GroupKind::RunTime { .. }),
            offset: letter.offset,
            written_at: sorted.record.time,
        }),
        key: letter.key.clone(),
        value: letter.value.clone(),
        reason: letter.reason.clone(),
        at: letter.at,
    }
}

/// Tells the service, where it wants to know.
async fn tell(
    task: &GroupTask,
    tx: &mut Tx,
    sorted: &super::sort::Sorted,
    given: GivenUp,
) -> Result<(), Failure> {
    let shared = &task.shared;
    let Some(handler) = &shared.service.given_up else { return Ok(()) };
    tx.enter("given-up", sorted.cause, true, None);
    let mark = tx.mark();
    let call = Call::new(shared, "given-up", "*", None);
    let work = handler(tx, given);
    let result = around(call, shared.limits.handler_time, work).await;
    tx.verdict(result)?;
    tx.check(mark)
}

/// Text that any database takes, not longer than a person reads.
fn tame(text: &str) -> String {
    text.chars().take(REASON).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

fn letter(task: &GroupTask, index: usize, failure: &Failure, attempts: u32, tx: &mut Tx) -> DeadLetter {
    let partition = &task.partitions[index];
    let sorted = &partition.buffer[0];
    DeadLetter {
        id: tx.new_id(),
        group: task.grp.clone(),
        topic: partition.topic.to_string(),
        partition: partition.number(),
        offset: sorted.record.offset,
        message: sorted.envelope.as_ref().map_or_else(|| sorted.cause.id(), |e| e.id),
        name: sorted.envelope.as_ref().map(|e| tame(&e.name)),
        key: sorted.record.key.clone(),
        headers: crate::wire::encode(&sorted.record.headers),
        value: sorted.record.value.clone(),
        code: failure.code().as_str().to_owned(),
        reason: tame(&failure.to_string()),
        attempts,
        at: tx.now(),
    }
}

/// The copy in the dead-letter topic: the original headers but its seq, which is kept as `artel_origin_seq`, and the cause.
/// What would be too large for the log goes without its value and headers; the letter itself has them.
fn dead_message(
    letter: &DeadLetter,
    topic: String,
    partition: u32,
    seq: Option<i64>,
    limit: usize,
) -> Outgoing {
    let mut headers = crate::wire::decode(&letter.headers).unwrap_or_default();
    headers.retain(|name, _| name != "artel_seq" && name != "artel_prev");
    let large = headers.len() > HEADERS
        || letter.headers.len() > HEADER_BYTES
        || letter.value.as_ref().map_or(0, Bytes::len) + letter.key.as_ref().map_or(0, Bytes::len) > limit;
    if large {
        headers = Headers::new();
    }
    let mut put = |name: &str, value: String| headers.push(name, Some(value.as_bytes()));
    if let Some(seq) = seq {
        put("artel_origin_seq", seq.to_string());
    }
    put("artel_dead_letter", letter.id.to_string());
    put("artel_dead_group", letter.group.clone());
    put("artel_dead_origin", format!("{}/{}@{}", letter.topic, letter.partition, letter.offset));
    put("artel_dead_code", letter.code.clone());
    put("artel_dead_reason", letter.reason.clone());
    if large {
        put("artel_dead_cut", "true".to_owned());
    }
    Outgoing {
        topic,
        partition,
        message: letter.id,
        name: letter.name.clone().unwrap_or_default(),
        key: letter.key.clone().filter(|_| !large),
        headers: crate::wire::encode(&headers),
        value: letter.value.clone().filter(|_| !large),
        at: letter.at,
        numbered: false,
    }
}

/// Sends the answer of a command to who sent it: `<caller>.replies`, under the command's own key.
pub(crate) fn answer(
    tx: &mut Tx,
    command: &Envelope,
    key: Option<Bytes>,
    result: &Result<Bytes, Fault>,
) -> Result<(), Failure> {
    let Some(caller) = command.source.strip_prefix("artel/") else { return Ok(()) };
    let topic = replies_topic(service_of(caller));
    let Some(known) = tx.shared.topics.known(&topic) else { return Ok(()) };
    let limit = tx.shared.limits.message_bytes;
    let too_large = result.as_ref().is_ok_and(|reply| reply.len() + 16 > limit);
    let large = Err(Fault::internal(format!("the reply to {} is larger than {limit} bytes", command.name)));
    let result = if too_large { &large } else { result };
    let body = match result {
        Ok(reply) => serde_json::from_slice::<&serde_json::value::RawValue>(reply)
            .and_then(|reply| serde_json::to_vec(&Result::<_, &Fault>::Ok(reply))),
        Err(fault) => serde_json::to_vec(&Result::<(), &Fault>::Err(fault)),
    };
    let value =
        body.map_err(|e| Failure::Refused(Fault::internal(format!("answer to {}: {e}", command.name))))?;
    let id = tx.new_id();
    let parent = tx.trace().map(str::to_owned).or_else(|| command.trace.clone());
    let spread = key.unwrap_or_else(|| Bytes::from(command.id.to_string()));
    let envelope = Envelope {
        id,
        name: format!("{}.reply", command.name),
        source: Envelope::source_of(tx.shared.name()),
        time: tx.now(),
        trace: parent.as_deref().and_then(|parent| crate::trace::child(parent, id)),
        seq: None,
        prev: None,
        cause: Some(command.id),
        reply: false,
        extra: Headers::new(),
    };
    let message = Outgoing {
        partition: artel_bus::partition::of_key(&spread, known.partitions),
        topic,
        message: id,
        name: envelope.name.clone(),
        key: Some(spread),
        headers: crate::spans::stored(envelope.to_headers(), &envelope, parent.as_deref()),
        value: Some(Bytes::from(value)),
        at: tx.now(),
        numbered: true,
    };
    if planted!(ReplyOutside) {
        crate::tx::leave_apart(&tx.shared, vec![message]);
        return Ok(());
    }
    tx.put_raw(message);
    Ok(())
}
