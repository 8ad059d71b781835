//! Who hears of what is about a key of a topic.

use super::subscribers::{PAGE, no_such, page};
use crate::store::subscribers as store;
use artel_contract::notify::subscribers::{Changed, ListSubscriptions, Subscribe, Subscription, Unsubscribe};
use artel_flow::{Read, Tx};
use artel_message::{Cursor, Fault, Page};
use std::collections::BTreeSet;

pub async fn subscribe(tx: &mut Tx, command: Subscribe) -> Result<Changed, Fault> {
    let who: BTreeSet<&str> = command.subscribers.iter().map(String::as_str).collect();
    let known = store::find(tx, &who).await?;
    let known: BTreeSet<&str> = known.iter().map(|subscriber| subscriber.id.as_str()).collect();
    let unknown = command.subscribers.iter().position(|id| !known.contains(id.as_str()));
    if let Some(at) = unknown {
        let reason = no_such(&command.subscribers[at]).reason;
        return Err(Fault::field(&format!("subscribers[{at}]"), reason));
    }
    let changed = store::subscribe(tx, &command.topic, &command.key, &who).await?;
    Ok(Changed { changed })
}

pub async fn unsubscribe(tx: &mut Tx, command: Unsubscribe) -> Result<Changed, Fault> {
    let who: BTreeSet<&str> = command.subscribers.iter().map(String::as_str).collect();
    let changed = store::unsubscribe(tx, &command.topic, &command.key, &who).await?;
    Ok(Changed { changed })
}

pub async fn list(mut read: &Read, query: ListSubscriptions) -> Result<Page<Subscription>, Fault> {
    let after = query.cursor.map(|text| Cursor(text).key()).transpose()?.unwrap_or_default();
    let limit = query.limit.unwrap_or(PAGE) as usize;
    let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let items = store::subscriptions(&mut read, &query.subscriber, &after, most).await?;
    Ok(page(items, limit, |one| Cursor::of(&(&one.topic, &one.key))))
}
