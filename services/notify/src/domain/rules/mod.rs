//! Rules: which message on which topic becomes which notification, to whom.
//!
//! In two steps, because only the caller can look up subscribers: [`Rule::aim`] says for whom an event is, and [`Rule::plan`] makes
//! deliveries of it for those that were found. The same event gives the same deliveries with the same ids each time.

mod check;
mod key;
mod plan;
#[cfg(test)]
mod tests;

pub use check::{Known, Problem};
pub use key::{BadKey, KeyTemplate};
pub use plan::{Given, LeftOut, Outcome, Person, Planned, PlannedLeg, WhyLeftOut};

use super::condition::Condition;
use super::path::Path;
use artel_contract::notify::{Channel, Lane, Mode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// A rule as it is stored; each change makes a new version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Lowercase letters, digits, `-` and `.`; its name for ever.
    pub id: String,
    #[serde(default = "first_version")]
    pub version: u32,
    #[serde(default = "enabled")]
    pub enabled: bool,
    pub on: Trigger,
    /// Every message when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    pub template: String,
    pub to: Recipients,
    /// What it is about: preferences are kept by topic and channel.
    pub topic: String,
    /// In the order in which they are tried.
    pub channels: Vec<Channel>,
    #[serde(default)]
    pub mode: Mode,
    #[serde(default)]
    pub lane: Lane,
    /// Seconds for which it means something, from the message's time on; for ever when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for_s: Option<u64>,
    /// With [`Mode::First`]: seconds without a receipt after which the next channel is tried as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience_s: Option<u64>,
    /// What a later notification to the same recipient has in common with those that it replaces: `shipment:{shipment}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersede: Option<KeyTemplate>,
    /// What only one event has, so that it notifies once however often it is written: `{shipment}:{state}:{occurred_at}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once_per: Option<KeyTemplate>,
    /// A language that everybody gets it in, instead of each in their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

fn first_version() -> u32 {
    1
}

fn enabled() -> bool {
    true
}

/// The messages that a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    pub topic: String,
    /// The message's type (`ce_type`); every message of the topic when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Who gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Recipients {
    /// One, named in the message. Addresses that stand there go before those that the subscriber has.
    Event {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subscriber: Option<Path>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        email: Option<Path>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phone: Option<Path>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Path>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        language: Option<Path>,
    },
    /// Everybody who has subscribed to this key of the topic, such as `shipment:{shipment}`.
    Subscribed { key: KeyTemplate },
}

/// For whom an event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aim {
    /// The rule is not about this event.
    NotMet,
    /// One; a subscriber has to be looked up where an id is given.
    One(Given),
    /// All subscribers of this key.
    All { key: String },
    /// The message has not what the rule needs; the reason names the field.
    Nobody { reason: String },
}

impl Trigger {
    /// Whether a message of this type on this topic is meant.
    pub fn fits(&self, topic: &str, message: Option<&str>) -> bool {
        self.topic == topic && (self.message.is_none() || self.message.as_deref() == message)
    }
}

impl Rule {
    pub fn valid_for(&self) -> Option<Duration> {
        self.valid_for_s.map(Duration::from_secs)
    }

    pub fn patience(&self) -> Option<Duration> {
        self.patience_s.map(Duration::from_secs)
    }

    /// For whom an event is. Addresses that are malformed are left out here and named in the plan.
    pub fn aim(&self, event: &Value) -> Aim {
        if !self.enabled || self.when.as_ref().is_some_and(|condition| !condition.is_met(event)) {
            return Aim::NotMet;
        }
        match &self.to {
            Recipients::Subscribed { key } => match key.fill(event) {
                Ok(key) => Aim::All { key },
                Err(missing) => {
                    Aim::Nobody { reason: format!("to.subscribed.key: the message has no {missing}") }
                }
            },
            Recipients::Event { subscriber, email, phone, name, language } => {
                let text = |path: &Option<Path>| {
                    path.as_ref().and_then(|path| path.text(event)).map(|text| text.trim().to_owned())
                };
                let given = Given {
                    subscriber: text(subscriber),
                    email: text(email),
                    phone: text(phone),
                    name: text(name),
                    language: text(language),
                };
                if given.subscriber.is_none() && given.email.is_none() && given.phone.is_none() {
                    let paths: Vec<String> =
                        [subscriber, email, phone].into_iter().flatten().map(ToString::to_string).collect();
                    let reason = format!("to.event: the message has none of {}", paths.join(", "));
                    return Aim::Nobody { reason };
                }
                Aim::One(given)
            }
        }
    }
}
