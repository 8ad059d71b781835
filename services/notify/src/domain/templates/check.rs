//! A template against the schema of the messages that fill it: a field that is not there, and one that may be absent and is printed
//! all the same, are found when it is saved.

use super::seen::seen;
use super::tags::tags;
use super::{Compiled, Context, Problem, RenderError, Texts};
use crate::domain::path::Path;
use crate::domain::schema::Schema;
use artel_contract::notify::Channel;
use artel_message::Time;
use chrono_tz::Tz;
use minijinja::{Template as JinjaText, Value as Jinja};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

/// What is there beside the message's own fields.
pub(super) const OWN: [&str; 5] = ["recipient", "lang", "zone", "now", "unsubscribe_url"];
/// Samples that a template is tried with at most.
const MOST_SAMPLES: usize = 200;
/// Steps that all of this takes at most: a second or two.
const MOST_STEPS: u64 = 20_000_000;
/// Problems that are told of; who has these sees the next ones when they are gone.
const MOST_PROBLEMS: usize = 50;
/// Bytes of a message that cost about as much as a step, where it is made ready for a text.
const BYTES_OF_STEP: u64 = 8;

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

    fn sources(&self) -> Vec<Source<'_>> {
        let mut all = Vec::new();
        for (language, texts) in &self.template().languages {
            for (name, text) in texts.parts() {
                all.push(Source { language, part: format!("{language}.{name}"), text });
            }
        }
        all
    }

    fn unknown(&self, schema: &Value) -> Vec<Problem> {
        let globals: BTreeSet<&str> = self.environment().globals().map(|(name, _)| name).collect();
        let mut problems = Vec::new();
        for Source { part, text: source, .. } in self.sources() {
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
                if problems.len() >= MOST_PROBLEMS {
                    return problems;
                }
            }
        }
        problems
    }

    fn tried(&self, schema: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        let spent = Cell::new(0);
        let sources = self.sources();
        let sources = self.compiled_sources(&sources);
        for message in samples(schema) {
            let bytes = message.to_string().len() as u64;
            for (language, texts) in &self.template().languages {
                let Some(sources) = sources.get(language.as_str()) else { continue };
                let trial = Trial { of: self, message: &message, language, texts, spent: &spent };
                spent.set(spent.get() + bytes / BYTES_OF_STEP);
                for error in trial.errors(sources) {
                    let problem = problem(&error);
                    if !problems.contains(&problem) {
                        problems.push(problem);
                    }
                }
                if spent.get() > MOST_STEPS && problems.is_empty() {
                    let reason = format!(
                        "takes more than {MOST_STEPS} steps to be tried with all that its schema allows: make loops shorter, or \
                         templates of fewer languages"
                    );
                    problems.push(Problem::new("languages", 0, reason));
                }
                if spent.get() > MOST_STEPS || problems.len() >= MOST_PROBLEMS {
                    return problems;
                }
            }
        }
        problems
    }

    /// Of each language every text as it was written, so that errors have their lines in it: of MJML what comes out is of no use.
    fn compiled_sources<'a>(&'a self, sources: &'a [Source<'a>]) -> BTreeMap<&'a str, Compileds<'a>> {
        let mut all: BTreeMap<&str, Compileds<'_>> = BTreeMap::new();
        for Source { language, part, text } in sources {
            if let Ok(text) = self.environment().template_from_named_str(part, text) {
                all.entry(language).or_default().push((part, text));
            }
        }
        all
    }
}

/// A text as it was written.
struct Source<'a> {
    language: &'a str,
    part: String,
    text: &'a str,
}

/// The texts of one language, by their parts.
type Compileds<'a> = Vec<(&'a str, JinjaText<'a, 'a>)>;

/// One message in one language.
struct Trial<'a> {
    of: &'a Compiled,
    message: &'a Value,
    language: &'a str,
    texts: &'a Texts,
    spent: &'a Cell<u64>,
}

impl Trial<'_> {
    fn errors(&self, sources: &Compileds<'_>) -> Vec<RenderError> {
        let context = Context {
            recipient_name: None,
            recipient_language: None,
            zone: Tz::UTC,
            now: Time::from_millis(1_769_851_800_000),
            unsubscribe_url: None,
        };
        let seen: Jinja = seen(self.language, self.message, &context);
        let filled =
            sources.iter().filter_map(|(part, text)| self.of.run(part, text, &seen, self.spent).err());
        // What is about a message as a whole, such as its size, has no line.
        let channels = Channel::ALL.into_iter().filter(|channel| self.texts.has(*channel));
        let whole = channels.filter_map(|channel| {
            let (language, message) = (Some(self.language), self.message);
            let rendered = self.of.render_counted(channel, language, message, &context, self.spent);
            rendered.err().filter(|error| error.line == 0)
        });
        filled.chain(whole).collect()
    }
}

fn problem(error: &RenderError) -> Problem {
    let missing = error.reason.contains("is not there");
    let hint = if missing { "; where a field may be absent, write {% if field %} around it" } else { "" };
    Problem::new(&error.part, error.line, format!("{}{hint}", error.reason))
}

/// The smallest and the fullest message, and both with each value of each field at the top that has only some.
fn samples(schema: &Value) -> impl Iterator<Item = Value> {
    let whole = Schema::new(schema).whole();
    let bases = [whole.example(false), whole.example(true)];
    let fields = whole.fields().into_iter().filter_map(|name| {
        let values = whole.field(&name)?.values()?;
        Some((name, values))
    });
    let values: Vec<(String, &Value)> = fields
        .flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value)))
        .take(MOST_SAMPLES)
        .collect();
    let [least, full] = &bases;
    let of = |base: &Value| {
        let base = base.clone();
        let values = values.clone();
        values.into_iter().map(move |(name, value)| {
            let mut one = base.clone();
            one[&name] = value.clone();
            one
        })
    };
    let each = of(least).chain(of(full));
    bases.into_iter().chain(each).take(MOST_SAMPLES)
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
    let stands = |tag: &str| {
        let mut found = tag.match_indices(name).map(|(at, _)| at);
        found.find(|at| {
            let before = tag[..*at].chars().next_back();
            let after = tag[at + name.len()..].chars().next();
            before.is_none_or(|c| !is_part(c) && c != '.') && after.is_none_or(|c| !is_part(c))
        })
    };
    let mut places = tags(source).map_while(Result::ok);
    let found = places.find_map(|tag| Some(tag.start + stands(&source[tag])?));
    found.map_or(0, |at| source[..at].matches('\n').count() + 1)
}
