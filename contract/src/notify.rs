//! Notifications: one message to one recipient is a *delivery*; it has a *leg* for each channel that it may take, and a leg has
//! *attempts*.

pub mod attachments;
pub mod dead;
pub mod decisions;
pub mod person;
pub mod replay;
pub mod rules;
pub mod subscribers;
pub mod suppression;
pub mod templates;
#[cfg(test)]
mod tests;
pub mod topics;

use artel_message::{Command, Event, Fault, Id, Page, Query, Tag, Time};
use attachments::{Attached, Attachment};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One message to one recipient.
pub enum DeliveryTag {}
impl Tag for DeliveryTag {
    const NAME: &'static str = "Delivery";
}
pub type DeliveryId = Id<DeliveryTag>;

/// Bounds of what may be asked for.
pub mod bounds {
    /// Recipients of one `NotifyMany`.
    pub const RECIPIENTS: usize = 1_000;
    /// Bytes of the data that a template is filled with.
    pub const DATA: usize = 64 << 10;
    /// How deep that data may be nested.
    pub const DEPTH: usize = 32;
    /// Characters of ids: templates, topics, subscribers, supersede keys.
    pub const NAME: usize = 200;
    /// Bytes of an e-mail address and of a phone number as somebody writes them: more than either can have.
    pub const EMAIL: usize = 1_016;
    pub const PHONE: usize = 64;
    /// Files of one notification, bytes of one, and of all of them.
    pub const ATTACHMENTS: usize = 10;
    pub const ATTACHMENT: usize = 5 << 20;
    pub const ATTACHED: usize = 10 << 20;
    /// How far ahead a notification may be asked for.
    pub const AHEAD: std::time::Duration = std::time::Duration::from_secs(366 * 86_400);
    /// Items of a page.
    pub const PAGE: std::ops::RangeInclusive<u32> = 1..=500;
}

/// A way to reach somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Email,
    Sms,
    Push,
}

impl Channel {
    pub const ALL: [Channel; 3] = [Channel::Email, Channel::Sms, Channel::Push];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Email => "email",
            Channel::Sms => "sms",
            Channel::Push => "push",
        }
    }
}

/// What waits behind what: each lane has a queue and a share of its own, so that bulk never holds up the rest.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Passes quiet hours and preferences, as far as those allow it.
    Critical,
    #[default]
    Transactional,
    Bulk,
}

/// How the channels of a notification relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Every channel.
    All,
    /// The first one that works, in order.
    #[default]
    First,
}

/// How far a delivery, or one leg of it, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Stored, nothing sent.
    Accepted,
    /// Waits for a moment: quiet hours, pace, the next attempt.
    Scheduled,
    /// Handed to the provider right now.
    Sending,
    /// The provider has taken it.
    Sent,
    /// The provider says that it arrived.
    Delivered,
    /// It did not arrive and is not tried again.
    Failed,
    /// Not sent: the recipient does not want it, or the address is known to be bad.
    Suppressed,
    /// Not sent: a newer one takes its place, or another channel has delivered it.
    Superseded,
    /// Not sent in the time in which it meant something.
    Expired,
    /// Nobody knows whether the provider took it. It is never sent again without an answer to that, or a person's decision.
    Unknown,
}

impl State {
    pub const ALL: [State; 10] = [
        State::Accepted,
        State::Scheduled,
        State::Sending,
        State::Sent,
        State::Delivered,
        State::Failed,
        State::Suppressed,
        State::Superseded,
        State::Expired,
        State::Unknown,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Accepted => "accepted",
            State::Scheduled => "scheduled",
            State::Sending => "sending",
            State::Sent => "sent",
            State::Delivered => "delivered",
            State::Failed => "failed",
            State::Suppressed => "suppressed",
            State::Superseded => "superseded",
            State::Expired => "expired",
            State::Unknown => "unknown",
        }
    }

    /// Whether nothing of ours moves it on any more. A late receipt may still turn `failed` into `delivered`.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            State::Delivered | State::Failed | State::Suppressed | State::Superseded | State::Expired
        )
    }
}

/// Who a notification is for: a subscriber, addresses, or both (the addresses given win).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// E.164, such as `+79161234567`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// A language tag such as `ru-RU`; the subscriber's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

impl Recipient {
    /// `at` is where it stands.
    fn check(&self, at: &str) -> Result<(), Fault> {
        if self.subscriber.is_none() && self.email.is_none() && self.phone.is_none() {
            let reason = "names nobody; give a subscriber, an email or a phone";
            return Err(Fault::field(at, reason));
        }
        if let Some(id) = &self.subscriber {
            name(&format!("{at}.subscriber"), id)?;
        }
        for (field, text, most) in
            [("email", &self.email, bounds::EMAIL), ("phone", &self.phone, bounds::PHONE)]
        {
            let count = text.as_ref().map_or(0, String::len);
            if count > most {
                let reason = format!("has {count} bytes; {most} are the most");
                return Err(Fault::field(&format!("{at}.{field}"), reason));
            }
        }
        match &self.language {
            Some(tag) if !is_language(tag) => Err(Fault::field(&format!("{at}.language"), NO_LANGUAGE)),
            _ => Ok(()),
        }
    }
}

const NO_LANGUAGE: &str = "is no language tag; use one such as ru or en-GB";

/// A tag of RFC 5646, as far as we use them: a language and a region or script.
pub fn is_language(tag: &str) -> bool {
    // RFC 5646, section 4.4.1: what implementations have to make room for.
    const LONGEST: usize = 35;
    let mut parts = tag.split('-');
    let first = parts.next().unwrap_or_default();
    let is_part =
        |part: &str| (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    tag.len() <= LONGEST
        && (2..=3).contains(&first.len())
        && first.bytes().all(|b| b.is_ascii_alphabetic())
        && parts.all(is_part)
}

/// What to send, apart from to whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Content {
    pub template: String,
    /// What the template's variables are filled from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, serde_json::Value>,
    /// What the notification is about: preferences are kept by topic and channel.
    pub topic: String,
    /// In order; all that the template has when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<Channel>,
    #[serde(default)]
    pub mode: Mode,
    #[serde(default)]
    pub lane: Lane,
    /// Not before this moment, which is at most a year ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_at: Option<Time>,
    /// Not after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// A later notification to the same recipient with this key takes the place of those of it that are not sent yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersede_key: Option<String>,
    /// Up to 10 files, 5 MiB each, 10 MiB together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
}

impl Content {
    /// Every rule beyond the types; the fault names the field.
    pub fn check(&self) -> Result<(), Fault> {
        name("content.template", &self.template)?;
        name("content.topic", &self.topic)?;
        if let Some(key) = &self.supersede_key {
            name("content.supersede_key", key)?;
        }
        if let (Some(from), Some(to)) = (self.send_at, self.expires_at)
            && from >= to
        {
            return Err(Fault::field("content.expires_at", format!("is not after send_at ({from})")));
        }
        for (at, channel) in self.channels.iter().enumerate() {
            if self.channels[..at].contains(channel) {
                return Err(Fault::field(
                    "content.channels",
                    format!("{} stands there twice", channel.as_str()),
                ));
            }
        }
        check_data("content.data", &self.data)?;
        attachments::check(&self.attachments)
    }
}

/// What a template is filled with, or made for, is as long and as deep as can be worked on.
fn check_data(field: &str, data: &impl Serialize) -> Result<(), Fault> {
    let text = serde_json::to_string(data).unwrap_or_default();
    if text.len() > bounds::DATA {
        let reason = format!("is {} bytes as JSON; the limit is {}", text.len(), bounds::DATA);
        return Err(Fault::field(field, reason));
    }
    artel_message::check_json(&text, bounds::DEPTH).map_err(|reason| Fault::field(field, reason))
}

fn name(field: &str, text: &str) -> Result<(), Fault> {
    if text.trim().is_empty() {
        return Err(Fault::field(field, "is empty"));
    }
    if text.chars().count() > bounds::NAME {
        return Err(Fault::field(field, format!("is longer than {} characters", bounds::NAME)));
    }
    match text.chars().any(char::is_control) {
        true => Err(Fault::field(field, "holds a control character")),
        false => Ok(()),
    }
}

/// Sends one notification to one recipient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.notify", reply = Queued, validate = check_one)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    pub recipient: Recipient,
    pub content: Content,
}

fn check_one(command: &Notify) -> Result<(), Fault> {
    command.recipient.check("recipient")?;
    command.content.check()
}

/// The same to up to a thousand recipients, in one transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.notify-many", reply = QueuedMany, validate = check_many)]
#[serde(deny_unknown_fields)]
pub struct NotifyMany {
    pub recipients: Vec<Recipient>,
    pub content: Content,
}

fn check_many(command: &NotifyMany) -> Result<(), Fault> {
    let (count, most) = (command.recipients.len(), bounds::RECIPIENTS);
    if !(1..=most).contains(&count) {
        return Err(Fault::field("recipients", format!("there are {count}; give 1 to {most}")));
    }
    for (at, recipient) in command.recipients.iter().enumerate() {
        recipient.check(&format!("recipients[{at}]"))?;
    }
    command.content.check()
}

/// Where a notification is known from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Queued {
    pub delivery: DeliveryId,
    pub state: State,
    /// Channels of it that do not carry the attachments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_attachments: Vec<Channel>,
}

/// In the order of the recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueuedMany {
    pub deliveries: Vec<Queued>,
}

/// One delivery by its id.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.get-delivery", reply = Delivery)]
pub struct GetDelivery {
    pub delivery: DeliveryId,
}

/// A delivery with all that is known of it. Addresses are masked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    pub id: DeliveryId,
    /// Counts its changes: of two answers the one with the greater number is the newer one.
    pub revision: u64,
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<String>,
    pub template: String,
    pub topic: String,
    pub lane: Lane,
    pub legs: Vec<Leg>,
    pub timeline: Vec<Moment>,
    pub accepted_at: Time,
    pub changed_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attached>,
}

/// A delivery, and how fresh what is said of it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeenDelivery {
    #[serde(flatten)]
    pub delivery: Delivery,
    pub source: Source,
    /// Milliseconds since it was read from the database.
    pub age_ms: u64,
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Cache,
    Database,
}

/// One channel of a delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Leg {
    pub channel: Channel,
    pub state: State,
    /// The address as logs may show it, such as `i***@example.com`.
    pub address: String,
    pub attempts: u32,
    /// Of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Why it is where it is, where that needs a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it goes on by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Time>,
}

/// A line of the timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Moment {
    pub at: Time,
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
}

/// Deliveries, the newest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.list-deliveries", reply = Page<Delivery>, validate = check_list)]
#[serde(deny_unknown_fields)]
pub struct ListDeliveries {
    /// A subscriber's id or an address.
    #[serde(default)]
    pub recipient: Option<String>,
    #[serde(default)]
    pub state: Option<State>,
    /// Accepted at this moment or later.
    #[serde(default)]
    pub since: Option<Time>,
    /// 1 to 500; 50 when absent.
    #[serde(default)]
    pub limit: Option<u32>,
    #[serde(default)]
    pub cursor: Option<String>,
}

fn check_list(query: &ListDeliveries) -> Result<(), Fault> {
    page_size(query.limit)
}

fn page_size(limit: Option<u32>) -> Result<(), Fault> {
    match limit {
        Some(limit) if !bounds::PAGE.contains(&limit) => {
            Err(Fault::field("limit", format!("{limit} is not 1 to 500")))
        }
        _ => Ok(()),
    }
}

/// A delivery got another state, as a whole or in one leg.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "notify.delivery-changed", topic = "notify.delivery", key = delivery)]
pub struct DeliveryChanged {
    pub delivery: DeliveryId,
    /// Of the delivery as a whole.
    pub state: State,
    /// The leg that moved, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// Its state now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leg_state: Option<State>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<String>,
    /// The message that caused the notification, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at: Time,
}
