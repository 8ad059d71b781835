//! What is measured now and then rather than counted: how far behind groups are, how old an outbox is.

use crate::Runtime;
use crate::consumer::Status;
use crate::ctx::Shared;
use crate::groups::lag_of;
use crate::storage::outbox;
use std::time::Duration;

/// One partition of a group as the node sees it, for operators.
#[derive(Debug, Clone, serde::Serialize)]
pub struct GroupLag {
    pub service: String,
    pub group: String,
    /// Whether the group was made at run time.
    pub run_time: bool,
    pub topic: String,
    pub partition: u32,
    pub next: i64,
    /// Messages not taken in yet; `None` while the log does not say.
    pub lag: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

impl Runtime {
    /// Brings the gauges up to date that cost a look at the log or a database. For every scrape that would be too much: the
    /// node calls it by an interval of its own.
    pub async fn measure(&self) {
        if let Some(ctx) = self.contexts().next() {
            ctx.shared.metrics.measured(&self.lags().await);
        }
        for ctx in self.contexts() {
            match age_of(&ctx.shared).await {
                Ok(age) => ctx.shared.metrics.outbox_age(ctx.service(), age),
                // The last age would be a lie by now, and readiness says what is wrong with the database.
                Err(error) => {
                    ctx.shared.metrics.forget_outbox_age(ctx.service());
                    tracing::debug!(service = ctx.service(), %error, "the outbox's age could not be read");
                }
            }
        }
    }

    /// Where every group that runs here is, declared or made at run time; sorted by group, topic and partition.
    pub async fn lags(&self) -> Vec<GroupLag> {
        let mut rows = Vec::new();
        for (shared, group, status) in self.declared() {
            rows.extend(rows_of(shared, &group, false, status).await);
        }
        for ctx in self.contexts() {
            for (group, status) in ctx.groups.statuses() {
                rows.extend(rows_of(&ctx.shared, &group, true, status).await);
            }
        }
        rows.sort_by(|a, b| (&a.group, &a.topic, a.partition).cmp(&(&b.group, &b.topic, b.partition)));
        rows
    }
}

async fn rows_of(shared: &Shared, group: &str, run_time: bool, status: Status) -> Vec<GroupLag> {
    let mut rows = Vec::with_capacity(status.partitions.len());
    for (place, (next, stopped)) in status.partitions {
        let lag = lag_of(shared, std::iter::once((&place, next))).await;
        let (service, group) = (shared.name().to_owned(), group.to_owned());
        let (topic, partition) = place;
        rows.push(GroupLag { service, group, run_time, topic, partition, next, lag, stopped });
    }
    rows
}

/// How long the oldest row has waited; zero where none does.
async fn age_of(shared: &Shared) -> Result<Duration, artel_store::StoreError> {
    let oldest = outbox::oldest(&mut shared.db.read().await?).await?;
    Ok(oldest.map_or(Duration::ZERO, |at| shared.now().since(at)))
}
