//! An event for many: a page of subscribers to a transaction, the next one by a command to ourselves.

use super::event::Heading;
use super::known::Known;
use super::read::{Work, deliver, settings};
use crate::domain::preferences::Topic;
use crate::domain::rules::{Person, Rule};
use crate::recipients;
use crate::store::rules::{self as store, FanOut};
use artel_flow::Tx;
use artel_message::{Command, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

/// Subscribers of a page.
const PAGE: usize = 500;

/// Goes on with an event behind this subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.fan-out", reply = (), key = fan_out)]
pub struct NextPage {
    pub fan_out: Uuid,
    pub after: String,
}

/// The first page; the rest follows where there is more.
pub async fn begin(
    tx: &mut Tx,
    rule: &Rule,
    topic: &Topic,
    event: &Value,
    heading: &Heading,
    key: String,
) -> Result<Option<String>, Fault> {
    let people = recipients::subscribed(tx, &rule.topic, &key, None, PAGE).await?;
    let missed = deliver(tx, rule, topic, event, heading, &people).await?;
    if missed.is_some() {
        return Ok(missed);
    }
    if let Some(after) = last_of_full(&people) {
        let id = tx.new_id();
        let fan = FanOut {
            rule: rule.id.clone(),
            version: rule.version,
            key,
            event_key: heading.key.clone(),
            cause: heading.cause.clone(),
            at: heading.at,
            event: event.to_string(),
        };
        store::begin_fan_out(tx, id, &fan).await?;
        tx.send(NextPage { fan_out: id, after });
    }
    Ok(None)
}

/// Behind whom the next page begins; none where this was the last one.
fn last_of_full(people: &[Person]) -> Option<String> {
    people.last().filter(|_| people.len() == PAGE).and_then(|last| last.subscriber.clone())
}

pub fn handler(
    known: &Arc<Known>,
) -> impl for<'a> Fn(&'a mut Tx, NextPage) -> Work<'a> + Send + Sync + 'static {
    let known = known.clone();
    move |tx: &mut Tx, command: NextPage| {
        let known = known.clone();
        Box::pin(async move { next_page(&known, tx, command).await })
    }
}

async fn next_page(known: &Known, tx: &mut Tx, command: NextPage) -> Result<(), Fault> {
    let NextPage { fan_out: id, after } = command;
    let Some(fan) = store::fan_out(tx, id).await? else { return Ok(()) };
    // As it was when the event came: a change meanwhile is for the events behind it.
    let rule = known.rule(tx, &fan.rule, fan.version).await?;
    let rule = rule
        .ok_or_else(|| Fault::internal(format!("version {} of rule '{}' is gone", fan.version, fan.rule)))?;
    let topic = settings(crate::store::topics::settings(tx, &rule.topic).await?.as_deref());
    let event: Value =
        serde_json::from_str(&fan.event).map_err(|error| Fault::internal(error.to_string()))?;
    let heading = Heading { message: None, key: fan.event_key, cause: fan.cause, at: fan.at };
    let people = recipients::subscribed(tx, &rule.topic, &fan.key, Some(&after), PAGE).await?;
    deliver(tx, &rule, &topic, &event, &heading, &people).await?;
    match last_of_full(&people) {
        Some(after) => {
            tx.send(NextPage { fan_out: id, after });
        }
        None => store::end_fan_out(tx, id).await?,
    }
    Ok(())
}
