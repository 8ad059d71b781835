//! `artel dead`, `artel parked`, `artel audit`: messages that fail, and what is done about them.

use super::show::{AT_ONCE, first_items, print_list};
use crate::cli::{Audit, Dead, DeadStep, Filter, Parked, ParkedStep};
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
            super::show::tell_elsewhere(&page.not_here)?;
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
            let (mut done, mut pace) = (Sum::of(Step::Retry, dry_run), Pace::of(rate.filter(|_| !dry_run)));
            for id in &ids {
                pace.wait(1).await;
                let dry_run = dry_run.then_some("true");
                let how = query(&[("dry_run", dry_run), ("reason", reason.as_deref())]);
                done.one(*id, send(&client, Method::POST, format!("{LETTERS}/{id}/retry{how}")).await)?;
            }
            done.end()
        }
        DeadStep::Drop { ids, filter, dry_run, reason } if ids.is_empty() => {
            drop_fitting(&client, &filter, dry_run, &reason).await
        }
        DeadStep::Drop { ids, dry_run, reason, .. } => {
            let mut done = Sum::of(Step::Drop, dry_run);
            for id in &ids {
                let sent = if dry_run {
                    send(&client, Method::GET, format!("{LETTERS}/{id}")).await
                } else {
                    let why = query(&[("reason", Some(reason.as_str()))]);
                    send(&client, Method::DELETE, format!("{LETTERS}/{id}{why}")).await
                };
                done.one(*id, sent)?;
            }
            done.end()
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
                "offset",
                "name",
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
        ParkedStep::DropHead { id, offset, reason } => {
            let which = offset.to_string();
            let which = query(&[("offset", Some(which.as_str())), ("reason", Some(reason.as_str()))]);
            send(&client, Method::DELETE, format!("{KEYS}/{id}/first{which}")).await?;
            say(&format!("dropped the message at offset {offset}, the first of {id}"))
        }
        ParkedStep::Forget { group, reason } => {
            let which = query(&[("group", Some(group.as_str())), ("reason", Some(reason.as_str()))]);
            let path = format!("{KEYS}{which}");
            let request = artel_frame::client::Outgoing::new(Method::DELETE, path);
            let done: Forgotten = read(&client.send(request).await?)?;
            say(&format!("{} messages of {group} are dropped", done.messages))
        }
    }
}

pub async fn audit(args: Audit) -> Result<()> {
    let client = connect::client(&args.target)?;
    let fields = ["at", "who", "action", "service", "target", "detail", "reason"];
    list(&client, "/api/admin/audit", args.limit, args.json, &fields, "nothing was done by hand").await
}

/// What waited in a group that does not run.
#[derive(Deserialize)]
struct Forgotten {
    messages: i64,
}

#[derive(Deserialize)]
struct Items {
    items: Vec<Box<RawValue>>,
    #[serde(default)]
    not_here: Vec<super::show::Elsewhere>,
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

pub(super) fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn complain(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stderr(), "{line}")?)
}

/// A step with its reason as a parameter.
async fn act(client: &Client, method: Method, path: &str, reason: Option<&str>) -> Result<()> {
    send(client, method, format!("{path}{}", query(&[("reason", reason)]))).await
}

async fn send(client: &Client, method: Method, path: String) -> Result<()> {
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

/// What is done to letters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Retry,
    Drop,
}

/// What came of a step with many letters: what is refused is named, and the others are done.
struct Sum {
    step: Step,
    dry_run: bool,
    done: usize,
    refused: usize,
}

impl Sum {
    fn of(step: Step, dry_run: bool) -> Sum {
        Sum { step, dry_run, done: 0, refused: 0 }
    }

    fn one(&mut self, id: Uuid, sent: Result<()>) -> Result<()> {
        match sent {
            Ok(()) => self.done += 1,
            Err(error) => {
                self.refused += 1;
                complain(&format!("not {id}: {error:#}"))?;
            }
        }
        Ok(())
    }

    fn page(&mut self, page: &Retried) -> Result<()> {
        self.done += page.letters.len();
        self.refused += page.refused.len();
        for one in &page.refused {
            complain(&format!(
                "not {}: {}",
                super::show::cell(one, "letter"),
                super::show::cell(one, "reason")
            ))?;
        }
        Ok(())
    }

    fn told(&self) -> String {
        let what = match (self.step, self.dry_run) {
            (Step::Retry, false) => "are tried again",
            (Step::Retry, true) => "would be tried",
            (Step::Drop, false) => "are dropped",
            (Step::Drop, true) => "would be dropped",
        };
        format!("{} {what}", self.done)
    }

    /// Ends with a failure where any was refused.
    fn end(self) -> Result<()> {
        say(&self.told())?;
        anyhow::ensure!(self.refused == 0, "{} refused; the reasons are above", self.refused);
        Ok(())
    }
}

/// Letters in one request, which has to end in its time.
const PAGE: usize = 100;

/// Tries those that fit, page by page in the order of their logs; one that fails again is not tried twice.
async fn retry_fitting(
    client: &Client,
    filter: &Filter,
    dry_run: bool,
    rate: Option<usize>,
    reason: Option<String>,
) -> Result<()> {
    let rate = rate.filter(|_| !dry_run);
    let how =
        Round { path: "retry", filter, limit: rate.unwrap_or(PAGE).min(PAGE), reason: reason.as_deref() };
    fitting(client, &how, Sum::of(Step::Retry, dry_run), Pace::of(rate)).await
}

/// Drops those that fit, those that there are at the beginning.
async fn drop_fitting(client: &Client, filter: &Filter, dry_run: bool, reason: &str) -> Result<()> {
    let how = Round { path: "drop", filter, limit: PAGE, reason: Some(reason) };
    fitting(client, &how, Sum::of(Step::Drop, dry_run), Pace::of(None)).await
}

/// How letters that fit are gone through.
struct Round<'a> {
    path: &'static str,
    filter: &'a Filter,
    limit: usize,
    reason: Option<&'a str>,
}

async fn fitting(client: &Client, how: &Round<'_>, mut sum: Sum, mut pace: Pace) -> Result<()> {
    let Round { path, filter, limit, reason } = how;
    anyhow::ensure!(filter.service.is_some(), "name letters by their ids, or a service with --service");
    let mut cursor = None::<String>;
    loop {
        pace.wait(*limit).await;
        let body = json!({
            "which": filter.json(), "dry_run": sum.dry_run, "limit": limit, "cursor": cursor, "reason": reason,
        });
        let sent = client.send_json(Method::POST, &format!("{LETTERS}/{path}"), &body).await;
        let page: Retried = sent
            .map_err(anyhow::Error::from)
            .and_then(|answer| read(&answer))
            .with_context(|| format!("{} so far; say it again to go on", sum.told()))?;
        sum.page(&page)?;
        cursor = page.next;
        if cursor.is_none() {
            return sum.end();
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
        if let Some(turn) = self.turn(Instant::now(), count) {
            sleep_until(turn).await;
        }
    }

    /// When so many more may go out.
    fn turn(&mut self, now: Instant, count: usize) -> Option<Instant> {
        let turn = self.next.max(now);
        self.next = turn + Duration::from_secs_f64(count as f64 / self.rate? as f64);
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_go_out_in_a_second_than_may() {
        let mut pace = Pace::of(Some(4));
        let begun = pace.next;
        let after = |turn: Option<Instant>| turn.map(|turn| (turn - begun).as_millis());
        let turns: Vec<_> = (0..4).map(|_| after(pace.turn(begun, 2))).collect();
        assert_eq!(turns, [Some(0), Some(500), Some(1_000), Some(1_500)]);
        let late = begun + Duration::from_secs(60);
        assert_eq!(after(pace.turn(late, 2)), Some(60_000), "what was not used is not made up for");
        assert_eq!(after(pace.turn(late, 2)), Some(60_500));
        assert_eq!(Pace::of(None).turn(begun, 1_000_000), None);
    }
}
