//! Where push messages go: FCM's registration tokens, and browsers' Web Push subscriptions.

use super::{BadAddress, first};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A registration token of FCM. Google says nothing of its form; those in use have 140 to 170 characters of a URL.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FcmToken(String);

const MOST_TOKEN: usize = 4_096;
const LEAST_TOKEN: usize = 32;

impl FromStr for FcmToken {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<FcmToken, BadAddress> {
        let wrong = |reason: String| Err(BadAddress::new("token", reason));
        if !(LEAST_TOKEN..=MOST_TOKEN).contains(&text.len()) {
            return wrong(format!("has {} bytes; tokens have {LEAST_TOKEN} to {MOST_TOKEN}", text.len()));
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b":_-.%".contains(&b)) {
            return wrong("holds what no token holds; give it as the device got it".to_owned());
        }
        Ok(FcmToken(text.to_owned()))
    }
}

impl FcmToken {
    pub fn as_str(&self) -> &str {
        &self.0
    }
    pub fn masked(&self) -> String {
        format!("fcm:{}", first(&self.0, 6))
    }
}

impl fmt::Debug for FcmToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}
impl TryFrom<String> for FcmToken {
    type Error = BadAddress;
    fn try_from(text: String) -> Result<FcmToken, BadAddress> {
        text.parse()
    }
}
impl From<FcmToken> for String {
    fn from(token: FcmToken) -> String {
        token.0
    }
}

/// A subscription as a browser gives it (`PushSubscription.toJSON()`): where to post to, and the keys to encrypt for.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Given", into = "Given")]
pub struct WebPushSubscription {
    endpoint: String,
    p256dh: [u8; 65],
    auth: [u8; 16],
}

/// The same as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Given {
    endpoint: String,
    keys: Keys,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Keys {
    p256dh: String,
    auth: String,
}

const MOST_ENDPOINT: usize = 2_048;

impl WebPushSubscription {
    /// `p256dh` and `auth` in base64url, with or without padding.
    pub fn new(endpoint: &str, p256dh: &str, auth: &str) -> Result<WebPushSubscription, BadAddress> {
        check_endpoint(endpoint)?;
        let point = decode("p256dh", p256dh)?;
        let p256dh: [u8; 65] = point.try_into().map_err(|bytes: Vec<u8>| {
            BadAddress::new("p256dh", format!("is {} bytes; an uncompressed P-256 point has 65", bytes.len()))
        })?;
        if p256dh[0] != 4 {
            return Err(BadAddress::new("p256dh", "is no uncompressed P-256 point: its first byte is not 4"));
        }
        let auth: [u8; 16] = decode("auth", auth)?.try_into().map_err(|bytes: Vec<u8>| {
            BadAddress::new("auth", format!("is {} bytes; the secret has 16", bytes.len()))
        })?;
        Ok(WebPushSubscription { endpoint: endpoint.to_owned(), p256dh, auth })
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The push service's name, with its port where it has one: pacing goes by it, and VAPID's `aud` is `https://` and this.
    pub fn host(&self) -> &str {
        let rest = self.endpoint.split_once("://").map_or("", |(_, rest)| rest);
        rest.split(['/', '?', '#']).next().unwrap_or_default()
    }

    /// The browser's public key, an uncompressed point. Whether it lies on the curve is found out when it is used.
    pub fn p256dh(&self) -> &[u8; 65] {
        &self.p256dh
    }

    pub fn auth(&self) -> &[u8; 16] {
        &self.auth
    }

    pub fn masked(&self) -> String {
        format!("https://{}/***", self.host())
    }
}

fn check_endpoint(endpoint: &str) -> Result<(), BadAddress> {
    let wrong = |reason: &str| Err(BadAddress::new("endpoint", reason));
    if endpoint.len() > MOST_ENDPOINT {
        return wrong("is longer than 2048 characters");
    }
    let plain = endpoint.strip_prefix("http://").filter(|rest| is_this_machine(rest));
    let Some(rest) = endpoint.strip_prefix("https://").or(plain) else {
        return wrong("does not begin with https://");
    };
    if !endpoint.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b)) {
        return wrong("holds a character that no URL holds");
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        return wrong("has a user in it");
    }
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return wrong("has a port that is no number");
    }
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    if name.is_empty() || !name.bytes().all(good) || name.split('.').any(str::is_empty) {
        return wrong("has no host");
    }
    Ok(())
}

/// Simulators have no certificates; whether an account sends to this machine at all is one of its settings.
fn is_this_machine(rest: &str) -> bool {
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost")
}

/// base64url (RFC 4648, section 5); browsers leave the padding out, others write it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn decode(field: &'static str, text: &str) -> Result<Vec<u8>, BadAddress> {
    if text.len() > 200 {
        return Err(BadAddress::new(field, "is longer than 200 characters"));
    }
    BASE64.decode(text).map_err(|_| BadAddress::new(field, "is not base64url"))
}

/// Masked: whoever has it can send to the browser.
impl fmt::Debug for WebPushSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}
impl TryFrom<Given> for WebPushSubscription {
    type Error = BadAddress;
    fn try_from(given: Given) -> Result<WebPushSubscription, BadAddress> {
        WebPushSubscription::new(&given.endpoint, &given.keys.p256dh, &given.keys.auth)
    }
}
impl From<WebPushSubscription> for Given {
    fn from(own: WebPushSubscription) -> Given {
        let keys = Keys { p256dh: BASE64.encode(own.p256dh), auth: BASE64.encode(own.auth) };
        Given { endpoint: own.endpoint, keys }
    }
}
