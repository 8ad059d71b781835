//! The message bridge: messages in, produced to a topic, consumed, each one followed.

use artel_message::{Command, Fault, Id, Page, Query, Tag, Time, check_json, is_reserved_header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A tracked message.
pub enum Message {}
impl Tag for Message {
    const NAME: &'static str = "Message";
}
pub type MessageId = Id<Message>;

/// Bounds of what a message may be; the log's own limit on the value comes on top.
pub mod bounds {
    /// Bytes of a topic's name, as in Kafka, less the room for `.dlq`.
    pub const TOPIC: usize = 245;
    pub const KEY: usize = 4 << 10;
    pub const HEADERS: usize = 50;
    pub const HEADER_NAME: usize = 200;
    pub const HEADER_VALUE: usize = 8 << 10;
    /// Names and values of all headers of a message together.
    pub const HEADER_BYTES: usize = 24 << 10;
    /// How deep lists and objects of a value may stand in each other: readers give up at about this depth.
    pub const DEPTH: usize = 100;
    /// Messages of one `ProduceMany`.
    pub const CHUNK: usize = 1_000;
    /// Characters of a consumer's name.
    pub const CONSUMER: usize = 100;
    /// Milliseconds between test messages.
    pub const INTERVAL: std::ops::RangeInclusive<u64> = 10..=86_400_000;
}

/// A message as its sender gives it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// 1 to 245 of `a-z A-Z 0-9 . _ -`; made with the configured partitions when there is none.
    pub topic: String,
    /// Messages of one key stay in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Any JSON, kept to the letter.
    #[schemars(with = "serde_json::Value")]
    pub value: Box<RawValue>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// Checks a topic's name by Kafka's rules.
pub fn check_topic(topic: &str) -> Result<(), Fault> {
    let wrong = |reason: &str| Err(Fault::field("topic", format!("'{}' {reason}", cut(topic))));
    if topic.is_empty() {
        return Err(Fault::field("topic", "is empty; name the topic to send to"));
    }
    if topic.len() > bounds::TOPIC {
        return wrong("is longer than 245 characters");
    }
    if topic == "." || topic == ".." {
        return wrong("is no topic name");
    }
    if !topic.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return wrong("is no topic name; use letters, digits, '.', '_' and '-' only");
    }
    Ok(())
}

/// Checks the name of a topic that a user writes to: beyond Kafka's rules, names that the platform and Kafka itself write to are
/// refused.
pub fn check_own_topic(topic: &str) -> Result<(), Fault> {
    check_topic(topic)?;
    if topic.starts_with("__") || topic.ends_with(".dlq") {
        let reason =
            "names that begin with '__' are Kafka's own, and those that end in '.dlq' hold dead letters";
        return Err(Fault::field("topic", format!("'{}' is reserved: {reason}", cut(topic))));
    }
    Ok(())
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

impl NewMessage {
    /// Every rule beyond the types; the fault names the field.
    pub fn check(&self) -> Result<(), Fault> {
        check_own_topic(&self.topic)?;
        check_json(self.value.get(), bounds::DEPTH).map_err(|reason| Fault::field("value", reason))?;
        if self.key.as_ref().is_some_and(|key| key.contains('\0')) {
            return Err(Fault::field("key", "holds the character U+0000, which no database stores"));
        }
        if self.key.as_ref().is_some_and(|key| key.len() > bounds::KEY) {
            return Err(Fault::field("key", format!("is longer than {} bytes", bounds::KEY)));
        }
        if self.headers.len() > bounds::HEADERS {
            return Err(Fault::field("headers", format!("there are more than {}", bounds::HEADERS)));
        }
        let bytes: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > bounds::HEADER_BYTES {
            let reason = format!("they are {bytes} bytes together; the limit is {}", bounds::HEADER_BYTES);
            return Err(Fault::field("headers", reason));
        }
        for (name, value) in &self.headers {
            if name.contains('\0') {
                let reason = format!(
                    "'{}' holds the character U+0000, which not every log stores in a name",
                    cut(&name.replace('\0', "\u{fffd}"))
                );
                return Err(Fault::field("headers", reason));
            }
            if is_reserved_header(name) || name.eq_ignore_ascii_case("content-type") {
                let reason = format!("'{}' is written by the platform; use another name", cut(name));
                return Err(Fault::field("headers", reason));
            }
            if name.is_empty() || name.len() > bounds::HEADER_NAME || value.len() > bounds::HEADER_VALUE {
                let limits = (bounds::HEADER_NAME, bounds::HEADER_VALUE);
                let reason = format!(
                    "'{}': names have 1 to {} bytes, values at most {}",
                    cut(name),
                    limits.0,
                    limits.1
                );
                return Err(Fault::field("headers", reason));
            }
        }
        Ok(())
    }
}

/// Saves one message as accepted and publishes it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "bridge.produce-message", reply = Accepted, validate = check_one)]
pub struct ProduceMessage {
    pub message: NewMessage,
}

fn check_one(command: &ProduceMessage) -> Result<(), Fault> {
    command.message.check()
}

/// Where a message is known from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    pub id: MessageId,
    pub topic: String,
    pub status: Status,
}

/// The same for up to a thousand messages, in one transaction.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "bridge.produce-many", reply = u32, validate = check_many)]
pub struct ProduceMany {
    pub messages: Vec<NewMessage>,
}

fn check_many(command: &ProduceMany) -> Result<(), Fault> {
    if command.messages.len() > bounds::CHUNK {
        return Err(Fault::field("messages", format!("more than {} in one transaction", bounds::CHUNK)));
    }
    command.messages.iter().try_for_each(NewMessage::check)
}

/// Says that a consumer has read a message.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "bridge.consume-message", key = id)]
pub struct ConsumeMessage {
    pub id: MessageId,
    pub topic: String,
    pub partition: u32,
    pub offset: i64,
    /// The record's own time.
    pub written_at: Time,
    /// When the consumer read it.
    pub read_at: Time,
    /// Whether the bridge produced it; otherwise somebody else wrote it, and it is tracked from here on.
    pub ours: bool,
    /// Why the message can't be consumed; absent = it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How far a message is. It never goes back, but for one that failed and is consumed by a later try after all: consumed is the
/// end of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Accepted,
    Produced,
    Consumed,
    Failed,
}

/// A message with all that is known of it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Tracked {
    pub id: MessageId,
    pub topic: String,
    pub key: Option<String>,
    #[schemars(with = "serde_json::Value")]
    pub value: Box<RawValue>,
    pub headers: BTreeMap<String, String>,
    pub status: Status,
    pub partition: Option<u32>,
    pub offset: Option<i64>,
    pub accepted_at: Time,
    pub produced_at: Option<Time>,
    pub consumed_at: Option<Time>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Microseconds from accepted to consumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<i64>,
}

/// One message by its id.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "bridge.get-message", reply = Tracked)]
pub struct GetMessage {
    pub id: MessageId,
}

/// Messages, the newest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "bridge.list-messages", reply = Page<Tracked>, validate = check_list)]
#[serde(deny_unknown_fields)]
pub struct ListMessages {
    #[serde(default)]
    pub topic: Option<String>,
    #[serde(default)]
    pub status: Option<Status>,
    /// 1 to 500; 50 when absent.
    #[serde(default)]
    pub limit: Option<u32>,
    #[serde(default)]
    pub cursor: Option<String>,
}

fn check_list(query: &ListMessages) -> Result<(), Fault> {
    match query.limit {
        Some(limit) if !(1..=500).contains(&limit) => {
            Err(Fault::field("limit", format!("{limit} is not 1 to 500")))
        }
        _ => Ok(()),
    }
}

/// Totals since the beginning.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "bridge.get-stats", reply = Stats)]
pub struct GetStats {}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    pub accepted: i64,
    pub produced: i64,
    pub consumed: i64,
    /// One that is consumed after all no longer counts here.
    pub failed: i64,
    /// Repeats recognised and dropped.
    pub duplicates: i64,
    /// Reports that a message was produced or consumed, of one that had been so before. A topic's further consumers, and one that
    /// begins anew, tell again what an earlier one told; without such it is 0, or something was taken in twice.
    #[serde(default)]
    pub again: i64,
}

/// Where a consumer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StartAt {
    Earliest,
    Latest,
    Offset(i64),
    Time(Time),
}

/// Starts a consumer of any topic, or starts it again where it stopped.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "bridge.start-consumer", reply = String, validate = check_start)]
#[serde(deny_unknown_fields)]
pub struct StartConsumer {
    pub topic: String,
    pub from: StartAt,
    /// What the consumer is known by; the topic's name when absent.
    #[serde(default)]
    pub name: Option<String>,
}

fn check_start(command: &StartConsumer) -> Result<(), Fault> {
    check_topic(&command.topic)?;
    if matches!(command.from, StartAt::Offset(offset) if offset < 0) {
        return Err(Fault::field("from", "an offset is 0 or more"));
    }
    let Some(name) = &command.name else { return Ok(()) };
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > bounds::CONSUMER || !name.bytes().all(good) {
        return Err(Fault::field("name", "use 1 to 100 letters, digits, '.', '_' and '-'"));
    }
    Ok(())
}

/// Stops a consumer; it keeps its place unless it is to be forgotten.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "bridge.stop-consumer")]
pub struct StopConsumer {
    pub id: String,
    #[serde(default)]
    pub forget: bool,
}

/// The background service that sends test messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timer {
    pub enabled: bool,
    pub interval_ms: u64,
    pub topic: String,
}

/// Switches the test messages on or off.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "bridge.set-timer", reply = Timer, validate = check_timer)]
pub struct SetTimer {
    pub timer: Timer,
}

fn check_timer(command: &SetTimer) -> Result<(), Fault> {
    command.timer.check()
}

impl Timer {
    pub fn check(&self) -> Result<(), Fault> {
        check_own_topic(&self.topic)?;
        if bounds::INTERVAL.contains(&self.interval_ms) {
            return Ok(());
        }
        Err(Fault::field("interval_ms", "10 to 86400000 (a day), please"))
    }
}

/// Sends one test message and sets the next; only the bridge's own timer sends it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "bridge.tick")]
pub struct Tick {}

/// Forgets messages past their age, some at a time; only the bridge's own schedule sends it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "bridge.purge")]
pub struct Purge {}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "bridge.get-timer", reply = Timer)]
pub struct GetTimer {}
