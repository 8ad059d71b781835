//! Dead letters: messages given up on, the newest first; tried again, edited, dropped.

mod act;

pub(super) use act::{Why, by};

use super::here::{Elsewhere, Listed, contexts, elsewhere};
use super::record::{Encoding, HeaderRow, header_rows, raw, text};
use super::{Admin, limit_of};
use crate::edge::{Json, Needs, Operate, Path, Problem, Query, Routes};
use artel_flow::{DeadLetter, Letters, Trouble};
use artel_message::{Code, Cursor, Fault, Time};
use axum::extract::State;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

const DEFAULT_LIMIT: u32 = 50;
pub(super) const MAX_LIMIT: u32 = 500;

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
    /// The same for letters with the same cause, whatever numbers and ids the reason names.
    cause: String,
    attempts: u32,
    at: Time,
}

/// A letter with all that is kept of it.
#[derive(Serialize, JsonSchema)]
struct Whole {
    #[serde(flatten)]
    letter: Letter,
    /// When its record was written, and when it failed first.
    #[serde(skip_serializing_if = "Option::is_none")]
    written_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Time>,
    /// What it failed with, in order.
    errors: Vec<TroubleRow>,
    headers: Vec<HeaderRow>,
}

/// An error, as often as it came without another in between.
#[derive(Serialize, JsonSchema)]
pub(super) struct TroubleRow {
    code: String,
    reason: String,
    first: Time,
    last: Time,
    times: u32,
}

impl From<&Trouble> for TroubleRow {
    fn from(trouble: &Trouble) -> TroubleRow {
        let Trouble { code, reason, first, last, times } = trouble.clone();
        TroubleRow { code, reason, first, last, times }
    }
}

/// Letters of one cause.
#[derive(Serialize, JsonSchema)]
struct CauseRow {
    service: String,
    cause: String,
    count: i64,
    /// Of one of them.
    code: String,
    reason: String,
    first: Time,
    last: Time,
}

/// The causes with the most letters.
#[derive(Serialize, JsonSchema)]
struct Causes {
    items: Vec<CauseRow>,
    /// Services that this node can't answer for: what they have is not among the items.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_here: Vec<Elsewhere>,
}

/// Which letters are meant; all that is named has to fit.
#[derive(Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Fits {
    /// Of this service; of all unless said.
    service: Option<String>,
    /// The field `cause` of a letter.
    cause: Option<String>,
    /// The group's full name.
    group: Option<String>,
    topic: Option<String>,
    /// The message's type.
    name: Option<String>,
    key: Option<String>,
    /// Given up at this time or later.
    from: Option<Time>,
    /// Given up before this time.
    to: Option<Time>,
}

impl Fits {
    fn letters(self) -> Letters {
        let Fits { cause, group, topic, name, key, from, to, .. } = self;
        Letters { cause, group, topic, name, key: key.map(Bytes::from), from, to }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Of this service; of all unless said.
    service: Option<String>,
    /// The field `cause` of a letter.
    cause: Option<String>,
    /// The group's full name.
    group: Option<String>,
    topic: Option<String>,
    /// The message's type.
    name: Option<String>,
    key: Option<String>,
    /// Given up at this time or later.
    from: Option<Time>,
    /// Given up before this time.
    to: Option<Time>,
    /// At most this many, 1 to 500; 50 unless said.
    limit: Option<u32>,
    /// The field `next` of the page before; the other parameters stay.
    cursor: Option<Cursor>,
}

pub(super) fn routes() -> Routes<Admin> {
    let read = Routes::new()
        .get("/api/admin/dead-letters", list, |op| {
            op.summary("List messages that were given up on")
                .answers::<Listed<Letter>>(200, "the newest first")
        })
        .get("/api/admin/dead-letters/causes", causes, |op| {
            op.summary("Count messages that were given up on by their cause")
                .answers::<Causes>(200, "the causes with the most letters first, 50 of each service at most")
        })
        .get("/api/admin/dead-letters/{id}", show, |op| {
            op.summary("Show a message that was given up on")
                .answers::<Whole>(200, "the letter with its headers and errors")
                .refuses(&[Code::NotFound])
        });
    read.merge(act::routes())
}

async fn list(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    Query(which): Query<Which>,
) -> Result<Json<Listed<Letter>>, Problem> {
    let behind: Option<(Time, Uuid)> = which.cursor.map(|cursor| cursor.key()).transpose()?;
    let limit = limit_of(which.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let Which { service, cause, group, topic, name, key, from, to, .. } = which;
    let fits = Fits { service: service.clone(), cause, group, topic, name, key, from, to }.letters();
    let mut items = Vec::new();
    for (service, ctx) in contexts(&admin, service.as_deref())? {
        // Each service may have the whole page, and one more says that there is another.
        let letters = ctx.dead_letters().find(&fits, behind, limit + 1).await?;
        items.extend(letters.into_iter().map(|letter| row(&service, letter)));
    }
    items.sort_by_key(|letter: &Letter| std::cmp::Reverse((letter.at, letter.id)));
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|last| Cursor::of(&(last.at, last.id)));
    Ok(Json(Listed::of(&admin, service.as_deref(), items, next)))
}

async fn causes(State(admin): State<Admin>, _: Needs<Operate>) -> Result<Json<Causes>, Problem> {
    let mut items = Vec::new();
    for (service, ctx) in contexts(&admin, None)? {
        items.extend(ctx.dead_letters().causes(DEFAULT_LIMIT).await?.into_iter().map(|cause| CauseRow {
            service: service.clone(),
            cause: cause.fingerprint,
            count: cause.count,
            code: cause.code,
            reason: cause.reason,
            first: cause.first,
            last: cause.last,
        }));
    }
    items.sort_by_key(|cause| std::cmp::Reverse(cause.count));
    Ok(Json(Causes { items, not_here: elsewhere(&admin) }))
}

async fn show(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    Path(id): Path<Uuid>,
) -> Result<Json<Whole>, Problem> {
    for (service, ctx) in contexts(&admin, None)? {
        let Some(letter) = ctx.dead_letters().get(id).await? else { continue };
        return Ok(Json(Whole {
            written_at: letter.trail.written_at,
            failing_since: letter.trail.failing_since,
            errors: letter.trail.errors.troubles().iter().map(TroubleRow::from).collect(),
            headers: header_rows(&letter.headers()),
            letter: row(&service, letter),
        }));
    }
    Err(none(id).into())
}

fn none(id: Uuid) -> Fault {
    Fault::not_found(format!(
        "no service that runs here has a dead letter {id} (any more); list them at /api/admin/dead-letters"
    ))
}

fn row(service: &str, letter: DeadLetter) -> Letter {
    let (key, key_encoding) = text(letter.key.as_deref());
    let (value, value_encoding) = raw(letter.value.as_deref());
    Letter {
        id: letter.id,
        service: service.to_owned(),
        cause: letter.fingerprint(),
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
