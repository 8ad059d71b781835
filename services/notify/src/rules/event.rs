//! What a rule sees of a message of the log.

use artel_contract::notify::bounds;
use artel_flow::Raw;
use artel_message::{Time, check_json};
use serde_json::Value;
use std::time::Duration;

/// Who a message is, apart from what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// `ce_type`
    pub message: Option<String>,
    /// What ids of deliveries derive from: the same for the same event, however often and wherever it stands in the log.
    pub key: String,
    /// What it calls itself, or else the id that its place gives it.
    pub cause: String,
    /// When it happened, as far as it says.
    pub at: Time,
}

/// How far its own time may lie ahead of the log's to be believed.
const AHEAD: Duration = Duration::from_secs(86_400);

impl Heading {
    /// By CloudEvents 1.0, section 3.1, an event is the same where source and id are: who writes one twice has it notified once. What
    /// has no such headers is known by its place.
    pub fn of(raw: &Raw) -> Heading {
        let text = |name: &str| {
            let value = raw.headers.get(name).flatten()?;
            let text = std::str::from_utf8(value).ok()?;
            let fits = !text.is_empty() && text.len() <= bounds::NAME && !text.contains(char::is_control);
            fits.then(|| text.to_owned())
        };
        let message = text("ce_type");
        let time = text("ce_time").and_then(|time| time.parse::<Time>().ok());
        let time = time.filter(|time| *time > Time::from_millis(0) && *time <= raw.time + AHEAD);
        match (text("ce_id"), text("ce_source"), time) {
            (Some(id), Some(source), Some(at)) => {
                Heading { message, key: format!("{source}\n{id}"), cause: id, at }
            }
            // Without a time of its own an event that is written twice would have ids of two moments.
            _ => Heading { message, key: raw.id.to_string(), cause: raw.id.to_string(), at: raw.time },
        }
    }
}

/// A message's value; why rules can't use it otherwise.
pub fn value(raw: &Raw) -> Result<Value, String> {
    let bytes = raw.value.as_deref().unwrap_or_default();
    if bytes.is_empty() {
        return Err("the message has no value".to_owned());
    }
    if bytes.len() > bounds::DATA {
        let size = bytes.len();
        return Err(format!(
            "the message has {size} bytes; templates are filled from {} at most",
            bounds::DATA
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "the value is no UTF-8".to_owned())?;
    check_json(text, bounds::DEPTH).map_err(|reason| format!("the value is not JSON: {reason}"))?;
    if text.contains("\\u0000") {
        return Err("the value holds the character U+0000, which is stored nowhere".to_owned());
    }
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("the value is not JSON: {error}"))?;
    match value.is_object() {
        true => Ok(value),
        false => Err("the value is no JSON object".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use artel_message::Headers;
    use bytes::Bytes;
    use uuid::Uuid;

    fn raw(headers: &[(&str, &str)], value: &[u8], offset: i64) -> Raw {
        let headers: Headers = headers.iter().map(|(name, value)| (*name, Some(value.as_bytes()))).collect();
        Raw {
            group: "rules.a".into(),
            topic: "a".into(),
            partition: 0,
            offset,
            key: None,
            headers,
            value: Some(Bytes::copy_from_slice(value)),
            time: "2026-01-10T20:00:00Z".parse().unwrap(),
            id: Uuid::from_u128(u128::try_from(offset).unwrap()),
        }
    }

    #[test]
    fn an_event_that_is_written_twice_is_the_same_one() {
        let headers = [
            ("ce_id", "e-1"),
            ("ce_source", "carrier"),
            ("ce_type", "moved"),
            ("ce_time", "2026-01-10T19:59:00Z"),
        ];
        let heading = Heading::of(&raw(&headers, b"{}", 1));
        assert_eq!(heading, Heading::of(&raw(&headers, b"{}", 9)));
        assert_eq!((heading.cause.as_str(), heading.message.as_deref()), ("e-1", Some("moved")));
        let other = [("ce_source", "other"), headers[0], headers[3]];
        assert_ne!(heading.key, Heading::of(&raw(&other, b"{}", 1)).key);
        // What does not say who it is, or says it was made long after it was written, is known by its place.
        for headers in [&headers[1..], &[headers[0], headers[1], ("ce_time", "2027-01-01T00:00:00Z")]] {
            let (one, two) = (Heading::of(&raw(headers, b"{}", 1)), Heading::of(&raw(headers, b"{}", 2)));
            assert_ne!(one.key, two.key);
            assert_eq!(one.at, "2026-01-10T20:00:00Z".parse().unwrap());
        }
    }

    #[test]
    fn what_rules_can_t_use_is_said() {
        let of = |text: &[u8]| value(&raw(&[], text, 1));
        assert!(of(b"{\"a\":1}").is_ok());
        let (deep, long) = ("[".repeat(40) + &"]".repeat(40), format!("\"{}\"", "x".repeat(70_000)));
        for (bad, sentence) in [
            (&b""[..], "no value"),
            (b"\xff", "no UTF-8"),
            (b"{", "not JSON"),
            (b"[1]", "no JSON object"),
            (b"{\"a\":\"\\u0000\"}", "U+0000"),
            (deep.as_bytes(), "not JSON"),
            (long.as_bytes(), "70002 bytes"),
        ] {
            let reason = of(bad).unwrap_err();
            assert!(reason.contains(sentence), "{reason}");
        }
    }
}
