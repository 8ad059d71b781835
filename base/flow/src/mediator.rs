//! The mediator: finds the handler of a command or query among this node's services and runs it, or asks a node that has it.
//! Commands run in a task of their own: a caller that hangs up cancels the waiting, not the work.

use crate::around::{Call, around};
use crate::clock::{Clock, Ids};
use crate::ctx::Shared;
use crate::erase::{decode, encode};
use crate::members::{Member, Members};
use crate::peers::{self, PeerCall, Peers};
use crate::storage::answered::{self, Asking};
use crate::{Failure, Read, Tx};
use artel_message::{Cause, Code, Command, Fault, Query, Time, service_of};
use artel_store::Lane;
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// Who asks, and how to know a repeat.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// A service, an authenticated principal, or `public`.
    pub caller: String,
    /// The caller's idempotency key: a repeat gets the first reply, another body under it is a conflict.
    pub key: Option<String>,
    /// The `traceparent` of the request.
    pub trace: Option<String>,
}

impl Asked {
    pub fn by(caller: impl Into<String>) -> Asked {
        Asked { caller: caller.into(), ..Asked::default() }
    }
    pub fn key(mut self, key: Option<String>) -> Asked {
        self.key = key;
        self
    }
    pub fn trace(mut self, trace: Option<String>) -> Asked {
        self.trace = trace;
        self
    }
}

/// The longest idempotency key, in characters.
const KEY_LENGTH: usize = 200;

/// Every service of this node, by name. Filled once, when all of them are there.
#[derive(Clone, Default)]
pub struct Mediator(Arc<OnceLock<Table>>);

pub(crate) struct Table {
    pub here: BTreeMap<&'static str, Arc<Shared>>,
    /// Every service of the binary's table, whether it runs here or not.
    pub known: Vec<String>,
    pub members: Members,
    /// The way to other nodes, if there is one.
    pub peers: Option<Arc<dyn Peers>>,
    pub clock: Clock,
    pub ids: Ids,
}

/// Where a message is handled.
enum Place<'a> {
    Here(Arc<Shared>),
    /// On one of these nodes.
    There(&'a Arc<dyn Peers>, Vec<Member>),
}

impl Table {
    fn place(&self, name: &str) -> Result<Place<'_>, Fault> {
        let service = service_of(name);
        if let Some(shared) = self.here.get(service) {
            return Ok(Place::Here(shared.clone()));
        }
        if !self.known.iter().any(|known| known == service) {
            let reason = format!("no service '{service}' is in the table, yet {name} was asked");
            return Err(Fault::internal(reason));
        }
        let nodes = peers::that_run(&self.members, service)?;
        let peers = self.peers.as_ref().ok_or_else(|| peers::no_way(service))?;
        Ok(Place::There(peers, nodes))
    }

    /// For who asks from another node: that node looks for the next one, this one never does.
    fn here(&self, name: &str) -> Result<Arc<Shared>, Fault> {
        let service = service_of(name);
        self.here.get(service).cloned().ok_or_else(|| {
            Fault::unavailable(format!("service '{service}' does not run on this node"))
                .with(serde_json::json!({ "kind": NOT_HERE, "service": service }))
        })
    }
}

/// `kind` in the detail of the fault of a node that was asked for a service which it does not run.
pub(crate) const NOT_HERE: &str = "not-here";

impl Mediator {
    pub(crate) fn fill(&self, table: Table) {
        // Filled once by the runtime; a second filling is a mistake that changes nothing.
        let _ = self.0.set(table);
    }

    fn table(&self) -> Result<&Table, Fault> {
        self.0.get().ok_or_else(|| Fault::unavailable("the node is starting; try again"))
    }

    /// Runs a command, here or where its service is, and returns its reply.
    pub async fn ask<C: Command>(&self, command: C, asked: Asked) -> Result<C::Reply, Fault> {
        command.validate()?;
        check_key(asked.key.as_deref())?;
        let table = self.table()?;
        let place = table.place(C::NAME)?;
        let body = encode(C::NAME, &command).map_err(Failure::into_fault)?;
        let reply = match place {
            Place::Here(shared) => run_apart(shared, C::NAME, body, asked).await?,
            Place::There(peers, nodes) => {
                // With a key an answer that got lost can be asked for again.
                let fresh = || table.ids.fresh(table.clock.now()).to_string();
                let asked = Asked { key: Some(asked.key.unwrap_or_else(fresh)), ..asked };
                peers.ask(&nodes, call_of(C::NAME, &body), &asked).await?
            }
        };
        decode::<C::Reply>(C::NAME, &reply).map_err(unreadable)
    }

    /// Answers a query from one read snapshot, here or where its service is.
    pub async fn query<Q: Query>(&self, query: Q, asked: Asked) -> Result<Q::Reply, Fault> {
        query.validate()?;
        let table = self.table()?;
        let place = table.place(Q::NAME)?;
        let body = encode(Q::NAME, &query).map_err(Failure::into_fault)?;
        let reply = match place {
            Place::Here(shared) => run_query(&shared, Q::NAME, body, asked.trace.as_deref()).await?,
            Place::There(peers, nodes) => peers.query(&nodes, call_of(Q::NAME, &body), &asked).await?,
        };
        decode::<Q::Reply>(Q::NAME, &reply).map_err(unreadable)
    }

    /// Runs a command of this node's services for a caller on another node, from JSON to JSON. What this node does not
    /// handle is `unavailable`: another node, or a newer one, may. The handler validates the message like any.
    pub async fn ask_bytes(&self, name: &str, body: Bytes, asked: Asked) -> Result<Bytes, Fault> {
        check_key(asked.key.as_deref())?;
        let shared = self.table()?.here(name)?;
        let known = shared.service.commands.get_key_value(name).map(|(name, _)| *name);
        let name = known.ok_or_else(|| unknown("command", name))?;
        run_apart(shared, name, body, asked).await
    }

    /// The same for a query.
    pub async fn query_bytes(&self, name: &str, body: Bytes, asked: Asked) -> Result<Bytes, Fault> {
        let shared = self.table()?.here(name)?;
        let known = shared.service.queries.get_key_value(name).map(|(name, _)| *name);
        let name = known.ok_or_else(|| unknown("query", name))?;
        run_query(&shared, name, body, asked.trace.as_deref()).await
    }
}

fn check_key(key: Option<&str>) -> Result<(), Fault> {
    match key {
        Some(key) if key.is_empty() || key.chars().count() > KEY_LENGTH => {
            Err(Fault::field("Idempotency-Key", format!("1 to {KEY_LENGTH} characters, please")))
        }
        _ => Ok(()),
    }
}

fn call_of<'a>(name: &'a str, body: &'a Bytes) -> PeerCall<'a> {
    PeerCall { service: service_of(name), name, body }
}

/// A reply of another version, or of this one's own mistake: nothing that the caller could have asked better.
fn unreadable(failure: Failure) -> Fault {
    Fault::internal(format!("the reply of {failure}"))
}

fn unknown(kind: &str, name: &str) -> Fault {
    let service = service_of(name);
    Fault::unavailable(format!(
        "{kind} '{name}' is not known to service '{service}' on this node; is it of an older version?"
    ))
    .with(serde_json::json!({ "kind": NOT_HERE, "service": service }))
}

/// Runs a command in a task of its own.
async fn run_apart(
    shared: Arc<Shared>,
    name: &'static str,
    body: Bytes,
    asked: Asked,
) -> Result<Bytes, Fault> {
    let asking = match asked.key {
        Some(key) => {
            let hash = hash_of(name, &body)?;
            Some(Asking { caller: asked.caller, command: name, key, hash })
        }
        None => None,
    };
    let work = tokio::spawn(run_command(shared, name, body, asking, asked.trace));
    work.await.map_err(|_| Fault::unavailable("the node is stopping; ask again"))?
}

async fn run_query(
    shared: &Arc<Shared>,
    name: &'static str,
    body: Bytes,
    trace: Option<&str>,
) -> Result<Bytes, Fault> {
    let handler = shared.service.queries.get(name).cloned().ok_or_else(|| missing("query", name))?;
    let call = Call::new(shared, "query", name, trace);
    let reply = around(call, shared.limits.handler_time, async {
        let read = Read::open(shared).await?;
        handler(&read, body).await
    });
    reply.await.map_err(Failure::into_fault)
}

fn missing(kind: &str, name: &str) -> Fault {
    Fault::internal(format!("{kind} '{name}' has no handler; start-up should have refused this"))
}

/// SHA-256 over the name and the canonical JSON (RFC 8785).
pub(crate) fn hash_of(name: &str, body: &[u8]) -> Result<[u8; 32], Fault> {
    let canonical = serde_json::from_slice::<Value>(body)
        .and_then(|value| serde_jcs::to_vec(&exact(value)))
        .map_err(|e| Fault::invalid(format!("{name} has no canonical form: {e}")))?;
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    hash.update([0]);
    hash.update(&canonical);
    Ok(hash.finalize().into())
}

/// RFC 8785 writes numbers as doubles; whole numbers that a double can't hold stand as text, so that they stay apart.
fn exact(value: Value) -> Value {
    const EXACT: u64 = 1 << 53;
    match value {
        Value::Number(n) if n.as_u64().or(n.as_i64().map(i64::unsigned_abs)).is_some_and(|n| n > EXACT) => {
            Value::String(format!("number {n}"))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(exact).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, exact(value))).collect())
        }
        other => other,
    }
}

async fn run_command(
    shared: Arc<Shared>,
    name: &'static str,
    body: Bytes,
    asking: Option<Asking>,
    trace: Option<String>,
) -> Result<Bytes, Fault> {
    let now = shared.now();
    let cause = match &asking {
        Some(asking) => Cause::keyed(&asking.caller, name, &asking.key, now),
        None => Cause::message(shared.ids.fresh(now), now),
    };
    let attempt = || async {
        let call = Call::new(&shared, "command", name, trace.as_deref());
        let mut tx = Tx::begin(&shared, Lane::Interactive).await?;
        tx.enter(name, cause, false, call.trace());
        tx.at(now);
        attempt(tx, &shared, call, name, body.clone(), asking.as_ref()).await
    };
    let mut ended = shared.rerun(&attempt).await;
    if matches!(&ended, Err(Failure::Refused(fault)) if fault.code == Code::Unavailable)
        && shared.topics.look_for_missing().await
    {
        // A topic that another node has made, or one that there is not.
        ended = shared.rerun(&attempt).await;
    }
    match ended {
        Ok(reply) => Ok(reply),
        Err(Failure::Refused(fault)) => {
            if let Some(asking) = asking.filter(|_| is_kept(fault.code) && !is_key_conflict(&fault)) {
                keep_refusal(&shared, &asking, &fault, now).await?;
            }
            Err(fault)
        }
        Err(failure) => Err(failure.into_fault()),
    }
}

/// One attempt in one transaction: the kept reply, or the handler and its reply kept with it.
async fn attempt(
    mut tx: Tx,
    shared: &Shared,
    call: Call<'_>,
    name: &'static str,
    body: Bytes,
    asking: Option<&Asking>,
) -> Result<Bytes, Failure> {
    if let Some(asking) = asking
        && let Some(kept) = answered::find(tx.write(), asking).await?
    {
        tx.rollback().await;
        return repeat(asking, kept);
    }
    let handler =
        shared.service.commands.get(name).ok_or_else(|| Failure::Refused(missing("command", name)))?;
    // The limit holds for the handler: a commit that has begun is waited for, or its outcome would be unknown.
    let work = (handler.handler)(&mut tx, body);
    let result = around(call, shared.limits.handler_time, work).await;
    let reply = match tx.verdict(result) {
        Ok(reply) => reply,
        Err(failure) => {
            tx.rollback().await;
            return Err(failure);
        }
    };
    if let Some(asking) = asking.filter(|_| !planted!(AnswerNotKept)) {
        let until = tx.now() + shared.limits.answered;
        answered::keep(tx.write(), asking, true, &reply, until).await?;
    }
    if planted!(AnswersBeforeCommit) {
        tokio::spawn(tx.commit());
        return Ok(reply);
    }
    tx.commit().await?;
    Ok(reply)
}

fn repeat(asking: &Asking, kept: answered::Kept) -> Result<Bytes, Failure> {
    if kept.hash.as_ref() != asking.hash {
        return Err(Failure::Refused(key_conflict(&asking.key)));
    }
    if kept.ok {
        return Ok(kept.reply);
    }
    let fault = serde_json::from_slice(&kept.reply)
        .unwrap_or_else(|_| Fault::internal("the kept refusal of this command cannot be read"));
    Err(Failure::Refused(fault))
}

fn key_conflict(key: &str) -> Fault {
    Fault::conflict(format!(
        "idempotency key '{key}' was used with another body; take a new key for a new request"
    ))
    .with(serde_json::json!({ "kind": "idempotency-key" }))
}

fn is_key_conflict(fault: &Fault) -> bool {
    fault.detail.as_ref().and_then(|d| d.get("kind")).and_then(|k| k.as_str()) == Some("idempotency-key")
}

/// Refusals that asking again cannot change are kept like replies.
fn is_kept(code: Code) -> bool {
    matches!(code, Code::Invalid | Code::Forbidden | Code::Conflict)
}

/// A refusal rolls the handler's work back, so it is kept in a transaction of its own.
async fn keep_refusal(shared: &Arc<Shared>, asking: &Asking, fault: &Fault, now: Time) -> Result<(), Fault> {
    let kept = || async {
        let mut tx = Tx::begin(shared, Lane::Interactive).await?;
        let reply = encode(asking.command, fault)?;
        answered::keep(tx.write(), asking, false, &reply, now + shared.limits.answered).await?;
        tx.commit().await
    };
    shared.rerun(kept).await.map_err(Failure::into_fault)
}
