//! From the tree to types, with all problems at once: a value that its type refuses is reported, replaced by its default,
//! and reading goes on.

use super::problem::{Problem, Source, nearest};
use super::secret::is_secret;
use super::tree::{Node, Step, keys, show};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

/// More mistakes than this in one section are reported after the first ones are mended.
const MAX_PROBLEMS: usize = 200;

/// Why a type refuses a section, and where.
pub type Refusal = serde_path_to_error::Error<serde_json::Error>;

/// Reads one section as a `T`, or says what is wrong. `T` denies unknown fields. Values refused are replaced by those of
/// `defaults`, in `tree` too, so that later checks see a section that is whole.
pub(crate) fn section<T: DeserializeOwned>(
    tree: &mut Node,
    defaults: &Node,
    name: &str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    section_with(tree, defaults, name, problems, |json| serde_path_to_error::deserialize(json))
}

/// The same by a given function.
pub(crate) fn section_with<T>(
    tree: &mut Node,
    defaults: &Node,
    name: &str,
    problems: &mut Vec<Problem>,
    parse: impl Fn(serde_json::Value) -> Result<T, Refusal>,
) -> Option<T> {
    let section = keys(name);
    if tree.get(&section).is_none() {
        tree.set(&section, Node::table());
    }
    let mut refused: Vec<Vec<Step>> = Vec::new();
    loop {
        let json = tree.get(&section).map(Node::to_json).unwrap_or_default();
        let error = match parse(json) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let path = places(tree, &section, error.path());
        let message = error.inner().to_string();
        // What is missing because it was refused before has been reported: give its table up.
        if message.starts_with("missing field") && refused.iter().any(|earlier| earlier.starts_with(&path)) {
            if path.len() <= section.len() {
                return None;
            }
            tree.remove(&path);
            continue;
        }
        let (path, reason) = explain(path, &message);
        problems.push(Problem::new(show(&path), source(tree, &path), reason));
        let enough = refused.len() >= MAX_PROBLEMS || refused.contains(&path);
        if enough || !repair(tree, defaults, &section, &path) {
            return None;
        }
        refused.push(path);
    }
}

fn source(tree: &Node, path: &[Step]) -> Source {
    tree.source_of(path).clone()
}

/// Puts the default in place, or takes the value away; where a key is missing, what it is missing in, such as an element of a
/// list. False when there is nothing to take away: then the section as a whole can't be read.
fn repair(tree: &mut Node, defaults: &Node, section: &[Step], path: &[Step]) -> bool {
    match (defaults.get(path), tree.get(path)) {
        (Some(default), _) => tree.set(path, default.clone()),
        (None, Some(_)) => tree.remove(path),
        (None, None) => match path.split_last() {
            Some((_, above)) if above.len() > section.len() && tree.get(above).is_some() => {
                tree.remove(above)
            }
            _ => return false,
        },
    }
    true
}

/// Serde's path below `section` as one of the tree: serde counts the elements that are left, the tree knows their places.
fn places(tree: &Node, section: &[Step], path: &serde_path_to_error::Path) -> Vec<Step> {
    let mut steps = section.to_vec();
    for segment in path {
        match segment {
            Segment::Map { key } => steps.push(Step::Key(key.clone())),
            Segment::Seq { index } => {
                let place = tree.places(&steps).get(*index).copied().unwrap_or(*index);
                steps.push(Step::Index(place));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    steps
}

/// The texts in backticks of a message: "unknown field `a`, expected `b` or `c`" has a, b, c.
fn quoted(message: &str) -> Vec<&str> {
    message.split('`').skip(1).step_by(2).collect()
}

/// Turns serde's message into a sentence for whoever writes the file. It never repeats a secret.
fn explain(mut path: Vec<Step>, message: &str) -> (Vec<Step>, String) {
    let reason = if message.starts_with("missing field") {
        path.extend(quoted(message).first().map(|name| Step::Key((*name).to_owned())));
        "missing; set it".to_owned()
    } else if message.starts_with("unknown field") {
        let names = quoted(message);
        let (unknown, known) = names.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
        match nearest(unknown, known.iter().copied()) {
            Some(near) => format!("no such key; did you mean '{near}'?"),
            None if known.is_empty() => "no such key; this section has none".to_owned(),
            None => format!("no such key; known are {}", known.join(", ")),
        }
    } else if is_secret(&show(&path)) {
        "not a text; write it in quotes".to_owned()
    } else if message.starts_with("unknown variant") {
        let names = quoted(message);
        let (given, known) = names.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
        format!("'{given}' is none of {}", known.join(", "))
    } else {
        in_words(message)
    };
    (path, reason)
}

/// "invalid type: string \"x\", expected u32" in words that do not need Rust.
fn in_words(message: &str) -> String {
    let stripped = ["invalid type: ", "invalid value: ", "invalid length "]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix))
        .and_then(|rest| rest.rsplit_once(", expected "));
    let Some((found, expected)) = stripped else { return message.to_owned() };
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize" => {
            "a whole number in range"
        }
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a string" => "a text in quotes",
        "a map" => "a table",
        other => other.strip_prefix("struct ").map_or(other, |_| "a table"),
    };
    let found = found
        .replace("string \"", "the text \"")
        .replace("integer `", "the number `")
        .replace("floating point `", "the number `")
        .replace("boolean `", "`")
        .replace("sequence", "a list")
        .replace("map", "a table")
        .replace('`', "");
    format!("expected {expected}, found {found}")
}
