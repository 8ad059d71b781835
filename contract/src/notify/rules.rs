//! Rules: which message on which topic becomes which notification, to whom.

use super::templates::Problem;
use super::{Channel, Lane, Mode, name, page_size};
use artel_message::{Command, Fault, Page, Query, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Rules that are applied at once.
pub const AT_ONCE: usize = 1_000;

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleBody {
    #[serde(default = "yes")]
    pub enabled: bool,
    pub on: RuleTrigger,
    /// Such as `state in ["delayed", "lost"] and exists(eta)`; every message when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    pub template: String,
    pub to: RuleRecipients,
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
    /// With mode `first`: seconds without a receipt after which the next channel is tried as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience_s: Option<u64>,
    /// What a later notification to the same recipient has in common with those that it replaces: `shipment:{shipment}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersede: Option<String>,
    /// What only one event has, so that it notifies once however often it is written: `{shipment}:{state}:{occurred_at}`. Events that
    /// name themselves (`ce_source`, `ce_id`, `ce_time`) need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once_per: Option<String>,
    /// A language that everybody gets it in, instead of each in their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

fn yes() -> bool {
    true
}

/// The messages that a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleTrigger {
    /// Of the log. Those of the notifications themselves are none: a rule there would cause what it reads.
    pub topic: String,
    /// The message's type (`ce_type`); every message of the topic when absent, also those without a type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Who gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RuleRecipients {
    /// One, named in the message: paths such as `receiver.email`. Addresses that stand there go before those of the subscriber.
    Event {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subscriber: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        email: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phone: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        language: Option<String>,
    },
    /// Everybody who has subscribed to this key of the topic, such as `shipment:{shipment}`.
    Subscribed { key: String },
}

/// A version of a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RuleVersion {
    pub id: String,
    pub version: u32,
    pub body: RuleBody,
    /// It takes messages from this moment on; absent where it is not enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    pub saved_at: Time,
    pub saved_by: String,
}

/// Saves a rule as its next version. One that is enabled takes messages that are written from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.put-rule", reply = SavedRule, validate = check_put)]
#[serde(deny_unknown_fields)]
pub struct PutRule {
    pub rule: String,
    pub body: RuleBody,
    pub by: String,
    /// The version that the change is made to. 0 = there is none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
}

fn check_put(command: &PutRule) -> Result<(), Fault> {
    name("rule", &command.rule)?;
    name("by", &command.by)
}

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SavedRule {
    pub version: u32,
    pub created: bool,
}

/// Takes a rule away; its versions stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.remove-rule", reply = ())]
#[serde(deny_unknown_fields)]
pub struct RemoveRule {
    pub rule: String,
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
}

/// Brings the rules of a file in: those that changed in it since it was last applied. What was changed by hand meanwhile stays, what
/// is not in it any more is taken away. All or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.apply-rules", reply = AppliedRules, validate = check_apply)]
#[serde(deny_unknown_fields)]
pub struct ApplyRules {
    /// The file's name: rules of one file know nothing of those of another.
    pub source: String,
    pub rules: Vec<RuleOfFile>,
    pub by: String,
}

/// A rule of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleOfFile {
    pub id: String,
    pub body: RuleBody,
}

fn check_apply(command: &ApplyRules) -> Result<(), Fault> {
    name("source", &command.source)?;
    name("by", &command.by)?;
    let count = command.rules.len();
    match count > AT_ONCE {
        true => Err(Fault::field("rules", format!("there are {count}; {AT_ONCE} are the most"))),
        false => Ok(()),
    }
}

/// What a file changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppliedRules {
    pub saved: Vec<String>,
    pub removed: Vec<String>,
}

/// A rule by its id.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.get-rule", reply = RuleVersion)]
#[serde(deny_unknown_fields)]
pub struct GetRule {
    pub rule: String,
    /// The current one when absent.
    #[serde(default)]
    pub version: Option<u32>,
}

/// Rules by id; or the versions of one, the latest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.list-rules", reply = Page<RuleVersion>, validate = check_list)]
#[serde(deny_unknown_fields)]
pub struct ListRules {
    #[serde(default)]
    pub versions_of: Option<String>,
    /// 1 to 500; 50 when absent.
    #[serde(default)]
    pub limit: Option<u32>,
    #[serde(default)]
    pub cursor: Option<String>,
}

fn check_list(query: &ListRules) -> Result<(), Fault> {
    page_size(query.limit)
}

/// What is wrong with a rule, and what it would do with a message; nothing is saved or sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.try-rule", reply = TriedRule)]
#[serde(deny_unknown_fields)]
pub struct TryRule {
    pub rule: String,
    /// In place of what is saved: to see it before.
    #[serde(default)]
    pub body: Option<RuleBody>,
    /// The message's value.
    #[serde(default)]
    pub event: Option<Value>,
    /// Its time; the present when absent.
    #[serde(default)]
    pub at: Option<Time>,
}

/// What a rule would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TriedRule {
    /// What keeps it from being saved.
    pub problems: Vec<Problem>,
    /// Absent where no message was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<TriedOutcome>,
}

/// What would become of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriedOutcome {
    /// The rule is not about it.
    NotMet,
    /// The rule is about it, and can't do anything with it.
    Missed { reason: String },
    /// Its time is over since then.
    Stale { expired_at: Time },
    /// Deliveries to these; of many subscribers the first.
    Notifies { recipients: Vec<TriedRecipient>, more: bool },
}

/// One of those who would get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TriedRecipient {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<String>,
    /// Channel and masked address, in the order in which they are tried.
    pub legs: Vec<TriedLeg>,
    pub left_out: Vec<TriedLeg>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// A channel of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TriedLeg {
    pub channel: Channel,
    /// Masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Because of quiet hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// Why it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A message that a rule was about and could do nothing with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Miss {
    pub rule: String,
    pub version: u32,
    /// Where the log has it.
    pub topic: String,
    pub partition: u32,
    pub offset: i64,
    /// What the message calls itself.
    pub cause: String,
    pub reason: String,
    pub at: Time,
}

/// Messages that rules could do nothing with, the latest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.list-misses", reply = Page<Miss>, validate = check_misses)]
#[serde(deny_unknown_fields)]
pub struct ListMisses {
    pub rule: String,
    /// 1 to 500; 50 when absent.
    #[serde(default)]
    pub limit: Option<u32>,
    #[serde(default)]
    pub cursor: Option<String>,
}

fn check_misses(query: &ListMisses) -> Result<(), Fault> {
    page_size(query.limit)
}
