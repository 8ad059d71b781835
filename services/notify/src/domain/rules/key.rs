//! Keys put together from a message: `shipment:{shipment}`.

use crate::domain::path::Path;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// Text with paths in braces. There is no way to write a brace itself: keys don't need one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyTemplate(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Path(Path),
}

/// What is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {reason}")]
pub struct BadKey {
    /// From 1.
    pub at: usize,
    pub reason: String,
}

const MOST: usize = 200;

impl FromStr for KeyTemplate {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<KeyTemplate, BadKey> {
        let bad = |at: usize, reason: String| BadKey { at: text[..at].chars().count() + 1, reason };
        if text.trim().is_empty() {
            return Err(bad(0, "is empty".to_owned()));
        }
        if text.chars().count() > MOST {
            return Err(bad(0, format!("is longer than {MOST} characters")));
        }
        if let Some(at) = text.find(char::is_control) {
            return Err(bad(at, "holds a control character".to_owned()));
        }
        let (mut parts, mut at) = (Vec::new(), 0);
        while at < text.len() {
            let rest = &text[at..];
            let Some(open) = rest.find(['{', '}']) else {
                parts.push(Part::Text(rest.to_owned()));
                break;
            };
            if rest[open..].starts_with('}') {
                return Err(bad(at + open, "'}' closes nothing".to_owned()));
            }
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let inner = &rest[open + 1..];
            let Some(close) = inner.find('}') else {
                return Err(bad(at + open, "'{' is not closed".to_owned()));
            };
            let path =
                inner[..close].trim().parse().map_err(|error| bad(at + open + 1, format!("{error}")))?;
            parts.push(Part::Path(path));
            at += open + close + 2;
        }
        Ok(KeyTemplate(parts))
    }
}

impl KeyTemplate {
    /// The key of a message; the path that it has not otherwise.
    pub fn fill(&self, message: &Value) -> Result<String, Path> {
        let mut key = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => key.push_str(text),
                Part::Path(path) => match path.find(message) {
                    Some(Value::String(text)) if !text.is_empty() => key.push_str(text),
                    Some(value @ (Value::Number(_) | Value::Bool(_))) => key.push_str(&value.to_string()),
                    _ => return Err(path.clone()),
                },
            }
        }
        Ok(key)
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().filter_map(|part| match part {
            Part::Path(path) => Some(path),
            Part::Text(_) => None,
        })
    }
}

impl fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Path(path) => write!(f, "{{{path}}}"),
        })
    }
}
string_form!(KeyTemplate, BadKey);
