//! Templates and their versions.

use super::rows::Rows;
use artel_contract::notify::templates::TemplateBody;
use artel_flow::Tx;
use artel_message::Time;
use artel_store::{Args, FromRow, Row, StoreError, Values};
use std::collections::{BTreeMap, BTreeSet};

/// Which version of a template is sent (0 = none), and the last number that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub version: u32,
    pub latest: u32,
}

/// A version as it was saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    pub id: String,
    pub version: u32,
    pub body: TemplateBody,
    pub saved_at: Time,
    pub saved_by: String,
}

impl FromRow for Version {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let body: String = row.get("body")?;
        Ok(Version {
            id: row.get("id")?,
            version: row.get("version")?,
            body: serde_json::from_str(&body)
                .map_err(|error| StoreError::decode("body", error.to_string()))?,
            saved_at: row.get("saved_at")?,
            saved_by: row.get("saved_by")?,
        })
    }
}

fn ids(wanted: &BTreeSet<&str>) -> Vec<Values> {
    wanted.iter().map(|id| (*id,).values()).collect()
}

/// Those of these templates that were ever saved.
pub async fn heads(
    rows: &mut impl Rows,
    wanted: &BTreeSet<&str>,
) -> Result<BTreeMap<String, Head>, StoreError> {
    let found: Vec<(String, u32, u32)> = rows
        .all_rows("SELECT id, version, latest FROM template WHERE id IN ({rows})", (), ids(wanted))
        .await?;
    Ok(found.into_iter().map(|(id, version, latest)| (id, Head { version, latest })).collect())
}

pub async fn version(rows: &mut impl Rows, id: &str, version: u32) -> Result<Option<Version>, StoreError> {
    let found: Vec<Version> = rows
        .all(
            "SELECT id, version, body, saved_at, saved_by FROM template_version WHERE id = $1 AND version = $2",
            (id, version),
        )
        .await?;
    Ok(found.into_iter().next())
}

/// Writes a version.
pub async fn save(
    tx: &mut Tx,
    id: &str,
    version: u32,
    body: &TemplateBody,
    by: &str,
) -> Result<(), StoreError> {
    let text = serde_json::to_string(body).map_err(|error| StoreError::decode("body", error.to_string()))?;
    let now = tx.now();
    tx.exec(
        "INSERT INTO template_version (id, version, body, saved_at, saved_by) VALUES ($1, $2, $3, $4, $5)",
        (id, version, text, now, by),
    )
    .await?;
    Ok(())
}

/// Says which version is sent.
pub async fn point(tx: &mut Tx, id: &str, head: Head) -> Result<(), StoreError> {
    tx.exec(
        "INSERT INTO template (id, version, latest) VALUES ($1, $2, $3)
         ON CONFLICT (id) DO UPDATE SET version = excluded.version, latest = excluded.latest",
        (id, head.version, head.latest),
    )
    .await?;
    Ok(())
}

/// The versions that are sent, by id behind `after`.
pub async fn list(rows: &mut impl Rows, after: &str, limit: usize) -> Result<Vec<Version>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    rows.all(
        "SELECT v.id, v.version, v.body, v.saved_at, v.saved_by FROM template t
         JOIN template_version v ON v.id = t.id AND v.version = t.version WHERE t.id > $1 ORDER BY t.id LIMIT $2",
        (after, limit),
    )
    .await
}

/// The versions of one, the latest first, before `before`.
pub async fn versions(
    rows: &mut impl Rows,
    id: &str,
    before: u32,
    limit: usize,
) -> Result<Vec<Version>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    rows.all(
        "SELECT id, version, body, saved_at, saved_by FROM template_version WHERE id = $1 AND version < $2
         ORDER BY version DESC LIMIT $3",
        (id, before, limit),
    )
    .await
}
