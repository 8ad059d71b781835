//! The suppression list over HTTP.

use super::asked;
use artel_contract::notify::subscribers::{AddressKind, Changed};
use artel_contract::notify::suppression::{
    ListSuppressed, Suppress, Suppressed, SuppressionReason, Unsuppress,
};
use artel_flow::Ctx;
use artel_frame::edge::{Json, Needs, Path, Problem, Produce, Query, Read, RequestInfo, Routes};
use artel_message::{Code, Page};
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

/// An address for the list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewEntry {
    kind: AddressKind,
    address: String,
    /// `by_hand` when absent.
    #[serde(default)]
    reason: Option<SuppressionReason>,
    #[serde(default)]
    note: Option<String>,
}

pub fn routes() -> Routes<Ctx> {
    Routes::new()
        .get("/api/notify/suppressions", list, |op| {
            op.summary("List addresses that nothing is sent to, the latest first")
                .answers::<Page<Suppressed>>(200, "a page")
        })
        .post("/api/notify/suppressions", add, |op| {
            op.summary("Send nothing more to an address")
                .description("A wish of the recipient (unsubscribed, complaint, by_hand) holds until it is taken off, against critical ones too.")
                .answers::<Changed>(200, "1 where the list is another one now")
        })
        .delete("/api/notify/suppressions/{id}", remove, |op| {
            op.summary("Take an address off the list").answers_empty(204, "it is off").refuses(&[Code::NotFound])
        })
}

async fn list(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Query(query): Query<ListSuppressed>,
) -> Result<Json<Page<Suppressed>>, Problem> {
    Ok(Json(ctx.query(query).await?))
}

async fn add(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Json(NewEntry { kind, address, reason, note }): Json<NewEntry>,
) -> Result<Json<Changed>, Problem> {
    let reason = reason.unwrap_or(SuppressionReason::ByHand);
    let command = Suppress { kind, address, reason, by: caller.name.to_string(), note };
    Ok(Json(ctx.ask_as(command, asked(&caller.name, &info)).await?))
}

async fn remove(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let command = Unsuppress { id, by: caller.name.to_string() };
    ctx.ask_as(command, asked(&caller.name, &info)).await?;
    Ok(StatusCode::NO_CONTENT)
}
