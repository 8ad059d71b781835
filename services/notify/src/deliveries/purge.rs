//! Forgets what nobody asks for any more.

use crate::NotifySettings;
use crate::store::{deliveries, references};
use artel_flow::Tx;
use artel_message::Fault;
use std::time::Duration;

/// Rows of one transaction; the rest waits for the next time.
const MOST: i64 = 5_000;
/// Nothing is under way for that long.
const BEGUN: Duration = Duration::from_secs(3 * 86_400);

pub async fn purge(tx: &mut Tx, (): ()) -> Result<(), Fault> {
    let (now, settings) = (tx.now(), tx.settings::<NotifySettings>());
    let references = now - Duration::from_secs(u64::from(settings.references_days) * 86_400);
    let receipts = now - Duration::from_secs(u64::from(settings.receipts_hours) * 3_600);
    references::purge(tx, references, receipts, MOST).await?;
    deliveries::purge_begun(tx, now - BEGUN, MOST).await?;
    Ok(())
}
