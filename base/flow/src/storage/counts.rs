//! Counts that are kept for good: messages that ran no handler.

use artel_store::{Args, Read, StoreError, Write};
use std::collections::BTreeMap;

/// Adds to the counts of a group.
pub(crate) async fn add(
    write: &mut Write,
    grp: &str,
    counts: &BTreeMap<&'static str, i64>,
) -> Result<(), StoreError> {
    let rows = counts.iter().map(|(kind, n)| (grp, *kind, *n).values()).collect();
    write
        .exec_rows(
            "INSERT INTO flow_count (grp, kind, n) VALUES {rows}
             ON CONFLICT (grp, kind) DO UPDATE SET n = flow_count.n + excluded.n",
            (),
            rows,
        )
        .await?;
    Ok(())
}

/// The sum over all groups of the service.
pub(crate) async fn total(read: &mut Read, kind: &str) -> Result<i64, StoreError> {
    let (n,): (i64,) = read
        .one("SELECT CAST(coalesce(sum(n), 0) AS BIGINT) FROM flow_count WHERE kind = $1", (kind,))
        .await?;
    Ok(n)
}
