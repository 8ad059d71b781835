//! A record as JSON. A value that is JSON is passed through as it stands, digit for digit; what is no text is base64.

use artel_bus::Received;
use artel_message::{Headers, Time};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

/// How bytes are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    /// A JSON value, as it was sent.
    Json,
    /// A JSON string with the bytes as UTF-8.
    Text,
    /// A JSON string with the bytes in base64.
    Base64,
    /// There is none (Kafka: null).
    None,
}

/// One message of a topic.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RecordRow {
    pub partition: u32,
    pub offset: i64,
    pub time: Time,
    /// Text, or base64 where it is none.
    pub key: Option<String>,
    pub key_encoding: Encoding,
    #[schemars(with = "serde_json::Value")]
    pub value: Box<RawValue>,
    pub value_encoding: Encoding,
    /// In order; names may repeat.
    pub headers: Vec<HeaderRow>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct HeaderRow {
    pub name: String,
    pub value: Option<String>,
    pub encoding: Encoding,
}

impl RecordRow {
    pub fn new(partition: u32, record: Received) -> RecordRow {
        let (key, key_encoding) = text(record.key.as_deref());
        let (value, value_encoding) = raw(record.value.as_deref());
        RecordRow {
            partition,
            offset: record.offset,
            time: record.time,
            key,
            key_encoding,
            value,
            value_encoding,
            headers: header_rows(&record.headers),
        }
    }
}

pub(super) fn header_rows(headers: &Headers) -> Vec<HeaderRow> {
    let row = |(name, value): (&str, Option<&[u8]>)| {
        let (value, encoding) = text(value);
        HeaderRow { name: name.to_owned(), value, encoding }
    };
    headers.iter().map(row).collect()
}

pub(super) fn text(bytes: Option<&[u8]>) -> (Option<String>, Encoding) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => (None, Encoding::None),
        Some((_, Ok(text))) => (Some(text.to_owned()), Encoding::Text),
        Some((bytes, Err(_))) => (Some(STANDARD.encode(bytes)), Encoding::Base64),
    }
}

pub(super) fn raw(bytes: Option<&[u8]>) -> (Box<RawValue>, Encoding) {
    let json = bytes.and_then(|bytes| serde_json::from_slice::<Box<RawValue>>(bytes).ok());
    match (bytes, json) {
        (None, _) => (RawValue::NULL.to_owned(), Encoding::None),
        (Some(_), Some(json)) => (json, Encoding::Json),
        (Some(bytes), None) => {
            let (text, encoding) = text(Some(bytes));
            let quoted = serde_json::value::to_raw_value(&text).unwrap_or_else(|_| RawValue::NULL.to_owned());
            (quoted, encoding)
        }
    }
}

/// What is searched in: exact key, and text anywhere in key, value or headers.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub key: Option<String>,
    pub contains: Option<String>,
}

impl Filter {
    pub fn lets_through(&self, record: &Received) -> bool {
        let key = |wanted: &String| record.key.as_deref() == Some(wanted.as_bytes());
        let anywhere = |wanted: &String| {
            let holds = |bytes: Option<&[u8]>| bytes.is_some_and(|bytes| find(bytes, wanted.as_bytes()));
            holds(record.value.as_deref())
                || holds(record.key.as_deref())
                || record.headers.iter().any(|(_, value)| holds(value))
        };
        self.key.as_ref().is_none_or(key) && self.contains.as_ref().is_none_or(anywhere)
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn record(value: Option<&'static [u8]>) -> Received {
        let headers = [("a", Some(&b"1"[..])), ("a", None), ("b", Some(b"\xff"))].into_iter().collect();
        let key = Some(Bytes::from_static(b"k"));
        let value = value.map(Bytes::from_static);
        Received { offset: 7, time: Time::from_millis(0), key, value, headers }
    }

    fn shown(value: Option<&'static [u8]>) -> String {
        let row = serde_json::to_string(&RecordRow::new(1, record(value))).unwrap();
        let (_, rest) = row.split_once("\"value\":").unwrap();
        rest.split_once(",\"headers\":").unwrap().0.to_owned()
    }

    #[test]
    fn numbers_keep_every_digit() {
        let value = b"{\"id\": 9007199254740993, \"rate\": 1.10}";
        assert_eq!(
            shown(Some(value)),
            "{\"id\": 9007199254740993, \"rate\": 1.10},\"value_encoding\":\"json\""
        );
    }

    #[test]
    fn what_is_no_json_is_said_to_be_so() {
        assert_eq!(shown(Some(b"hello")), "\"hello\",\"value_encoding\":\"text\"");
        assert_eq!(shown(Some(b"\xff\x00")), "\"/wA=\",\"value_encoding\":\"base64\"");
        assert_eq!(shown(Some(b"")), "\"\",\"value_encoding\":\"text\"");
        assert_eq!(shown(Some(b"null")), "null,\"value_encoding\":\"json\"");
        assert_eq!(shown(None), "null,\"value_encoding\":\"none\"");
    }

    #[test]
    fn repeated_and_empty_headers_are_shown() {
        let row = serde_json::to_value(RecordRow::new(0, record(None))).unwrap();
        let expected = serde_json::json!([
            { "name": "a", "value": "1", "encoding": "text" },
            { "name": "a", "value": null, "encoding": "none" },
            { "name": "b", "value": "/w==", "encoding": "base64" },
        ]);
        assert_eq!(row["headers"], expected);
    }

    #[test]
    fn a_filter_looks_at_key_value_and_headers() {
        let filter = |key: Option<&str>, contains: Option<&str>| Filter {
            key: key.map(str::to_owned),
            contains: contains.map(str::to_owned),
        };
        let record = record(Some(b"some text"));
        for (key, contains, found) in [
            (None, None, true),
            (Some("k"), Some("me te"), true),
            (Some("x"), None, false),
            (None, Some("k"), true),
            (None, Some("1"), true),
            (None, Some("nothing"), false),
        ] {
            assert_eq!(filter(key, contains).lets_through(&record), found, "{key:?} {contains:?}");
        }
    }
}
