//! The message as FCM takes it.

use crate::push::BadPush;
use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What to send, and to whom.
#[derive(Clone, Default)]
pub struct FcmPush {
    /// The registration token of an app on a device.
    pub token: String,
    pub title: String,
    pub body: String,
    /// For the app.
    pub data: BTreeMap<String, String>,
    /// A later message with the same key takes this one's place; at most 64 bytes.
    pub collapse_key: Option<String>,
    /// How long it is worth anything: kept for a device that is off, at most 28 days (longer ones are cut).
    pub ttl: Option<Duration>,
    pub priority: Priority,
    /// Opened when somebody taps on it in a browser; `https` only.
    pub link: Option<String>,
}

/// Whether a sleeping device is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    #[default]
    Normal,
    High,
}

/// A token is an address: not for logs.
impl std::fmt::Debug for FcmPush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FcmPush")
            .field("collapse_key", &self.collapse_key)
            .field("ttl", &self.ttl)
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}

/// `AndroidConfig.ttl`: "the maximum time to live supported is 4 weeks".
const LONGEST: Duration = Duration::from_secs(28 * 86_400);
/// `apns-collapse-id`, Apple, "Sending notification requests to APNs".
const MOST_COLLAPSE_KEY: usize = 64;
const MOST_TOKEN: usize = 4_096;

#[derive(Serialize)]
struct Whole<'a> {
    message: Message<'a>,
}

#[derive(Serialize)]
struct Message<'a> {
    token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification: Option<Notification<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    data: &'a BTreeMap<String, String>,
    android: Android<'a>,
    apns: Apns,
    webpush: Webpush<'a>,
}

#[derive(Serialize)]
struct Notification<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    title: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    body: &'a str,
}

#[derive(Serialize)]
struct Android<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    collapse_key: Option<&'a str>,
    priority: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
}

#[derive(Serialize)]
struct Apns {
    headers: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Webpush<'a> {
    headers: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fcm_options: Option<WebpushOptions<'a>>,
}

#[derive(Serialize)]
struct WebpushOptions<'a> {
    link: &'a str,
}

/// Checked, and written. `now` in milliseconds since 1970.
pub(super) fn json(push: &FcmPush, most: usize, now: u64) -> Result<Bytes, BadPush> {
    check(push)?;
    check_size(push, most)?;
    let ttl = push.ttl.map(|ttl| ttl.min(LONGEST));
    let high = push.priority == Priority::High;
    let notification = (!push.title.is_empty() || !push.body.is_empty())
        .then_some(Notification { title: &push.title, body: &push.body });
    let whole = Whole {
        message: Message {
            token: &push.token,
            notification,
            data: &push.data,
            android: Android {
                collapse_key: push.collapse_key.as_deref(),
                priority: if high { "HIGH" } else { "NORMAL" },
                ttl: ttl.map(|ttl| format!("{}s", ttl.as_secs())),
            },
            apns: Apns { headers: apns(push, ttl, now) },
            webpush: webpush(push, ttl),
        },
    };
    let bytes = serde_json::to_vec(&whole).map_err(|error| BadPush::field("message", error.to_string()))?;
    Ok(Bytes::from(bytes))
}

fn apns(push: &FcmPush, ttl: Option<Duration>, now: u64) -> BTreeMap<&'static str, String> {
    let high = push.priority == Priority::High;
    let mut headers = BTreeMap::from([("apns-priority", if high { "10" } else { "5" }.to_owned())]);
    if let Some(ttl) = ttl {
        headers.insert("apns-expiration", (now / 1_000).saturating_add(ttl.as_secs()).to_string());
    }
    if let Some(key) = &push.collapse_key {
        headers.insert("apns-collapse-id", key.clone());
    }
    headers
}

fn webpush<'a>(push: &'a FcmPush, ttl: Option<Duration>) -> Webpush<'a> {
    let high = push.priority == Priority::High;
    let mut headers = BTreeMap::from([("Urgency", if high { "high" } else { "normal" }.to_owned())]);
    if let Some(ttl) = ttl {
        headers.insert("TTL", ttl.as_secs().to_string());
    }
    Webpush { headers, fcm_options: push.link.as_deref().map(|link| WebpushOptions { link }) }
}

fn check(push: &FcmPush) -> Result<(), BadPush> {
    if push.token.is_empty() || push.token.len() > MOST_TOKEN {
        return Err(BadPush::field("token", "empty, or longer than 4096 bytes"));
    }
    if push.collapse_key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MOST_COLLAPSE_KEY) {
        return Err(BadPush::field("collapse_key", "empty, or longer than 64 bytes"));
    }
    if push.link.as_ref().is_some_and(|link| !link.starts_with("https://")) {
        return Err(BadPush::field("link", "does not begin with https://"));
    }
    if push.title.is_empty() && push.body.is_empty() && push.data.is_empty() {
        return Err(BadPush::field("body", "there is nothing to send: no title, no body, no data"));
    }
    // `Message.data`: "The key should not be a reserved word".
    let reserved = |key: &str| {
        matches!(key, "" | "from" | "message_type") || key.starts_with("google.") || key.starts_with("gcm.")
    };
    match push.data.keys().find(|key| reserved(key)) {
        Some(key) => Err(BadPush::field(format!("data.{key}"), "FCM keeps this name for itself")),
        None => Ok(()),
    }
}

/// "The maximum payload is 4,096 bytes", of keys and values; the largest of them is named.
fn check_size(push: &FcmPush, most: usize) -> Result<(), BadPush> {
    let shown = [("title", &push.title), ("body", &push.body)];
    let shown = shown.into_iter().filter(|(_, text)| !text.is_empty());
    let shown = shown.map(|(name, text)| (name.to_owned(), name.len() + text.len()));
    let data = push.data.iter().map(|(key, text)| (format!("data.{key}"), key.len() + text.len()));
    let (mut bytes, mut largest) = (0, (String::new(), 0));
    for (field, size) in shown.chain(data) {
        bytes += size;
        if size > largest.1 {
            largest = (field, size);
        }
    }
    if bytes > most { Err(BadPush::TooBig { field: largest.0, bytes, most }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn push() -> FcmPush {
        FcmPush {
            token: "t".repeat(152),
            title: "On its way".into(),
            body: "Parcel 17".into(),
            ..FcmPush::default()
        }
    }

    fn read(push: &FcmPush) -> Value {
        serde_json::from_slice(&super::json(push, 4_096, 1_700_000_000_500).unwrap()).unwrap()
    }

    #[test]
    fn each_platform_is_told_in_its_own_words() {
        let push = FcmPush {
            data: [("shipment".to_owned(), "17".to_owned())].into(),
            collapse_key: Some("shipment-17".into()),
            ttl: Some(Duration::from_secs(3_600)),
            priority: Priority::High,
            link: Some("https://example.com/17".into()),
            ..push()
        };
        let mut read = read(&push);
        assert_eq!(read["message"]["token"].take(), push.token.as_str());
        assert_eq!(
            read["message"],
            json!({
                "token": null,
                "notification": {"title": "On its way", "body": "Parcel 17"},
                "data": {"shipment": "17"},
                "android": {"collapse_key": "shipment-17", "priority": "HIGH", "ttl": "3600s"},
                "apns": {"headers": {
                    "apns-priority": "10", "apns-expiration": "1700003600", "apns-collapse-id": "shipment-17",
                }},
                "webpush": {
                    "headers": {"Urgency": "high", "TTL": "3600"},
                    "fcm_options": {"link": "https://example.com/17"},
                },
            })
        );
        let plain = super::tests::read(&super::tests::push());
        assert_eq!(plain["message"]["android"], json!({"priority": "NORMAL"}));
        assert!(plain["message"].get("data").is_none());
        let long = FcmPush { ttl: Some(Duration::MAX), ..super::tests::push() };
        assert_eq!(super::tests::read(&long)["message"]["android"]["ttl"], "2419200s");
    }

    #[test]
    fn the_size_is_of_keys_and_values_and_the_largest_is_named() {
        let fixed = "title".len() + "body".len() + "Parcel 17".len();
        let fits = FcmPush { title: "я".repeat((4_096 - fixed) / 2), ..push() };
        assert!(super::json(&fits, 4_096, 0).is_ok());
        let over = FcmPush { title: format!("{}xx", fits.title), ..push() };
        assert_eq!(
            super::json(&over, 4_096, 0).unwrap_err(),
            BadPush::TooBig { field: "title".into(), bytes: 4_098 - fixed % 2, most: 4_096 }
        );
        let data = FcmPush { data: [("big".to_owned(), "x".repeat(5_000))].into(), ..push() };
        let error = super::json(&data, 4_096, 0).unwrap_err().to_string();
        assert_eq!(error, "data.big: the message has 5031 bytes; 4096 are the most");
    }

    #[test]
    fn what_nobody_would_take_is_named() {
        let field = |push: FcmPush| match super::json(&push, 4_096, 0) {
            Err(BadPush::Field { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(FcmPush { token: String::new(), ..push() }), "token");
        assert_eq!(field(FcmPush { collapse_key: Some("k".repeat(65)), ..push() }), "collapse_key");
        assert_eq!(field(FcmPush { link: Some("http://x".into()), ..push() }), "link");
        assert_eq!(field(FcmPush { title: String::new(), body: String::new(), ..push() }), "body");
        for key in ["from", "google.x", "gcm.notification.y", "message_type"] {
            let push = FcmPush { data: [(key.to_owned(), String::new())].into(), ..push() };
            assert_eq!(field(push), format!("data.{key}"));
        }
    }
}
