//! `artel status`: the nodes, who does what, how far the groups are, and what is wrong.

use super::show::{cell, items, rows};
use crate::REFUSED;
use crate::cli::{Status, StatusFormat};
use crate::connect::{self, check, read};
use crate::line::{compact, printable};
use crate::table::table;
use anyhow::Result;
use serde_json::Value;
use std::io::Write;
use std::process::ExitCode;

/// The exit code says whether something is wrong.
pub async fn run(args: Status) -> Result<ExitCode> {
    let answer = connect::client(&args.target)?.get("/api/admin/status").await?;
    check(&answer)?;
    let status: Value = read(&answer)?;
    let mut out = std::io::stdout();
    if args.json || args.format == StatusFormat::Json {
        writeln!(out, "{}", compact(&answer.text()))?;
    } else {
        write!(out, "{}", text(&status))?;
    }
    Ok(if items(&status, "problems").is_empty() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

fn text(status: &Value) -> String {
    let uptime = status.get("uptime_ms").and_then(Value::as_u64).unwrap_or(0) / 1000;
    let mut text = format!(
        "{} (artel {}), up {uptime} s since {}, data in {}\n",
        cell(status, "node"),
        cell(status, "version"),
        cell(status, "started_at"),
        cell(status, "data_dir"),
    );
    let parts = [
        nodes(status),
        leases(status),
        rows(&items(status, "groups"), &["service", "group", "topic", "state", "lag"]),
        outboxes(status),
    ];
    for part in parts {
        text.push('\n');
        text.push_str(&part);
    }
    text.push('\n');
    text.push_str(&problems(status));
    text
}

fn is(row: &Value, field: &str) -> Option<bool> {
    row.get(field).and_then(Value::as_bool)
}

fn nodes(status: &Value) -> String {
    let line = |node: &Value| {
        let roles: Vec<String> =
            items(node, "roles").iter().filter_map(Value::as_str).map(printable).collect();
        vec![
            cell(node, "name"),
            state(node),
            roles.join(","),
            cell(node, "version"),
            or_dash(cell(node, "peer")),
            cell(node, "started_at"),
            cell(node, "seen_at"),
            cell(node, "id"),
        ]
    };
    let lines: Vec<Vec<String>> = items(status, "nodes").iter().map(line).collect();
    table(&["node", "state", "roles", "version", "peer", "started", "seen", "id"], &lines)
}

fn state(node: &Value) -> String {
    let state = match (is(node, "alive"), is(node, "ready")) {
        (Some(true), Some(true)) => "ready",
        (Some(true), Some(false)) => "not ready",
        (Some(true), None) => "alive, not asked",
        _ => "silent",
    };
    let this = if is(node, "this") == Some(true) { ", this one" } else { "" };
    format!("{state}{this}")
}

fn leases(status: &Value) -> String {
    let line = |lease: &Value| {
        let owner = match (is(lease, "alive"), cell(lease, "node"), cell(lease, "owner")) {
            (Some(true), node, _) => node,
            (_, _, owner) if owner.is_empty() => "nobody".to_owned(),
            (_, node, _) if !node.is_empty() => format!("{node} (silent)"),
            (_, _, owner) => format!("{owner} (gone)"),
        };
        vec![
            cell(lease, "service"),
            cell(lease, "what"),
            or_dash(cell(lease, "topic")),
            or_dash(cell(lease, "partition")),
            owner,
            cell(lease, "epoch"),
        ]
    };
    let lines: Vec<Vec<String>> = items(status, "leases").iter().map(line).collect();
    table(&["service", "work", "topic", "partition", "node", "epoch"], &lines)
}

fn outboxes(status: &Value) -> String {
    let line = |outbox: &Value| vec![cell(outbox, "service"), cell(outbox, "rows")];
    let lines: Vec<Vec<String>> = items(status, "outboxes").iter().map(line).collect();
    table(&["service", "outbox"], &lines)
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn problems(status: &Value) -> String {
    let problems = items(status, "problems");
    if problems.is_empty() {
        return "nothing is wrong\n".to_owned();
    }
    let lines = problems.iter().filter_map(Value::as_str);
    let lines: Vec<String> =
        lines.map(|line| format!("  {}\n", printable(&line.replace('\n', "; ")))).collect();
    format!("wrong ({}):\n{}", lines.len(), lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_stands_in_words_and_columns_are_aligned() {
        let node = |name: &str, alive: bool, ready: Option<bool>| {
            json!({ "id": "1", "name": name, "roles": ["a", "b"], "version": "0.1.0", "started_at": "T", "seen_at": "T",
                    "alive": alive, "this": name == "one", "ready": ready })
        };
        let lease = |owner: Option<&str>, node: Option<&str>, alive: bool| {
            json!({ "service": "a", "what": "a", "topic": "t", "partition": 1, "owner": owner, "node": node, "alive": alive,
                    "epoch": 12 })
        };
        let status = json!({
            "node": "one", "version": "0.1.0", "started_at": "T", "uptime_ms": 12_000, "data_dir": "data",
            "nodes": [node("one", true, Some(true)), node("two", false, None)],
            "leases": [lease(Some("1"), Some("one"), true), lease(Some("2"), Some("two"), false), lease(None, None, false)],
            "groups": [{ "service": "a", "group": "a", "topic": "t", "state": "running", "lag": 3 }],
            "outboxes": [{ "service": "a", "rows": 5 }],
            "problems": ["group a: t/1 is not\nleased"],
        });
        let text = text(&status);
        assert!(
            text.starts_with("one (artel 0.1.0), up 12 s since T, data in data\n\nnode  state"),
            "{text}"
        );
        assert!(text.contains("\none   ready, this one  a,b"), "{text}");
        assert!(text.contains("\ntwo   silent           a,b"), "{text}");
        assert!(text.contains(" two (silent) ") && text.contains(" nobody "), "{text}");
        assert!(text.contains("service  outbox\na             5\n"), "{text}");
        assert!(text.ends_with("\nwrong (1):\n  group a: t/1 is not; leased\n"), "{text}");
    }
}
