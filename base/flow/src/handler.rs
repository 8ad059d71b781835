//! Handlers are plain async functions. The traits here take any function of the right shape, so that a service only names
//! it.

use crate::ctx::EffectCall;
use crate::effects::Rate;
use crate::{Ctx, Read, Tx};
use artel_message::{Cause, Command, Effect, Fault, Headers, Message, Time};
use bytes::Bytes;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// `async fn(&mut Tx, M) -> Result<R, impl Into<Fault>>`
pub trait TxFn<'a, M, R>: Send + Sync {
    type Future: Future<Output = Result<R, Self::Error>> + Send + 'a;
    type Error: Into<Fault> + Send;
    fn call(&self, tx: &'a mut Tx, message: M) -> Self::Future;
}

impl<'a, F, Fut, M, R, E> TxFn<'a, M, R> for F
where
    F: Fn(&'a mut Tx, M) -> Fut + Send + Sync,
    Fut: Future<Output = Result<R, E>> + Send + 'a,
    E: Into<Fault> + Send,
{
    type Future = Fut;
    type Error = E;
    fn call(&self, tx: &'a mut Tx, message: M) -> Fut {
        self(tx, message)
    }
}

/// `async fn(&Read, Q) -> Result<R, impl Into<Fault>>`
pub trait ReadFn<'a, M, R>: Send + Sync {
    type Future: Future<Output = Result<R, Self::Error>> + Send + 'a;
    type Error: Into<Fault> + Send;
    fn call(&self, read: &'a Read, message: M) -> Self::Future;
}

impl<'a, F, Fut, M, R, E> ReadFn<'a, M, R> for F
where
    F: Fn(&'a Read, M) -> Fut + Send + Sync,
    Fut: Future<Output = Result<R, E>> + Send + 'a,
    E: Into<Fault> + Send,
{
    type Future = Fut;
    type Error = E;
    fn call(&self, read: &'a Read, message: M) -> Fut {
        self(read, message)
    }
}

/// `async fn(&Ctx, E) -> Result<R, impl Into<Fault>>`
pub trait CtxFn<'a, M, R>: Send + Sync {
    type Future: Future<Output = Result<R, Self::Error>> + Send + 'a;
    type Error: Into<Fault> + Send;
    fn call(&self, ctx: &'a Ctx, message: M) -> Self::Future;
}

impl<'a, F, Fut, M, R, E> CtxFn<'a, M, R> for F
where
    F: Fn(&'a Ctx, M) -> Fut + Send + Sync,
    Fut: Future<Output = Result<R, E>> + Send + 'a,
    E: Into<Fault> + Send,
{
    type Future = Fut;
    type Error = E;
    fn call(&self, ctx: &'a Ctx, message: M) -> Fut {
        self(ctx, message)
    }
}

/// A message of a batch handler: the message and what its ids derive from.
#[derive(Debug, Clone)]
pub struct Msg<M> {
    pub(crate) body: M,
    pub(crate) cause: Cause,
    pub(crate) ordinal: u32,
    /// The handler's, told apart from the ids of its transaction.
    pub(crate) namespace: Arc<str>,
}

impl<M: Message> Msg<M> {
    /// An id born of this message: the same one when the handler runs again.
    pub fn new_id(&mut self) -> Uuid {
        self.ordinal += 1;
        self.cause.derive(&self.namespace, self.ordinal - 1)
    }
    pub fn into_inner(self) -> M {
        self.body
    }
}

impl<M> Deref for Msg<M> {
    type Target = M;
    fn deref(&self) -> &M {
        &self.body
    }
}

/// Any topic's bytes, for `.on_raw` and groups made at run time.
#[derive(Debug, Clone)]
pub struct Raw {
    /// The group that reads, as named when it was started.
    pub group: Arc<str>,
    pub topic: Arc<str>,
    pub partition: u32,
    pub offset: i64,
    pub key: Option<Bytes>,
    pub headers: Headers,
    pub value: Option<Bytes>,
    /// At milliseconds.
    pub time: Time,
    /// `ce_id` of a message of ours, otherwise derived from its place in the log.
    pub id: Uuid,
}

/// What came back for a command sent with `tx.send`.
#[derive(Debug, Clone)]
pub struct Answer<C: Command> {
    pub command_id: Uuid,
    pub result: Result<C::Reply, Fault>,
}

/// What came of an effect; arrives once, also when it was given up.
#[derive(Debug, Clone)]
pub struct EffectDone<E: Effect> {
    pub id: Uuid,
    pub input: E,
    pub result: Result<E::Done, Fault>,
    pub attempts: u32,
}

/// One of the effects that a handler of many is called with.
#[derive(Debug, Clone)]
pub struct Called<E> {
    /// Its idempotency key, and which attempt this is.
    pub call: EffectCall,
    pub(crate) body: E,
}

impl<E> Called<E> {
    pub fn into_inner(self) -> E {
        self.body
    }
}

impl<E> Deref for Called<E> {
    type Target = E;
    fn deref(&self) -> &E {
        &self.body
    }
}

/// Where a message of ours went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub id: Uuid,
    /// The message's name.
    pub name: String,
    pub topic: String,
    pub partition: u32,
    pub offset: i64,
    pub at: Time,
}

/// A message of this service's that was given up on: one that its groups could not take in, one that the log will never take,
/// a timer or an effect.
#[derive(Debug, Clone)]
pub struct GivenUp {
    /// As of [`Raw::id`]: `ce_id` of a message of ours, otherwise derived from its place in the log.
    pub id: Uuid,
    /// The message's name; of a foreign message whatever it calls itself, if anything.
    pub name: Option<String>,
    /// Of a timer `timers`, of an effect `effects`.
    pub topic: String,
    pub partition: u32,
    /// `None` = the log refuses it for ever, and it waits in the outbox; or it is a timer or an effect.
    pub read: Option<GivenUpAt>,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    /// Why, for people.
    pub reason: String,
    pub at: Time,
}

/// Where a message that was given up on was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUpAt {
    /// The group's full name: `<service>` or `<service>.<name>`.
    pub group: String,
    /// Whether the group was made at run time.
    pub run_time: bool,
    pub offset: i64,
    /// The record's own time, at milliseconds.
    pub written_at: Time,
}

/// What a registration may set beyond the function itself.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub(crate) max_age: Option<Duration>,
    pub(crate) group: Option<&'static str>,
    pub(crate) tries: Option<u32>,
    pub(crate) retry_for: Option<Duration>,
    pub(crate) attempts: Option<u32>,
    pub(crate) stop_key: bool,
    pub(crate) width: Option<usize>,
    pub(crate) per_key: bool,
    pub(crate) rate: Option<Rate>,
    pub(crate) batch: Option<usize>,
    pub(crate) projection: Option<(&'static str, u32)>,
    pub(crate) behind: Option<u64>,
    pub(crate) from_retained: bool,
}

/// A function with options.
pub struct With<F> {
    pub(crate) function: F,
    pub(crate) options: Options,
}

/// `handlers::x.max_age(…)`: options on a handler, where it is registered.
pub trait HandlerExt: Sized {
    fn options(self) -> With<Self> {
        With { function: self, options: Options::default() }
    }
    /// Events older than this are counted and passed over.
    fn max_age(self, age: Duration) -> With<Self> {
        self.options().max_age(age)
    }
    /// Reads in a group of its own, with its own offsets and transactions.
    fn group(self, name: &'static str) -> With<Self> {
        self.options().group(name)
    }
    /// Builds a projection: what is read, and can be built anew from the log. Handlers of one name and version are a group of its
    /// own, which reads from the beginning; they write, and send, publish and put off nothing. A later version is built beside the
    /// one that is read from, and is read from when it has caught up. Which one that is says [`crate::Read::serving`].
    fn projection(self, name: &'static str, version: u32) -> With<Self> {
        self.options().projection(name, version)
    }
    /// How many attempts at once: then a message's key is parked, and an effect is given up.
    fn tries(self, tries: u32) -> With<Self> {
        self.options().tries(tries)
    }
    /// How long a message that fails is tried again before it is given up.
    fn retry_for(self, age: Duration) -> With<Self> {
        self.options().retry_for(age)
    }
    /// How many attempts in all before a message is given up, where that comes first. 1 = as soon as it fails.
    fn attempts(self, attempts: u32) -> With<Self> {
        self.options().attempts(attempts)
    }
    /// The messages of a key wait behind one that was given up, until somebody decides about it.
    fn stop_key(self) -> With<Self> {
        self.options().stop_key()
    }
    /// How many calls of this effect run at once.
    fn width(self, width: usize) -> With<Self> {
        self.options().width(width)
    }
    /// Effects with equal keys run one after another.
    fn per_key(self) -> With<Self> {
        self.options().per_key()
    }
    /// How many calls of this effect a second this node makes at most, evenly, after a burst of so many.
    fn rate(self, per_second: u32, burst: u32) -> With<Self> {
        self.options().rate(per_second, burst)
    }
    /// How many effects one call of a handler that takes many is given at most.
    fn batch(self, most: usize) -> With<Self> {
        self.options().batch(most)
    }
}

impl<F> HandlerExt for F {}

/// Marks a function that is registered as it is.
pub struct Plain;
/// Marks a function that is registered with options.
pub struct Optioned;

/// What registrations over [`Tx`] take: a function, or a function with options.
pub trait TxHandler<M, R, Marker> {
    type Function: for<'a> TxFn<'a, M, R> + 'static;
    fn parts(self) -> (Self::Function, Options);
}

impl<M, R, F: for<'a> TxFn<'a, M, R> + 'static> TxHandler<M, R, Plain> for F {
    type Function = F;
    fn parts(self) -> (F, Options) {
        (self, Options::default())
    }
}

impl<M, R, F: for<'a> TxFn<'a, M, R> + 'static> TxHandler<M, R, Optioned> for With<F> {
    type Function = F;
    fn parts(self) -> (F, Options) {
        (self.function, self.options)
    }
}

/// What `.effect` takes: a function, or a function with options.
pub trait CtxHandler<M, R, Marker> {
    type Function: for<'a> CtxFn<'a, M, R> + 'static;
    fn parts(self) -> (Self::Function, Options);
}

impl<M, R, F: for<'a> CtxFn<'a, M, R> + 'static> CtxHandler<M, R, Plain> for F {
    type Function = F;
    fn parts(self) -> (F, Options) {
        (self, Options::default())
    }
}

impl<M, R, F: for<'a> CtxFn<'a, M, R> + 'static> CtxHandler<M, R, Optioned> for With<F> {
    type Function = F;
    fn parts(self) -> (F, Options) {
        (self.function, self.options)
    }
}

impl<F> With<F> {
    pub fn max_age(mut self, age: Duration) -> With<F> {
        self.options.max_age = Some(age);
        self
    }
    pub fn group(mut self, name: &'static str) -> With<F> {
        self.options.group = Some(name);
        self
    }
    pub fn projection(mut self, name: &'static str, version: u32) -> With<F> {
        self.options.projection = Some((name, version));
        self
    }
    /// How many messages a version of a projection may be behind when it is switched to; 100 unless said. Of several handlers the
    /// least counts. All that was in the log when it came so near is taken in before the switch.
    pub fn switch_at(mut self, behind: u64) -> With<F> {
        self.options.behind = Some(behind);
        self
    }
    /// A version of a projection may serve without what retention had taken from the log before it began, also where the one
    /// before it has taken that in. Unless said it stays in building then.
    pub fn from_retained(mut self) -> With<F> {
        self.options.from_retained = true;
        self
    }
    pub fn tries(mut self, tries: u32) -> With<F> {
        self.options.tries = Some(tries);
        self
    }
    pub fn retry_for(mut self, age: Duration) -> With<F> {
        self.options.retry_for = Some(age);
        self
    }
    pub fn attempts(mut self, attempts: u32) -> With<F> {
        self.options.attempts = Some(attempts.max(1));
        self
    }
    pub fn stop_key(mut self) -> With<F> {
        self.options.stop_key = true;
        self
    }
    pub fn width(mut self, width: usize) -> With<F> {
        self.options.width = Some(width.max(1));
        self
    }
    /// Effects with equal keys run one after another.
    pub fn per_key(mut self) -> With<F> {
        self.options.per_key = true;
        self
    }
    /// How many calls of this effect a second this node makes at most, evenly, after a burst of so many.
    pub fn rate(mut self, per_second: u32, burst: u32) -> With<F> {
        self.options.rate = Some(Rate { per_second: per_second.max(1), burst: burst.max(1) });
        self
    }
    /// How many effects one call of a handler that takes many is given at most.
    pub fn batch(mut self, most: usize) -> With<F> {
        self.options.batch = Some(most.max(1));
        self
    }
}
