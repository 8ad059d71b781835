//! Messages by id: the database has the truth, the cache a copy of what can no longer change.

use crate::config::BridgeSettings;
use crate::domain;
use artel_contract::bridge::{GetMessage, MessageId, Tracked};
use artel_flow::Ctx;
use artel_message::Fault;
use bytes::Bytes;

pub struct Repository<'a> {
    ctx: &'a Ctx,
}

impl<'a> Repository<'a> {
    pub fn new(ctx: &'a Ctx) -> Repository<'a> {
        Repository { ctx }
    }

    pub async fn get(&self, id: MessageId) -> Result<Tracked, Fault> {
        let key = format!("bridge:message:{id}");
        if let Some(copy) = self.copy(&key).await {
            return Ok(copy);
        }
        let found = self.ctx.query(GetMessage { id }).await?;
        if domain::is_final(found.status, found.produced_at.is_some()) {
            self.keep(&key, &found).await;
        }
        Ok(found)
    }

    /// A cache that can't be reached or holds nonsense costs a query, no more.
    async fn copy(&self, key: &str) -> Option<Tracked> {
        match self.ctx.cache().get(key).await {
            Ok(copy) => serde_json::from_slice(&copy?).ok(),
            Err(error) => {
                tracing::debug!(%error, "the cache does not answer");
                None
            }
        }
    }

    async fn keep(&self, key: &str, message: &Tracked) {
        let Ok(json) = serde_json::to_vec(message) else { return };
        let ttl = self.ctx.settings::<BridgeSettings>().cache_ttl();
        if let Err(error) = self.ctx.cache().set(key, Bytes::from(json), ttl).await {
            tracing::debug!(%error, "the cache takes no copy");
        }
    }
}
