//! `Tx`: one write transaction of a service's database and what leaves with it. Nothing is published before the commit,
//! nothing committed is left unpublished.

mod groups;
mod outgoing;

pub(crate) use outgoing::HEADER_BYTES;
pub use outgoing::Produce;

use crate::Failure;
use crate::ctx::Shared;
use crate::failure::Class;
use crate::gone::Lent;
use crate::slots::Slot;
use crate::storage::counts::Counted;
use crate::storage::effects::Effect;
use crate::storage::outbox::{Numbering, Outgoing};
use crate::storage::{self, outbox::Sent};
use crate::timers::Taken;
use artel_message::{Cause, Fault, Later, Time};
use artel_store::{Args, FromRow, Lane, StoreError, Values};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

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
    /// Nothing may leave: a handler of a projection runs.
    silent: bool,
    /// The relay's own: it takes more out of the outbox than it puts in.
    unbounded: bool,
    out: Out,
    /// Timers that this transaction fires and has not come to yet.
    taken: Taken,
    /// Which rows of the counters are this transaction's own.
    slot: Slot,
}

/// What leaves with the commit: an overlay, thrown away with the attempt.
#[derive(Default)]
pub(crate) struct Out {
    pub messages: Vec<Outgoing>,
    pub timers: Vec<storage::timers::Timer>,
    pub effects: Vec<Effect>,
    /// Rows of the outbox to be deleted by the way.
    pub gone: Lent,
    pub groups: bool,
    pub adopted: Vec<String>,
    pub counted: Counted,
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
        Ok(Tx::of(shared, shared.db.begin(lane).await?))
    }

    /// One that begins with its first statement, behind whoever it has to wait for.
    pub(crate) fn begin_late(shared: &Arc<Shared>, lane: Lane, after: CancellationToken) -> Tx {
        Tx::of(shared, shared.db.begin_late(lane, after))
    }

    /// One of the runtime's own, which runs no handler.
    pub(crate) async fn begin_plain(shared: &Arc<Shared>, lane: Lane) -> Result<Tx, Failure> {
        Ok(Tx::of(shared, shared.begin_own(lane).await?))
    }

    fn of(shared: &Arc<Shared>, write: artel_store::Write) -> Tx {
        let now = shared.now();
        Tx {
            write,
            shared: shared.clone(),
            handler: "",
            cause: Cause::message(Uuid::nil(), now),
            caused: false,
            trace: None,
            ordinal: 0,
            now,
            scope: None,
            silent: false,
            unbounded: false,
            out: Out::default(),
            taken: Taken::default(),
            slot: shared.slots.take(),
        }
    }

    /// Whether what runs may send nothing, because it may run again for a message that it has taken in.
    pub(crate) fn silence(&mut self, silent: bool) {
        self.silent = silent;
    }

    /// The version of a projection to read from, and whose tables the service's other handlers use.
    pub async fn serving(&mut self, projection: &str) -> Result<u32, StoreError> {
        let stored = storage::projections::of_name_here(&mut self.write, projection).await?;
        Ok(crate::projections::serving_of(&stored, &self.shared, projection))
    }

    /// Sets what runs now: ids and times derive from it.
    pub(crate) fn enter(&mut self, handler: &'static str, cause: Cause, caused: bool, trace: Option<String>) {
        (self.handler, self.cause, self.caused, self.trace) = (handler, cause, caused, trace);
        self.ordinal = 0;
        self.now = self.shared.now();
    }

    /// The place in a trace of what runs now.
    pub(crate) fn trace(&self) -> Option<&str> {
        self.trace.as_deref()
    }

    /// The time of this message's attempt; one moment for the whole handler.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Adds to a counter of this service, which is kept for good: [`crate::Read::total`] gives its sum. Transactions that count the
    /// same thing don't meet.
    pub fn count(&mut self, kind: &'static str, n: i64) {
        self.count_in("", kind, n);
    }

    pub(crate) fn count_in(&mut self, scope: &str, kind: &'static str, n: i64) {
        if n != 0 {
            *self.out.counted.entry((scope.to_owned(), kind)).or_default() += n;
        }
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

    /// Whether other processes write to the same database.
    pub fn is_shared(&self) -> bool {
        self.shared.db.is_shared()
    }

    /// What the handler had read before this transaction has changed since: nothing of it is committed, and it runs again at once, as
    /// where it collides with another one. The handler has to read anew then, and returns this error.
    pub fn outdated(&mut self) -> StoreError {
        self.write.outdated()
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

    /// Takes a timer back; says whether it was pending. One that has fired is not: an effect that is queued by then is called.
    pub async fn cancel<M: Later>(&mut self, key: &str) -> Result<bool, StoreError> {
        if !self.may_leave(M::NAME) {
            return Ok(false);
        }
        let before = self.out.timers.len();
        self.out.timers.retain(|timer| timer.name != M::NAME || timer.key != key);
        if self.out.timers.len() < before || self.taken.remove(M::NAME, key) {
            // One that was set here replaces what is stored, if anything.
            storage::timers::cancel(&mut self.write, M::NAME, key).await?;
            return Ok(true);
        }
        storage::timers::cancel(&mut self.write, M::NAME, key).await
    }

    /// The timers that this transaction has taken out and not yet run.
    pub(crate) fn taken(&mut self) -> &mut Taken {
        &mut self.taken
    }

    /// Queues an effect with the commit.
    pub(crate) fn queue(&mut self, effect: Effect) {
        self.out.effects.push(effect);
    }

    /// Whether a background transaction should end at the next message: somebody waits.
    pub(crate) fn pressed(&self) -> bool {
        self.write.pressed()
    }

    /// The transaction's own connection, for the flow's storage.
    pub(crate) fn write(&mut self) -> &mut artel_store::Write {
        &mut self.write
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
        if result.is_err() && self.write.waited_in_vain() {
            let reason = "its transaction did not begin in the time that its handler has";
            return Err(Failure::Infrastructure(Fault::unavailable(reason)));
        }
        match (self.latched(), result) {
            (Some(failure), Ok(_)) => Err(failure),
            (Some(failure), Err(_)) if failure.class() == Class::Infrastructure => Err(failure),
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
        let Tx { mut write, shared, slot, now, .. } = self;
        let mut messages = out.messages;
        if planted!(OutboxOutside) {
            leave_apart(&shared, std::mem::take(&mut messages));
        }
        let deleted = storage::outbox::clear_away(&mut write, out.gone.runs()).await?;
        storage::timers::insert(&mut write, &out.timers).await?;
        let effects = out.effects.iter().map(|effect| effect.name.clone()).collect();
        storage::effects::insert(&mut write, out.effects, now).await?;
        storage::counts::add(&mut write, slot.shard(), &out.counted).await?;
        let timers = out.timers.iter().map(|timer| timer.due).min();
        let mut sent = Sent { timers, effects, groups: out.groups, ..Sent::default() };
        sent.adopted = out.adopted;
        storage::outbox::insert(&mut write, Numbering::of(&shared.db), messages, &mut sent).await?;
        if planted!(HandedBeforeCommit) {
            shared.handed.put(std::mem::take(&mut sent.rows));
            shared.wake.relay.notify_one();
        }
        write.commit().await?;
        shared.committed(sent);
        if out.gone.are_deleted() {
            shared.deleted(deleted);
        }
        Ok(())
    }

    /// Takes along rows of the outbox that only have to be deleted.
    pub(crate) fn clear_away(&mut self) {
        self.out.gone = Lent::of(&self.shared);
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

/// Messages in a transaction of their own: for planted bugs.
pub(crate) fn leave_apart(shared: &Arc<Shared>, messages: Vec<Outgoing>) {
    let shared = shared.clone();
    tokio::spawn(async move {
        if let Ok(mut write) = shared.db.begin(Lane::Background).await {
            let (numbering, mut sent) = (Numbering::of(&shared.db), Sent::default());
            let inserted = storage::outbox::insert(&mut write, numbering, messages, &mut sent).await;
            if inserted.is_ok() && write.commit().await.is_ok() {
                shared.committed(sent);
            }
        }
    });
}
