//! Forgets what nobody asks for any more.

use crate::NotifySettings;
use crate::store::{attachments, deliveries, references, replays, rules};
use artel_contract::notify::DeliveryId;
use artel_flow::Tx;
use artel_message::{Command, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// Rows of one transaction, and the pause before the next.
const MOST: i64 = 2_000;
/// Attachments of one transaction.
const FILES: i64 = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// Nothing is under way for that long.
const BEGUN: Duration = Duration::from_secs(3 * 86_400);
/// The identity of the timer that goes on.
const REST: &str = "rest";

const fn days(days: u32) -> Duration {
    Duration::from_secs(days as u64 * 86_400)
}

/// Forgets a part; what is left goes on after a pause, in a transaction of its own, so that nobody waits for long.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.purge", reply = ())]
pub struct Purge {
    /// Up to where deliveries were looked through: what has to stay is not looked at again for each part.
    #[serde(default)]
    pub behind: Option<DeliveryId>,
}

pub async fn purge_on_time(tx: &mut Tx, (): ()) -> Result<(), Fault> {
    purge(tx, Purge { behind: None }).await
}

pub async fn purge(tx: &mut Tx, Purge { behind }: Purge) -> Result<(), Fault> {
    let (now, settings) = (tx.now(), tx.settings::<NotifySettings>());
    let receipts = Duration::from_secs(u64::from(settings.receipts_hours) * 3_600);
    let first_kept = deliveries::first_id(now - days(settings.keep_days));
    let from = behind.map_or(Uuid::nil(), |id| id.uuid());
    let gone = deliveries::purge(tx, (from, first_kept), MOST).await?;
    let files = attachments::purge(tx, &gone, first_kept, FILES).await?;
    let mut most = gone.len() as u64;
    most = most.max(deliveries::purge_begun(tx, now - BEGUN, MOST).await?);
    most = most.max(references::purge(tx, now - days(settings.references_days), now - receipts, MOST).await?);
    most = most.max(rules::purge_events(tx, now - days(settings.once_days), MOST).await?);
    most = most.max(replays::purge(tx, first_kept, MOST).await?);
    if files || most >= MOST.unsigned_abs() {
        tx.after(REST, PAUSE, Purge { behind: gone.into_iter().max().or(behind) });
    }
    Ok(())
}
