//! A browser's subscription.

use crate::http::{checked_url, host_of};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::Uri;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is wrong with a subscription.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct BadSubscription {
    pub field: &'static str,
    pub reason: String,
}

impl BadSubscription {
    fn new(field: &'static str, reason: impl Into<String>) -> BadSubscription {
        BadSubscription { field, reason: reason.into() }
    }
}

/// Where to post to, and the keys to encrypt for.
#[derive(Clone, PartialEq, Eq)]
pub struct Subscription {
    uri: Uri,
    origin: String,
    p256dh: [u8; 65],
    auth: [u8; 16],
}

/// As `PushSubscription.toJSON()` writes it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Given {
    pub(crate) endpoint: String,
    pub(crate) keys: Keys,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Keys {
    pub(crate) p256dh: String,
    pub(crate) auth: String,
}

const MOST_TEXT: usize = 8 << 10;

/// Browsers leave the padding out, others write it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Subscription {
    /// `p256dh` is an uncompressed point of P-256; whether it lies on the curve is found out when it is used. An endpoint with plain
    /// HTTP, on this machine, is refused when it is used, unless settings allow it.
    pub fn new(endpoint: &str, p256dh: [u8; 65], auth: [u8; 16]) -> Result<Subscription, BadSubscription> {
        let uri =
            checked_url("endpoint", endpoint).map_err(|bad| BadSubscription::new("endpoint", bad.reason))?;
        if p256dh[0] != 4 {
            return Err(BadSubscription::new("p256dh", "not an uncompressed point: its first byte is not 4"));
        }
        // The origin of RFC 6454, as a browser writes it: in lower case, without the port that goes without saying.
        let scheme = uri.scheme_str().unwrap_or_default();
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let origin = match (scheme, uri.port_u16()) {
            (_, None) | ("https", Some(443)) | ("http", Some(80)) => format!("{scheme}://{host}"),
            (_, Some(port)) => format!("{scheme}://{host}:{port}"),
        };
        Ok(Subscription { uri, origin, p256dh, auth })
    }

    /// Reads what `JSON.stringify(subscription)` gives.
    pub fn parse(json: &str) -> Result<Subscription, BadSubscription> {
        if json.len() > MOST_TEXT {
            return Err(BadSubscription::new("subscription", "longer than 8 KiB"));
        }
        let given: Given = serde_json::from_str(json)
            .map_err(|_| BadSubscription::new("subscription", "not the JSON of a subscription"))?;
        let p256dh = decode("p256dh", &given.keys.p256dh)?;
        Subscription::new(&given.endpoint, p256dh, decode("auth", &given.keys.auth)?)
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(super) fn is_plain(&self) -> bool {
        self.uri.scheme_str() != Some("https")
    }

    /// The push service's name, with its port where one is written.
    pub fn host(&self) -> &str {
        host_of(&self.uri)
    }

    /// VAPID's `aud`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn p256dh(&self) -> &[u8; 65] {
        &self.p256dh
    }

    pub(super) fn auth(&self) -> &[u8; 16] {
        &self.auth
    }
}

fn decode<const N: usize>(field: &'static str, text: &str) -> Result<[u8; N], BadSubscription> {
    let bytes = BASE64.decode(text).map_err(|_| BadSubscription::new(field, "not base64url"))?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| BadSubscription::new(field, format!("has {length} bytes, not {N}")))
}

/// Masked: whoever has it can send to the browser.
impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/***", self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_read_and_its_origin_is_a_browsers() {
        let json = |endpoint: &str, auth: &str| {
            let p256dh = crate::jwt::base64url([4; 65]);
            format!(
                r#"{{"endpoint":"{endpoint}","expirationTime":null,"keys":{{"p256dh":"{p256dh}","auth":"{auth}"}}}}"#
            )
        };
        let auth = "AAAAAAAAAAAAAAAAAAAAAA";
        let read = |endpoint: &str| Subscription::parse(&json(endpoint, auth)).unwrap();
        assert_eq!(read("https://Push.example:443/s/1").origin(), "https://push.example");
        assert_eq!(read("https://push.example:8443/s/1").origin(), "https://push.example:8443");
        assert_eq!(format!("{:?}", read("https://push.example/secret")), "https://push.example/***");
        assert!(read("http://127.0.0.1:1/x").is_plain());
        assert!(Subscription::parse(&json("https://push.example", &format!("{auth}=="))).is_ok(), "padded");
        let field =
            |endpoint: &str, auth: &str| Subscription::parse(&json(endpoint, auth)).unwrap_err().field;
        assert_eq!(field("http://push.example/", auth), "endpoint");
        assert_eq!(field("https://u@push.example/", auth), "endpoint");
        assert_eq!(field("https://push.example/", "AAAA"), "auth");
        assert_eq!(Subscription::parse("{}").unwrap_err().field, "subscription");
        assert!(Subscription::new("https://push.example/", [5; 65], [0; 16]).is_err());
    }
}
