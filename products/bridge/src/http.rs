//! Routes of the bridge: each parses, asks the mediator, answers.

use crate::consumers::{Consumer, ConsumerFactory};
use crate::message_send::MessageSend;
use crate::repository::Repository;
use artel_contract::bridge::{
    Accepted, GetStats, GetTimer, ListMessages, MessageId, NewMessage, SetTimer, StartConsumer, Stats, Timer,
    Tracked,
};
use artel_flow::{Asked, Ctx};
use artel_frame::edge::{
    IdempotencyKey, Json, Needs, Path, Problem, Produce, Query, Read, RequestInfo, Routes,
};
use artel_message::{Code, Page};
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

/// Which media type a batch has.
const NDJSON: &str = "application/x-ndjson";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Stop {
    /// Forgets the consumer and its place instead of keeping them.
    #[serde(default)]
    forget: bool,
}

pub fn routes(ctx: &Ctx) -> Routes {
    Routes::new()
        .post("/api/bridge/messages", produce, |op| {
            op.summary("Send a message")
                .description("The message is saved and will be published; follow it by its id.")
                .answers::<Accepted>(202, "accepted")
                .refuses(&[Code::Forbidden, Code::Conflict, Code::Exhausted])
        })
        .post("/api/bridge/messages:batch", crate::batch::produce_batch, |op| {
            op.summary("Send many messages, a line each")
                .description(
                    "A line is a message as of `POST /api/bridge/messages`; one that is refused takes no others with it. Lines \
                     are taken in by the thousand, each thousand in one transaction: a connection that breaks off leaves \
                     whole thousands. A batch that ends with a problem says under `data` how many lines were `accepted`.",
                )
                .raw_body::<NewMessage>(NDJSON, "a message per line")
                .answers::<crate::batch::Report>(200, "how many lines were accepted, and why others were not")
                .refuses(&[Code::Conflict, Code::Exhausted])
                .streams()
        })
        .get("/api/bridge/messages/{id}", message, |op| {
            op.summary("Follow a message").answers::<Tracked>(200, "the message").refuses(&[Code::NotFound])
        })
        .get("/api/bridge/messages", messages, |op| {
            op.summary("List messages, the newest first").answers::<Page<Tracked>>(200, "a page")
        })
        .post("/api/bridge/consumers", start, |op| {
            op.summary("Start a consumer")
                .description("One that exists and is stopped goes on where it stopped.")
                .answers::<Consumer>(201, "started")
                .refuses(&[Code::NotFound, Code::Forbidden, Code::Conflict])
        })
        .get("/api/bridge/consumers", consumers, |op| {
            op.summary("List consumers").answers::<Vec<Consumer>>(200, "every consumer")
        })
        .delete("/api/bridge/consumers/{id}", stop, |op| {
            op.summary("Stop a consumer").answers_empty(204, "stopped").refuses(&[Code::NotFound])
        })
        .get("/api/bridge/timer", timer, |op| {
            op.summary("Look at the test messages").answers::<Timer>(200, "the setting")
        })
        .put("/api/bridge/timer", set_timer, |op| {
            op.summary("Switch the test messages on or off")
                .answers::<Timer>(200, "the setting from now on")
                .refuses(&[Code::Forbidden])
        })
        .get("/api/bridge/stats", stats, |op| {
            op.summary("Count messages").answers::<Stats>(200, "totals since the beginning")
        })
        .with_state(ctx.clone())
}

/// Who asks, for the mediator.
pub(crate) fn asked(caller: &str, info: &RequestInfo) -> Asked {
    Asked::by(caller).trace(Some(info.trace.to_string()))
}

async fn produce(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    key: IdempotencyKey,
    Json(message): Json<NewMessage>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let asked = asked(&caller.name, &info).key(key.0);
    let accepted = MessageSend::new(&ctx).one(message, asked).await?;
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

async fn message(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Path(id): Path<MessageId>,
) -> Result<Json<Tracked>, Problem> {
    Ok(Json(Repository::new(&ctx).get(id).await?))
}

async fn messages(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Query(query): Query<ListMessages>,
) -> Result<Json<Page<Tracked>>, Problem> {
    Ok(Json(ctx.query(query).await?))
}

async fn start(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Json(command): Json<StartConsumer>,
) -> Result<(StatusCode, Json<Consumer>), Problem> {
    let consumer = ConsumerFactory::new(&ctx).start(command, asked(&caller.name, &info)).await?;
    Ok((StatusCode::CREATED, Json(consumer)))
}

async fn consumers(State(ctx): State<Ctx>, _: Needs<Read>) -> Result<Json<Vec<Consumer>>, Problem> {
    Ok(Json(ConsumerFactory::new(&ctx).list().await?))
}

async fn stop(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Path(id): Path<String>,
    Query(how): Query<Stop>,
) -> Result<StatusCode, Problem> {
    ConsumerFactory::new(&ctx).stop(id, how.forget, asked(&caller.name, &info)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn timer(State(ctx): State<Ctx>, _: Needs<Read>) -> Result<Json<Timer>, Problem> {
    Ok(Json(ctx.query(GetTimer {}).await?))
}

async fn set_timer(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Json(timer): Json<Timer>,
) -> Result<Json<Timer>, Problem> {
    timer.check()?;
    MessageSend::new(&ctx).ready(&timer.topic).await?;
    Ok(Json(ctx.ask_as(SetTimer { timer }, asked(&caller.name, &info)).await?))
}

async fn stats(State(ctx): State<Ctx>, _: Needs<Read>) -> Result<Json<Stats>, Problem> {
    Ok(Json(ctx.query(GetStats {}).await?))
}
