//! Names of topics.

use crate::BusError;

/// Kafka's limit: with `-<partition>` a folder name stays below 256 bytes.
pub(crate) const MAX: usize = 249;

/// Refuses what Kafka would refuse as a topic name.
pub(crate) fn check(name: &str) -> Result<(), BusError> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = if name.is_empty() {
        "it is empty; use 1 to 249 of a-z A-Z 0-9 . _ -"
    } else if name.len() > MAX {
        "it is longer than 249 characters"
    } else if name == "." || name == ".." {
        "it names a folder; use 1 to 249 of a-z A-Z 0-9 . _ -"
    } else if !name.chars().all(is_letter) {
        "only a-z A-Z 0-9 . _ - are allowed"
    } else {
        return Ok(());
    };
    Err(BusError::InvalidTopic { name: name.chars().take(MAX).collect(), reason })
}
