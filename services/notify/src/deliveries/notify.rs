//! Direct sends: the same way as by a rule, with what was asked for in the rule's place.

use super::accept::{Acceptance, accept};
use super::attachments;
use crate::domain::address::{Email, Phone};
use crate::domain::preferences::Topic;
use crate::domain::rules::{Given, Outcome, Planned, Recipients, Rule, Trigger};
use crate::recipients;
use crate::store::topics;
use crate::templates::{Needed, Needs};
use artel_contract::notify::{
    Channel, Content, DeliveryId, Notify, NotifyMany, Queued, QueuedMany, Recipient, bounds,
};
use artel_flow::Tx;
use artel_message::Fault;
use serde_json::Value;
use std::pin::Pin;
use std::sync::Arc;

pub type Work<'a, R> = Pin<Box<dyn Future<Output = Result<R, Fault>> + Send + 'a>>;

/// The handler of what is sent to one.
pub fn notify(
    needs: &Arc<Needs>,
) -> impl for<'a> Fn(&'a mut Tx, Notify) -> Work<'a, Queued> + Send + Sync + 'static {
    let needs = needs.clone();
    move |tx: &mut Tx, command: Notify| {
        let needs = needs.clone();
        Box::pin(async move {
            well_formed(&command.recipient)?;
            let queued = send(&needs, tx, vec![command.recipient], command.content).await?;
            queued.into_iter().next().ok_or_else(|| Fault::internal("nothing was planned"))
        })
    }
}

/// Of many, each is found out by itself: one that is nobody holds up no other.
fn well_formed(recipient: &Recipient) -> Result<(), Fault> {
    let email = recipient.email.as_deref().map(|email| email.parse::<Email>().map(drop));
    let phone = recipient.phone.as_deref().map(|phone| phone.parse::<Phone>().map(drop));
    match email.into_iter().chain(phone).find_map(Result::err) {
        Some(bad) => Err(Fault::field(&format!("recipient.{}", bad.field), bad.reason)),
        None => Ok(()),
    }
}

/// The same to many.
pub fn notify_many(
    needs: &Arc<Needs>,
) -> impl for<'a> Fn(&'a mut Tx, NotifyMany) -> Work<'a, QueuedMany> + Send + Sync + 'static {
    let needs = needs.clone();
    move |tx: &mut Tx, command: NotifyMany| {
        let needs = needs.clone();
        Box::pin(async move {
            Ok(QueuedMany { deliveries: send(&needs, tx, command.recipients, command.content).await? })
        })
    }
}

async fn send(
    needs: &Needs,
    tx: &mut Tx,
    to: Vec<Recipient>,
    content: Content,
) -> Result<Vec<Queued>, Fault> {
    let now = tx.now();
    if let Some(at) = content.expires_at.filter(|at| *at <= now) {
        return Err(Fault::field("content.expires_at", format!("{at} is over")));
    }
    if content.send_at.is_some_and(|at| at.since(now) > bounds::AHEAD) {
        let days = bounds::AHEAD.as_secs() / 86_400;
        return Err(Fault::field("content.send_at", format!("is more than {days} days ahead")));
    }
    let attachments = attachments::decoded(content.attachments.clone())?;
    let missing = || {
        let reason = format!("there is no template '{}'", content.template);
        Fault::field("content.template", reason)
    };
    let needed = needs.of(tx, &content.template).await?.ok_or_else(missing)?;
    let rule = rule(&needed, &content)?;
    let data = Value::Object(content.data.into_iter().collect());
    needed.check(&rule.channels, &data)?;
    let topic = topics::settings(tx, &rule.topic).await?;
    let topic: Topic = topic.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let given: Vec<Given> = to.iter().map(given).collect();
    let mut people = recipients::people(tx, &given).await?;
    // Of an event the subscriber's own language is taken; whoever names one for a recipient means it.
    for (person, given) in people.iter_mut().zip(given) {
        person.language = given.language.or(person.language.take());
    }
    let (base, mut planned) = (tx.new_id(), Vec::with_capacity(people.len()));
    let cause = artel_message::Cause::message(base, now);
    for (at, person) in (0u32..).zip(people) {
        // Each by itself: two recipients of one address get what was asked for twice, as it was asked for.
        let mut id = |_: &str| DeliveryId::from(cause.derive("notify", at));
        let outcome = rule.plan(&data, std::slice::from_ref(&person), &topic, now, now, &mut id);
        let Outcome::Planned { planned: mut one, .. } = outcome else {
            return Err(Fault::internal("a direct send that is no plan"));
        };
        planned.append(&mut one);
    }
    for one in &mut planned {
        let Planned { expires_at, supersede_key, recipient_key, rule, .. } = one;
        *expires_at = content.expires_at;
        *supersede_key = content.supersede_key.as_ref().map(|key| format!("{key}\n{recipient_key}"));
        rule.clear();
    }
    let without: Vec<Vec<Channel>> =
        planned.iter().map(|one| if attachments.is_empty() { Vec::new() } else { without(one) }).collect();
    let send_at = content.send_at;
    let mut queued =
        accept(tx, Acceptance { planned, data: &data, cause: None, send_at, attachments }).await?;
    for (queued, without) in queued.iter_mut().zip(without) {
        queued.without_attachments = without;
    }
    Ok(queued)
}

/// Its channels that carry no files, each once.
fn without(planned: &Planned) -> Vec<Channel> {
    let mut channels: Vec<Channel> = planned.legs.iter().map(|leg| leg.address.channel()).collect();
    channels.retain(|channel| *channel != Channel::Email);
    channels.dedup();
    channels
}

/// What was asked for, as a rule has it.
fn rule(needed: &Needed, content: &Content) -> Result<Rule, Fault> {
    let has = &needed.channels;
    let channels = if content.channels.is_empty() { has.clone() } else { content.channels.clone() };
    if let Some(missing) = channels.iter().find(|channel| !has.contains(channel)) {
        let reason = format!("template '{}' has no text for {}", content.template, missing.as_str());
        return Err(Fault::field("content.channels", reason));
    }
    Ok(Rule {
        id: "direct".to_owned(),
        version: 1,
        enabled: true,
        on: Trigger { topic: String::new(), message: None },
        when: None,
        template: content.template.clone(),
        to: Recipients::Event { subscriber: None, email: None, phone: None, name: None, language: None },
        topic: content.topic.clone(),
        channels,
        mode: content.mode,
        lane: content.lane,
        valid_for_s: None,
        patience_s: None,
        supersede: None,
        once_per: None,
        language: None,
    })
}

fn given(recipient: &Recipient) -> Given {
    Given {
        subscriber: recipient.subscriber.clone(),
        email: recipient.email.clone(),
        phone: recipient.phone.clone(),
        name: None,
        language: recipient.language.clone(),
    }
}
