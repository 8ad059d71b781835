//! The cache: keys by prefix, one entry, and its removal.

use super::record::{Encoding, raw};
use super::{Admin, limit_of};
use crate::edge::{Json, Needs, Operate, Path, Problem, Query, Routes};
use artel_message::{Code, Cursor, Fault, Page};
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;

/// A key of the cache.
#[derive(Serialize, JsonSchema)]
struct KeyRow {
    key: String,
    /// How long it still lives, in milliseconds.
    ttl_ms: u64,
    /// Bytes of its value.
    size: u64,
}

/// An entry of the cache.
#[derive(Serialize, JsonSchema)]
struct Entry {
    key: String,
    #[schemars(with = "serde_json::Value")]
    value: Box<RawValue>,
    value_encoding: Encoding,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Keys that begin with this; by convention keys are `service:kind:id`.
    prefix: Option<String>,
    /// At most this many, 1 to 1,000; 100 unless said.
    limit: Option<usize>,
    /// The field `next` of the page before.
    cursor: Option<Cursor>,
}

pub(super) fn routes() -> Routes<Admin> {
    Routes::new()
        .get("/api/admin/cache", list, |op| {
            op.summary("List keys of the cache")
                .answers::<Page<KeyRow>>(200, "keys; a page may be empty and not the last")
        })
        .get("/api/admin/cache/{key}", show, |op| {
            op.summary("Show an entry of the cache")
                .answers::<Entry>(200, "the entry")
                .refuses(&[Code::NotFound])
        })
        .delete("/api/admin/cache/{key}", remove, |op| {
            op.summary("Remove an entry of the cache")
                .description("Nothing is lost: it is read from the database again.")
                .answers_empty(204, "removed")
                .refuses(&[Code::NotFound])
        })
}

async fn list(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    Query(which): Query<Which>,
) -> Result<Json<Page<KeyRow>>, Problem> {
    let cursor: Option<String> = which.cursor.map(|cursor| cursor.key()).transpose()?;
    let limit = limit_of(which.limit, DEFAULT_PAGE, MAX_PAGE)?;
    let prefix = which.prefix.unwrap_or_default();
    let page = admin.0.cache.scan(&prefix, cursor.as_deref(), limit).await?;
    let row = |entry: artel_store::KeyEntry| KeyRow {
        key: entry.key,
        ttl_ms: u64::try_from(entry.ttl.as_millis()).unwrap_or(u64::MAX),
        size: entry.size,
    };
    let next = page.next.map(|next| Cursor::of(&next));
    Ok(Json(Page { items: page.keys.into_iter().map(row).collect(), next }))
}

async fn show(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    Path(key): Path<String>,
) -> Result<Json<Entry>, Problem> {
    let value = admin.0.cache.get(&key).await?.ok_or_else(|| none(&key))?;
    let (value, value_encoding) = raw(Some(value.as_ref()));
    Ok(Json(Entry { key, value, value_encoding }))
}

async fn remove(
    State(admin): State<Admin>,
    caller: Needs<Operate>,
    Path(key): Path<String>,
) -> Result<StatusCode, Problem> {
    if !admin.0.cache.delete(&key).await? {
        return Err(none(&key).into());
    }
    tracing::info!(key, user.name = &*caller.name, "a cache entry was removed");
    Ok(StatusCode::NO_CONTENT)
}

fn none(key: &str) -> Fault {
    Fault::not_found(format!("the cache has no key '{key}' (any more); list them at /api/admin/cache"))
}
