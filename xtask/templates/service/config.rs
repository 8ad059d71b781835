//! The section `[@name@]` of the configuration; its defaults stand in `config/artel.toml`.

use artel_flow::Settings;
use serde::Deserialize;

/// Settings of this service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Characters of the longest note.
    pub most_chars: usize,
}

impl Settings for Config {
    fn check(&self) -> Vec<String> {
        let holds = (1..=100_000).contains(&self.most_chars);
        if holds { Vec::new() } else { vec!["most_chars: use a number from 1 to 100000".to_owned()] }
    }
}
