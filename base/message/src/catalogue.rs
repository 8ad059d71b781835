//! What the contract says there is: every message with its kind and schema, for the start-up check and the snapshots.

use crate::{Command, Effect, Event, Message, Query};
use schemars::{JsonSchema, Schema, generate::SchemaSettings};

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Command,
    Query,
    Event,
    Effect,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Command => "command",
            Kind::Query => "query",
            Kind::Event => "event",
            Kind::Effect => "effect",
        }
    }
}

/// One message of the contract.
#[derive(Debug, Clone, Copy)]
pub struct Described {
    pub kind: Kind,
    pub name: &'static str,
    /// The topic of an event.
    pub topic: Option<&'static str>,
    /// JSON Schema (2020-12) of the message.
    pub schema: fn() -> Schema,
    /// JSON Schema of the reply, of commands, queries and effects.
    pub reply: Option<fn() -> Schema>,
}

fn schema<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}

fn describe<M: Message>(kind: Kind) -> Described {
    Described { kind, name: M::NAME, topic: None, schema: schema::<M>, reply: None }
}

impl Described {
    pub fn command<C: Command>() -> Described {
        Described { reply: Some(schema::<C::Reply>), ..describe::<C>(Kind::Command) }
    }
    pub fn query<Q: Query>() -> Described {
        Described { reply: Some(schema::<Q::Reply>), ..describe::<Q>(Kind::Query) }
    }
    pub fn event<E: Event>() -> Described {
        Described { topic: Some(E::TOPIC), ..describe::<E>(Kind::Event) }
    }
    pub fn effect<E: Effect>() -> Described {
        Described { reply: Some(schema::<E::Done>), ..describe::<E>(Kind::Effect) }
    }
}
