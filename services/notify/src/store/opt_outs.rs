//! Topics that addresses want to hear no more of, by their hashes.

use super::rows::Rows;
use artel_flow::Tx;
use artel_store::{Args, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// The topics of each of these.
pub async fn of(
    rows: &mut impl Rows,
    hashes: &BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if hashes.is_empty() {
        return Ok(all);
    }
    let wanted = hashes.iter().map(|hash| (hash.as_str(),).values()).collect();
    let found: Vec<(String, String)> =
        rows.all_rows("SELECT hash, topic FROM opt_out WHERE hash IN ({rows})", (), wanted).await?;
    for (hash, topic) in found {
        all.entry(hash).or_default().push(topic);
    }
    Ok(all)
}

/// Whether there was none before.
pub async fn insert(tx: &mut Tx, hash: &str, topic: &str) -> Result<bool, StoreError> {
    let now = tx.now();
    let rows = tx
        .exec(
            "INSERT INTO opt_out (hash, topic, since) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            (hash, topic, now),
        )
        .await?;
    Ok(rows > 0)
}

/// Whether there was one.
pub async fn remove(tx: &mut Tx, hash: &str, topic: &str) -> Result<bool, StoreError> {
    Ok(tx.exec("DELETE FROM opt_out WHERE hash = $1 AND topic = $2", (hash, topic)).await? > 0)
}
