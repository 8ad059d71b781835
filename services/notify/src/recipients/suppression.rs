//! The suppression list, by hand.

use super::convert;
use super::subscribers::{PAGE, page};
use crate::domain::suppression::SoftPolicy;
use crate::store::suppression::{self as store, Entry};
use artel_contract::notify::subscribers::Changed;
use artel_contract::notify::suppression::{ListSuppressed, Suppress, Suppressed, Unsuppress};
use artel_flow::{Read, Tx};
use artel_message::{Cursor, Fault, Page, Time};

/// Entries that a purge deletes in one transaction; what is left goes with the next one.
const PURGE: i64 = 2_000;

pub async fn suppress(tx: &mut Tx, command: Suppress) -> Result<Changed, Fault> {
    let kind = convert::kind(command.kind);
    let (hash, masked) = convert::hash_of_text(kind, &command.address)?;
    let reason = convert::reason(command.reason);
    if !reason.is_of(kind) {
        let (reason, kind) = (reason.as_str(), convert::kind_name(kind));
        return Err(Fault::field("reason", format!("{reason} is not said of an address of kind {kind}")));
    }
    let entry = Entry { hash, kind, masked, reason, by: command.by, note: command.note };
    Ok(Changed { changed: store::add(tx, &[entry]).await? })
}

pub async fn unsuppress(tx: &mut Tx, command: Unsuppress) -> Result<Changed, Fault> {
    if !store::remove(tx, &command.id).await? {
        return Err(Fault::not_found("there is no such entry on the suppression list"));
    }
    tracing::info!(by = %command.by, "an address was taken off the suppression list");
    Ok(Changed { changed: 1 })
}

pub async fn list(mut read: &Read, query: ListSuppressed) -> Result<Page<Suppressed>, Fault> {
    let before = query.cursor.map(|text| Cursor(text).key()).transpose()?;
    let before = before.unwrap_or((Time::MAX, String::new()));
    let limit = query.limit.unwrap_or(PAGE) as usize;
    let hashes = query.address.as_deref().map(convert::hashes);
    let reason = query.reason.map(convert::reason);
    let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let items = store::list(&mut read, hashes.as_deref(), reason, &before, most).await?;
    Ok(page(items, limit, |one| Cursor::of(&(one.since, &one.id))))
}

/// Deletes entries whose time has ended.
pub async fn purge(tx: &mut Tx, (): ()) -> Result<(), Fault> {
    // A row of bounces that is that old has long ended: mail arrives or bounces within days.
    let idle = tx.now() - 10 * SoftPolicy::default().over;
    store::purge(tx, idle, PURGE).await?;
    Ok(())
}
