//! The renewal of claims, for as long as their effects are not over.

use super::Work;
use crate::storage::claims;
use artel_store::{Lane, StoreError};
use std::convert::Infallible;

/// Renews the claims of what is held; trouble with that is none of the calls'. A node that is alone need not.
pub(super) async fn renew(work: &Work) -> Infallible {
    let Some(lease) = work.held.bounds.lease else { return std::future::pending().await };
    let (shared, name) = (&work.ctx.shared, work.name);
    let mut pause = lease / 3;
    loop {
        tokio::time::sleep(pause).await;
        pause = lease / 3;
        let ids = work.held.ids();
        if ids.is_empty() {
            continue;
        }
        let renewed = async {
            let mut write = shared.begin_own(Lane::Interactive).await?;
            let engine = claims::engine(&shared.db);
            let renewed = claims::renew(&mut write, engine, ids.clone(), shared.node, lease).await?;
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
