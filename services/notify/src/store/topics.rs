//! What holds for topics of preferences.

use super::rows::Rows;
use artel_contract::notify::topics::{TopicSettings, TopicVersion};
use artel_flow::Tx;
use artel_store::{FromRow, Row, StoreError};

struct Stored(TopicVersion);

impl FromRow for Stored {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let settings: String = row.get("settings")?;
        Ok(Stored(TopicVersion {
            topic: row.get("name")?,
            rev: super::subscribers::rev_of(row.get("rev")?),
            settings: serde_json::from_str(&settings)
                .map_err(|error| StoreError::decode("settings", error.to_string()))?,
            changed_at: row.get("changed_at")?,
        }))
    }
}

/// The settings of a topic as JSON; `None` where nobody changed them.
pub async fn settings(rows: &mut impl Rows, topic: &str) -> Result<Option<String>, StoreError> {
    let found: Vec<(String,)> = rows.all("SELECT settings FROM topic WHERE name = $1", (topic,)).await?;
    Ok(found.into_iter().next().map(|(settings,)| settings))
}

pub async fn find(rows: &mut impl Rows, topic: &str) -> Result<Option<TopicVersion>, StoreError> {
    let found: Vec<Stored> =
        rows.all("SELECT name, rev, settings, changed_at FROM topic WHERE name = $1", (topic,)).await?;
    Ok(found.into_iter().next().map(|stored| stored.0))
}

pub async fn save(tx: &mut Tx, topic: &str, rev: u64, settings: &TopicSettings) -> Result<(), StoreError> {
    let text =
        serde_json::to_string(settings).map_err(|error| StoreError::decode("settings", error.to_string()))?;
    let (rev, now) = (i64::try_from(rev).unwrap_or(i64::MAX), tx.now());
    tx.exec(
        "INSERT INTO topic (name, rev, settings, changed_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (name) DO UPDATE SET rev = excluded.rev, settings = excluded.settings,
             changed_at = excluded.changed_at",
        (topic, rev, text, now),
    )
    .await?;
    Ok(())
}

pub async fn list(rows: &mut impl Rows, after: &str, limit: i64) -> Result<Vec<TopicVersion>, StoreError> {
    let found: Vec<Stored> = rows
        .all(
            "SELECT name, rev, settings, changed_at FROM topic WHERE name > $1 ORDER BY name LIMIT $2",
            (after, limit),
        )
        .await?;
    Ok(found.into_iter().map(|stored| stored.0).collect())
}
