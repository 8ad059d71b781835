//! Subscribers over HTTP.

use super::etag::{Expected, answer, etag, refused};
use super::{Part, asked};
use artel_contract::notify::person::{EraseSubscriber, Erased, Export, ExportSubscriber};
use artel_contract::notify::subscribers::{
    AddressKind, Changed, Contact, GetSubscriber, ListSubscribers, ListSubscriptions, Preferences, Profile,
    PutAddress, PutSubscriber, RemoveAddress, Saved, SetPreferences, Subscribe, Subscriber, Subscription,
    Unsubscribe,
};
use artel_flow::Ctx;
use artel_frame::edge::{Json, Needs, Path, Problem, Produce, Query, Read, RequestInfo, Routes};
use artel_message::{Code, Page};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Where {
    kind: AddressKind,
    address: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Next {
    #[serde(default)]
    cursor: Option<String>,
}

pub fn routes() -> Routes<Ctx> {
    Routes::new()
        .get("/api/notify/subscribers", list, |op| {
            op.summary("List subscribers by id").answers::<Page<Subscriber>>(200, "a page")
        })
        .get("/api/notify/subscribers/{id}", get, |op| {
            op.summary("Look at a subscriber").answers::<Subscriber>(200, "the subscriber").refuses(&[Code::NotFound])
        })
        .put("/api/notify/subscribers/{id}", put, |op| {
            op.summary("Make a subscriber, or change all of one")
                .answers::<Saved>(200, "changed")
                .answers::<Saved>(201, "made")
        })
        .delete("/api/notify/subscribers/{id}", erase, |op| {
            op.summary("Forget a person")
                .description("Addresses, choices, and what messages were filled with are deleted, also where the id is known from deliveries \
                     only. Deliveries stay without any of it, suppressed addresses as hashes. Of events that are in the log already only \
                     the id is left there, for as long as the log keeps them.")
                .answers::<Erased>(200, "what was forgotten; of many deliveries the rest follows by itself")
        })
        .get("/api/notify/subscribers/{id}/export", export, |op| {
            op.summary("Give out all that is kept of a person, page by page").answers::<Export>(200, "a page")
        })
        .put("/api/notify/subscribers/{id}/preferences", set_preferences, |op| {
            op.summary("Change what a subscriber wants to hear of")
                .answers::<Saved>(200, "changed")
                .refuses(&[Code::NotFound])
        })
        .post("/api/notify/subscribers/{id}/addresses", put_address, |op| {
            op.summary("Add an address, or change whether it is verified")
                .description("For apps that register a device: nothing else of the subscriber has to be known.")
                .answers::<Saved>(200, "changed")
                .answers::<Saved>(201, "added")
                .refuses(&[Code::NotFound, Code::Exhausted])
        })
        .delete("/api/notify/subscribers/{id}/addresses", remove_address, |op| {
            op.summary("Take an address away").answers_empty(204, "it is gone").refuses(&[Code::NotFound])
        })
        .get("/api/notify/subscribers/{id}/subscriptions", subscriptions, |op| {
            op.summary("List what a subscriber has subscribed to").answers::<Page<Subscription>>(200, "a page")
        })
        .post("/api/notify/subscriptions", subscribe, |op| {
            op.summary("Have subscribers hear of what is about a key of a topic")
                .answers::<Changed>(200, "how many were not yet")
        })
        .post("/api/notify/subscriptions:remove", unsubscribe, |op| {
            op.summary("Have subscribers hear no more of it").answers::<Changed>(200, "how many had")
        })
}

async fn list(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Query(query): Query<ListSubscribers>,
) -> Result<Json<Page<Subscriber>>, Problem> {
    Ok(Json(ctx.query(query).await?))
}

async fn get(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Path(subscriber): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let found = ctx.query(GetSubscriber { subscriber }).await?;
    Ok((etag(found.rev), Json(found)))
}

async fn erase(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Path(subscriber): Path<String>,
) -> Result<Json<Erased>, Problem> {
    Ok(Json(ctx.ask_as(EraseSubscriber { subscriber }, asked(&caller.name, &info)).await?))
}

async fn export(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Path(subscriber): Path<String>,
    Query(Next { cursor }): Query<Next>,
) -> Result<Json<Export>, Problem> {
    Ok(Json(ctx.query(ExportSubscriber { subscriber, cursor }).await?))
}

/// What was saved, with its ETag.
fn saved(saved: Saved) -> Response {
    answer(saved.created, saved.rev, saved)
}

async fn put(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Path(subscriber): Path<String>,
    Expected(expected): Expected,
    Json(profile): Json<Profile>,
) -> Result<Response, Problem> {
    let command = PutSubscriber { subscriber, profile, expected };
    ctx.ask_as(command, asked(&caller.name, &info)).await.map(saved).map_err(refused)
}

async fn set_preferences(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Path(subscriber): Path<String>,
    Expected(expected): Expected,
    Json(preferences): Json<Preferences>,
) -> Result<Response, Problem> {
    let command = SetPreferences { subscriber, preferences, expected };
    ctx.ask_as(command, asked(&caller.name, &info)).await.map(saved).map_err(refused)
}

async fn put_address(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Path(subscriber): Path<String>,
    Json(contact): Json<Contact>,
) -> Result<Response, Problem> {
    let command = PutAddress { subscriber, contact };
    Ok(saved(ctx.ask_as(command, asked(&caller.name, &info)).await?))
}

async fn remove_address(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Path(subscriber): Path<String>,
    Query(Where { kind, address }): Query<Where>,
) -> Result<StatusCode, Problem> {
    let command = RemoveAddress { subscriber, kind, address };
    ctx.ask_as(command, asked(&caller.name, &info)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn subscriptions(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Path(subscriber): Path<String>,
    Query(Part { limit, cursor }): Query<Part>,
) -> Result<Json<Page<Subscription>>, Problem> {
    Ok(Json(ctx.query(ListSubscriptions { subscriber, limit, cursor }).await?))
}

async fn subscribe(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Json(command): Json<Subscribe>,
) -> Result<Json<Changed>, Problem> {
    Ok(Json(ctx.ask_as(command, asked(&caller.name, &info)).await?))
}

async fn unsubscribe(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Json(command): Json<Unsubscribe>,
) -> Result<Json<Changed>, Problem> {
    Ok(Json(ctx.ask_as(command, asked(&caller.name, &info)).await?))
}
