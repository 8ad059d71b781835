//! A template against the schema of the messages that fill it: a field that is not there, and one that may be absent and is printed
//! all the same, are found when it is saved.

use super::{Compiled, Context, Problem};
use crate::domain::path::Path;
use crate::domain::schema::Schema;
use artel_contract::notify::Channel;
use artel_message::Time;
use chrono_tz::Tz;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What is there beside the message's own fields.
const OWN: [&str; 5] = ["recipient", "lang", "zone", "now", "unsubscribe_url"];
/// Samples that a template is tried with at most.
const MOST_SAMPLES: usize = 200;

/// A message that fits a schema, for previews: with every field, or only those that are always there.
pub fn sample(schema: &Value, full: bool) -> Value {
    Schema::new(schema).whole().example(full)
}

impl Compiled {
    /// What is wrong with the texts for messages of this schema. Unknown fields are found by reading; fields that may be absent
    /// by filling every text with the smallest messages that the schema allows, once for each value of each field that
    /// has only some.
    pub fn check(&self, schema: &Value) -> Vec<Problem> {
        let mut problems = self.unknown(schema);
        if problems.is_empty() {
            problems = self.tried(schema);
        }
        problems
    }

    fn sources(&self) -> Vec<(String, &str)> {
        let languages = self.template().languages.iter();
        languages
            .flat_map(|(language, texts)| {
                texts.parts().into_iter().map(move |(name, source)| (format!("{language}.{name}"), source))
            })
            .collect()
    }

    fn unknown(&self, schema: &Value) -> Vec<Problem> {
        let globals: BTreeSet<&str> = self.environment().globals().map(|(name, _)| name).collect();
        let mut problems = Vec::new();
        for (part, source) in self.sources() {
            let Ok(text) = self.environment().get_template(&part) else { continue };
            let mut names: Vec<String> = text.undeclared_variables(true).into_iter().collect();
            names.sort();
            for name in names {
                let top = name.split('.').next().unwrap_or_default();
                if globals.contains(top) {
                    continue;
                }
                let found = match OWN.contains(&top) {
                    true => own_field(&name),
                    false => in_schema(schema, &name),
                };
                if let Err(reason) = found {
                    problems.push(Problem::new(&part, line_of(source, &name), reason));
                }
            }
        }
        problems
    }

    fn tried(&self, schema: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        let context = Context {
            recipient_name: None,
            recipient_language: None,
            zone: Tz::UTC,
            now: Time::from_millis(1_769_851_800_000),
            unsubscribe_url: None,
        };
        for message in samples(schema) {
            for (language, texts) in &self.template().languages {
                let seen = self.seen(language, &message, &context);
                let filled = texts.parts().into_iter().filter_map(|(name, source)| {
                    self.fill_source(&format!("{language}.{name}"), source, &seen).err()
                });
                // What is about a message as a whole, such as its size, has no line.
                let whole =
                    Channel::ALL.into_iter().filter(|channel| texts.has(*channel)).filter_map(|channel| {
                        self.render(channel, Some(language), &message, &context)
                            .err()
                            .filter(|error| error.line == 0)
                    });
                for error in filled.chain(whole) {
                    let missing = error.reason.contains("is not there");
                    let hint = if missing {
                        "; where a field may be absent, write {% if field %} around it"
                    } else {
                        ""
                    };
                    let problem = Problem::new(&error.part, error.line, format!("{}{hint}", error.reason));
                    if !problems.contains(&problem) {
                        problems.push(problem);
                    }
                }
            }
        }
        problems
    }
}

/// The smallest and the fullest message, and both with each value of each field at the top that has only some.
fn samples(schema: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    let whole = Schema::new(schema).whole();
    for full in [false, true] {
        let base = whole.example(full);
        for name in whole.fields() {
            let values = whole.field(&name).and_then(|field| field.values()).unwrap_or_default();
            for value in values {
                let mut one = base.clone();
                one[&name] = value.clone();
                all.push(one);
            }
        }
        all.push(base);
    }
    all.truncate(MOST_SAMPLES);
    all
}

fn own_field(name: &str) -> Result<(), String> {
    let known = json!({ "type": "object", "properties": {
        "recipient": { "type": "object", "properties": { "name": { "type": "string" }, "language": { "type": "string" } } },
        "lang": { "type": "string" }, "zone": { "type": "string" }, "now": { "type": "string" },
        "unsubscribe_url": { "type": "string" },
    } });
    in_schema(&known, name)
}

fn in_schema(schema: &Value, name: &str) -> Result<(), String> {
    let path: Path = name.parse().map_err(|_| format!("'{name}' is no field"))?;
    Schema::new(schema).place(&path).map(|_| ()).map_err(|error| error.to_string())
}

/// The line on which a name first stands inside of a tag, from 1; 0 where it is not found as it is.
fn line_of(source: &str, name: &str) -> usize {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let found = source.match_indices(name).find(|(at, _)| {
        let before = source[..*at].chars().next_back();
        let after = source[at + name.len()..].chars().next();
        let whole = before.is_none_or(|c| !is_part(c) && c != '.') && after.is_none_or(|c| !is_part(c));
        let opened = source[..*at].rfind("{{").max(source[..*at].rfind("{%"));
        let closed = source[..*at].rfind("}}").max(source[..*at].rfind("%}"));
        whole && opened.is_some() && closed < opened
    });
    found.map_or(0, |(at, _)| source[..at].matches('\n').count() + 1)
}
