//! Dead letters: messages given up on, the newest first.

use super::Admin;
use super::record::{Encoding, raw, text};
use crate::edge::{Json, Needs, Operate, Problem, Query, Routes};
use artel_flow::DeadLetter;
use artel_message::{Fault, Time};
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 500;

#[derive(Serialize, JsonSchema)]
struct Letters {
    items: Vec<Letter>,
}

/// A message given up on.
#[derive(Serialize, JsonSchema)]
struct Letter {
    id: Uuid,
    service: String,
    group: String,
    /// Where it came from.
    topic: String,
    partition: u32,
    offset: i64,
    /// The message's own id.
    message: Uuid,
    /// Its type; absent for a foreign message.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    key: Option<String>,
    key_encoding: Encoding,
    #[schemars(with = "serde_json::Value")]
    value: Box<RawValue>,
    value_encoding: Encoding,
    /// Why, as a code and in words.
    code: String,
    reason: String,
    attempts: u32,
    at: Time,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Of this service; of all unless said.
    service: Option<String>,
    /// At most this many of each service, 1 to 500; 50 unless said.
    limit: Option<u32>,
}

pub(super) fn routes() -> Routes<Admin> {
    Routes::new().get("/api/admin/dead-letters", list, |op| {
        op.summary("List messages that were given up on").answers::<Letters>(200, "the newest first")
    })
}

async fn list(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    Query(which): Query<Which>,
) -> Result<Json<Letters>, Problem> {
    let limit = which.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let mut items = Vec::new();
    for service in admin.0.facts.running(&admin.0.runtime) {
        if which.service.as_ref().is_some_and(|wanted| *wanted != service) {
            continue;
        }
        let Some(ctx) = admin.0.runtime.ctx(&service) else { continue };
        let letters = ctx.read().await?.dead_letters(limit).await.map_err(Fault::from)?;
        items.extend(letters.into_iter().map(|letter| row(&service, letter)));
    }
    items.sort_by_key(|letter: &Letter| std::cmp::Reverse(letter.at));
    Ok(Json(Letters { items }))
}

fn row(service: &str, letter: DeadLetter) -> Letter {
    let (key, key_encoding) = text(letter.key.as_ref());
    let (value, value_encoding) = raw(letter.value.as_ref());
    Letter {
        id: letter.id,
        service: service.to_owned(),
        group: letter.group,
        topic: letter.topic,
        partition: letter.partition,
        offset: letter.offset,
        message: letter.message,
        name: letter.name,
        key,
        key_encoding,
        value,
        value_encoding,
        code: letter.code,
        reason: letter.reason,
        attempts: letter.attempts,
        at: letter.at,
    }
}
