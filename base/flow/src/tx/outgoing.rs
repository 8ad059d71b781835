//! What leaves with a transaction: events, commands, timers, bytes of a user's own.

use super::Tx;
use crate::Failure;
use crate::erase::encode;
use crate::storage::{outbox::Outgoing, timers::Timer};
use artel_message::{Command, Envelope, Event, Fault, Headers, Later, Message, commands_topic, service_of};
use bytes::Bytes;
use std::time::Duration;
use uuid::Uuid;

/// Room in a message for its headers and its key, beside the limit of the value.
pub(crate) const HEADER_BYTES: usize = 32 << 10;
const KEY_BYTES: usize = 8 << 10;
/// What a timer is known by, and what orders its message: both stand in an index, where a database takes no longer ones.
const TIMER_KEY_BYTES: usize = 1 << 10;
/// Headers of one message; the log takes a few more, which dead letters need.
const HEADERS: usize = 200;

/// A message of a user's own.
#[derive(Debug, Clone, Default)]
pub struct Produce {
    pub topic: String,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Headers,
    /// The message's id; born here when absent.
    pub id: Option<Uuid>,
}

#[derive(Default)]
struct Draft {
    name: &'static str,
    topic: String,
    key: Option<Bytes>,
    /// Without a key of its own the id is the key.
    keyed: bool,
    value: Option<Bytes>,
    extra: Headers,
    reply: bool,
    id: Option<Uuid>,
}

impl Tx {
    /// Publishes an event through the outbox. Its topic must be this service's.
    pub fn publish<E: Event>(&mut self, event: E) {
        if service_of(E::NAME) != self.shared.name() {
            return self.refuse(Fault::internal(format!(
                "service '{}' may not publish {}",
                self.shared.name(),
                E::NAME
            )));
        }
        let (topic, key) = (E::TOPIC.to_owned(), Some(Bytes::from(event.key())));
        if let Some(value) = self.body(&event) {
            self.put(Draft { name: E::NAME, topic, key, value: Some(value), ..Draft::default() });
        }
    }

    /// Sends a command through the outbox and returns its id. The answer comes to `.reply`, if this service has one for `C`.
    pub fn send<C: Command>(&mut self, command: C) -> Uuid {
        let reply = self.shared.service.replies.contains_key(C::NAME);
        let topic = commands_topic(service_of(C::NAME));
        let key = command.key().map(Bytes::from);
        match self.body(&command) {
            Some(value) => self.put(Draft {
                name: C::NAME,
                topic,
                key,
                value: Some(value),
                reply,
                keyed: true,
                ..Draft::default()
            }),
            None => Uuid::nil(),
        }
    }

    /// Publishes bytes of a user's own to a topic that belongs to no service, and returns the message's id. `extra` headers
    /// must not be reserved ones.
    pub fn produce(&mut self, name: &'static str, to: Produce) -> Uuid {
        if let Some((header, _)) = to.headers.iter().find(|(name, _)| artel_message::is_reserved_header(name))
        {
            self.refuse(Fault::field(
                "headers",
                format!("'{header}' is written by the platform; use another name"),
            ));
        }
        self.put(Draft {
            name,
            topic: to.topic,
            key: to.key,
            value: to.value,
            extra: to.headers,
            id: to.id,
            ..Draft::default()
        })
    }

    /// Runs a command or an effect of this service, or sends a command of another, after `wait`. `key` is the timer's
    /// identity within the message's name until it fires: a second call replaces the first. It has at most 1,024 bytes, and so has
    /// the key that orders the message. Of those that are due at the same moment the one that was set first fires first.
    pub fn after<M: Later>(&mut self, key: impl Into<String>, wait: Duration, message: M) {
        let key = key.into();
        if !self.may_leave(M::NAME) {
            return;
        }
        let order = message.order();
        for (what, text) in [("key", Some(&key)), ("order", order.as_ref())] {
            if text.is_some_and(|text| text.len() > TIMER_KEY_BYTES) {
                let reason = format!("a timer's is at most {TIMER_KEY_BYTES} bytes long");
                return self.refuse(Fault::field(what, reason));
            }
        }
        if let Some(body) = self.body(&message).filter(|body| self.fits(M::NAME, body.len())) {
            self.taken.remove(M::NAME, &key);
            self.out.timers.push(Timer {
                name: M::NAME.to_owned(),
                key,
                order,
                due: self.now + wait,
                body,
                cause: self.cause.id(),
                trace: self.trace.clone(),
                attempts: 0,
                since: None,
                ordinal: u32::try_from(self.out.timers.len()).unwrap_or(u32::MAX),
            });
        }
    }

    /// Sets a timer that is complete already.
    pub(crate) fn set(&mut self, timer: Timer) {
        self.out.timers.push(timer);
    }

    fn body<M: Message>(&mut self, message: &M) -> Option<Bytes> {
        let checked = message.validate().map_err(Failure::Refused);
        match checked.and_then(|()| encode(M::NAME, message)) {
            Ok(body) => Some(body),
            Err(failure) => {
                self.refuse(failure.into_fault());
                None
            }
        }
    }

    /// Refuses a value that is too large.
    fn fits(&mut self, name: &str, size: usize) -> bool {
        let limit = self.shared.limits.message_bytes;
        if size > limit {
            self.refuse(Fault::field(
                "value",
                format!("{name} is {size} bytes; the limit is {limit} (setting bus.max_message_bytes)"),
            ));
        }
        size <= limit
    }

    /// Refuses what a projection's handler would send: it runs again when the projection is built anew.
    pub(super) fn may_leave(&mut self, what: &str) -> bool {
        if self.silent {
            self.refuse(Fault::internal(format!(
                "handlers of a projection send, publish and put off nothing, and change nothing but their tables, since they run again \
                 when it is built anew; {what} needs a handler that is none"
            )));
        }
        !self.silent
    }

    fn refuse(&mut self, fault: Fault) {
        self.out.refused.get_or_insert(fault);
    }

    /// Puts a message into the overlay; size and topic are checked here, so that the commit fails and not the relay.
    fn put(&mut self, draft: Draft) -> Uuid {
        if !self.may_leave(draft.name) {
            return Uuid::nil();
        }
        let id = draft.id.unwrap_or_else(|| self.new_id());
        self.fits(draft.name, draft.value.as_ref().map_or(0, Bytes::len));
        let Some(known) = self.shared.topics.known(&draft.topic) else {
            let absent = self.shared.topics.absent(draft.name, &draft.topic);
            self.refuse(absent);
            return id;
        };
        let key = draft.key.or_else(|| draft.keyed.then(|| Bytes::from(id.to_string())));
        let spread = key.as_deref().unwrap_or(id.as_bytes());
        let mut partition = artel_bus::partition::of_key(spread, known.partitions);
        if planted!(OtherPartition) {
            let sum: usize =
                self.shared.node.as_bytes().iter().chain(spread).map(|byte| usize::from(*byte)).sum();
            partition = u32::try_from(sum).unwrap_or(0) % known.partitions;
        }
        let envelope = Envelope {
            id,
            name: draft.name.to_owned(),
            source: Envelope::source_of(self.shared.name()),
            time: self.now,
            trace: self.trace.as_deref().and_then(|parent| crate::trace::child(parent, id)),
            seq: None,
            prev: None,
            cause: self.caused.then(|| self.cause.id()),
            reply: draft.reply,
            extra: draft.extra,
        };
        if envelope.extra.iter().any(|(name, _)| name.contains('\0')) {
            let reason = "a name holds the character U+0000, which not every log stores there";
            self.refuse(Fault::field("headers", reason));
        }
        let list = envelope.to_headers();
        let count = list.len();
        let headers = crate::spans::stored(list, &envelope, self.trace.as_deref());
        if count > HEADERS {
            self.refuse(Fault::field("headers", format!("there are {count}; the limit is {HEADERS}")));
        }
        if key.as_ref().is_some_and(|key| key.len() > KEY_BYTES) {
            self.refuse(Fault::field("key", format!("it is longer than {KEY_BYTES} bytes")));
        }
        if headers.len() > HEADER_BYTES {
            self.refuse(Fault::field(
                "headers",
                format!("they are {} bytes; the limit is {HEADER_BYTES}", headers.len()),
            ));
        }
        self.out.messages.push(Outgoing {
            topic: draft.topic,
            partition,
            message: id,
            name: draft.name.to_owned(),
            key,
            headers,
            value: draft.value,
            at: self.now,
            numbered: true,
        });
        id
    }

    /// Puts a message that is complete already: an answer, a dead letter.
    pub(crate) fn put_raw(&mut self, message: Outgoing) {
        self.out.messages.push(message);
    }
}
