//! Who handles what: as data, as text, and as a Mermaid diagram.

use super::Admin;
use crate::edge::{Json, Needs, Operate, Problem, Query, Routes};
use artel_flow::Handles;
use artel_message::Fault;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Everything that the services handle.
#[derive(Serialize, JsonSchema)]
struct Topology {
    items: Vec<HandlesRow>,
}

#[derive(Serialize, JsonSchema)]
struct HandlesRow {
    service: String,
    /// `command`, `query`, `event`, `reply`, `effect`, `schedule`, `raw`, `published`
    kind: &'static str,
    message: String,
    /// Where it arrives, if over a topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct As {
    /// `json` (unless said), `text`, or `mermaid`.
    format: Option<String>,
}

pub(super) fn routes() -> Routes<Admin> {
    Routes::new().get("/api/admin/topology", show, |op| {
        op.summary("Show which service handles what")
            .answers::<Topology>(200, "as JSON, or as plain text")
            .answers_raw::<String>(200, "text/plain", "as text, or as a diagram")
    })
}

async fn show(
    State(admin): State<Admin>,
    _: Needs<Operate>,
    Query(wanted): Query<As>,
) -> Result<Response, Problem> {
    let rows = admin.0.runtime.topology();
    let plain = |text: String| ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response();
    match wanted.format.as_deref().unwrap_or("json") {
        "json" => Ok(Json(Topology { items: rows.iter().map(row).collect() }).into_response()),
        "text" => Ok(plain(text(rows))),
        "mermaid" => Ok(plain(mermaid(rows))),
        other => Err(Fault::field("format", format!("'{other}' is none of json, text, mermaid")).into()),
    }
}

fn row(handles: &Handles) -> HandlesRow {
    HandlesRow {
        service: handles.service.clone(),
        kind: handles.kind,
        message: handles.message.clone(),
        topic: handles.topic.clone(),
        group: handles.group.clone(),
    }
}

/// A block per service, a line per message.
fn text(rows: &[Handles]) -> String {
    let (mut out, mut service) = (String::new(), "");
    for row in rows {
        if row.service != service {
            let gap = if out.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}{}", row.service);
            service = &row.service;
        }
        let line = match (&row.topic, &row.group) {
            (Some(topic), Some(group)) => format!("  {:<9} {:<32} {topic} -> {group}", row.kind, row.message),
            _ => format!("  {:<9} {}", row.kind, row.message),
        };
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// Topics on the left, the groups that read them on the right, messages on the arrows.
fn mermaid(rows: &[Handles]) -> String {
    let mut out = "flowchart LR\n".to_owned();
    let name = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let services: BTreeSet<&str> = rows.iter().map(|row| row.service.as_str()).collect();
    for service in services {
        let _ = writeln!(out, "    s_{}[{service}]", name(service));
    }
    let topics: BTreeSet<&str> = rows.iter().filter_map(|row| row.topic.as_deref()).collect();
    for topic in topics {
        let _ = writeln!(out, "    t_{}[({topic})]", name(topic));
    }
    for row in rows {
        if let Some(topic) = &row.topic {
            let _ = writeln!(out, "    t_{} -- {} --> s_{}", name(topic), row.message, name(&row.service));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Handles> {
        let of = |kind, message: &str, topic: Option<&str>| Handles {
            service: "shop".to_owned(),
            kind,
            message: message.to_owned(),
            topic: topic.map(str::to_owned),
            group: topic.map(|_| "shop".to_owned()),
        };
        vec![of("command", "shop.sell", Some("shop.commands")), of("query", "shop.sales", None)]
    }

    #[test]
    fn text_has_a_line_per_message() {
        let lines: Vec<String> = text(&rows()).lines().map(str::to_owned).collect();
        assert_eq!(lines[0], "shop");
        assert_eq!(lines[1], format!("  command   {:<32} shop.commands -> shop", "shop.sell"));
        assert_eq!(lines[2], "  query     shop.sales");
    }

    #[test]
    fn the_diagram_has_an_arrow_per_message_that_arrives() {
        let expected = "flowchart LR\n    s_shop[shop]\n    t_shop_commands[(shop.commands)]\n    \
                        t_shop_commands -- shop.sell --> s_shop\n";
        assert_eq!(mermaid(&rows()), expected);
    }
}
