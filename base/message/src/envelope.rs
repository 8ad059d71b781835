//! The message on the wire: CloudEvents 1.0 in Kafka's binary mode (attributes as `ce_*` headers, the value is the JSON
//! document alone), `traceparent` (W3C Trace Context) and a few headers of our own.

use crate::{Headers, Time};
use uuid::Uuid;

/// What every value of ours is.
pub const CONTENT_TYPE_JSON: &str = "application/json";

/// Header names that only the platform writes begin with these.
pub const RESERVED_PREFIXES: [&str; 2] = ["ce_", "artel_"];
/// Further headers that only the platform writes.
pub const RESERVED_HEADERS: [&str; 2] = ["traceparent", "content-type"];

/// Whether a user may not set this header.
pub fn is_reserved_header(name: &str) -> bool {
    let starts =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
    RESERVED_PREFIXES.iter().any(|prefix| starts(prefix))
        || RESERVED_HEADERS.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
}

/// Who, what, when and why of a message of our own; the value travels beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `ce_id`
    pub id: Uuid,
    /// `ce_type`: the message's name.
    pub name: String,
    /// `ce_source`: `artel/<service>`.
    pub source: String,
    /// `ce_time`
    pub time: Time,
    /// `traceparent`
    pub trace: Option<String>,
    /// `artel_seq`: increasing per source; absent on foreign messages and dead letters.
    pub seq: Option<i64>,
    /// `artel_prev`: the seq before it of the same source, topic and partition.
    pub prev: Option<i64>,
    /// `artel_cause`: the message whose handling published this one.
    pub cause: Option<Uuid>,
    /// `artel_reply`: a command whose sender listens for the answer.
    pub reply: bool,
    /// Every header that is not named above, in order; users' own headers are here.
    pub extra: Headers,
}

/// Why headers are not an envelope of ours; such a message is foreign, identified by its place in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("header {header}: {reason}")]
pub struct NotAnEnvelope {
    pub header: &'static str,
    pub reason: &'static str,
}

impl Envelope {
    /// `ce_source` of a service.
    pub fn source_of(service: &str) -> String {
        format!("artel/{service}")
    }

    /// The headers in the order: CloudEvents, content type, trace, ours, the rest.
    pub fn to_headers(&self) -> Headers {
        let number = |n: Option<i64>| n.map(|n| n.to_string());
        let (id, time) = (self.id.to_string(), self.time.to_string());
        let (seq, prev) = (number(self.seq), number(self.prev));
        let cause = self.cause.map(|cause| cause.to_string());
        let all = [
            ("ce_id", Some(id.as_str())),
            ("ce_type", Some(self.name.as_str())),
            ("ce_source", Some(self.source.as_str())),
            ("ce_time", Some(time.as_str())),
            ("ce_specversion", Some("1.0")),
            ("content-type", Some(CONTENT_TYPE_JSON)),
            ("traceparent", self.trace.as_deref()),
            ("artel_seq", seq.as_deref()),
            ("artel_prev", prev.as_deref()),
            ("artel_cause", cause.as_deref()),
            ("artel_reply", self.reply.then_some("1")),
        ];
        let ours = all.into_iter().filter(|(_, value)| value.is_some());
        let ours = ours.map(|(name, value)| (name, value.map(str::as_bytes)));
        ours.chain(&self.extra).collect()
    }

    /// Reads an envelope; of a repeated header the first counts. Unknown headers land in `extra`.
    pub fn from_headers(headers: &Headers) -> Result<Envelope, NotAnEnvelope> {
        let mut found: [Option<&str>; 10] = [None; 10];
        const NAMES: [&str; 10] = [
            "ce_id",
            "ce_type",
            "ce_source",
            "ce_time",
            "ce_specversion",
            "traceparent",
            "artel_seq",
            "artel_prev",
            "artel_cause",
            "artel_reply",
        ];
        let mut extra = Vec::new();
        for (name, value) in headers {
            match NAMES.iter().position(|known| *known == name) {
                Some(i) if found[i].is_none() => {
                    let bytes = value.ok_or(NotAnEnvelope { header: NAMES[i], reason: "is null" })?;
                    let text = std::str::from_utf8(bytes)
                        .map_err(|_| NotAnEnvelope { header: NAMES[i], reason: "is not UTF-8" })?;
                    found[i] = Some(text);
                }
                Some(_) => {}
                None if name == "content-type" => {}
                None => extra.push((name, value)),
            }
        }
        let need = |i: usize| match found[i] {
            None => Err(NotAnEnvelope { header: NAMES[i], reason: "is missing" }),
            Some("") => Err(NotAnEnvelope { header: NAMES[i], reason: "is empty" }),
            Some(text) => Ok(text),
        };
        let uuid = |i: usize, text: &str| {
            Uuid::parse_str(text).map_err(|_| NotAnEnvelope { header: NAMES[i], reason: "is not a UUID" })
        };
        let number = |i: usize| {
            found[i]
                .map(|text| {
                    text.parse::<i64>().ok().filter(|n| *n >= 0).ok_or(NotAnEnvelope {
                        header: NAMES[i],
                        reason: "is not a whole number from 0 to 2^63-1",
                    })
                })
                .transpose()
        };
        if need(4)? != "1.0" {
            return Err(NotAnEnvelope { header: NAMES[4], reason: "is not 1.0" });
        }
        Ok(Envelope {
            id: uuid(0, need(0)?)?,
            name: need(1)?.to_owned(),
            source: need(2)?.to_owned(),
            time: need(3)?
                .parse()
                .map_err(|_| NotAnEnvelope { header: NAMES[3], reason: "is not an RFC 3339 time" })?,
            trace: found[5].map(str::to_owned),
            seq: number(6)?,
            prev: number(7)?,
            cause: found[8].map(|text| uuid(8, text)).transpose()?,
            reply: found[9] == Some("1"),
            extra: extra.into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests;
