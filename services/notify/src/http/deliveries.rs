//! Deliveries: sent, looked at, decided about.

use super::asked;
use crate::deliveries::seen;
use artel_contract::notify::decisions::{Decide, Decision, ExplainDelivery, Explained, Language};
use artel_contract::notify::{
    Content, Delivery, DeliveryId, ListDeliveries, Notify, NotifyMany, QueuedMany, Recipient, SeenDelivery,
};
use artel_flow::Ctx;
use artel_frame::edge::{
    IdempotencyKey, Json, Needs, Operate, Path, Problem, Produce, Query, Read, RequestInfo, Routes,
};
use artel_message::{Code, Fault, Page};
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

/// What to send, and to whom: one recipient or many.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Send {
    #[serde(default)]
    recipient: Option<Recipient>,
    /// Up to 1,000.
    #[serde(default)]
    recipients: Option<Vec<Recipient>>,
    content: Content,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Decided {
    decision: Decision,
    /// The index of the leg; every one that it can be decided of when absent.
    #[serde(default)]
    leg: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct In {
    #[serde(default)]
    language: Language,
}

pub fn routes(routes: Routes<Ctx>) -> Routes<Ctx> {
    routes
        .post("/api/notify/deliveries", send, |op| {
            op.summary("Send a notification to one or many")
                .description("It is saved and will be sent; follow it by its id. The answer has one id for each recipient.")
                .answers::<QueuedMany>(202, "accepted")
                .refuses(&[Code::Conflict, Code::Exhausted])
        })
        .get("/api/notify/deliveries/{id}", delivery, |op| {
            op.summary("Follow a delivery")
                .description("`source` says where the answer comes from, `age_ms` how old it is.")
                .answers::<SeenDelivery>(200, "the delivery")
                .refuses(&[Code::NotFound])
        })
        .get("/api/notify/deliveries", deliveries, |op| {
            op.summary("List deliveries, the newest first").answers::<Page<Delivery>>(200, "a page")
        })
        .post("/api/notify/deliveries/{id}/decisions", decide, |op| {
            op.summary("Decide about a delivery")
                .description("Sends a failed one again, or says of one whose fate nobody knows what became of it.")
                .answers::<Delivery>(200, "the delivery from now on")
                .refuses(&[Code::NotFound, Code::Conflict])
        })
        .get("/api/notify/deliveries/{id}/why", why, |op| {
            op.summary("Explain why a delivery was, or was not, tried again")
                .answers::<Explained>(200, "a sentence for each attempt")
                .refuses(&[Code::NotFound])
        })
}

async fn send(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    key: IdempotencyKey,
    Json(send): Json<Send>,
) -> Result<(StatusCode, Json<QueuedMany>), Problem> {
    let (asked, content) = (asked(&caller.name, &info).key(key.0), send.content);
    let queued = match (send.recipient, send.recipients) {
        (Some(recipient), None) => {
            let one = ctx.ask_as(Notify { recipient, content }, asked).await?;
            QueuedMany { deliveries: vec![one] }
        }
        (None, Some(recipients)) => ctx.ask_as(NotifyMany { recipients, content }, asked).await?,
        _ => return Err(Fault::field("recipient", "give a recipient, or recipients").into()),
    };
    Ok((StatusCode::ACCEPTED, Json(queued)))
}

async fn delivery(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Path(id): Path<DeliveryId>,
) -> Result<Json<SeenDelivery>, Problem> {
    Ok(Json(seen(&ctx, id).await?))
}

async fn deliveries(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Query(query): Query<ListDeliveries>,
) -> Result<Json<Page<Delivery>>, Problem> {
    Ok(Json(ctx.query(query).await?))
}

async fn decide(
    State(ctx): State<Ctx>,
    caller: Needs<Operate>,
    info: RequestInfo,
    key: IdempotencyKey,
    Path(delivery): Path<DeliveryId>,
    Json(Decided { decision, leg }): Json<Decided>,
) -> Result<Json<Delivery>, Problem> {
    let asked = asked(&caller.name, &info).key(key.0);
    let by = caller.name.to_string();
    Ok(Json(ctx.ask_as(Decide { delivery, leg, decision, by }, asked).await?))
}

async fn why(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Path(delivery): Path<DeliveryId>,
    Query(In { language }): Query<In>,
) -> Result<Json<Explained>, Problem> {
    Ok(Json(ctx.query(ExplainDelivery { delivery, language }).await?))
}
