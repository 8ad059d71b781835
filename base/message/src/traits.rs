//! The traits behind `#[derive(Command)]`, `#[derive(Query)]`, `#[derive(Event)]` and `#[derive(Effect)]`.

use crate::Fault;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

/// Anything that has a name on the wire and a JSON Schema. The name is `<service>.<what>`, in kebab case, and never
/// changes once published.
pub trait Message: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    const NAME: &'static str;

    /// Rules beyond the types; runs before any handler. Set by `validate = path` in the derive's attribute.
    fn validate(&self) -> Result<(), Fault> {
        Ok(())
    }
}

/// An order to exactly one service, with a reply. Its topic is `<service>.commands`.
pub trait Command: Message {
    type Reply: Serialize + DeserializeOwned + JsonSchema + Send + 'static;

    /// What orders commands among each other; `None` = the command's own id.
    fn key(&self) -> Option<String> {
        None
    }
}

/// A read with a reply and no effect.
pub trait Query: Message {
    type Reply: Serialize + DeserializeOwned + JsonSchema + Send + 'static;
}

/// A fact, past tense; many may listen, nobody must.
pub trait Event: Message {
    /// The topic of the kind of entity, such as `market.order`.
    const TOPIC: &'static str;

    /// The entity's id: order holds per key within the topic.
    fn key(&self) -> String;
}

/// An outside call, made outside of any transaction, at least once, with one idempotency key.
pub trait Effect: Message {
    /// What the call gives when it succeeds.
    type Done: Serialize + DeserializeOwned + JsonSchema + Send + 'static;

    /// With `per_key`, effects with equal keys run one after another; `None` = on its own.
    fn key(&self) -> Option<String> {
        None
    }
}

/// A message that can be put off by a durable timer: a command or an effect. The derives implement it.
pub trait Later: Message {
    /// The key of the command or effect itself, which orders it among others of its name.
    fn order(&self) -> Option<String>;
}

/// The service a message name belongs to: `notify` of `notify.accept`.
pub fn service_of(name: &str) -> &str {
    name.split_once('.').map_or(name, |(service, _)| service)
}

/// The topic that carries commands to a service.
pub fn commands_topic(service: &str) -> String {
    format!("{service}.commands")
}

/// The topic that carries answers to a service.
pub fn replies_topic(service: &str) -> String {
    format!("{service}.replies")
}

/// The topic of messages given up on in `topic`.
pub fn dead_letter_topic(topic: &str) -> String {
    format!("{topic}.dlq")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_named_after_their_service() {
        assert_eq!(service_of("notify.accept"), "notify");
        assert_eq!(service_of("notify"), "notify");
        assert_eq!(commands_topic("notify"), "notify.commands");
        assert_eq!(replies_topic("notify"), "notify.replies");
        assert_eq!(dead_letter_topic("notify.commands"), "notify.commands.dlq");
    }
}
