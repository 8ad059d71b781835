//! Whether anything is outstanding, for tests.

use super::Runtime;
use crate::ctx::Shared;
use crate::groups::is_quiet;
use crate::retry;
use crate::storage::{self, claims, outbox};
use artel_message::{Fault, Time};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

impl Runtime {
    /// Returns when nothing is outstanding: outboxes empty, groups at the end of their topics, no timer or effect due. For
    /// tests; with a load that never ends it never returns.
    pub async fn settle(&self) {
        let mut progress = self.progress.clone();
        loop {
            progress.borrow_and_update();
            // Quiet only if nothing was committed while it was looked at.
            if self.is_quiet().await && !progress.has_changed().unwrap_or(true) {
                return;
            }
            // The time-out only covers progress that is made outside commits, such as an assignment.
            let _ = tokio::time::timeout(Duration::from_millis(50), progress.changed()).await;
        }
    }

    async fn is_quiet(&self) -> bool {
        if self.members.shared() && !self.all_leased().await.unwrap_or(false) {
            return false;
        }
        for ctx in self.services.values() {
            if !ctx.groups.quiet().await || !idle(&ctx.shared).await {
                return false;
            }
        }
        for reading in &self.readings {
            let status = reading.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if !is_quiet(&reading.shared, &status).await {
                return false;
            }
        }
        true
    }

    /// Whether every lease of what runs is a living node's, and this node works with all of its own. What other nodes have they
    /// know best.
    async fn all_leased(&self) -> Result<bool, Fault> {
        let leases = self.leases().await?;
        let statuses = self.statuses();
        let me = self.members.me().id;
        Ok(leases.into_iter().all(|lease| {
            let (Some(topic), Some(partition)) = (lease.topic, lease.partition) else { return lease.alive };
            let Some((_, status)) = statuses.iter().find(|(grp, _)| *grp == lease.what) else { return true };
            lease.alive && (lease.owner != Some(me) || status.partitions.contains_key(&(topic, partition)))
        }))
    }
}

async fn idle(shared: &Arc<Shared>) -> bool {
    if !retry::is_idle(shared).await.unwrap_or(false) {
        return false;
    }
    let look = async {
        let mut read = shared.db.read().await?;
        let timer = storage::timers::next(&mut read).await?;
        let due = timer.is_some_and(|due: Time| due <= shared.now());
        let (engine, now) = (claims::engine(&shared.db), shared.now());
        let mut effect = false;
        for (name, entry) in &shared.service.effects {
            effect |= claims::ready(&mut read, engine, name, entry.options.per_key, now).await?;
        }
        let running = claims::claimed(&mut read).await? > 0;
        let waiting = outbox::any(&mut read).await?;
        let schedule = storage::schedules::list(&mut read).await?.iter().any(|row| row.next <= shared.now());
        Ok::<_, artel_store::StoreError>(!due && !effect && !running && !waiting && !schedule)
    };
    look.await.unwrap_or(false)
}
