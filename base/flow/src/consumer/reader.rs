//! Whose handlers take in what a group reads, and how they want their failures treated.

use super::sort::Sorted;
use crate::ctx::Shared;
use crate::erase::Erased;
use crate::handler::Options;
use crate::projections::Declared;
use crate::service::{EventEntry, EventKind};
use artel_message::{Cause, commands_topic, replies_topic};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Whose handlers a group runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupKind {
    /// Events registered under this group name ("" = the service's own, which also has its commands and replies).
    Declared { events: Arc<str> },
    /// The raw handler, for a group made at run time.
    RunTime { name: Arc<str>, id: Uuid },
}

/// A group as its handlers see it.
pub(crate) struct Reader {
    pub shared: Arc<Shared>,
    /// The full name, as offsets are kept under.
    pub grp: String,
    pub kind: GroupKind,
}

/// What is done when a message fails that may work later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Attempts in place.
    pub tries: u32,
    /// Attempts in all.
    pub attempts: u32,
    pub retry_for: Duration,
    /// Whether the key waits for a decision once its message was given up.
    pub stop_key: bool,
}

impl Reader {
    pub fn is_command(&self, topic: &str) -> bool {
        matches!(self.kind, GroupKind::Declared { .. }) && *topic == *commands_topic(self.shared.name())
    }

    /// Whether its handlers build a projection: nothing leaves with their transactions.
    pub fn is_projection(&self) -> bool {
        self.projection().is_some()
    }

    pub fn projection(&self) -> Option<&Declared> {
        let GroupKind::Declared { events } = &self.kind else { return None };
        self.shared.service.projection_of(events)
    }

    fn is_reply(&self, topic: &str) -> bool {
        matches!(self.kind, GroupKind::Declared { .. }) && *topic == *replies_topic(self.shared.name())
    }

    fn event(&self, name: &str) -> Option<&EventEntry> {
        match &self.kind {
            GroupKind::Declared { events } => self.shared.service.events.get(&**events)?.get(name),
            GroupKind::RunTime { .. } => None,
        }
    }

    /// Whether there is a handler for messages of this name in this topic.
    pub fn handles(&self, topic: &str, name: &str) -> bool {
        let service = &self.shared.service;
        match &self.kind {
            GroupKind::RunTime { .. } => service.raw.is_some(),
            _ if self.is_command(topic) => service.commands.contains_key(name),
            _ if self.is_reply(topic) => {
                service.replies.contains_key(name.strip_suffix(".reply").unwrap_or_default())
            }
            _ => self.event(name).is_some(),
        }
    }

    /// The name in the registry, which lives as long as the program.
    pub fn stored_name(&self, name: &str) -> &'static str {
        let GroupKind::Declared { events } = &self.kind else { return "raw" };
        let service = &self.shared.service;
        let event = service.events.get(&**events).and_then(|e| Some(*e.get_key_value(name)?.0));
        event.or_else(|| Some(*service.commands.get_key_value(name)?.0)).unwrap_or("")
    }

    pub fn expired(&self, sorted: &Sorted) -> bool {
        let Some(envelope) = &sorted.envelope else { return false };
        let age: Option<&Options> = self.event(&envelope.name).map(|e| &e.options);
        age.and_then(|o| o.max_age).is_some_and(|max| self.shared.now().since(envelope.time) > max)
    }

    pub fn batch_of(&self, topic: &str, sorted: &Sorted) -> Option<&Erased<Vec<(Cause, Bytes)>, ()>> {
        let envelope = sorted.envelope.as_ref()?;
        if self.is_command(topic) {
            let entry = self.shared.service.commands.get(envelope.name.as_str())?;
            return entry.batch.as_ref().filter(|_| !envelope.reply);
        }
        match &self.event(&envelope.name)?.kind {
            EventKind::Batch(handler) => Some(handler),
            EventKind::Single(_) => None,
        }
    }

    /// As the handler of this message was registered; the node's settings for what it left open.
    pub fn policy(&self, topic: &str, sorted: &Sorted) -> Policy {
        let service = &self.shared.service;
        let name = sorted.envelope.as_ref().map_or("", |e| e.name.as_str());
        let options = match &self.kind {
            GroupKind::RunTime { .. } => Some(&service.raw_options),
            _ if self.is_command(topic) => service.commands.get(name).map(|c| &c.options),
            _ if self.is_reply(topic) => {
                service.reply_options.get(name.strip_suffix(".reply").unwrap_or_default())
            }
            _ => self.event(name).map(|e| &e.options),
        };
        let limits = &self.shared.limits;
        let said = options.cloned().unwrap_or_default();
        Policy {
            tries: said.tries.unwrap_or(limits.tries).max(1),
            attempts: said.attempts.unwrap_or(limits.attempts).max(1),
            retry_for: said.retry_for.unwrap_or(limits.retry_for),
            stop_key: said.stop_key,
        }
    }
}
