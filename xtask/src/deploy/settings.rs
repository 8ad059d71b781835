//! The variables that files of `deploy` set, against the settings that there are; and times in them.

use super::{Places, Report};
use anyhow::{Context as _, Result};
use std::collections::BTreeSet;

/// Variables that steer the program but are no settings.
const NO_SETTINGS: [&str; 1] = ["ARTEL_CONFIG"];
/// Set by deploy before the program knows them; each goes from here with the commit that makes it a setting.
const AWAITED: [&str; 0] = [];
/// What a node takes beyond node.stop_within before it ends by itself, in seconds.
const GRACE: u64 = 5;

/// Checks each variable of `names`, found in `file`.
pub fn check<'a>(
    places: &Places,
    file: &str,
    names: impl Iterator<Item = &'a str>,
    report: &mut Report,
) -> Result<()> {
    let known = known(&places.text("config/artel.toml")?);
    for name in names.filter(|name| name.starts_with("ARTEL_") && !NO_SETTINGS.contains(name)) {
        let plain = name.strip_suffix("_FILE").unwrap_or(name);
        if known.contains(plain) {
            continue;
        }
        if AWAITED.contains(&plain) {
            report.note(format!("{file}: {name} awaits its setting"));
        } else {
            report.problem(format!("{file}: {name} is no setting of config/artel.toml"));
        }
    }
    Ok(())
}

/// The variable of each key, those that stand as comments for want of a default too.
fn known(defaults: &str) -> BTreeSet<String> {
    let mut section = String::new();
    let mut names = BTreeSet::new();
    for line in defaults.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_ascii_uppercase();
        }
        let line = line.strip_prefix("# ").unwrap_or(line);
        let is_key = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| is_key(key)) {
            names.insert(format!("ARTEL_{section}_{}", key.to_ascii_uppercase()));
        }
    }
    names
}

/// How long an orchestrator has to wait for a node that stops, in seconds.
pub fn stop_takes(places: &Places) -> Result<u64> {
    let defaults: toml::Table = places.text("config/artel.toml")?.parse()?;
    let within = defaults.get("node").and_then(|node| node.get("stop_within")?.as_str());
    Ok(seconds(within.context("config/artel.toml has no node.stop_within")?)? + GRACE)
}

/// `20s` or `2m`.
pub fn seconds(text: &str) -> Result<u64> {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let number: u64 = number.parse().with_context(|| format!("'{text}' is no time such as 20s"))?;
    match unit {
        "s" => Ok(number),
        "m" => Ok(number * 60),
        _ => anyhow::bail!("'{text}' is no time such as 20s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_commented_keys_are_settings() {
        let known = known("[db]\n# How many. Some = text\nreaders = 4\n[auth]\n# operator_token = \"x\"\n");
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        assert_eq!(names, ["ARTEL_AUTH_OPERATOR_TOKEN", "ARTEL_DB_READERS"]);
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(seconds("20s").unwrap(), 20);
        assert_eq!(seconds("2m").unwrap(), 120);
        assert!(seconds("20").is_err() && seconds("").is_err());
    }
}
