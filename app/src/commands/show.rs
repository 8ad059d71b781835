//! Commands that show what a node knows: a request, and its answer as a table or as JSON.

use crate::cli::{Cache, Format, Groups, Topics, Topology};
use crate::connect::{self, check, read};
use crate::line::{compact, printable};
use crate::table::{bytes, table};
use anyhow::Result;
use artel_frame::client::{Answer, Client, query, segment};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::Write;

/// What one request may ask for.
pub(super) const AT_ONCE: usize = 500;
const KEYS_AT_ONCE: usize = 1_000;

/// A field as a cell of a table.
pub(super) fn cell(row: &Value, field: &str) -> String {
    match row.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => printable(&text.replace('\n', " ")),
        Some(other) => other.to_string(),
    }
}

pub(super) fn items(json: &Value, field: &str) -> Vec<Value> {
    json.get(field).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// The answer as it came, or what `text` makes of it.
fn print(answer: &Answer, json: bool, text: impl Fn(&Value) -> String) -> Result<()> {
    check(answer)?;
    let mut out = std::io::stdout();
    if json {
        writeln!(out, "{}", compact(&answer.text()))?;
    } else {
        write!(out, "{}", text(&read(answer)?))?;
    }
    Ok(())
}

/// Rows with these fields as columns.
pub(super) fn rows(items: &[Value], fields: &[&str]) -> String {
    let cells: Vec<Vec<String>> =
        items.iter().map(|item| fields.iter().map(|field| cell(item, field)).collect()).collect();
    table(fields, &cells)
}

fn size(row: &Value, field: &str) -> String {
    row.get(field).and_then(Value::as_u64).map(bytes).unwrap_or_default()
}

pub async fn topics(args: Topics) -> Result<()> {
    let client = connect::client(&args.target)?;
    match &args.topic {
        Some(topic) => {
            let answer = client.get(&format!("/api/admin/topics/{}", segment(topic))).await?;
            print(&answer, args.json, topic_text)
        }
        None => {
            let list = all_pages(&client, "/api/admin/topics", "1000").await?;
            if args.json {
                writeln!(std::io::stdout(), "{}", serde_json::json!({ "items": list }))?;
                return Ok(());
            }
            let line = |topic: &Value| {
                let field = |name: &str| cell(topic, name);
                vec![
                    field("name"),
                    field("partitions"),
                    field("messages"),
                    size(topic, "bytes"),
                    field("stopped"),
                    field("owner"),
                ]
            };
            let lines: Vec<Vec<String>> = list.iter().map(line).collect();
            let head = ["topic", "partitions", "messages", "size", "stopped", "owner"];
            write!(std::io::stdout(), "{}", table(&head, &lines))?;
            Ok(())
        }
    }
}

/// Every page of a list.
async fn all_pages(client: &Client, path: &str, limit: &str) -> Result<Vec<Value>> {
    let (mut all, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let query = query(&[("limit", Some(limit)), ("cursor", cursor.as_deref())]);
        let page: Value = read(&client.get(&format!("{path}{query}")).await?)?;
        all.extend(items(&page, "items"));
        match page.get("next").and_then(Value::as_str) {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok(all),
        }
    }
}

fn topic_text(topic: &Value) -> String {
    let or = |field: &str, none: &str| match cell(topic, field) {
        text if text.is_empty() => none.to_owned(),
        text => text,
    };
    let mut text = format!(
        "{} ({}), owner {}, kept for {} ms, {} bytes a partition\n\n",
        cell(topic, "name"),
        cell(topic, "id"),
        or("owner", "-"),
        or("retention_ms", "ever, no limit of"),
        or("retention_bytes", "any number of"),
    );
    text.push_str(&rows(&items(topic, "partitions"), &["partition", "begin", "end", "bytes", "stopped"]));
    let groups = items(topic, "groups");
    if !groups.is_empty() {
        text.push('\n');
        text.push_str(&rows(&groups, &["group", "partition", "next"]));
    }
    text
}

pub async fn groups(args: Groups) -> Result<()> {
    let client = connect::client(&args.target)?;
    if let Some(step) = &args.step {
        return super::groups::step(&client, step).await;
    }
    let answer = client.get("/api/admin/groups").await?;
    print(&answer, args.json, |json| {
        let columns = ["service", "group", "topic", "state", "phase", "lag", "error", "waits_for"];
        rows(&items(json, "items"), &columns)
    })
}

pub async fn cache(args: Cache) -> Result<()> {
    let client = connect::client(&args.target)?;
    if let Some(key) = &args.delete {
        check(&client.delete(&format!("/api/admin/cache/{}", segment(key))).await?)?;
        writeln!(std::io::stdout(), "removed {key}")?;
        return Ok(());
    }
    if let Some(key) = &args.get {
        let answer = client.get(&format!("/api/admin/cache/{}", segment(key))).await?;
        return print(&answer, args.json, |json| format!("{}\n", json.get("value").unwrap_or(&Value::Null)));
    }
    let prefix = Some(args.prefix.as_str()).filter(|prefix| !prefix.is_empty());
    let path = format!("/api/admin/cache{}", query(&[("prefix", prefix)]));
    let (list, more) = first_items(&client, &path, args.limit, KEYS_AT_ONCE).await?;
    let more =
        if more { format!("the first {}; there are more, see --limit\n", list.len()) } else { String::new() };
    print_list(&list, args.json, &["key", "size", "ttl_ms"], &more)
}

/// A page as it came: what stands in it keeps every digit.
#[derive(Deserialize)]
struct RawPage {
    items: Vec<Box<RawValue>>,
    next: Option<String>,
    #[serde(default)]
    not_here: Vec<Elsewhere>,
}

/// A service that the node can't answer for.
#[derive(Deserialize)]
pub(super) struct Elsewhere {
    service: String,
    nodes: Vec<String>,
}

/// Says whose things a list does not have: it is of the services of one node.
pub(super) fn tell_elsewhere(services: &[Elsewhere]) -> Result<()> {
    for Elsewhere { service, nodes } in services {
        let nodes = if nodes.is_empty() { "no node".to_owned() } else { nodes.join(", ") };
        writeln!(
            std::io::stderr(),
            "not listed: service {service}, which runs on {nodes}; ask there with --url"
        )?;
    }
    Ok(())
}

/// The first so many of a list, page by page, and whether there are more.
pub(super) async fn first_items(
    client: &Client,
    path: &str,
    count: usize,
    at_once: usize,
) -> Result<(Vec<Box<RawValue>>, bool)> {
    let (mut all, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let limit = (count - all.len()).clamp(1, at_once).to_string();
        let part = query(&[("limit", Some(&limit)), ("cursor", cursor.as_deref())]);
        let part = if path.contains('?') { part.replacen('?', "&", 1) } else { part };
        let page: RawPage = read(&client.get(&format!("{path}{part}")).await?)?;
        if cursor.is_none() {
            tell_elsewhere(&page.not_here)?;
        }
        all.extend(page.items);
        cursor = page.next;
        if cursor.is_none() || all.len() >= count {
            return Ok((all, cursor.is_some()));
        }
    }
}

/// An item's fields for a table; one that can't be read as a value, being too deep, is shown as it stands.
fn shallow(item: &RawValue) -> Value {
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(item.get()).unwrap_or_default();
    let value = |raw: &RawValue| serde_json::from_str(raw.get()).unwrap_or_else(|_| Value::from(raw.get()));
    fields.iter().map(|(name, raw)| (name.clone(), value(raw))).collect()
}

pub(super) fn print_list(list: &[Box<RawValue>], json: bool, fields: &[&str], more: &str) -> Result<()> {
    let mut out = std::io::stdout();
    if json {
        let items: Vec<String> = list.iter().map(|item| compact(item.get())).collect();
        writeln!(out, "{{\"items\":[{}]}}", items.join(","))?;
        return Ok(());
    }
    let list: Vec<Value> = list.iter().map(|item| shallow(item)).collect();
    write!(out, "{}{more}", rows(&list, fields))?;
    Ok(())
}

pub async fn topology(args: Topology) -> Result<()> {
    let format = match args.format {
        Format::Text => "text",
        Format::Json => "json",
        Format::Mermaid => "mermaid",
    };
    let answer = connect::client(&args.target)?.get(&format!("/api/admin/topology?format={format}")).await?;
    check(&answer)?;
    writeln!(std::io::stdout(), "{}", answer.text().trim_end())?;
    Ok(())
}
