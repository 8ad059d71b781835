//! The configuration in effect, as TOML with the source of each value beside it and every secret redacted.

use super::secret::{REDACTED, is_secret, without_password};
use super::tree::{Kind, Node, Step, show};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Sources stand in one column where the values are short.
const COLUMN: usize = 44;

/// Prints `tree`, whose first level are the sections.
pub(crate) fn print(tree: &Node) -> String {
    let mut text = String::new();
    if let Kind::Table(sections) = &tree.kind {
        for (name, node) in sections {
            if let Kind::Table(table) = &node.kind {
                section(name, table, &mut text);
            }
        }
    }
    text
}

/// Where both trees have a secret, and not the same one.
pub(crate) fn other_secrets(tree: &Node, other: &Node) -> Vec<String> {
    let mut all = Vec::new();
    secrets(tree, &mut Vec::new(), &mut all);
    let is_other = |(path, value): &(Vec<Step>, &Value)| match other.get(path).map(|node| &node.kind) {
        Some(Kind::Value(there)) => there != *value,
        _ => false,
    };
    all.iter().filter(|secret| is_other(secret)).map(|(path, _)| show(path)).collect()
}

fn secrets<'t>(node: &'t Node, path: &mut Vec<Step>, found: &mut Vec<(Vec<Step>, &'t Value)>) {
    let mut below = |step: Step, node: &'t Node, path: &mut Vec<Step>| {
        path.push(step);
        secrets(node, path, found);
        path.pop();
    };
    match &node.kind {
        Kind::Table(table) => table.iter().for_each(|(key, node)| below(Step::Key(key.clone()), node, path)),
        Kind::List(list) => list.iter().for_each(|(at, node)| below(Step::Index(*at), node, path)),
        Kind::Value(value) => {
            if path.iter().any(|step| matches!(step, Step::Key(key) if is_secret(key))) {
                found.push((path.clone(), value));
            }
        }
    }
}

fn section(name: &str, table: &BTreeMap<String, Node>, text: &mut String) {
    if !text.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "[{name}]");
    let is_table = |node: &Node| matches!(node.kind, Kind::Table(_));
    for (key, node) in table.iter().filter(|(_, node)| !is_table(node)) {
        let line = format!("{} = {}", bare(key), value(key, node));
        let _ = writeln!(text, "{line:<COLUMN$} # {}", node.source);
    }
    for (key, node) in table {
        if let Kind::Table(inner) = &node.kind {
            section(&format!("{name}.{}", bare(key)), inner, text);
        }
    }
}

/// A key as TOML writes it.
fn bare(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if plain { key.to_owned() } else { string(key) }
}

fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A value on one line; a table in a list becomes an inline table.
fn value(key: &str, node: &Node) -> String {
    match &node.kind {
        Kind::Table(table) => {
            let entries = table.iter().map(|(key, node)| format!("{} = {}", bare(key), value(key, node)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        Kind::List(list) => {
            format!("[{}]", list.values().map(|node| value(key, node)).collect::<Vec<_>>().join(", "))
        }
        Kind::Value(_) if is_secret(key) => string(REDACTED),
        Kind::Value(Value::String(text)) => string(&without_password(text)),
        Kind::Value(other) => other.to_string(),
    }
}
