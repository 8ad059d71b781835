//! What is told of a message: where it is, what each group made of it, what caused it, what it caused.

use crate::Trouble;
use artel_message::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// The story of one message, as far as the log and the tables still tell it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Story {
    pub id: Uuid,
    /// What the id is of where it is no message's: a dead letter, a parked key, an effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
    /// Absent where nothing is known of it; `looked` says where it was looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Account>,
    /// What caused it, and what caused that, the nearest first.
    pub because_of: Vec<Account>,
    /// Why the way up ends there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    pub looked: Looked,
}

/// One message.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    pub id: Uuid,
    /// Its type; absent where its headers name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who wrote it, by its own word: a service, or whatever a foreign program calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When the transaction ran that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_at: Option<Time>,
    /// As text; what is none stands in hexadecimal digits behind `hex:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The message whose handling made it; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Uuid>,
    /// The trace it belongs to, 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Its sender listens for the answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wants_answer: bool,
    /// Committed, and not confirmed by the log yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbox: Option<InOutbox>,
    /// Where it lies in the log; more than one where it was published again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<At>,
    /// Copies of its dead letters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<At>,
    /// What became of it in each group that reads its topic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Reading>,
    /// The answer of a command that is kept for who asks again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Kept>,
    /// Timers that it has set and that wait.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timers: Vec<Timer>,
    /// Only where it was asked for: JSON as it stands, other text as a string, other bytes in hexadecimal digits behind `hex:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "serde_json::Value")]
    pub value: Option<Box<RawValue>>,
    /// What its handling published, in the order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caused: Vec<Account>,
}

/// A row of an outbox.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct InOutbox {
    pub service: String,
    pub topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    pub since: Time,
    /// Why it does not leave, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<String>,
}

/// A place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct At {
    pub topic: String,
    pub partition: u32,
    pub offset: i64,
    /// The record's own, at milliseconds.
    pub time: Time,
}

/// What became of a message in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// The group is behind it: its handler ran, or passed it over as older than it takes.
    TakenIn,
    /// The same number came before: it was dropped.
    Repeat,
    /// The group is behind it, and has no handler for its type.
    Unhandled,
    /// The group has not come to it.
    NotYet,
    /// It waits behind its key, or fails and is tried again.
    Parked,
    /// It was given up on.
    Dead,
    /// An operator threw it away.
    Dropped,
    /// An operator moved the group over it.
    Skipped,
    /// The group began after it.
    Before,
    /// The group's tables could not be read, or it has no place there.
    Unknown,
}

/// A message in a group.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Reading {
    pub service: String,
    pub group: String,
    pub partition: u32,
    pub offset: i64,
    pub fate: Fate,
    /// The same in words, with what can be done about it.
    pub says: String,
    /// The next offset that the group takes in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Time>,
    /// The parked key it waits behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked_key: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up_at: Option<Time>,
    /// The same for the same cause, whatever numbers and ids its reason names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// What it failed with, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Failed>,
    /// What was done by hand about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<ByHand>,
}

/// An error, as often as it came without another in between.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Failed {
    pub code: String,
    pub reason: String,
    pub first: Time,
    pub last: Time,
    pub times: u32,
}

impl From<&Trouble> for Failed {
    fn from(trouble: &Trouble) -> Failed {
        let Trouble { code, reason, first, last, times } = trouble.clone();
        Failed { code, reason, first, last, times }
    }
}

/// Something that was done by hand.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ByHand {
    pub at: Time,
    pub who: String,
    pub action: String,
    pub detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An answer that is kept.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    /// False = a fault is kept.
    pub ok: bool,
    pub until: Time,
}

/// A timer that waits.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Timer {
    pub service: String,
    /// The message that it runs or sends.
    pub name: String,
    pub key: String,
    pub due: Time,
    pub attempts: u32,
}

/// Where it was looked, and where not.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Looked {
    /// Services whose tables were looked at.
    pub services: Vec<String>,
    /// How many topics and partitions of the log, and records of them.
    pub topics: usize,
    pub partitions: usize,
    pub records: usize,
    /// From which time on the log was looked at, and up to where; absent = to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// What was not looked at, or not to its end, and what to do about it.
    pub open: Vec<String>,
}
