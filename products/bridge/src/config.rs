//! The bridge's settings: the table `[bridge]`.

use artel_flow::Settings;
use serde::Deserialize;
use std::time::Duration;

/// See `config/artel.toml` for what each one means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BridgeSettings {
    /// Days that tracked messages are kept for.
    pub keep_days: u32,
    /// Seconds that a copy of a message stays in the cache.
    pub cache_seconds: u32,
    /// Whether a topic that is sent to gets a consumer by itself.
    pub consume: bool,
}

impl Default for BridgeSettings {
    fn default() -> BridgeSettings {
        BridgeSettings { keep_days: 30, cache_seconds: 600, consume: true }
    }
}

impl Settings for BridgeSettings {
    fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(1..=36_500).contains(&self.keep_days) {
            problems.push(format!("keep_days: {} is not 1 to 36500", self.keep_days));
        }
        if !(1..=86_400).contains(&self.cache_seconds) {
            problems.push(format!("cache_seconds: {} is not 1 to 86400", self.cache_seconds));
        }
        problems
    }
}

impl BridgeSettings {
    pub fn keep(&self) -> Duration {
        Duration::from_secs(u64::from(self.keep_days) * 86_400)
    }

    pub fn cache_ttl(&self) -> Duration {
        Duration::from_secs(u64::from(self.cache_seconds))
    }
}
