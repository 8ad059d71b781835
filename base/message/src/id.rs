//! Typed ids: UUIDv7 (RFC 9562) under a type of their own, born at random or derived from a cause.

use crate::Time;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;
use uuid::Uuid;

/// What an id identifies; implemented by an empty type per kind (`enum Order {}`).
pub trait Tag: 'static {
    /// The name of the kind in schemas and messages, such as `Message`.
    const NAME: &'static str;
}

/// The id of one `T`. Ids of different kinds do not mix; on the wire it is the UUID's text.
pub struct Id<T>(Uuid, PhantomData<fn() -> T>);

impl<T> Id<T> {
    pub const fn from_uuid(uuid: Uuid) -> Id<T> {
        Id(uuid, PhantomData)
    }
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl<T> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl<T> FromStr for Id<T> {
    type Err = uuid::Error;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(s).map(Id::from_uuid)
    }
}
impl<T> From<Uuid> for Id<T> {
    fn from(uuid: Uuid) -> Self {
        Id::from_uuid(uuid)
    }
}
impl<T> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}
impl<'de, T> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Uuid::deserialize(d).map(Id::from_uuid)
    }
}
impl<T: Tag> JsonSchema for Id<T> {
    fn schema_name() -> Cow<'static, str> {
        Cow::Owned(format!("{}Id", T::NAME))
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "format": "uuid" })
    }
}

/// What made a handler run: the source of every id born in it. Running the handler again with the same cause gives the
/// same ids in the same order, so that a repeat is recognised wherever it arrives (flow, section 2.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    id: Uuid,
    at: Time,
}

impl Cause {
    /// A message of our own: its `ce_id` and `ce_time`.
    pub fn message(id: Uuid, at: Time) -> Cause {
        Cause { id, at }
    }

    /// A message without our headers: the place in the log is its identity.
    pub fn foreign(log: Uuid, topic: &str, partition: u32, offset: i64, at: Time) -> Cause {
        let mut hash = Sha256::new();
        hash.update(b"artel.foreign\0");
        hash.update(log.as_bytes());
        hash.update((topic.len() as u64).to_be_bytes());
        hash.update(topic.as_bytes());
        hash.update(partition.to_be_bytes());
        hash.update(offset.to_be_bytes());
        Cause { id: layout(at, &hash.finalize().into()), at }
    }

    /// A request from outside that carries an idempotency key: (caller, command's name, key). Only the time differs
    /// between repeats; which of them counts is decided where answers are kept.
    pub fn keyed(caller: &str, name: &str, key: &str, at: Time) -> Cause {
        let mut hash = Sha256::new();
        hash.update(b"artel.keyed\0");
        for part in [caller, name, key] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Cause { id: layout(at, &hash.finalize().into()), at }
    }

    pub fn id(&self) -> Uuid {
        self.id
    }

    pub fn at(&self) -> Time {
        self.at
    }

    /// The `ordinal`-th id born in `handler` for this cause: milliseconds of the cause's time, the other 74 bits from
    /// SHA-256 over (cause, handler, ordinal).
    pub fn derive(&self, handler: &str, ordinal: u32) -> Uuid {
        let mut hash = Sha256::new();
        hash.update(b"artel.id\0");
        hash.update(self.id.as_bytes());
        hash.update((handler.len() as u64).to_be_bytes());
        hash.update(handler.as_bytes());
        hash.update(ordinal.to_be_bytes());
        layout(self.at, &hash.finalize().into())
    }
}

/// UUIDv7's layout (RFC 9562, section 5.7) over given bits.
fn layout(at: Time, bits: &[u8; 32]) -> Uuid {
    let millis = u64::try_from(at.micros() / 1000).unwrap_or(0);
    let mut random = [0u8; 10];
    random.copy_from_slice(&bits[..10]);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

#[cfg(test)]
mod tests;
