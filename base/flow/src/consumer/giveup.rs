//! Giving up on a message: kept whole with its cause, published to `<topic>.dlq`, and answered where somebody waits.

use super::GroupTask;
use super::attempt::{self, Broken, Overlay};
use super::handle::caller_of;
use super::parking::{self, REASON, Tried};
use super::reader::{GroupKind, Policy, Reader};
use super::sort::{Seen, Sorted};
use crate::around::{Call, around};
use crate::erase::encode;
use crate::failure::Class;
use crate::fingerprint::tame;
use crate::handler::{GivenUp, GivenUpAt};
use crate::mediator::hash_of;
use crate::storage::answered::{self, Asking};
use crate::storage::dead::{self, DeadLetter, Trail};
use crate::storage::outbox::Outgoing;
use crate::storage::parked::{self, New};
use crate::topics::Known;
use crate::tx::HEADER_BYTES;
use crate::{Failure, Tx};
use artel_message::{Envelope, Fault, Headers, replies_topic, service_of};
use bytes::Bytes;
use std::sync::Arc;
use uuid::Uuid;

/// A copy in the dead-letter topic has at most so many of the original headers.
const HEADERS: usize = 200;

/// A message to be given up on.
pub(crate) struct Given<'a> {
    pub reader: &'a Reader,
    pub topic: &'a Arc<str>,
    pub partition: u32,
    pub sorted: &'a Sorted,
    pub tried: &'a Tried<'a>,
    /// Whether who sent a command is told.
    pub answers: bool,
}

/// Where copies of a topic's dead letters go: its dead-letter topic.
pub(crate) type Copies = Option<(String, Known)>;

/// Makes the dead-letter topic where it is missing. Where the log does not take it letters go without a copy.
pub(crate) async fn copies(reader: &Reader, topic: &str) -> Copies {
    let made = reader.shared.topics.ensure_dead_letters(topic).await;
    made.inspect_err(
        |error| tracing::warn!(group = %reader.grp, %error, "a dead letter is kept but not published"),
    )
    .ok()
}

/// Takes in the first record of a partition as given up on. The letter is kept even where its copy can't be published, or
/// where the service's handler of messages given up on fails.
pub(super) async fn give_up(
    task: &GroupTask,
    index: usize,
    tried: &Tried<'_>,
    policy: Policy,
) -> Result<Overlay, Broken> {
    let copies = copies(&task.reader, &task.partitions[index].topic).await;
    let mut told = true;
    loop {
        let written = task.shared.rerun(|| async {
            write(task, index, tried, policy, &copies, told).await.map_err(|b| b.failure)
        });
        match written.await {
            Err(failure) if failure.class() != Class::Infrastructure && told => {
                tell_failed(&task.grp, &failure);
                told = false;
            }
            done => return done.map_err(Broken::from),
        }
    }
}

pub(crate) fn tell_failed(grp: &str, failure: &Failure) {
    tracing::error!(
        group = grp, error = %failure,
        "the handler of messages given up on fails; the dead letter is written without it"
    );
}

async fn write(
    task: &GroupTask,
    index: usize,
    tried: &Tried<'_>,
    policy: Policy,
    copies: &Copies,
    told: bool,
) -> Result<Overlay, Broken> {
    let partition = &task.partitions[index];
    let sorted = &partition.buffer[0];
    let plan = vec![(index, 1)];
    let mut tx = attempt::open(task, &plan).await?;
    let (reader, topic) = (&*task.reader, &partition.topic);
    let given = Given { reader, topic, partition: partition.number(), sorted, tried, answers: true };
    let letter = match bury(&mut tx, &given, copies, told).await {
        Ok(letter) => letter,
        Err(failure) => {
            tx.rollback().await;
            return Err(failure.into());
        }
    };
    let mut overlay = Overlay::default();
    if policy.stop_key && sorted.record.key.is_some() {
        let id = tx.new_id();
        let stopped_at = Some(sorted.record.offset);
        parked::park(tx.write(), New { id, stopped_at, ..parking::place_of(task, index) }, None).await?;
        dead::hold(tx.write(), letter.id, id).await?;
        overlay.parks.insert(index);
    }
    overlay.taken(index, sorted, "dead");
    attempt::close(task, tx, &plan, &plan, &overlay).await?;
    letter.say(&given);
    Ok(overlay)
}

/// A letter, once it is committed: then it is said, once.
pub(crate) struct Buried {
    pub id: Uuid,
    code: String,
}

impl Buried {
    pub fn say(&self, given: &Given<'_>) {
        let Given { reader, topic, partition, tried, .. } = given;
        tracing::warn!(
            group = %reader.grp, %topic, partition, dead.letter = %self.id, code = self.code,
            attempts = tried.attempts, error = %tried.failure, "message given up"
        );
    }
}

/// Writes the letter and its copy, and tells who waits for the message.
pub(crate) async fn bury(
    tx: &mut Tx,
    given: &Given<'_>,
    copies: &Copies,
    told: bool,
) -> Result<Buried, Failure> {
    let Given { reader, sorted, tried, .. } = given;
    tx.enter("dead-letter", sorted.cause, true, None);
    let letter = letter(given, tx);
    let (id, code) = (letter.id, letter.code.clone());
    let told_of = given_up(given, &letter);
    if let Some((topic, known)) = copies {
        let key = letter.key.clone().unwrap_or_default();
        let place = artel_bus::partition::of_key(&key, known.partitions);
        let seq = sorted.envelope.as_ref().and_then(|e| e.seq);
        tx.put_raw(dead_message(&letter, topic.clone(), place, seq, reader.shared.limits.message_bytes));
    }
    dead::insert(tx.write(), letter).await?;
    let is_command = reader.is_command(given.topic);
    if let Some(envelope) = sorted.envelope.as_ref().filter(|e| e.reply && is_command && given.answers) {
        let fault = tried.failure.clone().into_fault();
        answer(tx, envelope, sorted.record.key.clone(), &Err(fault))?;
    }
    keep_fault(tx, given).await?;
    if told {
        tell(reader, tx, sorted, told_of).await?;
    }
    Ok(Buried { id, code })
}

/// Who asks under a command's id later gets the fault as well.
async fn keep_fault(tx: &mut Tx, given: &Given<'_>) -> Result<(), Failure> {
    let Given { reader, sorted, tried, .. } = given;
    let Some(envelope) = sorted.envelope.as_ref().filter(|_| sorted.seen != Seen::Foreign) else {
        return Ok(());
    };
    let command = reader.stored_name(&envelope.name);
    let body = sorted.record.value.clone().unwrap_or_default();
    let (true, Ok(hash)) = (reader.is_command(given.topic), hash_of(&envelope.name, &body)) else {
        return Ok(());
    };
    if command.is_empty() {
        return Ok(());
    }
    let (caller, key) = (caller_of(envelope).to_owned(), envelope.id.to_string());
    let fault = encode(command, &tried.failure.clone().into_fault())?;
    let until = tx.now() + reader.shared.limits.answered;
    answered::keep(tx.write(), &Asking { caller, command, key, hash }, false, &fault, until).await?;
    Ok(())
}

fn given_up(given: &Given<'_>, letter: &DeadLetter) -> GivenUp {
    let Given { reader, sorted, .. } = given;
    GivenUp {
        id: sorted.cause.id(),
        name: letter.name.clone(),
        topic: letter.topic.clone(),
        partition: letter.partition,
        read: Some(GivenUpAt {
            group: reader.grp.clone(),
            run_time: matches!(reader.kind, GroupKind::RunTime { .. }),
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
async fn tell(reader: &Reader, tx: &mut Tx, sorted: &Sorted, given: GivenUp) -> Result<(), Failure> {
    let shared = &reader.shared;
    let Some(handler) = &shared.service.given_up else { return Ok(()) };
    tx.enter("given-up", sorted.cause, true, None);
    let mark = tx.mark();
    let call = Call::new(shared, "given-up", "*", None);
    let work = handler(tx, given);
    let result = around(call, shared.limits.handler_time, work).await;
    tx.verdict(result)?;
    tx.check(mark)
}

fn letter(given: &Given<'_>, tx: &mut Tx) -> DeadLetter {
    let Given { sorted, tried, .. } = given;
    DeadLetter {
        id: tx.new_id(),
        group: given.reader.grp.clone(),
        topic: given.topic.to_string(),
        partition: given.partition,
        offset: sorted.record.offset,
        message: sorted.envelope.as_ref().map_or_else(|| sorted.cause.id(), |e| e.id),
        name: sorted.envelope.as_ref().map(|e| tame(&e.name, REASON)),
        key: sorted.record.key.clone(),
        headers: crate::wire::encode(&sorted.record.headers),
        value: sorted.record.value.clone(),
        code: tried.failure.code().as_str().to_owned(),
        reason: tame(&tried.failure.to_string(), REASON),
        attempts: tried.attempts,
        at: tx.now(),
        trail: Trail {
            cause: Some(sorted.cause),
            ours: sorted.seen != Seen::Foreign,
            written_at: Some(sorted.record.time),
            failing_since: Some(tried.since),
            errors: tried.errors.clone(),
            holds: None,
        },
    }
}

/// The copy in the dead-letter topic: the original headers but its seq, which is kept as `artel_origin_seq`, and the cause.
/// What would be too large for the log goes without its value and headers, and a header with a name that no log takes any more
/// stays away; the letter itself has them.
fn dead_message(
    letter: &DeadLetter,
    topic: String,
    partition: u32,
    seq: Option<i64>,
    limit: usize,
) -> Outgoing {
    let mut headers = crate::wire::decode(&letter.headers).unwrap_or_default();
    headers.retain(|name, _| name != "artel_seq" && name != "artel_prev" && !name.contains('\0'));
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
    put("artel_dead_cause", letter.fingerprint());
    put("artel_dead_attempts", letter.attempts.to_string());
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
