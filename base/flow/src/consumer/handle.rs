//! Running the handler of one message, or of a batch of them.

use super::reader::{GroupKind, Reader};
use super::sort::{Seen, Sorted};
use crate::around::{Call, around};
use crate::handler::Raw;
use crate::service::EventKind;
use crate::spans::Origin;
use crate::storage::answered;
use crate::{Failure, Tx};
use artel_message::{Envelope, Fault, commands_topic, replies_topic};
use bytes::Bytes;
use std::sync::Arc;
use uuid::Uuid;

/// The service that sent it, or whatever else names itself as its source.
pub(crate) fn caller_of(envelope: &Envelope) -> &str {
    envelope.source.strip_prefix("artel/").unwrap_or(&envelope.source)
}

/// How a message counts that a handler took in.
pub(crate) fn ran(sorted: &Sorted) -> &'static str {
    if sorted.seen == Seen::Foreign { "foreign" } else { "run" }
}

pub(crate) fn name_of(sorted: &Sorted) -> Option<&str> {
    sorted.envelope.as_ref().map(|e| e.name.as_str())
}

fn body_of(sorted: &Sorted) -> Bytes {
    sorted.record.value.clone().unwrap_or_default()
}

pub(crate) async fn run_batch(
    reader: &Reader,
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
    let origin = Origin { count: Some(records.len()), ..origin_of(reader, place, first) };
    let others = traces().enumerate().filter(|(at, _)| *at != lead).map(|(_, trace)| trace);
    let call = Call::new(&reader.shared, "batch", name, traces().nth(lead)).of(origin).link(others);
    tx.enter(reader.stored_name(name), first.cause, true, call.trace());
    tx.at(*first.moment.get_or_init(|| reader.shared.now()));
    let mark = tx.mark();
    let bodies = records.iter().map(|s| (s.cause, body_of(s))).collect();
    tx.silence(reader.is_projection());
    let result = around(call, reader.shared.limits.handler_time, handler(tx, bodies)).await;
    tx.silence(false);
    tx.verdict(result)?;
    tx.check(mark)
}

/// Runs the handler of one record; says what became of it. Who sent a command is told only where `answers`: not where somebody
/// wants a letter tried again, which no age keeps from it.
pub(crate) async fn run_one(
    reader: &Reader,
    tx: &mut Tx,
    topic: &Arc<str>,
    partition: u32,
    sorted: &Sorted,
    answers: bool,
) -> Result<&'static str, Failure> {
    let shared = &reader.shared;
    let limit = shared.limits.handler_time;
    let envelope = sorted.envelope.as_ref();
    let name = name_of(sorted).unwrap_or_default();
    let enter = |tx: &mut Tx, stored: &'static str, trace: Option<String>| {
        tx.enter(stored, sorted.cause, true, trace);
        tx.at(*sorted.moment.get_or_init(|| shared.now()));
    };
    let trace = envelope.and_then(|e| e.trace.as_deref());
    let call =
        |kind, name| Call::new(shared, kind, name, trace).of(origin_of(reader, (topic, partition), sorted));
    match &reader.kind {
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
                // It is kept for a node that knows it: the sender's version may be newer than this one's.
                return Err(Failure::Refused(Fault::not_found(format!(
                    "service '{}' has no command '{name}' on this node; is it of another version?",
                    shared.name()
                ))));
            };
            let call = call("command", name);
            enter(tx, stored, call.trace());
            let reply = around(call, limit, (entry.handler)(tx, body_of(sorted))).await?;
            if let Some(envelope) = envelope.filter(|_| !answers) {
                let (caller, id) = (caller_of(envelope), envelope.id.to_string());
                answered::replace(tx.write(), caller, name, &id, &reply).await?;
            }
            if let Some(envelope) = envelope.filter(|e| e.reply && answers) {
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
            let Some((stored, entry)) =
                shared.service.events.get(&**events).and_then(|e| e.get_key_value(name))
            else {
                return Ok("unhandled");
            };
            if answers && reader.expired(sorted) {
                return Ok("expired");
            }
            let EventKind::Single(handler) = &entry.kind else { return Ok("unhandled") };
            let call = call("event", name);
            enter(tx, stored, call.trace());
            tx.silence(reader.is_projection());
            let result = around(call, limit, handler(tx, body_of(sorted))).await;
            tx.silence(false);
            result.map(|()| "run")
        }
    }
}

fn origin_of<'a>(reader: &'a Reader, (topic, partition): (&'a str, u32), sorted: &Sorted) -> Origin<'a> {
    let (offset, id) = (sorted.record.offset, sorted.cause.id());
    Origin { group: &reader.grp, topic, partition, offset, id, count: None }
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
