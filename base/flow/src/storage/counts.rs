//! Counters that are kept for good. A counter has several rows (shards): transactions of different partitions, which have
//! nothing else in common, would otherwise wait for each other on one row, or make each other fail.

use artel_store::{Args, Read, StoreError, Write};
use std::collections::BTreeMap;

/// What a transaction counts: (scope, kind) → by how much. The scope is a group's full name, or empty for the service's own.
pub(crate) type Counted = BTreeMap<(String, &'static str), i64>;

/// Adds to counters, in the rows of one shard.
pub(crate) async fn add(write: &mut Write, shard: i64, counted: &Counted) -> Result<(), StoreError> {
    let rows = counted.iter().map(|((scope, kind), n)| (scope.as_str(), *kind, shard, *n).values()).collect();
    write
        .exec_rows(
            "INSERT INTO flow_counter (scope, kind, shard, n) VALUES {rows}
             ON CONFLICT (scope, kind, shard) DO UPDATE SET n = flow_counter.n + excluded.n",
            (),
            rows,
        )
        .await?;
    Ok(())
}

/// The sum over all groups of the service.
pub(crate) async fn of_groups(read: &mut Read, kind: &str) -> Result<i64, StoreError> {
    let (n,): (i64,) = read
        .one(
            "SELECT CAST(coalesce(sum(n), 0) AS BIGINT) FROM flow_counter WHERE scope <> '' AND kind = $1",
            (kind,),
        )
        .await?;
    Ok(n)
}

/// One of the service's own.
pub(crate) async fn of_service(read: &mut Read, kind: &str) -> Result<i64, StoreError> {
    let (n,): (i64,) = read
        .one(
            "SELECT CAST(coalesce(sum(n), 0) AS BIGINT) FROM flow_counter WHERE scope = '' AND kind = $1",
            (kind,),
        )
        .await?;
    Ok(n)
}

/// The groups of which there is something of a kind, with how much.
pub(crate) async fn by_group(read: &mut Read, kind: &str) -> Result<Vec<(String, i64)>, StoreError> {
    read.all(
        "SELECT scope, CAST(sum(n) AS BIGINT) FROM flow_counter WHERE scope <> '' AND kind = $1
         GROUP BY scope HAVING sum(n) > 0 ORDER BY scope",
        (kind,),
    )
    .await
}

/// One of a group's.
pub(crate) async fn of_group(read: &mut Read, scope: &str, kind: &str) -> Result<i64, StoreError> {
    let (n,): (i64,) = read
        .one(
            "SELECT CAST(coalesce(sum(n), 0) AS BIGINT) FROM flow_counter WHERE scope = $1 AND kind = $2",
            (scope, kind),
        )
        .await?;
    Ok(n)
}
