//! Push messages to apps: Firebase Cloud Messaging.

use super::files::secret;
use super::{Carrier, Outgoing};
use crate::domain::address::{Address, Kind};
use crate::domain::classes::Provider;
use crate::domain::templates::Body;
use artel_wires::Handed;
use artel_wires::fcm::{Fcm, FcmPush, FcmSettings, Priority, ServiceAccount};
use async_trait::async_trait;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FcmAccount {
    /// The service account as Google gives it: JSON.
    pub account_file: PathBuf,
    /// Another host in place of Google's, such as a simulator's.
    #[serde(default)]
    pub base: Option<String>,
}

pub(super) struct Apps {
    client: Fcm,
    by: String,
}

impl Apps {
    /// `call` is the longest that a message may take. Errors name the field.
    pub fn new(settings: &FcmAccount, call: Duration) -> Result<Apps, String> {
        let json = secret("account_file", &settings.account_file)?;
        let account = ServiceAccount::parse(&json).map_err(|error| format!("account_file: {error}"))?;
        let by = account.email().to_owned();
        let mut wire = FcmSettings::default();
        // A request for an access token comes before the message's own.
        wire.http.whole = wire.http.whole.min(call / 3);
        if let Some(base) = &settings.base {
            wire.base.clone_from(base);
        }
        Ok(Apps { client: Fcm::new(account, wire).map_err(|error| error.to_string())?, by })
    }
}

#[async_trait]
impl Carrier for Apps {
    fn provider(&self) -> Provider {
        Provider::Fcm
    }

    fn takes(&self, kind: Kind) -> bool {
        kind == Kind::Fcm
    }

    async fn hand(&self, message: &Outgoing) -> Handed {
        let unfit = |reason: String| Handed::unfit(&self.by, reason);
        let (Address::Fcm(token), Body::Push { title, body, data }) = (&message.address, &message.body)
        else {
            return unfit("is no push message to an app".to_owned());
        };
        let push = FcmPush {
            token: token.as_str().to_owned(),
            title: title.clone(),
            body: body.clone(),
            data: data.clone(),
            ttl: message.time_left(),
            priority: Priority::High,
            ..FcmPush::default()
        };
        match self.client.send(&push).await {
            Ok(handed) => handed,
            Err(bad) => unfit(bad.to_string()),
        }
    }
}
