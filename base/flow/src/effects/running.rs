//! The calls that run now, and the renewal of their claims.

use crate::ctx::Shared;
use crate::storage::effects;
use artel_store::{Lane, StoreError};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use uuid::Uuid;

#[derive(Default)]
pub(super) struct Running {
    ids: Mutex<BTreeSet<Uuid>>,
    calls: watch::Sender<usize>,
}

impl Running {
    /// How many calls there are.
    pub fn calls(&self) -> usize {
        *self.calls.borrow()
    }

    /// A call for these effects begins.
    pub fn begin(self: &Arc<Self>, ids: impl Iterator<Item = Uuid>) -> Place {
        let ids: Vec<Uuid> = ids.collect();
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).extend(&ids);
        self.calls.send_modify(|n| *n += 1);
        Place { running: self.clone(), ids }
    }

    /// Returns when no call runs.
    pub async fn none(&self) {
        // The sender lives as long as this, so waiting cannot fail.
        let _ = self.calls.subscribe().wait_for(|n| *n == 0).await;
    }

    /// What they are for.
    pub fn ids(&self) -> Vec<Uuid> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

/// A call among those that run, until it is dropped.
pub(super) struct Place {
    running: Arc<Running>,
    ids: Vec<Uuid>,
}

impl Place {
    /// One of its effects is over; its claim is not renewed any more.
    pub fn over(&self, id: Uuid) {
        self.running.ids.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.ids.iter().for_each(|id| self.over(*id));
        self.running.calls.send_modify(|n| *n -= 1);
    }
}

/// Renews the claims of what runs; trouble with that is none of the calls'. A node that is alone need not.
pub(super) async fn renew(shared: &Shared, name: &str, running: &Running) -> Infallible {
    if !shared.members.shared() {
        return std::future::pending().await;
    }
    let lease = shared.limits.effect_lease;
    let mut pause = lease / 3;
    loop {
        tokio::time::sleep(pause).await;
        pause = lease / 3;
        let ids = running.ids();
        if ids.is_empty() {
            continue;
        }
        let renewed = async {
            let mut write = shared.begin_own(Lane::Interactive).await?;
            let renewed =
                effects::renew(&mut write, effects::engine(&shared.db), ids.clone(), shared.node, lease)
                    .await?;
            write.commit().await?;
            Ok::<_, StoreError>(renewed)
        };
        match renewed.await {
            Ok(renewed) if renewed < ids.len() as u64 => {
                // Some may just have ended.
                tracing::debug!(effect = name, claims = ids.len(), renewed, "not all claims were renewed");
            }
            Ok(_) => {}
            Err(error) => {
                pause = lease / 10;
                tracing::warn!(effect = name, %error, "claims could not be renewed; that is tried again");
            }
        }
    }
}
