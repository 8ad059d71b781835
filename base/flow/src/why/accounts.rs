//! A message out of what holds it: a record of the log, a row of an outbox, a dead letter.

use super::VALUE;
use super::scan::{Place, answer, foreign};
use super::story::{Account, At, InOutbox};
use crate::storage::why::{Outgoing, Waiting};
use crate::trace::Trace;
use crate::{DeadLetter, wire};
use artel_bus::{Bus, Fetch, Received};
use artel_message::{Cause, Envelope, Headers, Time};
use serde_json::value::RawValue;
use std::fmt::Write;
use std::sync::Arc;
use uuid::Uuid;

/// A message that was found, with what is needed to go on from it.
#[derive(Debug, Clone, Default)]
pub(super) struct Hit {
    pub account: Account,
    /// What its handlers' ids derive from: what the messages that it caused name as their cause.
    pub cause: Option<Cause>,
    /// The id that it has by its place.
    pub by_place: Option<Uuid>,
    /// The bytes of its key.
    pub key: Option<bytes::Bytes>,
}

impl Hit {
    pub fn is(&self, id: Uuid) -> bool {
        self.account.id == id || self.by_place == Some(id)
    }

    /// The ids under which it may be named as a cause.
    pub fn names(&self) -> impl Iterator<Item = Uuid> + use<> {
        [Some(self.account.id), self.by_place].into_iter().flatten()
    }
}

/// The record at a place, if it is still there.
pub(super) async fn read_at(
    bus: &dyn Bus,
    topic: &str,
    partition: u32,
    offset: i64,
    payload: bool,
) -> Option<Hit> {
    let log = answer(bus.describe(topic)).await.ok()?.id;
    let fetch = Fetch { max_records: 1, max_bytes: 1 };
    let fetched = answer(bus.read(topic, partition, offset, fetch)).await.ok()?;
    let record = fetched.records.into_iter().find(|record| record.offset == offset)?;
    Some(of_record(&Place { topic: Arc::from(topic), log, partition }, &record, payload))
}

fn of_record(place: &Place, record: &Received, payload: bool) -> Hit {
    let derived = foreign(place, record.offset, record.time);
    let mut hit = of_headers(&record.headers, derived, record.time);
    hit.by_place = Some(derived);
    let place = At {
        topic: place.topic.to_string(),
        partition: place.partition,
        offset: record.offset,
        time: record.time,
    };
    hit.account.places.push(place);
    hit.key.clone_from(&record.key);
    hit.account.key = record.key.as_deref().map(text);
    hit.account.value = payload.then(|| value(record.value.as_deref()));
    hit
}

fn of_headers(headers: &Headers, otherwise: Uuid, time: Time) -> Hit {
    let Ok(envelope) = Envelope::from_headers(headers) else {
        let cause = Some(Cause::message(otherwise, time));
        return Hit { account: Account { id: otherwise, ..Account::default() }, cause, ..Hit::default() };
    };
    let cause = match envelope.seq {
        Some(_) => Cause::message(envelope.id, envelope.time),
        None => Cause::message(otherwise, time),
    };
    let trace = envelope.trace.as_deref().and_then(|text| text.parse::<Trace>().ok());
    let account = Account {
        id: envelope.id,
        name: Some(envelope.name),
        source: Some(envelope.source),
        made_at: Some(envelope.time),
        cause: envelope.cause,
        trace: trace.map(Trace::trace_id),
        wants_answer: envelope.reply,
        ..Account::default()
    };
    Hit { account, cause: Some(cause), ..Hit::default() }
}

pub(super) fn of_outgoing(service: &str, stuck: Option<String>, row: &Outgoing, payload: bool) -> Hit {
    let headers = wire::decode(&row.headers).unwrap_or_default();
    let mut hit = of_headers(&headers, row.id, row.at);
    // Its numbers come with its way out.
    hit.cause = Some(Cause::message(hit.account.id, hit.account.made_at.unwrap_or(row.at)));
    hit.key.clone_from(&row.key);
    let account = &mut hit.account;
    account.id = row.id;
    account.name.get_or_insert_with(|| row.name.clone());
    account.made_at.get_or_insert(row.at);
    account.key = row.key.as_deref().map(text);
    account.value = payload.then(|| value(row.value.as_deref()));
    account.outbox = Some(InOutbox {
        service: service.to_owned(),
        topic: row.topic.clone(),
        partition: row.partition,
        since: row.at,
        stuck,
    });
    hit
}

/// A message that only its letter still has: the log has deleted it.
pub(super) fn of_letter(letter: &DeadLetter, payload: bool) -> Hit {
    let time = letter.trail.written_at.unwrap_or(letter.at);
    let mut hit = of_headers(&letter.headers(), letter.message, time);
    hit.cause = letter.trail.cause;
    hit.by_place = letter.trail.cause.map(|cause| cause.id());
    hit.key.clone_from(&letter.key);
    hit.account.id = letter.message;
    hit.account.key = letter.key.as_deref().map(text);
    hit.account.value = payload.then(|| value(letter.value.as_deref()));
    hit.account.places.push(At {
        topic: letter.topic.clone(),
        partition: letter.partition,
        offset: letter.offset,
        time,
    });
    hit
}

/// A message that only its parked key still has: the log has deleted it.
pub(super) fn of_waiting(row: &Waiting, payload: bool) -> Hit {
    let headers = wire::decode(&row.headers).unwrap_or_default();
    let mut hit = of_headers(&headers, row.cause, row.time);
    hit.cause = Some(Cause::message(row.cause, row.caused_at));
    hit.key.clone_from(&row.key);
    hit.account.key = row.key.as_deref().map(text);
    hit.account.value = payload.then(|| value(row.value.as_deref()));
    let (topic, partition, offset) = (row.topic.clone(), row.partition, row.offset);
    hit.account.places.push(At { topic, partition, offset, time: row.time });
    hit
}

/// The cause that the headers of a stored message name.
pub(super) fn cause_of(headers: &[u8]) -> Option<Uuid> {
    Uuid::parse_str(std::str::from_utf8(wire::find(headers, "artel_cause")?).ok()?).ok()
}

pub(super) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold("hex:".to_owned(), |mut text, byte| {
            // Writing to a text does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        }),
    }
}

fn value(bytes: Option<&[u8]>) -> Box<RawValue> {
    let quoted =
        |text: &str| serde_json::value::to_raw_value(text).unwrap_or_else(|_| RawValue::NULL.to_owned());
    match bytes {
        None => RawValue::NULL.to_owned(),
        Some(bytes) if bytes.len() > VALUE => {
            quoted(&format!("{} bytes; artel tail shows them from its place on", bytes.len()))
        }
        Some(bytes) => {
            serde_json::from_slice::<Box<RawValue>>(bytes).unwrap_or_else(|_| quoted(&text(bytes)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_json_text_or_digits() {
        let shown = |bytes: &[u8]| value(Some(bytes)).get().to_owned();
        assert_eq!(shown(b"{\"n\": 9007199254740993}"), "{\"n\": 9007199254740993}");
        assert_eq!(shown(b"plain"), "\"plain\"");
        assert_eq!(shown(b"\xff\x00"), "\"hex:ff00\"");
        assert_eq!(value(None).get(), "null");
        assert!(shown(&vec![b'1'; VALUE + 1]).contains("artel tail"));
    }
}
