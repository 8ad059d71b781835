//! Sending many again that were given up.

use super::{Part, asked};
use artel_contract::notify::replay::{
    GetReplay, ListReplays, Replay, ReplayDeliveries, ReplayFilter, ReplayId, StopReplay, TriedReplay,
    TryReplay,
};
use artel_flow::Ctx;
use artel_frame::edge::{
    IdempotencyKey, Json, Needs, Operate, Path, Problem, Query, Read, RequestInfo, Routes,
};
use artel_message::{Code, Fault, Page};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;

/// Which deliveries to send again, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Again {
    filter: ReplayFilter,
    /// Only says what would be done.
    #[serde(default)]
    dry_run: bool,
    /// Deliveries a second: 1 to 5,000; 100 when absent.
    #[serde(default)]
    per_second: Option<u32>,
    /// For the audit trail of each; not needed for a dry run.
    #[serde(default)]
    why: Option<String>,
}

pub fn routes() -> Routes<Ctx> {
    Routes::new()
        .post("/api/notify/deliveries/replay", replay, |op| {
            op.summary("Send many again that were given up")
                .description("Those that failed, and with `unknown` also those of which nobody knows whether they arrived. With `dry_run` \
                     it only says how many and shows a few; otherwise it goes on in the background, and can be followed by its id.")
                .answers::<TriedReplay>(200, "what would be done")
                .answers::<Replay>(202, "it has begun")
        })
        .get("/api/notify/replays", list, |op| {
            op.summary("List replays, the newest first").answers::<Page<Replay>>(200, "a page")
        })
        .get("/api/notify/replays/{id}", get, |op| {
            op.summary("Follow a replay").answers::<Replay>(200, "how far it is").refuses(&[Code::NotFound])
        })
        .post("/api/notify/replays/{id}/stop", stop, |op| {
            op.summary("Stop a replay")
                .description("What was sent again stays so.")
                .answers::<Replay>(200, "it is over")
                .refuses(&[Code::NotFound])
        })
}

async fn replay(
    State(ctx): State<Ctx>,
    caller: Needs<Operate>,
    info: RequestInfo,
    key: IdempotencyKey,
    Json(Again { filter, dry_run, per_second, why }): Json<Again>,
) -> Result<Response, Problem> {
    if dry_run {
        return Ok(Json(ctx.query(TryReplay { filter }).await?).into_response());
    }
    let why = why
        .ok_or_else(|| Fault::field("why", "is not there; it goes into the audit trail of each delivery"))?;
    let command = ReplayDeliveries { filter, per_second, why, by: caller.name.to_string() };
    let begun = ctx.ask_as(command, asked(&caller.name, &info).key(key.0)).await?;
    Ok((StatusCode::ACCEPTED, Json(begun)).into_response())
}

async fn list(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Query(Part { limit, cursor }): Query<Part>,
) -> Result<Json<Page<Replay>>, Problem> {
    Ok(Json(ctx.query(ListReplays { limit, cursor }).await?))
}

async fn get(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Path(replay): Path<ReplayId>,
) -> Result<Json<Replay>, Problem> {
    Ok(Json(ctx.query(GetReplay { replay }).await?))
}

async fn stop(
    State(ctx): State<Ctx>,
    caller: Needs<Operate>,
    info: RequestInfo,
    Path(replay): Path<ReplayId>,
) -> Result<Json<Replay>, Problem> {
    let command = StopReplay { replay, by: caller.name.to_string() };
    Ok(Json(ctx.ask_as(command, asked(&caller.name, &info)).await?))
}
