//! The table of services, checked before anything is served: every message of the contract has one handler, every topic one
//! owner.

use crate::service::Service;
use crate::topics::Writers;
use artel_message::{Described, Kind, commands_topic, replies_topic, service_of};
use std::collections::{BTreeMap, BTreeSet};

/// Every mistake of the table, each a sentence that names the message and the service. Empty = complete.
pub fn check(services: &[Service], catalogue: &[Described]) -> Vec<String> {
    let mut mistakes: Vec<String> =
        services.iter().flat_map(|s| s.mistakes.iter().cloned().chain(s.projection_mistakes())).collect();
    let mut names = BTreeSet::new();
    for service in services {
        if !names.insert(service.name) {
            mistakes.push(format!("service '{}' stands in the table twice", service.name));
        }
    }
    for message in catalogue {
        let owner = services.iter().find(|s| s.name == service_of(message.name));
        let handled = |has: &dyn Fn(&Service) -> bool| owner.is_some_and(has);
        let ok = match message.kind {
            Kind::Command => handled(&|s| s.commands.contains_key(message.name)),
            Kind::Query => handled(&|s| s.queries.contains_key(message.name)),
            Kind::Effect => handled(&|s| s.effects.contains_key(message.name)),
            Kind::Event => true,
        };
        if message.topic.is_some_and(|topic| service_of(topic) != service_of(message.name)) {
            mistakes.push(format!(
                "event '{}' goes to topic '{}', which by its name belongs to another service",
                message.name,
                message.topic.unwrap_or_default()
            ));
        }
        if !ok {
            let (kind, service) = (message.kind.as_str(), service_of(message.name));
            mistakes.push(format!(
                "{kind} '{}' has no handler; service '{service}' must register one",
                message.name
            ));
        }
    }
    for service in services {
        for name in service.replies.keys().filter(|name| !is_command(services, name)) {
            mistakes.push(format!(
                "service '{}' listens for answers to '{name}', which no service handles",
                service.name
            ));
        }
        for name in service.done.keys().filter(|name| !service.effects.contains_key(*name)) {
            mistakes.push(format!(
                "service '{}' has a done handler for '{name}' but no such effect",
                service.name
            ));
        }
    }
    mistakes
}

fn is_command(services: &[Service], name: &str) -> bool {
    services.iter().any(|s| s.commands.contains_key(name))
}

/// Every topic of the table with who may write there.
pub(crate) fn topics(services: &[Service], catalogue: &[Described]) -> BTreeMap<String, Writers> {
    let mut topics = BTreeMap::new();
    let mut event_topic = |topic: &str| {
        let service = service_of(topic).to_owned();
        topics.insert(topic.to_owned(), Writers::One(service));
    };
    catalogue.iter().filter_map(|message| message.topic).for_each(&mut event_topic);
    for service in services {
        service.events.values().flat_map(|events| events.values()).for_each(|entry| event_topic(entry.topic));
    }
    for service in services {
        if !service.commands.is_empty() {
            topics.insert(commands_topic(service.name), Writers::Services);
        }
        if !service.replies.is_empty() {
            topics.insert(replies_topic(service.name), Writers::Services);
        }
    }
    topics
}

/// A row of `artel topology`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Handles {
    pub service: String,
    /// `command`, `query`, `event`, `reply`, `effect`, `schedule`, `raw`, `published`, `given-up`.
    pub kind: &'static str,
    pub message: String,
    /// Where it arrives, if over a topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Who handles what, as a list.
pub fn topology(services: &[Service]) -> Vec<Handles> {
    let mut rows = Vec::new();
    for service in services {
        let mut row = |kind: &'static str, message: &str, topic: Option<String>, group: Option<String>| {
            let (service, message) = (service.name.to_owned(), message.to_owned());
            rows.push(Handles { service, kind, message, topic, group });
        };
        let own = || Some(service.name.to_owned());
        for name in service.commands.keys() {
            row("command", name, Some(commands_topic(service.name)), own());
        }
        for name in service.queries.keys() {
            row("query", name, None, None);
        }
        for (group, events) in &service.events {
            for (name, entry) in events {
                row("event", name, Some(entry.topic.to_owned()), Some(service.group_name(group)));
            }
        }
        for name in service.replies.keys() {
            row("reply", name, Some(replies_topic(service.name)), own());
        }
        for name in service.effects.keys() {
            row("effect", name, None, None);
        }
        for schedule in &service.schedules {
            row("schedule", schedule.name, None, None);
        }
        if service.raw.is_some() {
            row("raw", "*", None, None);
        }
        if service.published.is_some() {
            row("published", "*", None, None);
        }
        if service.given_up.is_some() {
            row("given-up", "*", None, None);
        }
    }
    rows
}
