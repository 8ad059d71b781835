//! `artel dead`, `artel parked`, `artel audit`: messages that fail, and what is done about them.

use super::show::{AT_ONCE, first_items, print_list};
use crate::cli::{Audit, Dead, DeadStep, Filter, Parked, ParkedStep, SkipTo};
use crate::connect::{self, check, read};
use crate::line::compact;
use anyhow::{Context, Result};
use artel_frame::client::{Client, query};
use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::io::{Read as _, Write};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

const LETTERS: &str = "/api/admin/dead-letters";
const KEYS: &str = "/api/admin/parked";

pub async fn dead(args: Dead) -> Result<()> {
    let client = connect::client(&args.target)?;
    match args.step {
        DeadStep::List { filter, limit, json } => {
            let path = format!("{LETTERS}{}", filter.query());
            let fields =
                ["id", "at", "service", "topic", "partition", "offset", "key", "name", "code", "reason"];
            list(&client, &path, limit, json, &fields, "no message was given up on").await
        }
        DeadStep::Causes { json } => {
            let answer = client.get(&format!("{LETTERS}/causes")).await?;
            let page: Items = read(&answer)?;
            let fields = ["cause", "count", "service", "code", "reason", "first", "last"];
            shown(&page.items, json, &fields, "", "no message was given up on")
        }
        DeadStep::Show { id } => {
            let answer = client.get(&format!("{LETTERS}/{id}")).await?;
            check(&answer)?;
            say(&compact(&answer.text()))
        }
        DeadStep::Edit { id, file, reason } => {
            let body = json!({ "value": value_of(&file)?, "reason": reason });
            check(&client.send_json(Method::PUT, &format!("{LETTERS}/{id}/value"), &body).await?)?;
            say(&format!("{id} has another value now; artel dead retry {id} tries it"))
        }
        DeadStep::Retry { ids, filter, dry_run, rate, reason } if ids.is_empty() => {
            retry_fitting(&client, &filter, dry_run, rate, reason).await
        }
        DeadStep::Retry { ids, dry_run, rate, reason, .. } => {
            let mut pace = Pace::of(rate);
            for id in &ids {
                pace.wait(1).await;
                if dry_run {
                    check(&client.get(&format!("{LETTERS}/{id}")).await?)?;
                } else {
                    act(&client, Method::POST, &format!("{LETTERS}/{id}/retry"), reason.as_deref()).await?;
                }
            }
            say(&format!("{} {}", ids.len(), if dry_run { "would be tried" } else { "are tried again" }))
        }
        DeadStep::Drop { ids, filter, dry_run, reason } if ids.is_empty() => {
            drop_fitting(&client, &filter, dry_run, &reason).await
        }
        DeadStep::Drop { ids, dry_run, reason, .. } => {
            for id in &ids {
                let path = format!("{LETTERS}/{id}");
                if dry_run {
                    check(&client.get(&path).await?)?;
                } else {
                    act(&client, Method::DELETE, &path, Some(&reason)).await?;
                }
            }
            say(&format!("{} {}", ids.len(), dropped(dry_run)))
        }
    }
}

pub async fn parked(args: Parked) -> Result<()> {
    let client = connect::client(&args.target)?;
    match args.step {
        ParkedStep::List { service, group, limit, json } => {
            let which = query(&[("service", service.as_deref()), ("group", group.as_deref())]);
            let fields = [
                "id",
                "service",
                "group",
                "topic",
                "partition",
                "key",
                "waiting",
                "attempts",
                "failing_since",
                "due",
                "code",
                "reason",
            ];
            list(&client, &format!("{KEYS}{which}"), limit, json, &fields, "no key is parked").await
        }
        ParkedStep::Retry { id, reason } => {
            act(&client, Method::POST, &format!("{KEYS}/{id}/retry"), reason.as_deref()).await?;
            say(&format!("{id} is due now"))
        }
        ParkedStep::Release { id, reason } => {
            act(&client, Method::POST, &format!("{KEYS}/{id}/release"), reason.as_deref()).await?;
            say(&format!("{id} goes on"))
        }
        ParkedStep::Show { id } => {
            let answer = client.get(&format!("{KEYS}/{id}")).await?;
            check(&answer)?;
            say(&compact(&answer.text()))
        }
        ParkedStep::DropHead { id, reason } => {
            act(&client, Method::DELETE, &format!("{KEYS}/{id}/first"), Some(&reason)).await?;
            say(&format!("dropped the first message of {id}"))
        }
    }
}

pub async fn audit(args: Audit) -> Result<()> {
    let client = connect::client(&args.target)?;
    let fields = ["at", "who", "action", "service", "target", "detail", "reason"];
    list(&client, "/api/admin/audit", args.limit, args.json, &fields, "nothing was done by hand").await
}

/// What a move of a group passes over.
#[derive(Deserialize)]
struct Skipped {
    from: i64,
    to: i64,
    messages: i64,
}

pub async fn skip(client: &Client, args: &SkipTo) -> Result<()> {
    let SkipTo { group, topic, partition, to, dry_run, reason } = args;
    let body = json!({
        "group": group, "topic": topic, "partition": partition, "to": to, "dry_run": dry_run, "reason": reason,
    });
    let done: Skipped = read(&client.send_json(Method::POST, "/api/admin/groups/skip", &body).await?)?;
    let would = if *dry_run { "would go" } else { "goes" };
    say(&format!(
        "{group} {would} on at {} in {topic}/{partition} (it stood at {}); {} messages are passed over",
        done.to, done.from, done.messages
    ))
}

#[derive(Deserialize)]
struct Items {
    items: Vec<Box<RawValue>>,
}

async fn list(
    client: &Client,
    path: &str,
    limit: usize,
    json: bool,
    fields: &[&str],
    none: &str,
) -> Result<()> {
    let (items, more) = first_items(client, path, limit, AT_ONCE).await?;
    let more = if more {
        format!("the first {}; there are more, see --limit\n", items.len())
    } else {
        String::new()
    };
    shown(&items, json, fields, &more, none)
}

fn shown(items: &[Box<RawValue>], json: bool, fields: &[&str], more: &str, none: &str) -> Result<()> {
    if items.is_empty() && !json {
        return say(none);
    }
    print_list(items, json, fields, more)
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// A step with its reason as a parameter.
async fn act(client: &Client, method: Method, path: &str, reason: Option<&str>) -> Result<()> {
    let path = format!("{path}{}", query(&[("reason", reason)]));
    check(&client.send(artel_frame::client::Outgoing::new(method, path)).await?)
}

/// A JSON value as it stands in a file.
fn value_of(file: &Path) -> Result<Box<RawValue>> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("standard input can't be read")?;
    } else {
        text =
            std::fs::read_to_string(file).with_context(|| format!("'{}' can't be read", file.display()))?;
    }
    RawValue::from_string(text.trim().to_owned())
        .with_context(|| format!("'{}' holds no JSON value", file.display()))
}

/// What a round of tries answers.
#[derive(Deserialize)]
struct Retried {
    letters: Vec<Uuid>,
    refused: Vec<Value>,
    next: Option<String>,
}

/// Tries those that fit, page by page from the newest, so that one that fails again is not tried twice.
async fn retry_fitting(
    client: &Client,
    filter: &Filter,
    dry_run: bool,
    rate: Option<usize>,
    reason: Option<String>,
) -> Result<()> {
    anyhow::ensure!(filter.service.is_some(), "name letters by their ids, or a service with --service");
    let (mut tried, mut refused, mut cursor) = (0, Vec::new(), None::<String>);
    let mut pace = Pace::of(rate.filter(|_| !dry_run));
    loop {
        let limit = rate.unwrap_or(AT_ONCE).min(AT_ONCE);
        pace.wait(limit).await;
        let body = json!({
            "which": filter.json(), "dry_run": dry_run, "limit": limit, "cursor": cursor, "reason": reason,
        });
        let done: Retried = read(&client.send_json(Method::POST, &format!("{LETTERS}/retry"), &body).await?)?;
        tried += done.letters.len();
        refused.extend(done.refused);
        cursor = done.next;
        if cursor.is_none() {
            break;
        }
    }
    for one in &refused {
        say(&format!("not {}: {}", super::show::cell(one, "letter"), super::show::cell(one, "reason")))?;
    }
    say(&format!("{tried} {}", if dry_run { "would be tried" } else { "are tried again" }))
}

fn dropped(dry_run: bool) -> &'static str {
    if dry_run { "would be dropped" } else { "are dropped" }
}

/// Drops those that fit, those that there are at the beginning.
async fn drop_fitting(client: &Client, filter: &Filter, dry_run: bool, reason: &str) -> Result<()> {
    anyhow::ensure!(filter.service.is_some(), "name letters by their ids, or a service with --service");
    let (mut count, mut cursor) = (0, None::<String>);
    loop {
        let body = json!({
            "which": filter.json(), "dry_run": dry_run, "limit": AT_ONCE, "cursor": cursor, "reason": reason,
        });
        let done: Retried = read(&client.send_json(Method::POST, &format!("{LETTERS}/drop"), &body).await?)?;
        count += done.letters.len();
        cursor = done.next;
        if cursor.is_none() {
            return say(&format!("{count} {}", dropped(dry_run)));
        }
    }
}

impl Filter {
    fn pairs(&self) -> [(&'static str, Option<&str>); 8] {
        [
            ("service", self.service.as_deref()),
            ("cause", self.cause.as_deref()),
            ("group", self.group.as_deref()),
            ("topic", self.topic.as_deref()),
            ("name", self.name.as_deref()),
            ("key", self.key.as_deref()),
            ("from", self.from.as_deref()),
            ("to", self.to.as_deref()),
        ]
    }

    fn query(&self) -> String {
        query(&self.pairs())
    }

    fn json(&self) -> Value {
        let said =
            self.pairs().into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
        Value::Object(said.collect())
    }
}

/// Holds back so that no more than so many a second go out.
struct Pace {
    rate: Option<usize>,
    next: Instant,
}

impl Pace {
    fn of(rate: Option<usize>) -> Pace {
        Pace { rate, next: Instant::now() }
    }

    async fn wait(&mut self, count: usize) {
        let Some(rate) = self.rate else { return };
        sleep_until(self.next).await;
        let share = count as f64 / rate as f64;
        self.next = Instant::now() + Duration::from_secs_f64(share);
    }
}
