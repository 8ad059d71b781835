//! Messages of topics that rules read.

use super::event::{self, Heading};
use super::fan_out;
use super::known::Known;
use crate::deliveries::accept::{Acceptance, accept};
use crate::domain::preferences::Topic;
use crate::domain::rules::{Aim, Given, Outcome, Person, Planned, Rule};
use crate::recipients;
use crate::store::rules::{self as store, Reading};
use artel_contract::notify::rules::Miss;
use artel_contract::notify::{DeliveryId, bounds};
use artel_flow::{Raw, Tx};
use artel_message::{Cause, Fault, Time};
use serde_json::Value;
use std::pin::Pin;
use std::sync::Arc;

/// Misses that are kept of a rule; what comes beyond is counted only.
const MISSES: i64 = 1_000;

pub type Work<'a> = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + 'a>>;

/// The handler of what groups made for rules read.
pub fn handler(known: &Arc<Known>) -> impl for<'a> Fn(&'a mut Tx, Raw) -> Work<'a> + Send + Sync + 'static {
    let known = known.clone();
    move |tx: &mut Tx, raw: Raw| {
        let known = known.clone();
        Box::pin(async move { read(&known, tx, raw).await })
    }
}

/// Each rule by itself: one that can't use a message takes it from no other.
async fn read(known: &Known, tx: &mut Tx, raw: Raw) -> Result<(), Fault> {
    let reading = store::reading(tx, &raw.topic).await?;
    if reading.is_empty() {
        return Ok(());
    }
    let heading = Heading::of(&raw);
    let mut event: Option<Result<Value, String>> = None;
    for Reading { id, version, since, topic } in reading {
        // The log has its times at milliseconds.
        if raw.time.micros() < since.micros() / 1_000 * 1_000 {
            continue;
        }
        let Some(rule) = known.rule(tx, &id, version).await? else { continue };
        if !rule.on.fits(&raw.topic, heading.message.as_deref()) {
            continue;
        }
        let topic = settings(topic.as_deref());
        let missed = match event.get_or_insert_with(|| event::value(&raw)) {
            Ok(value) => one(tx, &rule, &topic, value, &heading).await?,
            Err(reason) => Some(reason.clone()),
        };
        if let Some(reason) = missed {
            miss(tx, &raw, &heading, &rule, reason).await?;
        }
    }
    Ok(())
}

pub fn settings(stored: Option<&str>) -> Topic {
    stored.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

async fn miss(tx: &mut Tx, raw: &Raw, heading: &Heading, rule: &Rule, reason: String) -> Result<(), Fault> {
    tracing::warn!(rule = %rule.id, topic = %raw.topic, partition = raw.partition, offset = raw.offset, reason, "a rule can't use a message");
    tx.count("missed", 1);
    let miss = Miss {
        rule: rule.id.clone(),
        version: rule.version,
        topic: raw.topic.to_string(),
        partition: raw.partition,
        offset: raw.offset,
        cause: heading.cause.clone(),
        reason,
        at: tx.now(),
    };
    let id = tx.new_id();
    store::miss(tx, id, &miss, MISSES).await?;
    Ok(())
}

/// What a rule does with an event; why it can do nothing with it, where it is about it and can't.
async fn one(
    tx: &mut Tx,
    rule: &Rule,
    topic: &Topic,
    event: &Value,
    heading: &Heading,
) -> Result<Option<String>, Fault> {
    match rule.aim(event) {
        Aim::NotMet => Ok(None),
        Aim::Nobody { reason } => Ok(Some(reason)),
        Aim::One(given) => {
            if let Some(reason) = unfit(&given) {
                return Ok(Some(reason));
            }
            let people = recipients::people(tx, &[given]).await?;
            deliver(tx, rule, topic, event, heading, &people).await
        }
        Aim::All { key } => fan_out::begin(tx, rule, topic, event, heading, key).await,
    }
}

/// Why what a message says of the recipient is nobody.
pub fn unfit(given: &Given) -> Option<String> {
    let id = given.subscriber.as_ref()?;
    let bad = id.chars().count() > bounds::NAME || id.contains(char::is_control);
    bad.then(|| {
        format!(
            "to.event.subscriber: is no id: those have up to {} characters that can be seen",
            bounds::NAME
        )
    })
}

/// Plans for these people and has it accepted; why it can't be, where it can't.
pub async fn deliver(
    tx: &mut Tx,
    rule: &Rule,
    topic: &Topic,
    event: &Value,
    heading: &Heading,
    people: &[Person],
) -> Result<Option<String>, Fault> {
    let (planned, once_per) = match planned(rule, topic, event, heading, people, tx.now()) {
        Outcome::Planned { planned, once_per } => (planned, once_per),
        Outcome::Stale { .. } => {
            tx.count("stale", 1);
            return Ok(None);
        }
        Outcome::NoKey { reason } => return Ok(Some(reason)),
    };
    if let Some(reason) = planned.iter().find_map(too_long) {
        return Ok(Some(reason));
    }
    if planned.is_empty() {
        return Ok(None);
    }
    if let Some(own) = once_per
        && !store::is_first(tx, &rule.id, &own, &heading.key).await?
    {
        tx.count("repeated", 1);
        return Ok(None);
    }
    let cause = Some(heading.cause.as_str());
    let attachments = Vec::new();
    accept(tx, Acceptance { planned, data: event, cause, send_at: None, attachments }).await?;
    Ok(None)
}

pub fn planned(
    rule: &Rule,
    topic: &Topic,
    event: &Value,
    heading: &Heading,
    people: &[Person],
    now: Time,
) -> Outcome {
    let mut id =
        |text: &str| DeliveryId::from_uuid(Cause::keyed(&heading.key, "notify.rule", text, heading.at).id());
    rule.plan(event, people, topic, heading.at, now, &mut id)
}

/// A key of the message's own that no index takes.
fn too_long(planned: &Planned) -> Option<String> {
    let long = planned.supersede_key.as_ref().is_some_and(|key| key.len() > 2_000);
    long.then(|| "supersede: the key is longer than can be stored".to_owned())
}
