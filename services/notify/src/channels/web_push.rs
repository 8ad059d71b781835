//! Push messages to browsers: Web Push.

use super::files::secret;
use super::{Carrier, Outgoing};
use crate::domain::address::{Address, Kind};
use crate::domain::classes::Provider;
use crate::domain::templates::Body;
use artel_frame::outbound::is_public;
use artel_wires::Handed;
use artel_wires::http::{Addresses, HttpSettings};
use artel_wires::web_push::{Subscription, Urgency, VapidKey, WebPush, WebPushMessage, WebPushSettings};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebPushAccount {
    /// Whom a push service writes to when something is wrong: `mailto:…` or `https://…`.
    pub contact: String,
    /// The private key of VAPID, 32 bytes in base64url.
    pub key_file: PathBuf,
    /// For how long a message without a validity of its own is kept for a browser that is off.
    #[serde(default = "day")]
    pub keep_seconds: u64,
    /// Push services on this machine too, such as a simulator.
    #[serde(default)]
    pub allow_loopback: bool,
}

fn day() -> u64 {
    86_400
}

pub(super) struct Browsers {
    client: WebPush,
    by: String,
    keep: Duration,
}

impl Browsers {
    /// Errors name the field.
    pub fn new(settings: &WebPushAccount) -> Result<Browsers, String> {
        let key = secret("key_file", &settings.key_file)?;
        let key = VapidKey::parse(&key).map_err(|error| format!("key_file: {error}"))?;
        let by = format!("vapid:{}", key.public());
        let wire = WebPushSettings {
            contact: settings.contact.clone(),
            allow_loopback: settings.allow_loopback,
            // Whoever subscribes gives the address: it is no way into our own network.
            http: HttpSettings { addresses: Addresses::only(is_public), ..HttpSettings::default() },
            ..WebPushSettings::default()
        };
        let client = WebPush::new(key, wire).map_err(|error| error.to_string())?;
        Ok(Browsers { client, by, keep: Duration::from_secs(settings.keep_seconds) })
    }
}

#[async_trait]
impl Carrier for Browsers {
    fn provider(&self) -> Provider {
        Provider::WebPush
    }

    fn takes(&self, kind: Kind) -> bool {
        kind == Kind::WebPush
    }

    async fn hand(&self, message: &Outgoing) -> Handed {
        let unfit = |reason: String| Handed::unfit(&self.by, reason);
        let (Address::WebPush(to), Body::Push { title, body, data }) = (&message.address, &message.body)
        else {
            return unfit("is no push message to a browser".to_owned());
        };
        let to = match Subscription::new(to.endpoint(), *to.p256dh(), *to.auth()) {
            Ok(to) => to,
            Err(bad) => return unfit(bad.to_string()),
        };
        let push = WebPushMessage {
            payload: json!({ "title": title, "body": body, "data": data }).to_string().into(),
            ttl: message.time_left().unwrap_or(self.keep),
            urgency: Urgency::High,
            topic: None,
        };
        match self.client.send(&to, &push).await {
            Ok(handed) => handed,
            Err(bad) => unfit(bad.to_string()),
        }
    }
}
