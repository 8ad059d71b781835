//! Handlers with their types erased, so that the runtime is compiled once and not per message: bytes in, bytes out.

use crate::ctx::EffectCall;
use crate::handler::{Answer, Called, CtxFn, EffectDone, Msg, ReadFn, TxFn};
use crate::schedules::{OfRun, Run};
use crate::{Ctx, Failure, Read, Tx, unreadable};
use artel_message::{Cause, Command, Effect, Event, Fault, Message, Query};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use uuid::Uuid;

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
pub(crate) type Erased<I, O> =
    Arc<dyn for<'a> Fn(&'a mut Tx, I) -> BoxFuture<'a, Result<O, Failure>> + Send + Sync>;
pub(crate) type ErasedQuery =
    Arc<dyn for<'a> Fn(&'a Read, Bytes) -> BoxFuture<'a, Result<Bytes, Failure>> + Send + Sync>;
pub(crate) type ErasedEffect =
    Arc<dyn for<'a> Fn(&'a Ctx, Bytes) -> BoxFuture<'a, Result<Bytes, Failure>> + Send + Sync>;

/// One outcome for each of many effects, in their order.
pub(crate) type Outcomes = Vec<Result<Bytes, Failure>>;
pub(crate) type ErasedEffects = Arc<
    dyn for<'a> Fn(&'a Ctx, Vec<(EffectCall, Bytes)>) -> BoxFuture<'a, Result<Outcomes, Failure>>
        + Send
        + Sync,
>;

pub(crate) fn decode<M: DeserializeOwned>(name: &str, body: &[u8]) -> Result<M, Failure> {
    serde_json::from_slice(body)
        .map_err(|e| Failure::Undecodable(format!("{name} cannot be read: {}", unreadable::reason(&e))))
}

pub(crate) fn encode<T: Serialize>(name: &str, value: &T) -> Result<Bytes, Failure> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|e| Failure::Refused(Fault::internal(format!("{name} cannot be written as JSON: {e}"))))
}

pub(crate) fn refused(error: impl Into<Fault>) -> Failure {
    Failure::Refused(error.into())
}

fn read_message<M: Message>(body: &[u8]) -> Result<M, Failure> {
    let message: M = decode(M::NAME, body)?;
    message.validate().map_err(Failure::Refused)?;
    Ok(message)
}

pub(crate) fn command<C, F>(function: F) -> Erased<Bytes, Bytes>
where
    C: Command,
    F: for<'a> TxFn<'a, C, C::Reply> + 'static,
{
    let function = Arc::new(function);
    Arc::new(move |tx: &mut Tx, body: Bytes| -> BoxFuture<'_, Result<Bytes, Failure>> {
        let function = function.clone();
        Box::pin(async move {
            let reply = function.call(tx, read_message::<C>(&body)?).await.map_err(refused)?;
            encode(C::NAME, &reply)
        })
    })
}

pub(crate) fn event<E, F>(function: F) -> Erased<Bytes, ()>
where
    E: Event,
    F: for<'a> TxFn<'a, E, ()> + 'static,
{
    let function = Arc::new(function);
    Arc::new(move |tx: &mut Tx, body: Bytes| -> BoxFuture<'_, Result<(), Failure>> {
        let function = function.clone();
        Box::pin(async move { function.call(tx, read_message::<E>(&body)?).await.map_err(refused) })
    })
}

/// A handler of many messages at once; events and commands alike.
pub(crate) fn batch<M, F>(function: Arc<F>) -> Erased<Vec<(Cause, Bytes)>, ()>
where
    M: Message,
    F: for<'a> TxFn<'a, Vec<Msg<M>>, ()> + 'static,
{
    Arc::new(move |tx: &mut Tx, bodies: Vec<(Cause, Bytes)>| -> BoxFuture<'_, Result<(), Failure>> {
        let function = function.clone();
        Box::pin(async move {
            let namespace: Arc<str> = Arc::from(format!("{}#message", tx.namespace()));
            let messages: Result<Vec<Msg<M>>, Failure> = bodies
                .into_iter()
                .map(|(cause, body)| {
                    let namespace = namespace.clone();
                    Ok(Msg { body: read_message::<M>(&body)?, cause, ordinal: 0, namespace })
                })
                .collect();
            function.call(tx, messages?).await.map_err(refused)
        })
    })
}

/// The same for one command that is asked: a batch of one.
pub(crate) fn batch_of_one<C, F>(function: Arc<F>) -> Erased<Bytes, Bytes>
where
    C: Command<Reply = ()>,
    F: for<'a> TxFn<'a, Vec<Msg<C>>, ()> + 'static,
{
    Arc::new(move |tx: &mut Tx, body: Bytes| -> BoxFuture<'_, Result<Bytes, Failure>> {
        let function = function.clone();
        Box::pin(async move {
            let namespace = Arc::from(format!("{}#message", tx.namespace()));
            let message = Msg { body: read_message::<C>(&body)?, cause: tx.cause(), ordinal: 0, namespace };
            function.call(tx, vec![message]).await.map_err(refused)?;
            encode(C::NAME, &())
        })
    })
}

/// For what arrives as a value already: raw messages, reports of the relay.
pub(crate) fn plain<I, F>(function: F) -> Erased<I, ()>
where
    I: Send + 'static,
    F: for<'a> TxFn<'a, I, ()> + 'static,
{
    let function = Arc::new(function);
    Arc::new(move |tx: &mut Tx, input: I| -> BoxFuture<'_, Result<(), Failure>> {
        let function = function.clone();
        Box::pin(async move { function.call(tx, input).await.map_err(refused) })
    })
}

/// For schedules: the handler takes the run, or nothing.
pub(crate) fn scheduled<M, F>(function: F) -> Erased<Run, ()>
where
    M: OfRun,
    F: for<'a> TxFn<'a, M, ()> + 'static,
{
    let function = Arc::new(function);
    Arc::new(move |tx: &mut Tx, run: Run| -> BoxFuture<'_, Result<(), Failure>> {
        let function = function.clone();
        Box::pin(async move { function.call(tx, M::of(run)).await.map_err(refused) })
    })
}

pub(crate) fn reply<C, F>(function: F) -> Erased<(Uuid, Bytes), ()>
where
    C: Command,
    F: for<'a> TxFn<'a, Answer<C>, ()> + 'static,
{
    let function = Arc::new(function);
    Arc::new(move |tx: &mut Tx, (command_id, body): (Uuid, Bytes)| -> BoxFuture<'_, Result<(), Failure>> {
        let function = function.clone();
        Box::pin(async move {
            let result: Result<C::Reply, Fault> = decode(C::NAME, &body)?;
            function.call(tx, Answer { command_id, result }).await.map_err(refused)
        })
    })
}

pub(crate) fn query<Q, F>(function: F) -> ErasedQuery
where
    Q: Query,
    F: for<'a> ReadFn<'a, Q, Q::Reply> + 'static,
{
    let function = Arc::new(function);
    Arc::new(move |read: &Read, body: Bytes| -> BoxFuture<'_, Result<Bytes, Failure>> {
        let function = function.clone();
        Box::pin(async move {
            let reply = function.call(read, read_message::<Q>(&body)?).await.map_err(refused)?;
            encode(Q::NAME, &reply)
        })
    })
}

pub(crate) fn effect<E, F>(function: F) -> ErasedEffect
where
    E: Effect,
    F: for<'a> CtxFn<'a, E, E::Done> + 'static,
{
    let function = Arc::new(function);
    Arc::new(move |ctx: &Ctx, body: Bytes| -> BoxFuture<'_, Result<Bytes, Failure>> {
        let function = function.clone();
        Box::pin(async move {
            let done = function.call(ctx, read_message::<E>(&body)?).await.map_err(refused)?;
            encode(E::NAME, &done)
        })
    })
}

/// A handler of many effects at once. What cannot be read does not reach it.
pub(crate) fn effects<E, F>(function: F) -> ErasedEffects
where
    E: Effect,
    F: for<'a> CtxFn<'a, Vec<Called<E>>, Vec<Result<E::Done, Fault>>> + 'static,
{
    let function = Arc::new(function);
    Arc::new(move |ctx: &Ctx, bodies: Vec<(EffectCall, Bytes)>| -> BoxFuture<'_, Result<Outcomes, Failure>> {
        let function = function.clone();
        Box::pin(async move {
            let (mut called, mut unread) =
                (Vec::with_capacity(bodies.len()), Vec::with_capacity(bodies.len()));
            for (call, body) in bodies {
                let read = read_message::<E>(&body).map(|body| called.push(Called { call, body }));
                unread.push(read.err());
            }
            let wanted = called.len();
            let results =
                if wanted == 0 { Vec::new() } else { function.call(ctx, called).await.map_err(refused)? };
            if results.len() != wanted {
                let given = results.len();
                return Err(Failure::Refused(Fault::internal(format!(
                    "the handler of {} gave {given} results for {wanted} effects; it has to give one for each",
                    E::NAME
                ))));
            }
            let mut results = results.into_iter();
            let outcome = |unread: Option<Failure>| match unread {
                Some(failure) => Some(Err(failure)),
                None => results.next().map(|result| match result {
                    Ok(done) => encode(E::NAME, &done),
                    Err(fault) => Err(Failure::Refused(fault)),
                }),
            };
            Ok(unread.into_iter().filter_map(outcome).collect())
        })
    })
}

/// The stored form of an effect that ended: (id, input, ok or fault, attempts).
pub(crate) struct Ended {
    pub id: Uuid,
    pub input: Bytes,
    pub result: Result<Bytes, Fault>,
    pub attempts: u32,
}

impl Ended {
    fn read<E: Effect>(self) -> Result<EffectDone<E>, Failure> {
        let input: E = decode(E::NAME, &self.input)?;
        let result = match self.result {
            Ok(body) => Ok(decode(E::NAME, &body)?),
            Err(fault) => Err(fault),
        };
        Ok(EffectDone { id: self.id, input, result, attempts: self.attempts })
    }
}

pub(crate) fn done<E, F>(function: F) -> Erased<Ended, ()>
where
    E: Effect,
    F: for<'a> TxFn<'a, EffectDone<E>, ()> + 'static,
{
    let function = Arc::new(function);
    Arc::new(move |tx: &mut Tx, ended: Ended| -> BoxFuture<'_, Result<(), Failure>> {
        let function = function.clone();
        Box::pin(async move { function.call(tx, ended.read::<E>()?).await.map_err(refused) })
    })
}

pub(crate) fn done_batch<E, F>(function: F) -> Erased<Vec<Ended>, ()>
where
    E: Effect,
    F: for<'a> TxFn<'a, Vec<EffectDone<E>>, ()> + 'static,
{
    let function = Arc::new(function);
    Arc::new(move |tx: &mut Tx, ended: Vec<Ended>| -> BoxFuture<'_, Result<(), Failure>> {
        let function = function.clone();
        Box::pin(async move {
            let done: Result<Vec<EffectDone<E>>, Failure> = ended.into_iter().map(Ended::read::<E>).collect();
            function.call(tx, done?).await.map_err(refused)
        })
    })
}
