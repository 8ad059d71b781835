//! What waits in groups that nobody wants any more.

use artel_store::{Args, StoreError, Values, Write};
use uuid::Uuid;

/// Takes away some of the keys that are parked of a group: how many messages and bytes waited in them; `None` = none is left.
pub(crate) async fn some(write: &mut Write, grp: &str, limit: i64) -> Result<Option<(i64, i64)>, StoreError> {
    let ids: Vec<(Uuid,)> =
        write.all("SELECT id FROM flow_parked_key WHERE grp = $1 ORDER BY id LIMIT $2", (grp, limit)).await?;
    let ids: Vec<Values> = ids.into_iter().map(Args::values).collect();
    if ids.is_empty() {
        return Ok(None);
    }
    let gone: Vec<(i64, i64)> = write
        .all_rows(
            "DELETE FROM flow_parked_key WHERE grp = $1 AND id IN (VALUES {rows}) RETURNING waiting, bytes",
            (grp,),
            ids.clone(),
        )
        .await?;
    write.exec_rows("DELETE FROM flow_parked WHERE hold IN (VALUES {rows})", (), ids.clone()).await?;
    write.exec_rows("UPDATE flow_dead SET holds = NULL WHERE holds IN (VALUES {rows})", (), ids).await?;
    Ok(Some(gone.into_iter().fold((0, 0), |sum, key| (sum.0 + key.0, sum.1 + key.1))))
}

/// Takes away all that is parked of a group.
pub(crate) async fn all(write: &mut Write, grp: &str) -> Result<(), StoreError> {
    write
        .exec("DELETE FROM flow_parked WHERE hold IN (SELECT id FROM flow_parked_key WHERE grp = $1)", (grp,))
        .await?;
    write.exec("DELETE FROM flow_parked_key WHERE grp = $1", (grp,)).await?;
    write.exec("UPDATE flow_dead SET holds = NULL WHERE grp = $1 AND holds IS NOT NULL", (grp,)).await?;
    write
        .exec("DELETE FROM flow_counter WHERE scope = $1 AND kind IN ('parked-now', 'parked-bytes')", (grp,))
        .await?;
    Ok(())
}
