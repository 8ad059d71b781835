//! What was decided of a delivery when it was accepted, and never changes.

use crate::domain::address::Address;
use crate::domain::quiet::{Quiet, zone};
use artel_contract::notify::attachments::Attached;
use artel_contract::notify::{Channel, Lane};
use artel_message::Time;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Stored as JSON beside the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Content {
    pub topic: String,
    pub template: String,
    /// The one that was sent when it was accepted.
    #[serde(default = "first")]
    pub template_version: u32,
    pub lane: Lane,
    /// Whether the recipient can turn off what it is about.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub can_opt_out: bool,
    /// In the order of the legs.
    pub legs: Vec<LegContent>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// The rule's id and version, where a rule made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<(String, u32)>,
    /// The message that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The language wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The name of the recipient's time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The recipient's quiet hours, where this keeps any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Quiet>,
    /// What goes with its mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments: Option<AttachedSet>,
}

/// Files that were given together, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedSet {
    pub id: Uuid,
    pub files: Vec<Attached>,
}

fn first() -> u32 {
    1
}

/// Of one leg.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LegContent {
    /// `None`: there is none that may be used, and nothing is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Because of quiet hours, or of who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
}

/// A channel that is not used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub channel: Channel,
    pub why: String,
}

impl Content {
    pub fn address(&self, leg: usize) -> Option<&Address> {
        self.legs.get(leg)?.address.as_ref()
    }

    pub fn not_before(&self, leg: usize) -> Option<Time> {
        self.legs.get(leg)?.not_before
    }

    /// The moment that a leg has to wait for, if there is one: what was decided when it was accepted, and then the end of quiet hours.
    pub fn waits(&self, leg: usize, channel: Channel, now: Time) -> Option<Time> {
        let decided = self.not_before(leg).map_or(now, |from| from.max(now));
        let zone = self.zone.as_deref().and_then(|name| zone(name).ok());
        let quiet = self.quiet.as_ref().zip(zone);
        let until = quiet.map_or(decided, |(quiet, zone)| quiet.not_before(channel, decided, zone));
        (until > now).then_some(until)
    }
}
