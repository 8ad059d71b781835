//! The story of one message.

use super::{Admin, limit_of};
use crate::edge::{Json, Needs, Operate, Path, Problem, Query, Routes};
use artel_flow::why::{Inquiry, Story};
use artel_message::{Code, Fault, Time};
use axum::extract::State;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;
use uuid::Uuid;

const MAX_RECORDS: u32 = 5_000_000;
const MAX_SECONDS: u32 = 25;
const MAX_MESSAGES: u32 = 1_000;
const MAX_DEPTH: u32 = 50;

/// How far is looked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct How {
    /// Look for the message in this topic only; what caused it and what it caused is looked for everywhere.
    topic: Option<String>,
    /// Look for the message only where this key goes.
    key: Option<String>,
    /// Look from this time on, in place of the one that the id tells.
    since: Option<Time>,
    /// How many generations of causes and effects are followed, 1 to 50; 5 unless said.
    depth: Option<u32>,
    /// How many messages are told at most, 1 to 1,000; 100 unless said.
    limit: Option<u32>,
    /// How many records of the log are looked at, 1 to 5,000,000; 200,000 unless said.
    records: Option<u32>,
    /// For how long is looked, 1 to 25; 10 unless said.
    seconds: Option<u32>,
    /// Tell the values of messages too.
    #[serde(default)]
    payload: bool,
}

pub(super) fn routes() -> Routes<Admin> {
    Routes::new().get("/api/admin/why/{id}", why, |op| {
        op.summary("Tell the story of one message")
            .description(
                "Where it is, what became of it in each group, what caused it and what it caused. Messages have no index by id: the \
                 log is looked through from the time on that the id tells. `looked` says how far that came, and what was left out.",
            )
            .answers::<Story>(200, "as far as the log and the tables tell it; without `message` where nothing is known")
            .refuses(&[Code::Invalid, Code::NotFound])
    })
}

async fn why(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    Path(id): Path<String>,
    Query(how): Query<How>,
) -> Result<Json<Story>, Problem> {
    let id = id.trim().parse::<Uuid>().map_err(|_| {
        Fault::field(
            "id",
            format!("'{id}' is no message's id; write a UUID such as 0198f2a0-1111-7000-8000-000000000001"),
        )
    })?;
    let number = |field: &'static str, asked: Option<u32>, unless_said: u32, most: u32| {
        limit_of(asked, unless_said, most)
            .map(|n| n as usize)
            .map_err(|_| Fault::field(field, format!("{} is not 1 to {most}", asked.unwrap_or(0))))
    };
    let inquiry = Inquiry {
        id,
        topic: how.topic,
        key: how.key.map(Bytes::from),
        since: how.since,
        depth: number("depth", how.depth, 5, MAX_DEPTH)?,
        most: number("limit", how.limit, 100, MAX_MESSAGES)?,
        records: number("records", how.records, 200_000, MAX_RECORDS)?,
        patience: Duration::from_secs(number("seconds", how.seconds, 10, MAX_SECONDS)? as u64),
        payload: how.payload,
    };
    Ok(Json(admin.0.runtime.why(&inquiry).await?))
}
