//! Sending many again that were given up: once whatever was wrong is put right.

use super::{Channel, DeliveryId, name, page_size};
use artel_message::{Command, Fault, Id, Page, Query, Tag, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// One sending again of many.
pub enum ReplayTag {}
impl Tag for ReplayTag {
    const NAME: &'static str = "Replay";
}
pub type ReplayId = Id<ReplayTag>;

/// The longest that `since` and `until` may lie apart.
pub const WINDOW: Duration = Duration::from_secs(31 * 86_400);
/// Deliveries a second.
pub const RATE: std::ops::RangeInclusive<u32> = 1..=5_000;
/// Where nobody says.
pub const USUAL_RATE: u32 = 100;
/// Characters of a reason that is looked for, and of why it is done.
const TEXT: usize = 500;

/// What the last answer meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// It passes by itself, and did not for as long as it was tried.
    Retry,
    RetryAfter,
    Throttled,
    /// The address takes no messages.
    Suppress,
    /// The same request is refused again.
    Permanent,
    /// The account or its settings were at fault.
    Config,
    /// It may have been taken or not.
    Ambiguous,
}

/// Which legs of deliveries are meant: those that fit all that is said. Of a delivery to the first channel that works nothing is
/// sent again once one has worked, and of several that failed the first that fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayFilter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// That made the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<FailureClass>,
    /// A part of the reason, in capitals or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// What the notification was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Asked for at this moment or later; where a rule made it, the event's time counts.
    pub since: Time,
    /// Before this moment; up to the present when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Also those of which nobody knows whether they arrived: they may arrive twice.
    #[serde(default)]
    pub unknown: bool,
}

impl ReplayFilter {
    fn check(&self) -> Result<(), Fault> {
        let named =
            [("account", &self.account), ("template", &self.template), ("topic", &self.topic)].into_iter();
        for (field, text) in named {
            if let Some(text) = text {
                name(&format!("filter.{field}"), text)?;
            }
        }
        if let Some(reason) = &self.reason {
            words("filter.reason", reason)?;
        }
        match self.until {
            Some(until) if until <= self.since => {
                Err(Fault::field("filter.until", format!("is not after since ({})", self.since)))
            }
            Some(until) if until.since(self.since) > WINDOW => {
                let days = WINDOW.as_secs() / 86_400;
                Err(Fault::field("filter.until", format!("is more than {days} days after since")))
            }
            _ => Ok(()),
        }
    }
}

fn words(field: &str, text: &str) -> Result<(), Fault> {
    let count = text.chars().count();
    match text.trim().is_empty() || count > TEXT || text.chars().any(char::is_control) {
        true => Err(Fault::field(field, format!("has to be 1 to {TEXT} characters in one line"))),
        false => Ok(()),
    }
}

/// Sends them again, at a rate, in the background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.replay-deliveries", reply = Replay, validate = check_replay)]
#[serde(deny_unknown_fields)]
pub struct ReplayDeliveries {
    pub filter: ReplayFilter,
    /// 1 to 5,000; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<u32>,
    /// For the record.
    pub why: String,
    /// Who decides.
    pub by: String,
}

fn check_replay(command: &ReplayDeliveries) -> Result<(), Fault> {
    command.filter.check()?;
    match command.per_second {
        Some(rate) if !RATE.contains(&rate) => {
            Err(Fault::field("per_second", format!("{rate} is not {} to {}", RATE.start(), RATE.end())))
        }
        _ => words("why", &command.why),
    }
}

/// Says what [`ReplayDeliveries`] would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.try-replay", reply = TriedReplay, validate = check_try)]
#[serde(deny_unknown_fields)]
pub struct TryReplay {
    pub filter: ReplayFilter,
}

fn check_try(query: &TryReplay) -> Result<(), Fault> {
    query.filter.check()
}

/// Why one that fits is not sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayRefusal {
    /// It means nothing any more.
    Expired,
    /// The recipient's data were forgotten.
    NoAddress,
    TooManyAttempts,
}

/// What a replay would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TriedReplay {
    /// Deliveries that would be sent again.
    pub again: u64,
    pub refused: BTreeMap<ReplayRefusal, u64>,
    /// The first ones.
    pub examples: Vec<ReplayExample>,
    /// `false`: there are more than were counted.
    pub complete: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayExample {
    pub delivery: DeliveryId,
    pub channel: Channel,
    /// As logs may show it.
    pub address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it would not be sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<ReplayRefusal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    Running,
    Ended,
    /// By a person.
    Stopped,
}

/// How far a replay is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    pub id: ReplayId,
    pub state: ReplayState,
    pub filter: ReplayFilter,
    pub per_second: u32,
    pub why: String,
    pub by: String,
    /// Deliveries that were looked at more closely.
    pub looked: u64,
    /// Those of them that were sent again.
    pub again: u64,
    pub refused: BTreeMap<ReplayRefusal, u64>,
    pub started_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
}

/// Ends a replay before its end; what was sent again stays so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.stop-replay", reply = Replay)]
#[serde(deny_unknown_fields)]
pub struct StopReplay {
    pub replay: ReplayId,
    pub by: String,
}

/// How far it is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.get-replay", reply = Replay)]
pub struct GetReplay {
    pub replay: ReplayId,
}

/// Replays, the newest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.list-replays", reply = Page<Replay>, validate = check_list)]
#[serde(deny_unknown_fields)]
pub struct ListReplays {
    /// 1 to 500; 50 when absent.
    #[serde(default)]
    pub limit: Option<u32>,
    #[serde(default)]
    pub cursor: Option<String>,
}

fn check_list(query: &ListReplays) -> Result<(), Fault> {
    page_size(query.limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use artel_message::Message;
    use serde_json::json;

    #[test]
    fn what_can_t_be_asked_for_is_refused_and_the_field_is_named() {
        let one = |filter: serde_json::Value, per_second: u32, why: &str| {
            let mut all = json!({ "since": "2026-01-01T00:00:00Z" });
            all.as_object_mut().unwrap().extend(filter.as_object().unwrap().clone());
            let whole = json!({ "filter": all, "per_second": per_second, "why": why, "by": "anna" });
            serde_json::from_value::<ReplayDeliveries>(whole).unwrap().validate()
        };
        assert_eq!(one(json!({ "until": "2026-02-01T00:00:00Z", "class": "config" }), 1, "repaired"), Ok(()));
        for (filter, rate, why, says) in [
            (json!({ "until": "2026-02-02T00:00:00Z" }), 1, "x", "filter.until: is more than 31 days"),
            (json!({ "until": "2026-01-01T00:00:00Z" }), 1, "x", "filter.until: is not after since"),
            (json!({ "account": "" }), 1, "x", "filter.account: is empty"),
            (json!({ "template": "a\nb" }), 1, "x", "filter.template: "),
            (json!({ "topic": "x".repeat(201) }), 1, "x", "filter.topic: "),
            (json!({ "reason": " " }), 1, "x", "filter.reason: has to be 1 to 500"),
            (json!({}), 0, "x", "per_second: 0 is not 1 to 5000"),
            (json!({}), 5_001, "x", "per_second: 5001"),
            (json!({}), 1, "", "why: has to be 1 to 500 characters"),
        ] {
            let fault = one(filter, rate, why).unwrap_err();
            assert!(fault.reason.starts_with(says), "{fault} is not {says}");
        }
    }
}
