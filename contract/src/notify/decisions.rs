//! What a person decides of a delivery, and why it is where it is.

use super::{Channel, Delivery, DeliveryId, State};
use artel_message::{Command, Query, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What may be decided of a leg that is `unknown`, `failed`, or waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Send it once more; where it was unknown it may arrive twice.
    SendAgain,
    /// It arrived.
    Arrived,
    GiveUp,
}

/// Decides about a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.decide", reply = Delivery)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    pub delivery: DeliveryId,
    /// The index of the leg; every one that it can be decided of when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leg: Option<u32>,
    pub decision: Decision,
    /// Who decides.
    pub by: String,
}

/// The language of an explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    #[default]
    En,
    Ru,
}

/// Why a delivery was, or was not, tried again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.explain-delivery", reply = Explained)]
pub struct ExplainDelivery {
    pub delivery: DeliveryId,
    #[serde(default)]
    pub language: Language,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explained {
    pub delivery: DeliveryId,
    pub state: State,
    /// Channels that were never to be used, and why.
    pub left_out: Vec<LeftOut>,
    pub legs: Vec<ExplainedLeg>,
    /// What people decided of it, the oldest first, also by sending many again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<ExplainedDecision>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedDecision {
    pub at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    pub by: String,
    /// What was decided and why, in a sentence.
    pub what: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    pub channel: Channel,
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedLeg {
    pub channel: Channel,
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub attempts: Vec<ExplainedAttempt>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedAttempt {
    pub attempt: u32,
    /// The account that made it.
    pub account: String,
    pub at: Time,
    /// What was answered and what follows from it, in a sentence.
    pub why: String,
}
