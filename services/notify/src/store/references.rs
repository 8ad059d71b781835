//! What providers call our attempts, and receipts that came before we knew.

use artel_contract::notify::DeliveryId;
use artel_flow::{Read, Tx};
use artel_message::Time;
use artel_store::{Args, StoreError};
use std::collections::BTreeMap;
use uuid::Uuid;

/// One attempt, by what its account calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub account: String,
    pub reference: String,
    pub delivery: DeliveryId,
    pub leg: u32,
    pub attempt: u32,
}

pub async fn insert(tx: &mut Tx, all: &[Reference]) -> Result<(), StoreError> {
    let now = tx.now();
    let row = |r: &Reference| {
        (r.account.as_str(), r.reference.as_str(), r.delivery, r.leg, r.attempt, now).values()
    };
    tx.exec_rows(
        "INSERT INTO delivery_reference (account, reference, delivery, leg, attempt, at) VALUES {rows}
         ON CONFLICT DO NOTHING",
        (),
        all.iter().map(row).collect(),
    )
    .await?;
    Ok(())
}

/// Whose these are, as far as it is known: by (account, reference).
pub async fn find(tx: &mut Tx, of: &[(String, String)]) -> Result<Vec<Reference>, StoreError> {
    let rows: Vec<(String, String, DeliveryId, u32, u32)> = tx
        .all_rows(
            "SELECT account, reference, delivery, leg, attempt FROM delivery_reference
             WHERE (account, reference) IN (VALUES {rows})",
            (),
            of.iter().map(|(account, reference)| (account.as_str(), reference.as_str()).values()).collect(),
        )
        .await?;
    let reference = |(account, reference, delivery, leg, attempt)| Reference {
        account,
        reference,
        delivery,
        leg,
        attempt,
    };
    Ok(rows.into_iter().map(reference).collect())
}

/// Which of these names of an account's are attempts that are known, and which attempts these are.
pub async fn known(
    read: &Read,
    account: &str,
    names: impl Iterator<Item = &str>,
) -> Result<BTreeMap<String, (DeliveryId, u32, u32)>, StoreError> {
    let rows: Vec<(String, DeliveryId, u32, u32)> = read
        .all_rows(
            "SELECT reference, delivery, leg, attempt FROM delivery_reference
             WHERE (account, reference) IN (VALUES {rows})",
            (),
            names.map(|name| (account, name).values()).collect(),
        )
        .await?;
    Ok(rows.into_iter().map(|(name, delivery, leg, attempt)| (name, (delivery, leg, attempt))).collect())
}

/// Keeps receipts that nobody knows yet: (id, account, reference, the receipt as JSON).
pub async fn keep(tx: &mut Tx, all: Vec<(Uuid, String, String, String)>) -> Result<(), StoreError> {
    let now = tx.now();
    tx.exec_rows(
        "INSERT INTO delivery_receipt (id, account, reference, receipt, at) VALUES {rows} ON CONFLICT DO NOTHING",
        (),
        all.into_iter().map(|(id, account, reference, text)| (id, account, reference, text, now).values()).collect(),
    )
    .await?;
    Ok(())
}

/// Takes out the receipts that were kept for these: (account, reference, the receipt as JSON), in the order in which they came.
pub async fn take(tx: &mut Tx, of: &[Reference]) -> Result<Vec<(String, String, String)>, StoreError> {
    let rows = of.iter().map(|r| (r.account.as_str(), r.reference.as_str()).values()).collect();
    let mut taken: Vec<(Uuid, String, String, String)> = tx
        .all_rows(
            "DELETE FROM delivery_receipt WHERE (account, reference) IN (VALUES {rows})
             RETURNING id, account, reference, receipt",
            (),
            rows,
        )
        .await?;
    taken.sort_unstable_by_key(|(id, ..)| *id);
    Ok(taken.into_iter().map(|(_, account, reference, text)| (account, reference, text)).collect())
}

/// Forgets references, and receipts that nobody asked for, from before these moments; how many of the more numerous kind.
pub async fn purge(tx: &mut Tx, references: Time, receipts: Time, limit: i64) -> Result<u64, StoreError> {
    let gone = tx
        .exec(
            "DELETE FROM delivery_reference WHERE (account, reference) IN
                 (SELECT account, reference FROM delivery_reference WHERE at < $1 ORDER BY at LIMIT $2)",
            (references, limit),
        )
        .await?;
    let unknown = tx
        .exec(
            "DELETE FROM delivery_receipt WHERE id IN
                 (SELECT id FROM delivery_receipt WHERE at < $1 ORDER BY at LIMIT $2)",
            (receipts, limit),
        )
        .await?;
    Ok(gone.max(unknown))
}
