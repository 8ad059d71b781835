//! Paths into a message: `receiver.email`, `parcels[0].weight`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    Field(String),
    Index(usize),
}

/// A path of one step or more.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Path(Vec<Step>);

/// What is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no path; write it as receiver.email or parcels[0].weight")]
pub struct BadPath(String);

const MOST_STEPS: usize = 16;
const MOST: usize = 200;

impl FromStr for Path {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Path, BadPath> {
        parse(text).ok_or_else(|| BadPath(text.chars().take(60).collect()))
    }
}

fn parse(text: &str) -> Option<Path> {
    if text.len() > MOST {
        return None;
    }
    let mut steps = Vec::new();
    for part in text.split('.') {
        let (name, indices) = part.split_at(part.find('[').unwrap_or(part.len()));
        let begins = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        if !begins || !name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
            return None;
        }
        steps.push(Step::Field(name.to_owned()));
        let mut rest = indices;
        while let Some(inner) = rest.strip_prefix('[') {
            let (index, after) = inner.split_once(']')?;
            if index.is_empty() || !index.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            steps.push(Step::Index(index.parse().ok().filter(|index| *index < 10_000)?));
            rest = after;
        }
        if !rest.is_empty() {
            return None;
        }
    }
    (steps.len() <= MOST_STEPS).then_some(Path(steps))
}

impl Path {
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// What stands there; `None` where nothing does, or null.
    pub fn find<'a>(&self, message: &'a Value) -> Option<&'a Value> {
        let found = self.0.iter().try_fold(message, |value, step| match step {
            Step::Field(name) => value.get(name),
            Step::Index(index) => value.get(index),
        });
        found.filter(|value| !value.is_null())
    }

    /// The text that stands there; `None` also where it is empty or no text.
    pub fn text<'a>(&self, message: &'a Value) -> Option<&'a str> {
        self.find(message)?.as_str().filter(|text| !text.trim().is_empty())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if at == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
string_form!(Path, BadPath);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn paths_find_what_stands_there() {
        let message = json!({ "a": { "b": [{ "c": 1 }, null] }, "n": null, "e": " " });
        let find = |path: &str| path.parse::<Path>().unwrap().find(&message).cloned();
        assert_eq!(find("a.b[0].c"), Some(json!(1)));
        for nothing in ["a.b[1]", "a.b[2]", "a.c", "n", "a.b.c", "z"] {
            assert_eq!(find(nothing), None, "{nothing}");
        }
        assert_eq!("e".parse::<Path>().unwrap().text(&message), None);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let deep = ["a"; 17].join(".");
        for wrong in
            ["", ".", "a.", ".a", "a..b", "a[", "a[]", "a[-1]", "a[0]b", "1a", "a b", "a[99999]", &deep]
        {
            assert!(wrong.parse::<Path>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_path_survives_its_text(text in "[a-z_][a-z0-9_-]{0,5}(\\[[0-9]{1,3}\\]){0,2}(\\.[a-z]{1,4}){0,3}") {
            let path: Path = text.parse().unwrap();
            prop_assert_eq!(path.to_string().parse::<Path>().unwrap(), path);
        }
    }
}
