//! Statuses by id: the database has the truth, the cache a copy for a moment, and each answer says how old it is.

use crate::NotifySettings;
use artel_contract::notify::{Delivery, DeliveryId, GetDelivery, SeenDelivery, Source, State};
use artel_flow::Ctx;
use artel_message::{Fault, Time};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What stays as it is for good is kept for so many times as long.
const FINAL: u32 = 30;

#[derive(Serialize, Deserialize)]
struct Copy {
    read_at: Time,
    delivery: Delivery,
}

pub(super) fn key(id: DeliveryId) -> String {
    format!("notify:delivery:{id}")
}

/// A delivery, from the cache where that has it.
pub async fn seen(ctx: &Ctx, id: DeliveryId) -> Result<SeenDelivery, Fault> {
    let key = key(id);
    if let Some(Copy { read_at, delivery }) = copy(ctx, &key).await {
        let age = ctx.now().since(read_at).as_millis();
        let age_ms = u64::try_from(age).unwrap_or(u64::MAX);
        return Ok(SeenDelivery { delivery, source: Source::Cache, age_ms });
    }
    let read_at = ctx.now();
    let delivery = ctx.query(GetDelivery { delivery: id }).await?;
    keep(ctx, &key, &Copy { read_at, delivery: delivery.clone() }).await;
    Ok(SeenDelivery { delivery, source: Source::Database, age_ms: 0 })
}

/// A cache that can't be reached or holds nonsense costs a query, no more.
async fn copy(ctx: &Ctx, key: &str) -> Option<Copy> {
    match ctx.cache().get(key).await {
        Ok(copy) => serde_json::from_slice(&copy?).ok(),
        Err(error) => {
            tracing::debug!(%error, "the cache does not answer");
            None
        }
    }
}

/// Whether no channel of it goes on, nor a person may decide anything of one.
fn stays(delivery: &Delivery) -> bool {
    let over = |state: State| state.is_final() && state != State::Failed;
    delivery.state == State::Delivered && delivery.legs.iter().all(|leg| over(leg.state))
}

/// Keeps it, unless a newer one has come there meanwhile.
async fn keep(ctx: &Ctx, key: &str, fresh: &Copy) {
    let Ok(json) = serde_json::to_vec(fresh) else { return };
    let short = Duration::from_millis(ctx.settings::<NotifySettings>().cache_ms);
    let ttl = if stays(&fresh.delivery) { short * FINAL } else { short };
    let put = async {
        let json = Bytes::from(json);
        if ctx.cache().set_if_absent(key, json.clone(), ttl).await? {
            return Ok(());
        }
        match copy(ctx, key).await {
            Some(there) if there.delivery.revision >= fresh.delivery.revision => Ok(()),
            _ => ctx.cache().set(key, json, ttl).await,
        }
    };
    if let Err(error) = put.await {
        tracing::debug!(%error, "the cache takes no copy");
    }
}
