//! Questions about deliveries.

use super::view;
use crate::store::deliveries::{self, Filter};
use artel_contract::notify::decisions::{ExplainDelivery, Explained};
use artel_contract::notify::{Delivery, DeliveryId, GetDelivery, ListDeliveries};
use artel_flow::Read;
use artel_message::{Cursor, Fault, Page};

async fn find(read: &Read, id: DeliveryId) -> Result<deliveries::Whole, Fault> {
    let found = deliveries::read(read, &[id]).await?.pop();
    found.ok_or_else(|| Fault::not_found(format!("there is no delivery {id}")))
}

pub async fn get(read: &Read, query: GetDelivery) -> Result<Delivery, Fault> {
    let whole = find(read, query.delivery).await?;
    Ok(view::delivery(&whole.stored, &whole.trail))
}

pub async fn why(read: &Read, query: ExplainDelivery) -> Result<Explained, Fault> {
    Ok(view::explained(&find(read, query.delivery).await?, query.language))
}

pub async fn list(read: &Read, query: ListDeliveries) -> Result<Page<Delivery>, Fault> {
    let before = query.cursor.clone().map(|text| Cursor(text).key::<DeliveryId>()).transpose()?;
    let limit = query.limit.unwrap_or(50) as usize;
    let filter =
        Filter { recipient: query.recipient.as_deref(), state: query.state, since: query.since, before };
    let mut ids = deliveries::list(read, filter, limit + 1).await?;
    let more = ids.len() > limit;
    ids.truncate(limit);
    let mut found = deliveries::read(read, &ids).await?;
    found.sort_unstable_by_key(|whole| std::cmp::Reverse(whole.stored.id));
    let items = found.iter().map(|whole| view::delivery(&whole.stored, &whole.trail)).collect();
    let next = ids.last().filter(|_| more).map(Cursor::of);
    Ok(Page { items, next })
}
