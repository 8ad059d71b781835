//! Dead letters: messages given up on, the newest first.

use super::record::{Encoding, raw, text};
use super::{Admin, limit_of};
use crate::edge::{Json, Needs, Operate, Problem, Query, Routes};
use artel_flow::DeadLetter;
use artel_message::{Cursor, Fault, Page, Time};
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 500;

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
    /// At most this many, 1 to 500; 50 unless said.
    limit: Option<u32>,
    /// The field `next` of the page before; the other parameters stay.
    cursor: Option<Cursor>,
}

pub(super) fn routes() -> Routes<Admin> {
    Routes::new().get("/api/admin/dead-letters", list, |op| {
        op.summary("List messages that were given up on").answers::<Page<Letter>>(200, "the newest first")
    })
}

async fn list(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    Query(which): Query<Which>,
) -> Result<Json<Page<Letter>>, Problem> {
    let behind: Option<(Time, Uuid)> = which.cursor.map(|cursor| cursor.key()).transpose()?;
    let limit = limit_of(which.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let mut items = Vec::new();
    for service in admin.0.facts.running(&admin.0.runtime) {
        if which.service.as_ref().is_some_and(|wanted| *wanted != service) {
            continue;
        }
        let Some(ctx) = admin.0.runtime.ctx(&service) else { continue };
        // Each service may have the whole page, and one more says that there is another.
        let letters = ctx.read().await?.dead_letters(behind, limit + 1).await.map_err(Fault::from)?;
        items.extend(letters.into_iter().map(|letter| row(&service, letter)));
    }
    items.sort_by_key(|letter: &Letter| std::cmp::Reverse((letter.at, letter.id)));
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|last| Cursor::of(&(last.at, last.id)));
    Ok(Json(Page { items, next }))
}

fn row(service: &str, letter: DeadLetter) -> Letter {
    let (key, key_encoding) = text(letter.key.as_deref());
    let (value, value_encoding) = raw(letter.value.as_deref());
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
