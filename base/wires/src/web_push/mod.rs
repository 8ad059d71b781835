//! Web Push: a message to a browser (RFC 8030), encrypted for it (RFC 8291 over RFC 8188), from a sender who is known by a key
//! (VAPID, RFC 8292).
//!
//! Whoever has a subscription was given its URL by a browser, that is by anybody: only addresses that
//! [`HttpSettings::addresses`] allows are connected to, whatever a name resolves to.

mod encrypt;
mod subscription;
mod vapid;

pub(crate) use encrypt::keys;
pub use encrypt::{MOST_PLAIN, Padding};
pub use subscription::{BadSubscription, Subscription};
pub use vapid::{BadKey, VapidKey};

use crate::http::{Addresses, BadSetting, Clock, Http, HttpSettings, NoTrust, system_clock};
use crate::push::BadPush;
use crate::said::Handed;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderMap, HeaderValue};
use ring::rand::SystemRandom;
use std::time::Duration;
use vapid::Vapid;

const TTL: HeaderName = HeaderName::from_static("ttl");
const URGENCY: HeaderName = HeaderName::from_static("urgency");
const TOPIC: HeaderName = HeaderName::from_static("topic");

/// How to reach push services.
#[derive(Clone)]
pub struct WebPushSettings {
    /// Whom a push service writes to when something is wrong: `mailto:…` or `https://…` (RFC 8292, section 2.1).
    pub contact: String,
    /// The simulator's endpoints too: on this machine, and over plain HTTP there.
    pub allow_loopback: bool,
    /// Bytes of a message before it is encrypted; [`MOST_PLAIN`] at most. Some services take less.
    pub most_payload: usize,
    pub padding: Padding,
    /// A token of ours is used for so long; RFC 8292 allows a day.
    pub token_life: Duration,
    /// `addresses` have to be judged: the default allows none.
    pub http: HttpSettings,
    pub clock: Clock,
}

impl Default for WebPushSettings {
    fn default() -> WebPushSettings {
        WebPushSettings {
            contact: String::new(),
            allow_loopback: false,
            most_payload: MOST_PLAIN,
            padding: Padding::default(),
            token_life: Duration::from_secs(12 * 3_600),
            http: HttpSettings { addresses: Addresses::only(|_| false), ..HttpSettings::default() },
            clock: system_clock(),
        }
    }
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum WebPushFailure {
    #[error(transparent)]
    Setting(#[from] BadSetting),
    #[error(transparent)]
    Trust(#[from] NoTrust),
}

/// A message to a browser.
#[derive(Clone, Default)]
pub struct WebPushMessage {
    /// What the page's service worker gets.
    pub payload: Bytes,
    /// How long the push service keeps it for a browser that is off.
    pub ttl: Duration,
    pub urgency: Urgency,
    /// A later message with the same topic takes this one's place, where it was not fetched yet; see [`topic_of`].
    pub topic: Option<String>,
}

/// RFC 8030, section 5.3: what the message is worth to a device with an empty battery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Urgency {
    VeryLow,
    Low,
    #[default]
    Normal,
    High,
}

/// A client for one VAPID key.
pub struct WebPush {
    http: Http,
    vapid: Vapid,
    by: String,
    random: SystemRandom,
    settings: WebPushSettings,
}

impl WebPush {
    pub fn new(key: VapidKey, settings: WebPushSettings) -> Result<WebPush, WebPushFailure> {
        if !settings.contact.starts_with("mailto:") && !settings.contact.starts_with("https://") {
            return Err(BadSetting::new("contact", "give mailto:ADDRESS or https://PAGE").into());
        }
        if settings.most_payload > MOST_PLAIN {
            return Err(BadSetting::new("most_payload", format!("{MOST_PLAIN} at most")).into());
        }
        if !(Duration::from_secs(60)..=Duration::from_secs(86_400)).contains(&settings.token_life) {
            return Err(BadSetting::new("token_life", "give a minute to a day").into());
        }
        let mut http = settings.http.clone();
        if settings.allow_loopback {
            http.addresses = http.addresses.or_loopback();
        }
        Ok(WebPush {
            http: Http::new(http, settings.clock.clone())?,
            by: format!("vapid:{}", key.public()),
            vapid: Vapid::new(key, settings.contact.clone(), settings.token_life),
            random: SystemRandom::new(),
            settings,
        })
    }

    /// Hands one message over. An error is about the message or the subscription; nothing is sent then. The reference is the
    /// message's URL at the push service, where it names one.
    pub async fn send(&self, to: &Subscription, message: &WebPushMessage) -> Result<Handed, BadPush> {
        if to.is_plain() && !self.settings.allow_loopback {
            return Err(BadPush::field("endpoint", "not https"));
        }
        let (bytes, most) = (message.payload.len(), self.settings.most_payload);
        if bytes > most {
            return Err(BadPush::TooBig { field: "payload".to_owned(), bytes, most });
        }
        let headers = self.headers(to, message)?;
        let body = encrypt::encrypt(to, &message.payload, self.settings.padding, most, &self.random)?;
        let (said, reference) = match self.http.post(to.uri(), headers, body).await {
            Ok(answer) => {
                let at = answer.headers.get(LOCATION).and_then(|at| at.to_str().ok()).map(str::to_owned);
                let reference = at.filter(|_| answer.is_success());
                (answer.said(to.host()), reference)
            }
            Err(broken) => (broken.said(), None),
        };
        Ok(Handed { said, reference, parts: Vec::new(), by: self.by.clone() })
    }

    fn headers(&self, to: &Subscription, message: &WebPushMessage) -> Result<HeaderMap, BadPush> {
        let mut headers = HeaderMap::with_capacity(6);
        let authorization = self
            .vapid
            .authorization(to.origin(), (self.settings.clock)() / 1_000)
            .map_err(|_| BadPush::field("vapid", "the key does not sign"))?;
        headers.insert(AUTHORIZATION, authorization);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("aes128gcm"));
        headers.insert(TTL, HeaderValue::from(message.ttl.as_secs().min(u32::MAX.into())));
        headers.insert(URGENCY, HeaderValue::from_static(message.urgency.word()));
        if let Some(topic) = &message.topic {
            headers.insert(TOPIC, topic_header(topic)?);
        }
        Ok(headers)
    }
}

impl Urgency {
    fn word(self) -> &'static str {
        match self {
            Urgency::VeryLow => "very-low",
            Urgency::Low => "low",
            Urgency::Normal => "normal",
            Urgency::High => "high",
        }
    }
}

const MOST_TOPIC: usize = 32;

/// RFC 8030, section 5.4: at most 32 characters of base64url.
fn topic_header(topic: &str) -> Result<HeaderValue, BadPush> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let bad =
        || BadPush::field("topic", "not 1 to 32 characters of base64url; topic_of makes one of any text");
    if topic.is_empty() || topic.len() > MOST_TOPIC || !topic.bytes().all(good) {
        return Err(bad());
    }
    HeaderValue::from_str(topic).map_err(|_| bad())
}

/// A topic for any text, such as a supersede key: 24 bytes of its SHA-256. It says nothing of the text to the push service, and is
/// short enough for FCM's `collapse_key` too.
pub fn topic_of(text: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    crate::jwt::base64url(&hash.as_ref()[..24])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_has_a_topic() {
        let topic = topic_of("shipment/17 – доставка");
        assert_eq!((topic.len(), topic_header(&topic).is_ok()), (32, true));
        assert_ne!(topic, topic_of("shipment/18 – доставка"));
        for bad in ["", "with space", "привет", &"x".repeat(33)] {
            assert!(topic_header(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn settings_that_cannot_be_meant_are_named() {
        let field = |settings| match WebPush::new(VapidKey::generate().unwrap(), settings).err() {
            Some(WebPushFailure::Setting(bad)) => bad.field,
            other => panic!("{other:?}"),
        };
        let good = WebPushSettings { contact: "mailto:a@b.example".into(), ..WebPushSettings::default() };
        assert_eq!(field(WebPushSettings { contact: "me".into(), ..good.clone() }), "contact");
        assert_eq!(field(WebPushSettings { most_payload: 3_994, ..good.clone() }), "most_payload");
        assert_eq!(field(WebPushSettings { token_life: Duration::from_secs(86_401), ..good }), "token_life");
    }
}
