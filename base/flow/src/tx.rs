//! `Tx`: one write transaction of a service's database and what leaves with it. Nothing is published before the commit,
//! nothing committed is left unpublished.

use crate::Failure;
use crate::ctx::Shared;
use crate::erase::encode;
use crate::storage::outbox::Outgoing;
use crate::storage::{self, outbox::Sent};
use artel_bus::From as StartAt;
use artel_message::{
    Cause, Command, Envelope, Event, Fault, Headers, Later, Message, Time, commands_topic, service_of,
};
use artel_store::{Args, FromRow, Lane, StoreError, Values};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Room in a message for its headers and its key, beside the limit of the value.
pub(crate) const HEADER_BYTES: usize = 32 << 10;
const KEY_BYTES: usize = 8 << 10;
/// Headers of one message; the log takes a few more, which dead letters need.
const HEADERS: usize = 200;

/// One attempt of one transaction. It latches on the first SQL error: later statements and the commit fail.
pub struct Tx {
    write: artel_store::Write,
    pub(crate) shared: Arc<Shared>,
    handler: &'static str,
    cause: Cause,
    /// Whether the cause is a message of its own, to be named in `artel_cause`.
    caused: bool,
    trace: Option<String>,
    ordinal: u32,
    now: Time,
    /// The group that reads, where it is not the service's own: two groups of a service give different ids.
    scope: Option<Arc<str>>,
    /// The relay's own: it takes more out of the outbox than it puts in.
    unbounded: bool,
    out: Out,
}

/// What leaves with the commit: an overlay, thrown away with the attempt.
#[derive(Default)]
pub(crate) struct Out {
    pub messages: Vec<Outgoing>,
    pub timers: Vec<storage::timers::Timer>,
    pub groups: bool,
    pub adopted: Vec<String>,
    /// The first thing that cannot leave; fails the commit.
    pub refused: Option<Fault>,
}

/// A mark to go back to: what has been put into the overlay so far.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    messages: usize,
    timers: usize,
}

impl Tx {
    pub(crate) async fn begin(shared: &Arc<Shared>, lane: Lane) -> Result<Tx, Failure> {
        let write = shared.db.begin(lane).await?;
        let now = shared.now();
        Ok(Tx {
            write,
            shared: shared.clone(),
            handler: "",
            cause: Cause::message(Uuid::nil(), now),
            caused: false,
            trace: None,
            ordinal: 0,
            now,
            scope: None,
            unbounded: false,
            out: Out::default(),
        })
    }

    /// Sets what runs now: ids and times derive from it.
    pub(crate) fn enter(&mut self, handler: &'static str, cause: Cause, caused: bool, trace: Option<String>) {
        (self.handler, self.cause, self.caused, self.trace) = (handler, cause, caused, trace);
        self.ordinal = 0;
        self.now = self.shared.now();
    }

    /// The time of this message's attempt; one moment for the whole handler.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Lifts the outbox's bound from this transaction.
    pub(crate) fn unbounded(mut self) -> Tx {
        self.unbounded = true;
        self
    }

    /// What runs now derives its ids from.
    pub(crate) fn cause(&self) -> Cause {
        self.cause
    }

    /// Keeps the moment over reruns.
    pub(crate) fn at(&mut self, now: Time) {
        self.now = now;
    }

    /// An id that is the same when the handler runs again for the same message.
    pub fn new_id(&mut self) -> Uuid {
        self.ordinal += 1;
        self.cause.derive(&self.namespace(), self.ordinal - 1)
    }

    /// Names the group whose handlers run.
    pub(crate) fn scope(&mut self, grp: &str) {
        self.scope = (grp != self.shared.name()).then(|| Arc::from(grp));
    }

    /// What ids of the running handler derive from, beside its message.
    pub(crate) fn namespace(&self) -> String {
        match &self.scope {
            Some(grp) => format!("{grp}/{}", self.handler),
            None => self.handler.to_owned(),
        }
    }

    /// A number that is the same when the handler runs again for the same message.
    pub fn random(&mut self) -> u64 {
        self.new_id().as_u128() as u64 & 0x3fff_ffff_ffff_ffff
    }

    /// The service's settings.
    ///
    /// # Panics
    /// When `T` is not the type that the service registered.
    #[allow(clippy::expect_used)]
    pub fn settings<T: Send + Sync + 'static>(&self) -> Arc<T> {
        self.shared.settings.clone().downcast().expect("the settings type that the service registered")
    }

    /// Exactly one row.
    pub async fn one<R: FromRow>(&mut self, sql: &'static str, args: impl Args) -> Result<R, StoreError> {
        self.write.one(sql, args).await
    }

    /// One row or none.
    pub async fn opt<R: FromRow>(
        &mut self,
        sql: &'static str,
        args: impl Args,
    ) -> Result<Option<R>, StoreError> {
        self.write.opt(sql, args).await
    }

    pub async fn all<R: FromRow>(
        &mut self,
        sql: &'static str,
        args: impl Args,
    ) -> Result<Vec<R>, StoreError> {
        self.write.all(sql, args).await
    }

    /// The number of rows written.
    pub async fn exec(&mut self, sql: &'static str, args: impl Args) -> Result<u64, StoreError> {
        self.write.exec(sql, args).await
    }

    /// As `exec`, with `{rows}` in the text replaced by placeholders for `rows`, in as many statements as it takes.
    pub async fn exec_rows(
        &mut self,
        sql: &'static str,
        fixed: impl Args,
        rows: Vec<Values>,
    ) -> Result<u64, StoreError> {
        self.write.exec_rows(sql, fixed, rows).await
    }

    /// As `all`, with `{rows}` in the text replaced by placeholders for `rows`.
    pub async fn all_rows<R: FromRow>(
        &mut self,
        sql: &'static str,
        fixed: impl Args,
        rows: Vec<Values>,
    ) -> Result<Vec<R>, StoreError> {
        self.write.all_rows(sql, fixed, rows).await
    }

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
    /// identity within the message's name: a second call replaces the first.
    pub fn after<M: Later>(&mut self, key: impl Into<String>, wait: Duration, message: M) {
        if let Some(body) = self.body(&message) {
            self.out.timers.push(storage::timers::Timer {
                name: M::NAME.to_owned(),
                key: key.into(),
                order: message.order(),
                due: self.now + wait,
                body,
                cause: self.cause.id(),
                trace: self.trace.clone(),
                attempts: 0,
            });
        }
    }

    /// Takes a timer back; says whether it was pending.
    pub async fn cancel<M: Later>(&mut self, key: &str) -> Result<bool, StoreError> {
        let before = self.out.timers.len();
        self.out.timers.retain(|timer| timer.name != M::NAME || timer.key != key);
        let stored = storage::timers::cancel(&mut self.write, M::NAME, key).await?;
        Ok(stored || self.out.timers.len() < before)
    }

    /// Starts a group made at run time (or starts it again where it stopped). Its messages come to `.on_raw`. A group of that
    /// name on another topic is a conflict. `Latest` is where the topic ends when the group is first taken up.
    pub async fn start_group(&mut self, name: &str, topic: &str, from: StartAt) -> Result<(), Fault> {
        let service = &self.shared.service;
        if service.raw.is_none() {
            return Err(Fault::internal(format!(
                "service '{}' has no handler for raw messages",
                service.name
            )));
        }
        if service.events.contains_key(name) {
            return Err(Fault::conflict(format!(
                "'{name}' is a group of the service itself; take another name"
            )));
        }
        let id = self.new_id();
        let there = storage::groups::start(&mut self.write, id, name, topic, from, self.now).await?;
        if there != topic {
            return Err(Fault::conflict(format!(
                "group '{name}' reads topic '{there}'; forget it first, or take another name"
            )));
        }
        self.out.groups = true;
        Ok(())
    }

    /// Stops a group made at run time; it keeps its place. False when there is none.
    pub async fn stop_group(&mut self, name: &str) -> Result<bool, StoreError> {
        self.out.groups = true;
        storage::groups::stop(&mut self.write, name).await
    }

    /// Forgets a group made at run time and its place. False when there is none.
    pub async fn forget_group(&mut self, name: &str) -> Result<bool, StoreError> {
        self.out.groups = true;
        let grp = format!("{}.{name}", self.shared.name());
        storage::groups::forget(&mut self.write, name, &grp).await
    }

    /// Records that this service made a topic at run time: from then on its seqs count there.
    pub async fn adopt_topic(&mut self, topic: &str) -> Result<(), StoreError> {
        self.out.adopted.push(topic.to_owned());
        storage::groups::adopt_topic(&mut self.write, topic, self.now).await
    }

    /// Whether a background transaction should end at the next message: somebody waits.
    pub(crate) fn pressed(&self) -> bool {
        self.write.pressed()
    }

    /// The transaction's own connection, for the flow's storage.
    pub(crate) fn write(&mut self) -> &mut artel_store::Write {
        &mut self.write
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

    fn refuse(&mut self, fault: Fault) {
        self.out.refused.get_or_insert(fault);
    }

    /// Puts a message into the overlay; size and topic are checked here, so that the commit fails and not the relay.
    fn put(&mut self, draft: Draft) -> Uuid {
        let id = draft.id.unwrap_or_else(|| self.new_id());
        let size = draft.value.as_ref().map_or(0, Bytes::len);
        let limit = self.shared.limits.message_bytes;
        if size > limit {
            self.refuse(Fault::field(
                "value",
                format!(
                    "{} is {size} bytes; the limit is {limit} (setting bus.max_message_bytes)",
                    draft.name
                ),
            ));
        }
        let Some(known) = self.shared.topics.known(&draft.topic) else {
            let absent = self.shared.topics.absent(draft.name, &draft.topic);
            self.refuse(absent);
            return id;
        };
        let key = draft.key.or_else(|| draft.keyed.then(|| Bytes::from(id.to_string())));
        let spread = key.as_deref().unwrap_or(id.as_bytes());
        let partition = artel_bus::partition::of_key(spread, known.partitions);
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
        let list = envelope.to_headers();
        let headers = crate::wire::encode(&list);
        if list.len() > HEADERS {
            self.refuse(Fault::field("headers", format!("there are {}; the limit is {HEADERS}", list.len())));
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

    pub(crate) fn mark(&self) -> Mark {
        Mark { messages: self.out.messages.len(), timers: self.out.timers.len() }
    }

    /// Whether anything was put since the mark that cannot leave.
    pub(crate) fn check(&mut self, mark: Mark) -> Result<(), Failure> {
        match self.out.refused.take() {
            None => Ok(()),
            Some(fault) => {
                self.out.messages.truncate(mark.messages);
                self.out.timers.truncate(mark.timers);
                Err(Failure::Refused(fault))
            }
        }
    }

    /// The database's own error, when there was one; the transaction can't be committed any more.
    pub(crate) fn latched(&self) -> Option<Failure> {
        self.write.latched().map(|error| Failure::from(error.clone()))
    }

    /// What a handler's end counts as: trouble of the infrastructure goes over the handler's own word, and a handler that
    /// passed over a database error has failed.
    pub(crate) fn verdict<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        match (self.latched(), result) {
            (Some(failure), Ok(_)) => Err(failure),
            (Some(failure @ Failure::Infrastructure(_)), Err(_)) => Err(failure),
            (_, result) => result,
        }
    }

    /// Writes what leaves with the transaction and commits. On success the loops that have something to do are woken.
    pub(crate) async fn commit(mut self) -> Result<(), Failure> {
        if let Some(fault) = self.out.refused.take() {
            return Err(Failure::Refused(fault));
        }
        if let Some(failure) = self.latched() {
            return Err(failure);
        }
        let out = std::mem::take(&mut self.out);
        if !self.unbounded {
            storage::outbox::bound(&self.shared, out.messages.len())?;
        }
        let Tx { mut write, shared, .. } = self;
        storage::timers::insert(&mut write, &out.timers).await?;
        let mut sent = Sent { timers: !out.timers.is_empty(), groups: out.groups, ..Sent::default() };
        sent.adopted = out.adopted;
        storage::outbox::insert(&mut write, out.messages, &mut sent).await?;
        write.commit().await?;
        shared.committed(sent);
        Ok(())
    }

    /// Commits after a handler that did its work, rolls back after one that did not.
    pub(crate) async fn end(self, result: Result<(), Failure>) -> Result<(), Failure> {
        let verdict = self.verdict(result);
        if verdict.is_err() {
            self.rollback().await;
            return verdict;
        }
        self.commit().await
    }

    pub(crate) async fn rollback(self) {
        if let Err(error) = self.write.rollback().await {
            tracing::debug!(%error, "rollback failed; the connection is thrown away");
        }
    }
}

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
