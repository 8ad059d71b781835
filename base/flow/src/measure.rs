//! What is measured now and then rather than counted: how far behind groups are, how old an outbox is.

use crate::Runtime;
use crate::consumer::Status;
use crate::consumer::parking::MESSAGES;
use crate::ctx::Shared;
use crate::groups::lag_of;
use crate::metrics::ParkedNow;
use crate::storage::{counts, effects, groups, held, outbox, timers};
use std::collections::{BTreeMap, BTreeSet};
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
            if let Err(error) = parked(&ctx.shared).await {
                tracing::debug!(service = ctx.service(), %error, "what is parked could not be counted");
            }
            if let Err(error) = count_later(&ctx.shared).await {
                tracing::debug!(service = ctx.service(), %error, "timers and effects could not be counted");
            }
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

/// Sets the gauges of what is parked in each group of a service; those of a group without any are zero.
async fn parked(shared: &Shared) -> Result<(), artel_store::StoreError> {
    let mut read = shared.db.read().await?;
    let filled: BTreeMap<String, i64> = counts::by_group(&mut read, MESSAGES).await?.into_iter().collect();
    let made = groups::list(&mut read).await?.into_iter().map(|group| shared.service.group_name(&group.name));
    let known: BTreeSet<String> =
        shared.service.groups().into_keys().chain(made).chain(filled.keys().cloned()).collect();
    for group in known {
        let (keys, oldest) = held::measure(&mut read, &group).await?;
        let messages = filled.get(&group).copied().unwrap_or(0);
        let age = oldest.map_or(Duration::ZERO, |at| shared.now().since(at));
        shared.metrics.parked(&group, &ParkedNow { keys, messages, age });
    }
    Ok(())
}

/// How long the oldest row has waited; zero where none does.
async fn age_of(shared: &Shared) -> Result<Duration, artel_store::StoreError> {
    let oldest = outbox::oldest(&mut shared.db.read().await?).await?;
    Ok(oldest.map_or(Duration::ZERO, |at| shared.now().since(at)))
}

/// Nobody looks closer at more than so many.
const MOST: i64 = 1_000_000;

/// What was put off: timers, and effects by name. An effect of which there are none is shown with none.
async fn count_later(shared: &Shared) -> Result<(), artel_store::StoreError> {
    let mut read = shared.db.read().await?;
    let pending = timers::count(&mut read, MOST).await?;
    shared.metrics.timers_pending(shared.name(), pending);
    if shared.service.effects.is_empty() {
        return Ok(());
    }
    let counts = effects::counts(&mut read, MOST).await?;
    for name in shared.service.effects.keys() {
        let (waiting, claimed) = counts
            .iter()
            .find(|(n, ..)| n == name)
            .map_or((0, 0), |(_, waiting, claimed)| (*waiting, *claimed));
        shared.metrics.effects(shared.name(), name, waiting, claimed);
    }
    Ok(())
}
