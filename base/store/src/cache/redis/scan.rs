//! Pages of keys. Redis gives about as many as it is asked for, and may give more: what is over travels in the cursor.

use super::RedisCache;
use super::link::{Failure, text};
use crate::{CacheError, KeyEntry, KeyPage};
use redis::{Value, cmd};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::timeout;

/// How many steps a call takes through keys that are not asked for.
const STEPS: usize = 32;

/// Where a scan stands: Redis' own cursor, none when it came to the end, and keys that it gave beyond a page.
#[derive(Serialize, Deserialize)]
struct Place {
    #[serde(rename = "c", skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    #[serde(rename = "k", default, skip_serializing_if = "Vec::is_empty")]
    keys: Vec<String>,
}

pub(super) async fn page(
    cache: &RedisCache,
    prefix: &str,
    cursor: Option<&str>,
    limit: usize,
) -> Result<KeyPage, CacheError> {
    let mut place = match cursor {
        None => Place { cursor: Some("0".to_owned()), keys: Vec::new() },
        Some(text) => parse(text)?,
    };
    let mut steps = 0;
    while place.keys.is_empty() && steps < STEPS {
        let Some(from) = place.cursor.take() else { break };
        (place.cursor, place.keys) = step(cache, prefix, &from, limit).await?;
        steps += 1;
    }
    let rest = place.keys.split_off(limit.min(place.keys.len()));
    let keys = describe(cache, &place.keys).await?;
    let next = Place { cursor: place.cursor, keys: rest };
    let ended = next.cursor.is_none() && next.keys.is_empty();
    let next = if ended { None } else { serde_json::to_string(&next).ok() };
    Ok(KeyPage { keys, next })
}

fn parse(text: &str) -> Result<Place, CacheError> {
    let place: Option<Place> = serde_json::from_str(text).ok();
    let number = |place: &Place| place.cursor.as_ref().is_none_or(|cursor| cursor.parse::<u64>().is_ok());
    place.filter(number).ok_or_else(|| CacheError::Cursor { cursor: text.to_owned() })
}

/// Names of keys as the port knows them, and Redis' next cursor.
async fn step(
    cache: &RedisCache,
    prefix: &str,
    from: &str,
    limit: usize,
) -> Result<(Option<String>, Vec<String>), CacheError> {
    let names = &cache.shared.names;
    let found = cache.read(|generation| {
        let mut command = cmd("SCAN");
        let pattern = format!("{}*", escaped(&names.key(generation, prefix)));
        command.arg(from).arg("MATCH").arg(pattern).arg("COUNT").arg(limit.clamp(10, 1000));
        command
    });
    let odd = || CacheError::Unavailable { reason: "redis: it answers SCAN in another form".to_owned() };
    let Value::Array(parts) = found.await? else { return Err(odd()) };
    let [cursor, Value::Array(keys)] = <[Value; 2]>::try_from(parts).map_err(|_| odd())? else {
        return Err(odd());
    };
    let cursor = text(cursor).ok_or_else(odd)?;
    // Behind the prefix and the generation; neither has a colon.
    let own = |key: Value| text(key)?.splitn(3, ':').nth(2).map(str::to_owned);
    let keys = keys.into_iter().filter_map(own).collect();
    Ok(((cursor != "0").then_some(cursor), keys))
}

/// What is gone meanwhile is left out.
async fn describe(cache: &RedisCache, keys: &[String]) -> Result<Vec<KeyEntry>, CacheError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let shared = &cache.shared;
    let link = shared.link().await?;
    let generation = link.generation();
    let mut commands = Vec::with_capacity(keys.len() * 2);
    for key in keys {
        for name in ["PTTL", "STRLEN"] {
            let mut command = cmd(name);
            command.arg(shared.names.key(&generation, key));
            commands.push(command);
        }
    }
    let work = timeout(shared.settings.timeout, link.send(&commands)).await;
    let replies = work.map_err(|_| Failure::Late)??;
    let entry = |(key, pair): (&String, &[Value])| match pair {
        [Value::Int(ttl), Value::Int(size)] if *ttl >= 0 => {
            let ttl = Duration::from_millis(ttl.unsigned_abs());
            Some(KeyEntry { key: key.clone(), ttl, size: size.unsigned_abs() })
        }
        _ => None,
    };
    Ok(keys.iter().zip(replies.chunks(2)).filter_map(entry).collect())
}

/// The text as a pattern that matches just it.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
