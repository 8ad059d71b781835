//! What deliveries have of a person.

use super::rows::Rows;
use crate::deliveries::content::Content;
use artel_contract::notify::DeliveryId;
use artel_flow::Tx;
use artel_store::{Args, FromRow, Row, StoreError, Values};

/// What a person's deliveries are found by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    pub subscriber: String,
    /// As deliveries have them.
    pub emails: Vec<String>,
    pub phones: Vec<String>,
}

fn texts(texts: &[String]) -> Vec<Values> {
    texts.iter().map(|text| (text.as_str(),).values()).collect()
}

/// The ids of a person's deliveries, the newest first, before `before`; those to one of the addresses that name no other
/// subscriber are among them.
pub async fn deliveries(
    rows: &mut impl Rows,
    keys: &Keys,
    before: Option<DeliveryId>,
    limit: usize,
) -> Result<Vec<DeliveryId>, StoreError> {
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut found: Vec<(DeliveryId,)> = rows
        .all(
            "SELECT id FROM delivery_content WHERE subscriber IS NOT NULL AND subscriber = $1
                 AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
            (keys.subscriber.as_str(), before, most),
        )
        .await?;
    if !keys.emails.is_empty() {
        let more: Vec<(DeliveryId,)> = rows
            .all_rows(
                "SELECT id FROM delivery_content WHERE email IS NOT NULL AND subscriber IS NULL AND email IN ({rows})
                     AND ($1 IS NULL OR id < $1) ORDER BY id DESC LIMIT $2",
                (before, most),
                texts(&keys.emails),
            )
            .await?;
        found.extend(more);
    }
    if !keys.phones.is_empty() {
        let more: Vec<(DeliveryId,)> = rows
            .all_rows(
                "SELECT id FROM delivery_content WHERE phone IS NOT NULL AND subscriber IS NULL AND phone IN ({rows})
                     AND ($1 IS NULL OR id < $1) ORDER BY id DESC LIMIT $2",
                (before, most),
                texts(&keys.phones),
            )
            .await?;
        found.extend(more);
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.dedup();
    found.truncate(limit);
    Ok(found.into_iter().map(|(id,)| id).collect())
}

struct Kept(DeliveryId, Content);

impl FromRow for Kept {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Kept(row.get("id")?, super::deliveries::json(row, "content")?))
    }
}

/// Takes the person out of these: address, name, what the message was filled with, what went with it. What became of them stays.
pub async fn forget(tx: &mut Tx, ids: &[DeliveryId]) -> Result<(), StoreError> {
    let wanted = || ids.iter().map(|id| (*id,).values()).collect::<Vec<_>>();
    let kept: Vec<Kept> =
        tx.all_rows("SELECT id, content FROM delivery_content WHERE id IN ({rows})", (), wanted()).await?;
    let mut rows = Vec::with_capacity(kept.len());
    for Kept(id, mut content) in kept {
        content.legs.iter_mut().for_each(|leg| leg.address = None);
        (content.name, content.zone, content.quiet, content.attachments) = (None, None, None, None);
        rows.push((id, super::deliveries::text("content", &content)?).values());
    }
    tx.exec_rows(
        "UPDATE delivery_content SET recipient = 'forgotten', subscriber = NULL, email = NULL, phone = NULL,
             supersede_key = NULL, data = '{}', content = v.column2
         FROM (VALUES {rows}) AS v WHERE delivery_content.id = v.column1",
        (),
        rows,
    )
    .await?;
    super::attachments::release(tx, ids).await?;
    // Whoever holds one in memory reads it again.
    tx.exec_rows("UPDATE delivery SET rev = rev + 1 WHERE id IN ({rows})", (), wanted()).await?;
    Ok(())
}
