//! What is done with dead letters by hand.

use super::super::here::contexts;
use super::super::{Admin, limit_of};
use super::{Fits, MAX_LIMIT, none};
use crate::edge::{Json, Needs, Operate, Path, Problem, Query, Routes};
use artel_flow::{By, DeadLetters, Letters, Onward, Replayed};
use artel_message::{Code, Cursor, Fault};
use axum::extract::State;
use axum::http::StatusCode;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

const DEFAULT_ROUND: u32 = 100;

/// Letters to be tried again, or to be dropped.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Round {
    /// Which; a service has to be named.
    which: Fits,
    /// Only says which are meant.
    #[serde(default)]
    dry_run: bool,
    /// At most this many, 1 to 500; 100 unless said. Who wants more asks again with the cursor, at the rate that suits.
    limit: Option<u32>,
    /// The field `next` of the answer before.
    cursor: Option<Cursor>,
    /// Why, for the record; has to be given where letters are dropped.
    reason: Option<String>,
}

/// What came of it.
#[derive(Serialize, JsonSchema)]
struct Retried {
    /// Those that went back to their keys or away, or would.
    letters: Vec<Uuid>,
    refused: Vec<Refused>,
    /// Where to go on; absent when there are no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Cursor>,
}

#[derive(Serialize, JsonSchema)]
struct Refused {
    letter: Uuid,
    reason: String,
}

/// A value in place of the one that came.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Edit {
    /// JSON, as it will be tried; null = none (Kafka: null).
    #[schemars(with = "serde_json::Value")]
    value: Box<RawValue>,
    /// Why, for the record.
    reason: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Why {
    /// Why, for the record.
    pub reason: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct How {
    /// Only says whether it can be done.
    #[serde(default)]
    dry_run: bool,
    /// Why, for the record.
    reason: Option<String>,
}

pub(super) fn routes() -> Routes<Admin> {
    Routes::new()
        .post("/api/admin/dead-letters/retry", retry_all, |op| {
            op.summary("Try messages again that were given up on")
                .description("Each goes back where it was in its key, which waits for it; of a key the first one goes first.")
                .answers::<Retried>(200, "which were tried, or would be")
                .refuses(&[Code::Invalid, Code::NotFound])
        })
        .post("/api/admin/dead-letters/drop", drop_all, |op| {
            op.summary("Throw messages away that were given up on")
                .description("They are gone for good, so a reason has to be given, unless it is a dry run.")
                .answers::<Retried>(200, "which are gone, or would be")
                .refuses(&[Code::Invalid, Code::NotFound])
        })
        .post("/api/admin/dead-letters/{id}/retry", retry, |op| {
            op.summary("Try a message again that was given up on")
                .answers_empty(204, "it is back in its key, due now; or would be, where it is a dry run")
                .refuses(&[Code::NotFound, Code::Conflict])
        })
        .put("/api/admin/dead-letters/{id}/value", edit, |op| {
            op.summary("Set what is tried in place of what came")
                .answers_empty(204, "set; it is not tried yet")
                .refuses(&[Code::NotFound, Code::Invalid])
        })
        .delete("/api/admin/dead-letters/{id}", remove, |op| {
            op.summary("Throw a message away that was given up on")
                .description("It is gone for good, so a reason has to be given.")
                .answers_empty(204, "gone")
                .refuses(&[Code::NotFound, Code::Invalid])
        })
}

pub(in super::super) fn by(caller: &Needs<Operate>, reason: Option<String>) -> By {
    By { who: caller.name.to_string(), reason }
}

/// The letters of the service that has this one.
async fn home(admin: &Admin, id: Uuid) -> Result<DeadLetters, Fault> {
    for (_, ctx) in contexts(admin, None)? {
        if ctx.dead_letters().get(id).await?.is_some() {
            return Ok(ctx.dead_letters());
        }
    }
    Err(none(id))
}

async fn retry(
    State(admin): State<Admin>,
    caller: Needs<Operate>,
    Path(id): Path<Uuid>,
    Query(how): Query<How>,
) -> Result<StatusCode, Problem> {
    let letters = home(&admin, id).await?;
    if how.dry_run {
        letters.may_retry(id).await?;
    } else {
        letters.retry(id, &by(&caller, how.reason)).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn retry_all(
    State(admin): State<Admin>,
    caller: Needs<Operate>,
    Json(round): Json<Round>,
) -> Result<Json<Retried>, Problem> {
    several(&admin, &caller, round, async |letters, which, behind, limit, by| {
        letters.retry_all(&which, behind, limit, by).await
    })
    .await
}

async fn drop_all(
    State(admin): State<Admin>,
    caller: Needs<Operate>,
    Json(round): Json<Round>,
) -> Result<Json<Retried>, Problem> {
    several(&admin, &caller, round, async |letters, which, behind, limit, by| {
        letters.drop_all(&which, behind, limit, by).await
    })
    .await
}

/// Does it with the letters of the service that is named.
async fn several<F>(
    admin: &Admin,
    caller: &Needs<Operate>,
    round: Round,
    work: F,
) -> Result<Json<Retried>, Problem>
where
    F: AsyncFn(DeadLetters, Letters, Option<Onward>, u32, Option<&By>) -> Result<Replayed, Fault>,
{
    let Round { which, dry_run, limit, cursor, reason } = round;
    let limit = limit_of(limit, DEFAULT_ROUND, MAX_LIMIT)?;
    let behind: Option<Onward> = cursor.map(|cursor| cursor.key()).transpose()?;
    let service = which.service.clone().ok_or_else(|| Fault::field("which.service", "name the service"))?;
    let here = contexts(admin, Some(&service))?;
    let (_, ctx) =
        here.first().ok_or_else(|| Fault::not_found(format!("there is no service '{service}'")))?;
    let by = by(caller, reason);
    let by = (!dry_run).then_some(&by);
    let done = work(ctx.dead_letters(), which.letters(), behind, limit, by).await?;
    let refused = |(letter, fault): (Uuid, Fault)| Refused { letter, reason: fault.to_string() };
    Ok(Json(Retried {
        letters: done.letters,
        refused: done.refused.into_iter().map(refused).collect(),
        next: done.next.map(|next| Cursor::of(&next)),
    }))
}

async fn edit(
    State(admin): State<Admin>,
    caller: Needs<Operate>,
    Path(id): Path<Uuid>,
    Json(edit): Json<Edit>,
) -> Result<StatusCode, Problem> {
    let text = edit.value.get();
    let value = (text != "null").then(|| Bytes::from(text.to_owned()));
    home(&admin, id).await?.edit(id, value, &by(&caller, edit.reason)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(
    State(admin): State<Admin>,
    caller: Needs<Operate>,
    Path(id): Path<Uuid>,
    Query(why): Query<Why>,
) -> Result<StatusCode, Problem> {
    home(&admin, id).await?.drop(id, &by(&caller, why.reason)).await?;
    Ok(StatusCode::NO_CONTENT)
}
