//! Templates over HTTP.

use super::etag::{Expected, answer, etag, refused};
use super::{Which, asked};
use crate::templates::CheckTemplate;
use artel_contract::notify::templates::{
    GetTemplate, ListTemplates, Preview, PreviewTemplate, PutTemplate, RemoveTemplate, SavedTemplate,
    TemplateBody, TemplateSummary, TemplateVersion,
};
use artel_contract::notify::{Channel, Content, Lane, Mode, Notify, Queued, Recipient};
use artel_flow::Ctx;
use artel_frame::edge::{
    IdempotencyKey, Json, Needs, Path, Problem, Produce, Query, Read, RequestInfo, Routes,
};
use artel_message::{Code, Fault, Page};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// How a template is to be seen.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Look {
    #[serde(default)]
    version: Option<u32>,
    /// In place of what is saved: to see it before.
    #[serde(default)]
    body: Option<TemplateBody>,
    /// What it is filled from; where absent, an example by the schema.
    #[serde(default)]
    data: Option<Value>,
    #[serde(default)]
    language: Option<String>,
    /// A name of the time zone database; UTC when absent.
    #[serde(default)]
    zone: Option<String>,
    /// The recipient's.
    #[serde(default)]
    name: Option<String>,
}

/// A test of a template on somebody.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Test {
    recipient: Recipient,
    /// What it is filled from; where absent, an example by the schema.
    #[serde(default)]
    data: Option<Value>,
    #[serde(default)]
    channels: Vec<Channel>,
}

/// What test sends are about, so that somebody may opt out of them.
const TEST: &str = "test";

pub fn routes() -> Routes<Ctx> {
    Routes::new()
        .get("/api/notify/templates", list, |op| {
            op.summary("List templates, or the versions of one").answers::<Page<TemplateSummary>>(200, "a page")
        })
        .get("/api/notify/templates/{id}", get, |op| {
            op.summary("Look at a template").answers::<TemplateVersion>(200, "the template").refuses(&[Code::NotFound])
        })
        .put("/api/notify/templates/{id}", put, |op| {
            op.summary("Save a template as its next version")
                .description("It is sent from then on; what was accepted before keeps the version that it had. Every text is compiled, and \
                     held against the schema of its message: what is wrong stands under `data.problems`.")
                .answers::<SavedTemplate>(200, "changed")
                .answers::<SavedTemplate>(201, "made")
                .refuses(&[Code::Conflict])
        })
        .delete("/api/notify/templates/{id}", remove, |op| {
            op.summary("Take a template away; one that came with the program is as it came")
                .answers_empty(204, "it is gone")
                .refuses(&[Code::NotFound, Code::Conflict])
        })
        .post("/api/notify/templates/{id}/preview", preview, |op| {
            op.summary("See what a template would send")
                .description("In every channel, also before it is saved (`body`). Without `data` it is filled with an example by the schema.")
                .answers::<Preview>(200, "the messages")
                .refuses(&[Code::NotFound])
        })
        .post("/api/notify/templates/{id}/test-sends", test_send, |op| {
            op.summary("Send a template to somebody")
                .description("As any notification, on the topic `test`; it has a delivery.")
                .answers::<Queued>(202, "accepted")
                .refuses(&[Code::NotFound])
        })
}

async fn list(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Query(query): Query<ListTemplates>,
) -> Result<Json<Page<TemplateSummary>>, Problem> {
    Ok(Json(ctx.query(query).await?))
}

async fn get(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Path(template): Path<String>,
    Query(Which { version }): Query<Which>,
) -> Result<impl IntoResponse, Problem> {
    let found = ctx.query(GetTemplate { template, version }).await?;
    Ok((etag(u64::from(found.version)), Json(found)))
}

async fn put(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Path(template): Path<String>,
    Expected(expected): Expected,
    Json(body): Json<TemplateBody>,
) -> Result<Response, Problem> {
    ctx.query(CheckTemplate { template: template.clone(), body: body.clone() }).await?;
    let command = PutTemplate { template, body, by: caller.name.to_string(), expected };
    let saved = ctx.ask_as(command, asked(&caller.name, &info)).await.map_err(refused)?;
    Ok(answer(saved.created, u64::from(saved.version), saved))
}

async fn remove(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Path(template): Path<String>,
    Expected(expected): Expected,
) -> Result<StatusCode, Problem> {
    let command = RemoveTemplate { template, by: caller.name.to_string(), expected };
    ctx.ask_as(command, asked(&caller.name, &info)).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn preview(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Path(template): Path<String>,
    Json(Look { version, body, data, language, zone, name }): Json<Look>,
) -> Result<Json<Preview>, Problem> {
    Ok(Json(ctx.query(PreviewTemplate { template, version, body, data, language, zone, name }).await?))
}

async fn test_send(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    key: IdempotencyKey,
    Path(template): Path<String>,
    Json(Test { recipient, data, channels }): Json<Test>,
) -> Result<(StatusCode, Json<Queued>), Problem> {
    let data = match data {
        Some(data) => data,
        None => {
            let found = ctx.query(GetTemplate { template: template.clone(), version: None }).await?;
            crate::templates::example(&found.body).unwrap_or_default()
        }
    };
    let Value::Object(data) = data else { return Err(Fault::field("data", "is no JSON object").into()) };
    let content = Content {
        template,
        data: data.into_iter().collect(),
        topic: TEST.to_owned(),
        channels,
        mode: Mode::All,
        lane: Lane::Transactional,
        send_at: None,
        expires_at: None,
        supersede_key: None,
        attachments: Vec::new(),
    };
    let queued = ctx.ask_as(Notify { recipient, content }, asked(&caller.name, &info).key(key.0)).await?;
    Ok((StatusCode::ACCEPTED, Json(queued)))
}
