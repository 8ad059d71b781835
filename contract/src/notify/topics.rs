//! Topics of preferences: what holds for each where a subscriber has not chosen, and what passes a choice.

use super::page_size;
use super::subscribers::{Choice, Saved};
use super::{Channel, name};
use artel_message::{Command, Fault, Page, Query, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What holds for a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicSettings {
    /// Where nobody chose; a channel that is not there is wanted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub defaults: BTreeMap<Channel, Choice>,
    /// Nobody can opt out, such as of a message about the account's security. Nothing of the bulk lane passes an opt-out all the same.
    #[serde(default)]
    pub required: bool,
    /// What goes in the critical lane passes an opt-out.
    #[serde(default)]
    pub critical_passes: bool,
}

/// A topic as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicVersion {
    pub topic: String,
    /// Counts changes from 1.
    pub rev: u64,
    pub settings: TopicSettings,
    pub changed_at: Time,
}

/// Says what holds for a topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.put-topic", reply = Saved, key = topic, validate = check_put)]
#[serde(deny_unknown_fields)]
pub struct PutTopic {
    pub topic: String,
    pub settings: TopicSettings,
    /// The `rev` that the change is made to. 0 = there is none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
}

fn check_put(command: &PutTopic) -> Result<(), Fault> {
    name("topic", &command.topic)
}

/// Topics for which something was said, by name.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.list-topics", reply = Page<TopicVersion>, validate = check_list)]
#[serde(deny_unknown_fields)]
pub struct ListTopics {
    /// 1 to 500; 50 when absent.
    #[serde(default)]
    pub limit: Option<u32>,
    #[serde(default)]
    pub cursor: Option<String>,
}

fn check_list(query: &ListTopics) -> Result<(), Fault> {
    page_size(query.limit)
}
