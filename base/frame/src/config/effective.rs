//! The configuration in effect, as TOML with the source of each value beside it and every secret redacted.

use super::secret::{REDACTED, is_secret, without_password};
use super::tree::{Kind, Node};
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
