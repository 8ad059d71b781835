//! Parked keys: whose first message failed, so that the later ones wait; and what was done by hand.

use super::dead::{TroubleRow, Why, by};
use super::record::{Encoding, text};
use super::{Admin, limit_of};
use crate::edge::{Json, Needs, Operate, Path, Problem, Query, Routes};
use artel_flow::{By, Ctx, ParkedKey, ParkedKeys};
use artel_message::{Code, Cursor, Fault, Page, Time};
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
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

pub(super) fn routes() -> Routes<Admin> {
    Routes::new()
        .get("/api/admin/parked", list, |op| {
            op.summary("List keys whose messages wait").answers::<Page<KeyRow>>(200, "keys by id")
        })
        .get("/api/admin/parked/{id}", show, |op| {
            op.summary("Show a parked key")
                .answers::<KeyRow>(200, "the key with what its first message failed with")
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
                .description("It is gone for good, so a reason has to be given.")
                .answers_empty(204, "gone; the next one is tried")
                .refuses(&[Code::NotFound, Code::Invalid, Code::Conflict])
        })
        .get("/api/admin/audit", audit, |op| {
            op.summary("List what was done by hand to messages")
                .answers::<Page<StepRow>>(200, "the newest first")
        })
}

fn contexts(admin: &Admin) -> impl Iterator<Item = (String, &Ctx)> {
    let running = admin.0.facts.running(&admin.0.runtime).into_iter();
    running.filter_map(|name| {
        let ctx = admin.0.runtime.ctx(&name)?;
        Some((name, ctx))
    })
}

async fn list(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    Query(which): Query<Which>,
) -> Result<Json<Page<KeyRow>>, Problem> {
    let behind: Option<Uuid> = which.cursor.map(|cursor| cursor.key()).transpose()?;
    let limit = limit_of(which.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let mut items = Vec::new();
    for (service, ctx) in contexts(&admin) {
        if which.service.as_ref().is_some_and(|wanted| *wanted != service) {
            continue;
        }
        let keys = ctx.parked_keys().list(which.group.as_deref(), behind, limit + 1).await?;
        items.extend(keys.into_iter().map(|key| row(&service, key)));
    }
    items.sort_by_key(|key: &KeyRow| key.id);
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|last| Cursor::of(&last.id));
    Ok(Json(Page { items, next }))
}

fn none(id: Uuid) -> Fault {
    Fault::not_found(format!("no key with id {id} is parked (any more); list them at /api/admin/parked"))
}

async fn show(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    Path(id): Path<Uuid>,
) -> Result<Json<KeyRow>, Problem> {
    for (service, ctx) in contexts(&admin) {
        if let Some(key) = ctx.parked_keys().get(id).await? {
            return Ok(Json(row(&service, key)));
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
    for (_, ctx) in contexts(admin) {
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
    Query(why): Query<Why>,
) -> Result<StatusCode, Problem> {
    act(&admin, id, &by(&caller, why.reason), async |keys, id, by| keys.drop_first(id, by).await).await
}

async fn audit(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    Query(which): Query<Steps>,
) -> Result<Json<Page<StepRow>>, Problem> {
    let behind: Option<(Time, Uuid)> = which.cursor.map(|cursor| cursor.key()).transpose()?;
    let limit = limit_of(which.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let mut items = Vec::new();
    for (service, ctx) in contexts(&admin) {
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
    Ok(Json(Page { items, next }))
}

fn row(service: &str, key: ParkedKey) -> KeyRow {
    let (shown, key_encoding) = text(key.key.as_deref());
    KeyRow {
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
