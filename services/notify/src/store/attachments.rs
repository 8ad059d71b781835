//! Files of deliveries: each set once, for as long as a delivery carries it.

use artel_contract::notify::DeliveryId;
use artel_flow::{Read, Tx};
use artel_store::{Args, StoreError};
use bytes::Bytes;
use uuid::Uuid;

/// Stores a set, and who carries it.
pub async fn insert(
    tx: &mut Tx,
    set: Uuid,
    files: &[Bytes],
    carried_by: &[DeliveryId],
) -> Result<(), StoreError> {
    for (place, content) in (0i64..).zip(files) {
        tx.exec(
            "INSERT INTO attachment (set_id, place, content) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            (set, place, content.to_vec()),
        )
        .await?;
    }
    tx.exec_rows(
        "INSERT INTO attachment_use (delivery, set_id) VALUES {rows} ON CONFLICT DO NOTHING",
        (),
        carried_by.iter().map(|id| (*id, set).values()).collect(),
    )
    .await?;
    Ok(())
}

/// The files of a set, in their order.
pub async fn read(read: &Read, set: Uuid) -> Result<Vec<Bytes>, StoreError> {
    let rows: Vec<(Vec<u8>,)> =
        read.all("SELECT content FROM attachment WHERE set_id = $1 ORDER BY place", (set,)).await?;
    Ok(rows.into_iter().map(|(content,)| Bytes::from(content)).collect())
}

/// These carry none any more; sets that nobody else carries are deleted.
pub async fn release(tx: &mut Tx, ids: &[DeliveryId]) -> Result<(), StoreError> {
    let ids = ids.iter().map(|id| (*id,).values()).collect();
    let sets: Vec<(Uuid,)> = tx
        .all_rows("DELETE FROM attachment_use WHERE delivery IN ({rows}) RETURNING set_id", (), ids)
        .await?;
    if sets.is_empty() {
        return Ok(());
    }
    let mut sets: Vec<Uuid> = sets.into_iter().map(|(set,)| set).collect();
    sets.sort_unstable();
    sets.dedup();
    tx.exec_rows(
        "DELETE FROM attachment WHERE set_id IN ({rows})
             AND NOT EXISTS (SELECT 1 FROM attachment_use AS u WHERE u.set_id = attachment.set_id)",
        (),
        sets.into_iter().map(|set| (set,).values()).collect(),
    )
    .await?;
    Ok(())
}

/// The same for deliveries that are purged, of files with ids before this one at most `files`; whether there are more.
pub async fn purge(tx: &mut Tx, gone: &[DeliveryId], before: Uuid, files: i64) -> Result<bool, StoreError> {
    let ids = gone.iter().map(|id| (*id,).values()).collect();
    tx.exec_rows("DELETE FROM attachment_use WHERE delivery IN ({rows})", (), ids).await?;
    // The ids of sets begin with the same moment as those of their deliveries.
    let deleted = tx
        .exec(
            "DELETE FROM attachment WHERE (set_id, place) IN
                 (SELECT a.set_id, a.place FROM attachment AS a WHERE a.set_id < $1
                      AND NOT EXISTS (SELECT 1 FROM attachment_use AS u WHERE u.set_id = a.set_id)
                  ORDER BY a.set_id, a.place LIMIT $2)",
            (before, files),
        )
        .await?;
    Ok(deleted >= files.unsigned_abs())
}
