//! What holds for topics of preferences.

use super::subscribers::{PAGE, next_rev, page};
use crate::store::topics as store;
use artel_contract::notify::subscribers::Saved;
use artel_contract::notify::topics::{ListTopics, PutTopic, TopicVersion};
use artel_flow::{Read, Tx};
use artel_message::{Cursor, Fault, Page};

pub async fn put(tx: &mut Tx, command: PutTopic) -> Result<Saved, Fault> {
    let PutTopic { topic, settings, expected } = command;
    let stored = store::find(tx, &topic).await?.map(|stored| stored.rev);
    let rev = next_rev(&format!("topic '{topic}'"), stored, expected)?;
    store::save(tx, &topic, rev, &settings).await?;
    Ok(Saved { rev, created: stored.is_none() })
}

pub async fn list(mut read: &Read, query: ListTopics) -> Result<Page<TopicVersion>, Fault> {
    let after = query.cursor.map(|text| Cursor(text).key::<String>()).transpose()?.unwrap_or_default();
    let limit = query.limit.unwrap_or(PAGE) as usize;
    let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let found = store::list(&mut read, &after, most).await?;
    Ok(page(found, limit, |one| Cursor::of(&one.topic)))
}
