//! Subscribers: people known by an id, with what they are reached by and what they want to hear of.

use super::{Channel, name, page_size};
use artel_message::{Command, Fault, Page, Query, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Addresses of one subscriber.
pub const ADDRESSES: usize = 50;
/// Topics that one subscriber has choices for.
pub const TOPICS: usize = 500;
/// Windows of quiet hours.
pub const WINDOWS: usize = 50;
/// Subscribers of one `Subscribe`.
pub const AT_ONCE: usize = 1_000;
/// Bytes of an address.
const ADDRESS: usize = 4_096;

/// What an address is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AddressKind {
    Email,
    Phone,
    /// A registration token of Firebase Cloud Messaging.
    Fcm,
    /// A browser's push subscription.
    WebPush,
}

/// The keys of a browser's push subscription, in base64url.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PushKeys {
    pub p256dh: String,
    pub auth: String,
}

/// Whoever has them can send to the browser.
impl std::fmt::Debug for PushKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PushKeys(***)")
    }
}

/// One address of a subscriber.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    pub kind: AddressKind,
    /// The mailbox, the number (E.164), the token, or the subscription's endpoint.
    pub address: String,
    /// Of a push subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<PushKeys>,
    /// Nothing is sent to an address that is not verified.
    #[serde(default = "yes")]
    pub verified: bool,
}

/// Without the address: it gets into logs.
impl std::fmt::Debug for Contact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Contact({:?}, verified: {})", self.kind, self.verified)
    }
}

fn yes() -> bool {
    true
}

/// Wanted or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    In,
    Out,
}

/// What a subscriber has chosen; what is not chosen is as the topic says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preferences {
    /// For every topic without a choice of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub everywhere: BTreeMap<Channel, Choice>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub topics: BTreeMap<String, BTreeMap<Channel, Choice>>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// Hours in which nothing may disturb, on the clock of the subscriber's zone. Where `to` is not after `from` they go on into the
/// next day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietWindow {
    /// `HH:MM`
    pub from: String,
    pub to: String,
    /// On which it begins; every day when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
}

/// All that a subscriber says of themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A language tag such as `ru` or `en-GB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// A name of the time zone database, such as `Europe/Moscow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// They need a zone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quiet_hours: Vec<QuietWindow>,
    /// Channels that keep quiet hours; SMS and push when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_channels: Option<Vec<Channel>>,
    /// The one to use first in front; all push devices are used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Contact>,
    #[serde(default)]
    pub preferences: Preferences,
}

impl Preferences {
    fn check(&self, field: &str) -> Result<(), Fault> {
        if self.topics.len() > TOPICS {
            let reason = format!("there are {}; {TOPICS} are the most", self.topics.len());
            return Err(Fault::field(&format!("{field}.topics"), reason));
        }
        self.topics.keys().try_for_each(|topic| name(&format!("{field}.topics"), topic))
    }
}

impl Contact {
    fn check(&self, field: &str) -> Result<(), Fault> {
        let (count, at) = (self.address.len(), format!("{field}.address"));
        if count == 0 || count > ADDRESS {
            return Err(Fault::field(&at, format!("has {count} bytes; 1 to {ADDRESS} are right")));
        }
        match (self.kind == AddressKind::WebPush, &self.keys) {
            (true, None) => Err(Fault::field(&format!("{field}.keys"), "a push subscription needs its keys")),
            (false, Some(_)) => {
                Err(Fault::field(&format!("{field}.keys"), "only a push subscription has keys"))
            }
            _ => Ok(()),
        }
    }
}

impl Profile {
    fn check(&self) -> Result<(), Fault> {
        if let Some(own) = &self.name {
            name("profile.name", own)?;
        }
        for (field, count, most) in [
            ("profile.addresses", self.addresses.len(), ADDRESSES),
            ("profile.quiet_hours", self.quiet_hours.len(), WINDOWS),
        ] {
            if count > most {
                return Err(Fault::field(field, format!("there are {count}; {most} are the most")));
            }
        }
        if !self.quiet_hours.is_empty() && self.zone.is_none() {
            return Err(Fault::field(
                "profile.zone",
                "is needed for quiet hours: they are on the subscriber's clock",
            ));
        }
        for (at, contact) in self.addresses.iter().enumerate() {
            contact.check(&format!("profile.addresses[{at}]"))?;
        }
        self.preferences.check("profile.preferences")
    }
}

/// A subscriber as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subscriber {
    pub id: String,
    /// Counts changes from 1; what `expected` of a change is compared with.
    pub rev: u64,
    pub profile: Profile,
    pub created_at: Time,
    pub changed_at: Time,
}

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Saved {
    pub rev: u64,
    /// Whether it was not there before.
    pub created: bool,
}

/// Makes a subscriber, or changes all of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.put-subscriber", reply = Saved, key = subscriber, validate = check_put)]
#[serde(deny_unknown_fields)]
pub struct PutSubscriber {
    pub subscriber: String,
    pub profile: Profile,
    /// The `rev` that the change is made to: a conflict where it is another one. 0 = there is none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
}

fn check_put(command: &PutSubscriber) -> Result<(), Fault> {
    name("subscriber", &command.subscriber)?;
    command.profile.check()
}

/// Adds an address, or changes whether it is verified. A push device that another subscriber had is that one's no more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.put-address", reply = Saved, key = subscriber, validate = check_address)]
#[serde(deny_unknown_fields)]
pub struct PutAddress {
    pub subscriber: String,
    pub contact: Contact,
}

fn check_address(command: &PutAddress) -> Result<(), Fault> {
    name("subscriber", &command.subscriber)?;
    command.contact.check("contact")
}

/// Takes an address away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.remove-address", reply = Saved, key = subscriber)]
#[serde(deny_unknown_fields)]
pub struct RemoveAddress {
    pub subscriber: String,
    pub kind: AddressKind,
    pub address: String,
}

/// Changes what a subscriber wants to hear of, and nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.set-preferences", reply = Saved, key = subscriber, validate = check_preferences)]
#[serde(deny_unknown_fields)]
pub struct SetPreferences {
    pub subscriber: String,
    pub preferences: Preferences,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
}

fn check_preferences(command: &SetPreferences) -> Result<(), Fault> {
    name("subscriber", &command.subscriber)?;
    command.preferences.check("preferences")
}

/// Has these hear of whatever is about a key of a topic, such as `shipment:S-1` of `shipments`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.subscribe", reply = Changed, validate = check_subscribe)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    pub topic: String,
    pub key: String,
    pub subscribers: Vec<String>,
}

/// The opposite of [`Subscribe`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.unsubscribe", reply = Changed, validate = check_unsubscribe)]
#[serde(deny_unknown_fields)]
pub struct Unsubscribe {
    pub topic: String,
    pub key: String,
    pub subscribers: Vec<String>,
}

/// How many were not so before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    pub changed: u64,
}

fn check_subscribe(command: &Subscribe) -> Result<(), Fault> {
    check_subscription(&command.topic, &command.key, &command.subscribers)
}

fn check_unsubscribe(command: &Unsubscribe) -> Result<(), Fault> {
    check_subscription(&command.topic, &command.key, &command.subscribers)
}

fn check_subscription(topic: &str, key: &str, subscribers: &[String]) -> Result<(), Fault> {
    name("topic", topic)?;
    name("key", key)?;
    let count = subscribers.len();
    if !(1..=AT_ONCE).contains(&count) {
        return Err(Fault::field("subscribers", format!("there are {count}; give 1 to {AT_ONCE}")));
    }
    subscribers.iter().enumerate().try_for_each(|(at, id)| name(&format!("subscribers[{at}]"), id))
}

/// One subscriber by id.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.get-subscriber", reply = Subscriber)]
pub struct GetSubscriber {
    pub subscriber: String,
}

/// Subscribers by id.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.list-subscribers", reply = Page<Subscriber>, validate = check_list)]
#[serde(deny_unknown_fields)]
pub struct ListSubscribers {
    /// Only who has this address.
    #[serde(default)]
    pub address: Option<String>,
    /// 1 to 500; 50 when absent.
    #[serde(default)]
    pub limit: Option<u32>,
    #[serde(default)]
    pub cursor: Option<String>,
}

fn check_list(query: &ListSubscribers) -> Result<(), Fault> {
    page_size(query.limit)
}

/// What somebody has subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subscription {
    pub topic: String,
    pub key: String,
    pub since: Time,
}

/// What a subscriber has subscribed to, by topic and key.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.list-subscriptions", reply = Page<Subscription>, validate = check_subscriptions)]
#[serde(deny_unknown_fields)]
pub struct ListSubscriptions {
    pub subscriber: String,
    #[serde(default)]
    pub limit: Option<u32>,
    #[serde(default)]
    pub cursor: Option<String>,
}

fn check_subscriptions(query: &ListSubscriptions) -> Result<(), Fault> {
    page_size(query.limit)
}
