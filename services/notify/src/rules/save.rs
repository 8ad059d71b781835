//! Saving and taking away rules, and the groups that read for them.
//!
//! Each topic that an enabled rule is about has a group made at run time, in the transaction of the change that needs it. It begins with
//! what is written from that moment on, also where no node takes it up for a while. With the last rule of a topic it goes, with
//! its place.

use super::rule;
use crate::domain::rules::{Known, Problem, Rule};
use crate::recipients::subscribers::next_rev;
use crate::store::rows::Rows;
use crate::store::rules::{self as store, Head};
use crate::templates;
use artel_bus::From as Begin;
use artel_contract::notify::rules::{PutRule, RemoveRule, RuleBody, SavedRule};
use artel_contract::notify::templates as wire;
use artel_flow::Tx;
use artel_message::{Fault, Kind, Time, service_of};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The topics of our own, which no rule reads.
const OWN: &str = "notify";

pub async fn put(tx: &mut Tx, command: PutRule) -> Result<SavedRule, Fault> {
    let PutRule { rule: id, body, by, expected } = command;
    let head = store::head(tx, &id).await?;
    let stored = head.as_ref().filter(|head| !head.removed).map(|head| u64::from(head.version));
    next_rev(&format!("rule '{id}'"), stored, expected)?;
    let version = save(tx, &id, &body, &by, head, None).await?;
    Ok(SavedRule { version, created: stored.is_none() })
}

/// The file that a rule comes from, and a hash of what stands there.
pub type Source<'a> = Option<(&'a str, &'a str)>;

/// Saves the next version of a rule, where nothing is wrong with it.
pub async fn save(
    tx: &mut Tx,
    id: &str,
    body: &RuleBody,
    by: &str,
    head: Option<Head>,
    source: Source<'_>,
) -> Result<u32, Fault> {
    let version = head.as_ref().map_or(0, |head| head.version) + 1;
    let rule = rule(id, version, body)?;
    let problems = problems(tx, &rule).await?;
    if !problems.is_empty() {
        return Err(refused(&problems));
    }
    let now = tx.now();
    let topic = rule.enabled.then(|| rule.on.topic.clone());
    let before = head.as_ref().and_then(|head| head.read_topic.clone());
    // One that goes on reading its topic takes what waits there too.
    let since = head.as_ref().and_then(|head| head.since).filter(|_| before == topic);
    let kept = head.and_then(|head| head.source.zip(head.file_hash));
    let source = source.map(|(name, hash)| (name.to_owned(), hash.to_owned())).or(kept);
    let (source, file_hash) = source.unzip();
    let head = Head {
        id: id.to_owned(),
        version,
        removed: false,
        since: topic.as_ref().map(|_| since.unwrap_or(now)),
        read_topic: topic.clone(),
        template: rule.template.clone(),
        about: rule.topic.clone(),
        source,
        file_hash,
    };
    store::save(tx, id, version, body, by).await?;
    store::put_head(tx, &head).await?;
    read_topics(tx, before, topic).await?;
    Ok(version)
}

pub async fn remove(tx: &mut Tx, command: RemoveRule) -> Result<(), Fault> {
    let RemoveRule { rule: id, by, expected } = command;
    let head = store::head(tx, &id).await?.filter(|head| !head.removed).ok_or_else(|| no_such(&id))?;
    next_rev(&format!("rule '{id}'"), Some(u64::from(head.version)), expected)?;
    tracing::info!(rule = %id, %by, "a rule was taken away");
    take_away(tx, head).await
}

/// Takes a rule away; its versions stay.
pub async fn take_away(tx: &mut Tx, head: Head) -> Result<(), Fault> {
    let before = head.read_topic.clone();
    store::put_head(tx, &Head { removed: true, read_topic: None, since: None, ..head }).await?;
    read_topics(tx, before, None).await
}

pub fn no_such(id: &str) -> Fault {
    let id: String = id.chars().take(60).collect();
    Fault::not_found(format!("there is no rule '{id}'"))
}

/// The name of the group that reads a topic.
pub fn group_of(topic: &str) -> String {
    format!("rules.{topic}")
}

/// Starts and forgets groups as a rule has moved from one topic to another.
async fn read_topics(tx: &mut Tx, before: Option<String>, after: Option<String>) -> Result<(), Fault> {
    if before == after {
        return Ok(());
    }
    if let Some(topic) = before
        && store::reading(tx, &topic).await?.is_empty()
    {
        tx.forget_group(&group_of(&topic)).await?;
    }
    if let Some(topic) = after {
        // The log has its times at milliseconds: what is written within this one is not to be missed.
        let from = Begin::Time(Time::from_millis(tx.now().micros().div_euclid(1_000)));
        tx.start_group(&group_of(&topic), &topic, from).await?;
    }
    Ok(())
}

/// What keeps a rule from being saved.
pub async fn problems(rows: &mut impl Rows, rule: &Rule) -> Result<Vec<Problem>, Fault> {
    let current = templates::current(rows, &BTreeSet::from([rule.template.as_str()])).await?;
    let channels = match current.get(&rule.template) {
        None => Vec::new(),
        Some(version) => match templates::version(rows, &rule.template, *version).await? {
            None => Vec::new(),
            Some(found) => templates::template(&found.id, found.version, &found.body)?.channels(),
        },
    };
    let schema = schema(rule);
    let known = Known { schema: schema.as_ref(), template_channels: Some(&channels) };
    let mut problems = rule.check(known);
    if service_of(&rule.on.topic) == OWN {
        let reason = "is one of the notifications' own: a rule there would cause what it reads".to_owned();
        problems.insert(0, Problem { field: "on.topic".to_owned(), reason });
    }
    Ok(problems)
}

/// What the messages look like, as far as the platform knows: by their type, or where a topic has only one.
fn schema(rule: &Rule) -> Option<Value> {
    if let Some(message) = &rule.on.message {
        return templates::schema_of(message);
    }
    let all = artel_contract::catalogue();
    let mut fitting =
        all.iter().filter(|known| known.kind == Kind::Event && known.topic == Some(rule.on.topic.as_str()));
    let only = fitting.next().filter(|_| fitting.next().is_none())?;
    Some((only.schema)().to_value())
}

pub fn shown(problem: &Problem) -> wire::Problem {
    wire::Problem { field: problem.field.clone(), line: None, reason: problem.reason.clone() }
}

/// All that is wrong, the first of it in the sentence.
fn refused(problems: &[Problem]) -> Fault {
    let Some(first) = problems.first() else { return Fault::internal("a refusal without a reason") };
    let more = match problems.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let all: Vec<wire::Problem> = problems.iter().map(shown).collect();
    Fault::invalid(format!("{first}{more}")).with(json!({ "field": first.field, "problems": all }))
}
