//! Parked keys: whose first message failed, so that the later ones wait; and what was done by hand.

use super::dead::{TroubleRow, Why, by};
use super::here::{Listed, contexts};
use super::record::{Encoding, raw, text};
use super::{Admin, limit_of};
use crate::edge::{Json, Needs, Operate, Path, Problem, Query, Routes};
use artel_flow::{By, ParkedKey, ParkedKeys};
use artel_message::{Code, Cursor, Fault, Time};
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 500;

/// A key whose messages wait.
#[derive(Serialize, JsonSchema)]
struct KeyRow {
    id: Uuid,
    service: String,
    group: String,
    topic: String,
    partition: u32,
    /// Absent where its one message has none; of a key above 512 bytes its SHA-256.
    key: Option<String>,
    key_encoding: Encoding,
    /// Messages, the first one among them, and their bytes.
    waiting: i64,
    bytes: i64,
    /// When the first one is tried again; absent = stopped, somebody has to decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<Time>,
    /// The letter that a stopped key waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    letter: Option<Uuid>,
    /// Of the first one: its place, its own id, its type, when it was written. Absent where none waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written_at: Option<Time>,
    parked_at: Time,
    /// Of the first one.
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The same for the same cause, whatever numbers and ids the reason names.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// What the first one failed with, in order.
    errors: Vec<TroubleRow>,
}

/// A key with what its first message holds.
#[derive(Serialize, JsonSchema)]
struct WholeKey {
    #[serde(flatten)]
    key: KeyRow,
    /// Of the first message.
    #[schemars(with = "serde_json::Value")]
    value: Box<RawValue>,
    value_encoding: Encoding,
}

/// What somebody did by hand.
#[derive(Serialize, JsonSchema)]
struct StepRow {
    id: Uuid,
    service: String,
    at: Time,
    who: String,
    action: String,
    /// The letter's or the key's id.
    target: String,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Of this service; of all unless said.
    service: Option<String>,
    /// Of the group with this full name.
    group: Option<String>,
    /// At most this many, 1 to 500; 50 unless said.
    limit: Option<u32>,
    /// The field `next` of the page before; the other parameters stay.
    cursor: Option<Cursor>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Steps {
    /// At most this many, 1 to 500; 50 unless said.
    limit: Option<u32>,
    /// The field `next` of the page before.
    cursor: Option<Cursor>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ThisOne {
    /// Of the first message, as the key is shown: what has become the first since then stays.
    offset: i64,
    /// Why, for the record.
    reason: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OfGroup {
    /// The group's full name.
    group: String,
    /// Why, for the record.
    reason: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Forgotten {
    messages: i64,
}

pub(super) fn routes() -> Routes<Admin> {
    Routes::new()
        .get("/api/admin/parked", list, |op| {
            op.summary("List keys whose messages wait").answers::<Listed<KeyRow>>(200, "keys by id")
        })
        .get("/api/admin/parked/{id}", show, |op| {
            op.summary("Show a parked key")
                .answers::<WholeKey>(200, "the key with its first message, and what that failed with")
                .refuses(&[Code::NotFound])
        })
        .post("/api/admin/parked/{id}/retry", retry, |op| {
            op.summary("Try a key's first message now")
                .answers_empty(204, "due now")
                .refuses(&[Code::NotFound, Code::Conflict])
        })
        .post("/api/admin/parked/{id}/release", release, |op| {
            op.summary("Let a key go on that is stopped behind a dead letter")
                .answers_empty(204, "goes on")
                .refuses(&[Code::NotFound])
        })
        .delete("/api/admin/parked/{id}/first", drop_first, |op| {
            op.summary("Throw a key's first message away")
                .description("It is gone for good, so a reason has to be given, and which one it is.")
                .answers_empty(204, "gone; the next one is tried")
                .refuses(&[Code::NotFound, Code::Invalid, Code::Conflict])
        })
        .delete("/api/admin/parked", forget, |op| {
            op.summary("Throw away all that waits in a group that does not run any more")
                .description("It is gone for good, so a reason has to be given.")
                .answers::<Forgotten>(200, "how much that was")
                .refuses(&[Code::NotFound, Code::Invalid, Code::Conflict])
        })
        .get("/api/admin/audit", audit, |op| {
            op.summary("List what was done by hand to messages")
                .answers::<Listed<StepRow>>(200, "the newest first")
        })
}

async fn list(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    Query(which): Query<Which>,
) -> Result<Json<Listed<KeyRow>>, Problem> {
    let behind: Option<Uuid> = which.cursor.map(|cursor| cursor.key()).transpose()?;
    let limit = limit_of(which.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let mut items = Vec::new();
    let Which { service: wanted, group, .. } = which;
    if group.as_deref() == Some("") {
        return Err(Fault::field("group", "is empty; leave it out for all groups").into());
    }
    for (service, ctx) in contexts(&admin, wanted.as_deref())? {
        let keys = ctx.parked_keys().list(group.as_deref(), behind, limit + 1).await?;
        items.extend(keys.into_iter().map(|key| row(&service, key)));
    }
    items.sort_by_key(|key: &KeyRow| key.id);
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|last| Cursor::of(&last.id));
    Ok(Json(Listed::of(&admin, wanted.as_deref(), items, next)))
}

fn none(id: Uuid) -> Fault {
    Fault::not_found(format!("no key with id {id} is parked (any more); list them at /api/admin/parked"))
}

async fn show(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    Path(id): Path<Uuid>,
) -> Result<Json<WholeKey>, Problem> {
    for (service, ctx) in contexts(&admin, None)? {
        if let Some(mut key) = ctx.parked_keys().get(id).await? {
            let value = key.first.as_mut().and_then(|first| first.value.take());
            let (value, value_encoding) = raw(value.as_deref());
            return Ok(Json(WholeKey { key: row(&service, key), value, value_encoding }));
        }
    }
    Err(none(id).into())
}

/// Does it where the key is.
async fn act<F>(admin: &Admin, id: Uuid, by: &By, work: F) -> Result<StatusCode, Problem>
where
    F: AsyncFn(ParkedKeys, Uuid, &By) -> Result<(), Fault>,
{
    let mut missing = none(id);
    for (_, ctx) in contexts(admin, None)? {
        match work(ctx.parked_keys(), id, by).await {
            Err(fault) if fault.code == Code::NotFound => missing = fault,
            done => return Ok(done.map(|()| StatusCode::NO_CONTENT)?),
        }
    }
    Err(missing.into())
}

async fn retry(
    State(admin): State<Admin>,
    caller: Needs<Operate>,
    Path(id): Path<Uuid>,
    Query(why): Query<Why>,
) -> Result<StatusCode, Problem> {
    act(&admin, id, &by(&caller, why.reason), async |keys, id, by| keys.retry(id, by).await).await
}

async fn release(
    State(admin): State<Admin>,
    caller: Needs<Operate>,
    Path(id): Path<Uuid>,
    Query(why): Query<Why>,
) -> Result<StatusCode, Problem> {
    act(&admin, id, &by(&caller, why.reason), async |keys, id, by| keys.release(id, by).await).await
}

async fn drop_first(
    State(admin): State<Admin>,
    caller: Needs<Operate>,
    Path(id): Path<Uuid>,
    Query(ThisOne { offset, reason }): Query<ThisOne>,
) -> Result<StatusCode, Problem> {
    let by = by(&caller, reason);
    let mut missing = none(id);
    for (_, ctx) in contexts(&admin, None)? {
        match ctx.parked_keys().drop_first(id, offset, &by).await {
            Err(fault) if fault.code == Code::NotFound => missing = fault,
            done => return Ok(done.map(|()| StatusCode::NO_CONTENT)?),
        }
    }
    Err(missing.into())
}

/// A group's name begins with that of its service.
async fn forget(
    State(admin): State<Admin>,
    caller: Needs<Operate>,
    Query(OfGroup { group, reason }): Query<OfGroup>,
) -> Result<Json<Forgotten>, Problem> {
    let service = group.split('.').next().unwrap_or_default();
    let by = by(&caller, reason);
    let here = contexts(&admin, Some(service))?;
    let (_, ctx) =
        here.first().ok_or_else(|| Fault::not_found(format!("there is no service '{service}'")))?;
    Ok(Json(Forgotten { messages: ctx.parked_keys().forget(&group, &by).await? }))
}

async fn audit(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    Query(which): Query<Steps>,
) -> Result<Json<Listed<StepRow>>, Problem> {
    let behind: Option<(Time, Uuid)> = which.cursor.map(|cursor| cursor.key()).transpose()?;
    let limit = limit_of(which.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let mut items = Vec::new();
    for (service, ctx) in contexts(&admin, None)? {
        let steps = ctx.audit(behind, limit + 1).await?;
        items.extend(steps.into_iter().map(|step| StepRow {
            id: step.id,
            service: service.clone(),
            at: step.at,
            who: step.who,
            action: step.action,
            target: step.target,
            detail: step.detail,
            reason: step.reason,
        }));
    }
    items.sort_by_key(|step: &StepRow| std::cmp::Reverse((step.at, step.id)));
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|last| Cursor::of(&(last.at, last.id)));
    Ok(Json(Listed::of(&admin, None, items, next)))
}

fn row(service: &str, key: ParkedKey) -> KeyRow {
    let (shown, key_encoding) = text(key.key.as_deref());
    let first = key.first.as_ref();
    KeyRow {
        letter: key.letter,
        offset: first.map(|first| first.offset),
        message: first.map(|first| first.message),
        written_at: first.map(|first| first.written_at),
        name: key.first.as_ref().and_then(|first| first.name.clone()),
        id: key.id,
        service: service.to_owned(),
        group: key.group,
        topic: key.topic,
        partition: key.partition,
        key: shown,
        key_encoding,
        waiting: key.waiting,
        bytes: key.bytes,
        due: key.due,
        parked_at: key.parked_at,
        attempts: key.attempts,
        failing_since: key.failing_since,
        code: key.code,
        reason: key.reason,
        cause: key.fingerprint,
        errors: key.errors.troubles().iter().map(TroubleRow::from).collect(),
    }
}
