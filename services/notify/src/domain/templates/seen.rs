//! What a text sees: the message's fields with ours beside them, handed to the engine without a copy in between.

use super::Context;
use super::check::OWN;
use minijinja::Value as Jinja;
use minijinja::value::Serde;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

pub(super) fn seen(language: &str, message: &Value, context: &Context<'_>) -> Jinja {
    Jinja::from(Serde(Seen { language, message, context }))
}

struct Seen<'a> {
    language: &'a str,
    message: &'a Value,
    context: &'a Context<'a>,
}

#[derive(Serialize)]
struct Recipient<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a str>,
}

impl Serialize for Seen<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let (context, mut map) = (self.context, s.serialize_map(None)?);
        if let Value::Object(fields) = self.message {
            for (name, value) in fields.iter().filter(|(name, _)| !OWN.contains(&name.as_str())) {
                entry(&mut map, name, value)?;
            }
        }
        let recipient = Recipient { name: context.recipient_name, language: context.recipient_language };
        map.serialize_entry("recipient", &recipient)?;
        map.serialize_entry("lang", self.language)?;
        map.serialize_entry("zone", context.zone.name())?;
        map.serialize_entry("now", &context.now)?;
        if let Some(url) = context.unsubscribe_url {
            map.serialize_entry("unsubscribe_url", url)?;
        }
        map.end()
    }
}

/// A field that is null and one that is not there are the same to a text.
struct WithoutNulls<'a>(&'a Value);

impl Serialize for WithoutNulls<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let mut map = s.serialize_map(None)?;
                for (name, value) in fields {
                    entry(&mut map, name, value)?;
                }
                map.end()
            }
            Value::Array(items) => s.collect_seq(items.iter().map(WithoutNulls)),
            other => other.serialize(s),
        }
    }
}

fn entry<M: SerializeMap>(map: &mut M, name: &str, value: &Value) -> Result<(), M::Error> {
    if value.is_null() {
        return Ok(());
    }
    map.serialize_entry(name, &WithoutNulls(value))
}
