//! Looking at rules and what they missed.

use super::save::no_such;
use crate::NotifySettings;
use crate::recipients::subscribers::{PAGE, page};
use crate::store::rules as store;
use artel_contract::notify::rules::{GetRule, ListMisses, ListRules, Miss, RuleVersion};
use artel_flow::{Read, Tx};
use artel_message::{Cursor, Fault, Page, Time};
use std::time::Duration;
use uuid::Uuid;

/// Misses that a purge deletes in one transaction; what is left goes with the next one.
const PURGE: i64 = 5_000;

pub async fn get(mut read: &Read, query: GetRule) -> Result<RuleVersion, Fault> {
    let GetRule { rule: id, version } = query;
    let found = store::version(&mut read, &id, version).await?;
    found.ok_or_else(|| match version {
        Some(version) => Fault::not_found(format!("rule '{id}' has no version {version}")),
        None => no_such(&id),
    })
}

pub async fn list(mut read: &Read, query: ListRules) -> Result<Page<RuleVersion>, Fault> {
    let limit = query.limit.unwrap_or(PAGE) as usize;
    let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    match query.versions_of {
        Some(id) => {
            let before = query.cursor.map(|text| Cursor(text).key::<u32>()).transpose()?.unwrap_or(u32::MAX);
            let found = store::versions(&mut read, &id, before, most).await?;
            Ok(page(found, limit, |one| Cursor::of(&one.version)))
        }
        None => {
            let after =
                query.cursor.map(|text| Cursor(text).key::<String>()).transpose()?.unwrap_or_default();
            let found = store::list(&mut read, &after, most).await?;
            Ok(page(found, limit, |one| Cursor::of(&one.id)))
        }
    }
}

pub async fn misses(mut read: &Read, query: ListMisses) -> Result<Page<Miss>, Fault> {
    let limit = query.limit.unwrap_or(PAGE) as usize;
    let before = query.cursor.map(|text| Cursor(text).key()).transpose()?;
    let before = before.unwrap_or((Time::MAX, Uuid::max()));
    let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let found = store::misses(&mut read, &query.rule, before, most).await?;
    let Page { items, next } = page(found, limit, |(id, miss)| Cursor::of(&(miss.at, id)));
    Ok(Page { items: items.into_iter().map(|(_, miss)| miss).collect(), next })
}

/// Forgets what was missed long ago.
pub async fn purge(tx: &mut Tx, (): ()) -> Result<(), Fault> {
    let days = u64::from(tx.settings::<NotifySettings>().misses_days);
    let before = tx.now() - Duration::from_secs(days * 86_400);
    store::purge_misses(tx, before, PURGE).await?;
    Ok(())
}
