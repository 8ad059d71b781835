//! What is given up on, for whoever looks after it: a topic for each channel, beside the change of state that says the same.

use super::{DeliveryId, Lane};
use artel_message::{Event, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A leg of a delivery that failed for good. A person may still have it sent again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GivenUp {
    /// The index of the leg.
    pub leg: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<String>,
    /// As logs may show it.
    pub address: String,
    pub template: String,
    /// What the notification was about.
    pub topic: String,
    pub lane: Lane,
    pub attempts: u32,
    /// The account of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    pub reason: String,
    /// The message that caused the notification, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    pub at: Time,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "notify.email-given-up", topic = "notify.email-dlq", key = delivery)]
pub struct EmailGivenUp {
    pub delivery: DeliveryId,
    #[serde(flatten)]
    pub given: GivenUp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "notify.sms-given-up", topic = "notify.sms-dlq", key = delivery)]
pub struct SmsGivenUp {
    pub delivery: DeliveryId,
    #[serde(flatten)]
    pub given: GivenUp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "notify.push-given-up", topic = "notify.push-dlq", key = delivery)]
pub struct PushGivenUp {
    pub delivery: DeliveryId,
    #[serde(flatten)]
    pub given: GivenUp,
}
