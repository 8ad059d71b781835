//! Topics of preferences over HTTP.

use super::asked;
use super::etag::{Expected, answer, refused};
use artel_contract::notify::subscribers::Saved;
use artel_contract::notify::topics::{ListTopics, PutTopic, TopicSettings, TopicVersion};
use artel_flow::Ctx;
use artel_frame::edge::{Json, Needs, Path, Problem, Produce, Query, Read, RequestInfo, Routes};
use artel_message::Page;
use axum::extract::State;
use axum::response::Response;

pub fn routes() -> Routes<Ctx> {
    Routes::new()
        .get("/api/notify/topics", list, |op| {
            op.summary("List topics of preferences for which something was said")
                .answers::<Page<TopicVersion>>(200, "a page")
        })
        .put("/api/notify/topics/{topic}", put, |op| {
            op.summary("Say what holds for a topic of preferences")
                .description("What is sent where nobody chose, and what passes a choice.")
                .answers::<Saved>(200, "changed")
                .answers::<Saved>(201, "made")
        })
}

async fn list(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Query(query): Query<ListTopics>,
) -> Result<Json<Page<TopicVersion>>, Problem> {
    Ok(Json(ctx.query(query).await?))
}

async fn put(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Path(topic): Path<String>,
    Expected(expected): Expected,
    Json(settings): Json<TopicSettings>,
) -> Result<Response, Problem> {
    let command = PutTopic { topic, settings, expected };
    let saved = ctx.ask_as(command, asked(&caller.name, &info)).await.map_err(refused)?;
    Ok(answer(saved.created, saved.rev, saved))
}
