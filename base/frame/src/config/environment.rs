//! Environment variables as settings: `ARTEL_<SECTION>_<KEY>`, `__` for a nested table, `_FILE` for a file's content.

use super::problem::{Problem, Source, nearest};
use super::tree::{Kind, Node, Step, keys, show};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Variables that steer the program but are no settings.
const NO_SETTINGS: [&str; 5] =
    ["ARTEL_CONFIG", "ARTEL_URL", "ARTEL_CA_FILE", "ARTEL_TOKEN", "ARTEL_TOKEN_FILE"];
/// A secret's file is small; anything larger is a mistake.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Lays the variables over `tree`, whose first-level tables are the known sections.
pub(crate) fn apply(tree: &mut Node, variables: &[(String, String)], problems: &mut Vec<Problem>) {
    let sections: BTreeSet<String> = match &tree.kind {
        Kind::Table(table) => table.keys().cloned().collect(),
        _ => BTreeSet::new(),
    };
    let mut seen = BTreeSet::new();
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix("ARTEL_") else { continue };
        if NO_SETTINGS.contains(&&**name) || rest.starts_with("TEST_") || set_by_kubernetes(rest) {
            continue;
        }
        let source = Source::Variable(Arc::from(&**name));
        let (rest, from_file) = rest.strip_suffix("_FILE").map_or((rest, false), |rest| (rest, true));
        let Some(path) = path_of(rest, &sections) else {
            problems.push(Problem::new("", &source, unknown(name, rest, &sections)));
            continue;
        };
        if !seen.insert(show(&path)) {
            problems.push(Problem::new(
                show(&path),
                &source,
                "set twice, as a variable and as a _FILE variable; unset one of them",
            ));
            continue;
        }
        let text = if from_file { read_file(text) } else { Ok(text.clone()) };
        match text.and_then(|text| value_of(&text, tree.get(&path), &source)) {
            Ok(node) => tree.set(&path, node),
            Err(reason) => problems.push(Problem::new(show(&path), &source, reason)),
        }
    }
}

/// A pod in a namespace with a service named `artel` gets its address in variables of that prefix.
fn set_by_kubernetes(rest: &str) -> bool {
    rest.contains("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || rest == "PORT"
        || rest.ends_with("_PORT")
        || (rest.contains("PORT_") && (rest.contains("_TCP") || rest.contains("_UDP")))
}

/// `HTTP_BODY_LIMIT` is `http.body_limit`; sections have no underscore in their names.
fn path_of(rest: &str, sections: &BTreeSet<String>) -> Option<Vec<Step>> {
    let lower = rest.to_ascii_lowercase();
    let (section, key) = lower.split_once('_')?;
    if key.is_empty() || !sections.contains(section) {
        return None;
    }
    let mut path = keys(section);
    path.extend(key.split("__").map(|key| Step::Key(key.to_owned())));
    Some(path)
}

fn unknown(name: &str, rest: &str, sections: &BTreeSet<String>) -> String {
    let section = rest.split('_').next().unwrap_or(rest).to_ascii_lowercase();
    match nearest(&section, sections.iter().map(|s| &**s)) {
        Some(near) if near != section => {
            let key = rest.get(section.len()..).unwrap_or("");
            format!("no section '{section}'; did you mean ARTEL_{}{key}?", near.to_uppercase())
        }
        _ => format!("no setting of this name; write it as ARTEL_<SECTION>_<KEY>, or unset {name}"),
    }
}

/// The content without the line end behind it.
fn read_file(path: &str) -> Result<String, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("cannot read the file '{path}': {error}");
    let size = std::fs::metadata(path).map_err(|error| cannot(&error))?.len();
    if size > MAX_FILE_BYTES {
        return Err(cannot(&format_args!("it has {size} bytes, more than {MAX_FILE_BYTES}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| cannot(&error))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The text as the type that the key has now; the key's own check names what does not fit.
pub(super) fn value_of(text: &str, now: Option<&Node>, source: &Source) -> Result<Node, String> {
    let is_toml = text.starts_with(['[', '{']);
    let value = match now.map(|node| &node.kind) {
        Some(Kind::Value(Value::String(_))) => Value::from(text),
        Some(Kind::Value(Value::Bool(_))) => {
            text.parse::<bool>().map_or_else(|_| Value::from(text), Value::from)
        }
        Some(Kind::Value(Value::Number(_))) => text
            .parse::<i64>()
            .map(Value::from)
            .or_else(|_| text.parse::<f64>().map(Value::from))
            .unwrap_or_else(|_| Value::from(text)),
        Some(Kind::List(_)) if !is_toml => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            let list = parts.map(|part| Node::text(part, source.clone())).enumerate().collect();
            return Ok(Node { source: source.clone(), kind: Kind::List(list) });
        }
        Some(Kind::Table(_)) if !is_toml => return Err("a table, not a value; set its keys".to_owned()),
        _ if is_toml => {
            return Node::parse_value(text, source).map_err(|error| format!("not TOML: {error}"));
        }
        _ => Value::from(text),
    };
    Ok(Node { source: source.clone(), kind: Kind::Value(value) })
}
