//! When deliveries go out of date, apart from them: most are through by then, and what is written to them need not know of it.

use artel_contract::notify::DeliveryId;
use artel_flow::Tx;
use artel_message::Time;
use artel_store::{Args, StoreError};

/// Writes down when these go out of date.
pub async fn insert(tx: &mut Tx, all: &[(Time, DeliveryId)]) -> Result<(), StoreError> {
    tx.exec_rows(
        "INSERT INTO delivery_lapse (at, id) VALUES {rows} ON CONFLICT DO NOTHING",
        (),
        all.iter().map(|row| row.values()).collect(),
    )
    .await?;
    Ok(())
}

/// Takes out at most `limit` that are over.
pub async fn take(tx: &mut Tx, limit: i64) -> Result<Vec<DeliveryId>, StoreError> {
    let now = tx.now();
    let over: Vec<(DeliveryId,)> = tx
        .all(
            "DELETE FROM delivery_lapse WHERE (at, id) IN
                 (SELECT at, id FROM delivery_lapse WHERE at <= $1 ORDER BY at, id LIMIT $2) RETURNING id",
            (now, limit),
        )
        .await?;
    Ok(over.into_iter().map(|(id,)| id).collect())
}
