//! What the cache has of people who were forgotten: a transaction can't reach it.

use super::cached;
use artel_contract::notify::DeliveryId;
use artel_flow::Ctx;
use artel_message::{Effect, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Removes copies of these from the cache.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Effect)]
#[effect(name = "notify.forget-cached")]
pub struct ForgetCached {
    pub deliveries: Vec<DeliveryId>,
}

pub async fn uncache(ctx: &Ctx, forgotten: ForgetCached) -> Result<(), Fault> {
    for id in forgotten.deliveries {
        ctx.cache().delete(&cached::key(id)).await?;
    }
    Ok(())
}
