//! A person's data: given out, and forgotten.

use super::subscribers::{Contact, Subscriber, Subscription};
use super::suppression::Suppressed;
use super::{Delivery, name};
use artel_message::{Command, Fault, Page, Query};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that is kept of a person, page by page: the first has the subscriber, its subscriptions (as many as
/// `notify.export_subscriptions` says) and its suppressions, each has deliveries.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.export-subscriber", reply = Export)]
#[serde(deny_unknown_fields)]
pub struct ExportSubscriber {
    pub subscriber: String,
    #[serde(default)]
    pub cursor: Option<String>,
}

/// A page of what is kept of a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Export {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<Subscriber>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<Subscription>,
    /// How many there are beyond those, where there are; the list of the subscriber's subscriptions has them page by page.
    #[serde(default, skip_serializing_if = "is_none")]
    pub subscriptions_left: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suppressions: Vec<Suppressed>,
    pub deliveries: Page<ExportedDelivery>,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A delivery with what else is kept of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExportedDelivery {
    pub delivery: Delivery,
    /// Where it went, in the order of its legs.
    pub addresses: Vec<Contact>,
    /// What its template was filled with.
    pub data: serde_json::Value,
}

/// Forgets a person: addresses, choices and what messages were filled with are deleted. Deliveries stay without any of it, and
/// suppressed addresses as hashes, so that a stop holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.erase-subscriber", reply = Erased, key = subscriber, validate = check_erase)]
#[serde(deny_unknown_fields)]
pub struct EraseSubscriber {
    pub subscriber: String,
}

fn check_erase(command: &EraseSubscriber) -> Result<(), Fault> {
    name("subscriber", &command.subscriber)
}

/// What was forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Erased {
    /// Whether there was a subscriber of that id.
    pub subscriber: bool,
    pub addresses: u64,
    pub subscriptions: u64,
    /// Deliveries that have nothing of the person any more; more of them may follow by themselves.
    pub deliveries: u64,
}
