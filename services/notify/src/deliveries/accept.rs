//! The one way in: planned deliveries become rows, and the first effects are queued.

use super::attachments::{self, File};
use super::content::{Content, LeftOut, LegContent};
use super::effects;
use super::steps::{self, Tell, Telling};
use crate::domain::address::Address;
use crate::domain::rules::Planned;
use crate::domain::state::{Action, Delivery, Entry, Happened, Wait, Why};
use crate::store::deliveries::{self, New};
use crate::store::lapses;
use crate::templates;
use artel_contract::notify::{Channel, DeliveryChanged, DeliveryId, Queued, State};
use artel_flow::Tx;
use artel_message::{Fault, Time};
use serde_json::Value;
use std::collections::BTreeMap;

/// What is to be accepted.
pub struct Acceptance<'a> {
    pub planned: Vec<Planned>,
    /// What their templates are filled with.
    pub data: &'a Value,
    /// The id of the message that caused them.
    pub cause: Option<&'a str>,
    /// Whoever asked for them named this moment: nothing is sent before it.
    pub send_at: Option<Time>,
    /// What goes with their mails.
    pub attachments: Vec<File>,
}

/// Stores deliveries and queues what they begin with; one that is there already, by its id, stays as it is. Those before them with
/// the same supersede key make room. In the order of `planned`.
pub async fn accept(tx: &mut Tx, acceptance: Acceptance<'_>) -> Result<Vec<Queued>, Fault> {
    let now = tx.now();
    let Acceptance { planned, data, cause, send_at, attachments: files } = acceptance;
    let attached = attachments::set(tx, &files);
    let order: Vec<DeliveryId> = planned.iter().map(|one| one.id).collect();
    let wanted = planned.iter().map(|one| one.template.as_str()).collect();
    let versions = templates::current(tx, &wanted).await?;
    let mut begun: BTreeMap<DeliveryId, (New, Vec<Action>)> = BTreeMap::new();
    for one in planned {
        let version = versions.get(&one.template).copied();
        let (id, mut made) = (one.id, made(one, cause, send_at, now));
        made.0.content.attachments = attached.clone().filter(|_| mails(&made.0));
        made.0.content.template_version = version.unwrap_or(made.0.content.template_version);
        begun.entry(id).or_insert(made);
    }
    let (new, mut actions): (Vec<New>, BTreeMap<DeliveryId, Vec<Action>>) =
        begun.into_iter().map(|(id, (new, actions))| (new, (id, actions))).unzip();
    let data = serde_json::to_string(data).map_err(|error| Fault::field("data", error))?;
    let inserted = deliveries::insert(tx, &new, &data).await?;
    attachments::keep(tx, &new, &inserted, &files).await?;
    let mut states: BTreeMap<DeliveryId, State> = BTreeMap::new();
    let mut newest: BTreeMap<&str, DeliveryId> = BTreeMap::new();
    for new in new.iter().filter(|new| inserted.contains(&new.id)) {
        states.insert(new.id, new.plan.state());
        tx.publish(changed(new, cause, now));
        let actions = actions.remove(&new.id).unwrap_or_default();
        let about = effects::About { id: new.id, content: &new.content, recipient: &new.recipient };
        effects::act(tx, about, &new.plan, &actions);
        if let Some(key) = &new.supersede_key {
            newest.insert(key, new.id);
        }
    }
    supersede(tx, &newest).await?;
    let lapses: Vec<(Time, DeliveryId)> = new
        .iter()
        .filter(|new| states.get(&new.id).is_some_and(|state| !state.is_final()))
        .filter_map(|new| Some((new.plan.expires_at?, new.id)))
        .collect();
    if !lapses.is_empty() {
        lapses::insert(tx, &lapses).await?;
    }
    let known: Vec<DeliveryId> = order.iter().copied().filter(|id| !states.contains_key(id)).collect();
    if !known.is_empty() {
        states.extend(deliveries::states(tx, &known).await?);
    }
    let queued = |id| Queued {
        delivery: id,
        state: states.get(&id).copied().unwrap_or(State::Accepted),
        without_attachments: Vec::new(),
    };
    Ok(order.into_iter().map(queued).collect())
}

/// Whether one of its legs is a mail.
fn mails(new: &New) -> bool {
    new.content.legs.iter().any(|leg| matches!(leg.address, Some(Address::Email(_))))
}

fn changed(new: &New, cause: Option<&str>, now: Time) -> DeliveryChanged {
    DeliveryChanged {
        delivery: new.id,
        state: new.plan.state(),
        channel: None,
        leg_state: None,
        subscriber: new.subscriber.clone(),
        cause: cause.map(str::to_owned),
        reason: None,
        at: now,
    }
}

fn made(planned: Planned, cause: Option<&str>, send_at: Option<Time>, now: Time) -> (New, Vec<Action>) {
    let left_out: Vec<LeftOut> = planned
        .left_out
        .iter()
        .map(|left| LeftOut { channel: left.channel, why: left.why.to_string() })
        .collect();
    let (mut email, mut phone) = (None, None);
    for leg in &planned.legs {
        match &leg.address {
            Address::Email(address) => email = email.or(Some(address.key())),
            Address::Phone(address) => phone = phone.or(Some(address.as_str().to_owned())),
            Address::Fcm(_) | Address::WebPush(_) => {}
        }
    }
    let mut legs: Vec<LegContent> = planned
        .legs
        .into_iter()
        .map(|leg| {
            let from = send_at.map_or(leg.not_before, |send_at| send_at.max(leg.not_before));
            LegContent { address: Some(leg.address), not_before: Some(from).filter(|from| *from > now) }
        })
        .collect();
    let mut channels: Vec<Channel> =
        legs.iter().filter_map(|leg| leg.address.as_ref().map(Address::channel)).collect();
    let nobody = legs.is_empty();
    if nobody {
        // Each channel that was wanted is a leg of its own, so that it can be seen why nothing was sent.
        for left in &left_out {
            if !channels.contains(&left.channel) {
                channels.push(left.channel);
                legs.push(LegContent { address: None, not_before: None });
            }
        }
    }
    let (mut plan, begin) =
        Delivery::plan(&channels, planned.mode, planned.patience, planned.expires_at, now);
    let mut trail = vec![entry(&plan, now)];
    let mut step = |plan: &mut Delivery, happened: Happened| {
        let step = plan.apply(&happened, now).ok()?;
        trail.push(step.audit);
        Some(step.actions)
    };
    let mut actions = begin;
    for (leg, own) in legs.iter().enumerate() {
        if nobody {
            let why = left_out.iter().find(|left| left.channel == channels[leg]);
            let reason = why.map_or_else(String::new, |left| left.why.clone());
            step(&mut plan, Happened::Suppressed { leg, reason });
            actions.clear();
        } else if let Some(until) = own.not_before.filter(|_| plan.legs[leg].started) {
            let why = if send_at == Some(until) { Why::SendAt } else { Why::QuietHours };
            let later = step(&mut plan, Happened::PutOff { leg, wait: Wait { until, why } });
            actions.extend(later.unwrap_or_default());
        }
    }
    let content = Content {
        topic: planned.topic,
        template: planned.template,
        template_version: 1,
        lane: planned.lane,
        can_opt_out: planned.can_opt_out,
        legs,
        left_out,
        rule: (!planned.rule.is_empty()).then_some((planned.rule, planned.rule_version)),
        cause: cause.map(str::to_owned),
        name: planned.name,
        language: planned.language,
        zone: planned.zone.map(|zone| zone.name().to_owned()),
        quiet: planned.quiet,
        attachments: None,
    };
    let new = New {
        id: planned.id,
        plan,
        trail,
        recipient: planned.recipient_key,
        subscriber: planned.subscriber,
        email,
        phone,
        supersede_key: planned.supersede_key,
        content,
    };
    (new, actions)
}

/// The first line of the audit.
fn entry(plan: &Delivery, now: Time) -> Entry {
    Entry {
        at: now,
        what: "accepted".to_owned(),
        channel: None,
        attempt: None,
        from: State::Accepted,
        to: plan.state(),
        reason: None,
        by: None,
        repeated: false,
        contradicts: false,
    }
}

/// All of these keys that are not the newest and wait, make room for it.
async fn supersede(tx: &mut Tx, newest: &BTreeMap<&str, DeliveryId>) -> Result<(), Fault> {
    if newest.is_empty() {
        return Ok(());
    }
    let older = deliveries::replaceable(tx, newest.keys().copied().collect()).await?;
    let now = tx.now();
    let told = older.into_iter().filter_map(|(id, key)| {
        let by = newest.get(key.as_str()).filter(|newest| **newest != id)?;
        let happened = Happened::Superseded { by: by.to_string() };
        Some(Telling { delivery: id, tell: Tell::Happened(happened, now) })
    });
    steps::apply(tx, Vec::new(), told.collect()).await?;
    Ok(())
}
