//! Firebase Cloud Messaging, HTTP v1 (<https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages>).
//!
//! A service account's key signs for an access token, which is kept until a minute before it ends. Whatever goes wrong before the
//! token is there is no doubt about the message: it was not sent.

mod account;
mod message;
mod token;

pub use account::{BadAccount, ServiceAccount};
pub use message::{FcmPush, Priority};

use crate::http::{
    Addresses, Answer, BadSetting, Clock, Http, HttpSettings, NoTrust, checked_url, host_of, system_clock,
};
use crate::push::BadPush;
use crate::said::{Handed, Said};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Uri};
use serde::Deserialize;
use std::sync::Arc;
use token::{Bearer, Tokens};

/// How to reach FCM.
#[derive(Clone)]
pub struct FcmSettings {
    /// Without a path.
    pub base: String,
    /// In place of the one that the account names.
    pub token_uri: Option<String>,
    /// Bytes of a message's notification and data, keys and values.
    pub most_payload: usize,
    /// Of the whole request, and of the one for a token.
    pub http: HttpSettings,
    pub clock: Clock,
}

impl Default for FcmSettings {
    fn default() -> FcmSettings {
        FcmSettings {
            base: "https://fcm.googleapis.com".to_owned(),
            token_uri: None,
            most_payload: 4_096,
            http: HttpSettings { addresses: Addresses::any(), ..HttpSettings::default() },
            clock: system_clock(),
        }
    }
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum FcmFailure {
    #[error(transparent)]
    Setting(#[from] BadSetting),
    #[error(transparent)]
    Trust(#[from] NoTrust),
}

/// A client for one service account.
pub struct Fcm {
    http: Arc<Http>,
    tokens: Tokens,
    send: Uri,
    host: String,
    by: String,
    most_payload: usize,
    clock: Clock,
}

impl Fcm {
    pub fn new(account: ServiceAccount, settings: FcmSettings) -> Result<Fcm, FcmFailure> {
        let base = checked_url("base", &settings.base)?;
        if !matches!(base.path(), "" | "/") || base.query().is_some() {
            return Err(BadSetting::new("base", "has a path; give the host alone").into());
        }
        let token_uri = match &settings.token_uri {
            Some(own) => checked_url("token_uri", own)?,
            None => account.token_uri().clone(),
        };
        let send = format!(
            "{}/v1/projects/{}/messages:send",
            settings.base.trim_end_matches('/'),
            account.project()
        );
        let send = checked_url("base", &send)?;
        let http = Arc::new(Http::new(settings.http.clone(), Arc::clone(&settings.clock))?);
        Ok(Fcm {
            host: host_of(&send).to_owned(),
            by: account.email().to_owned(),
            tokens: Tokens::new(account, token_uri, Arc::clone(&http), Arc::clone(&settings.clock)),
            http,
            send,
            most_payload: settings.most_payload,
            clock: settings.clock,
        })
    }

    /// Hands one message over. An error is about the message itself, which is not sent then.
    pub async fn send(&self, push: &FcmPush) -> Result<Handed, BadPush> {
        let body = message::json(push, self.most_payload, (self.clock)())?;
        let said = self.ask(body).await;
        let reference = match &said {
            Said::Http { status: 200..=299, body, .. } => {
                serde_json::from_slice::<Taken>(body).ok().map(|taken| taken.name)
            }
            _ => None,
        };
        Ok(Handed { said, reference, parts: Vec::new(), by: self.by.clone() })
    }

    async fn ask(&self, body: Bytes) -> Said {
        let bearer = match self.tokens.get().await {
            Ok(bearer) => bearer,
            Err(said) => return said,
        };
        let answer = match self.post(&bearer, &body).await {
            Ok(answer) => answer,
            Err(said) => return said,
        };
        if answer.status != 401 || is_about_the_receiver(&answer.body) {
            return answer.said(&self.host);
        }
        // Our token was withdrawn before its time. Nothing was sent, so it is asked for anew and said once more.
        self.tokens.forget(&bearer).await;
        match self.tokens.get().await {
            Ok(bearer) => match self.post(&bearer, &body).await {
                Ok(answer) => answer.said(&self.host),
                Err(said) => said,
            },
            Err(said) => said,
        }
    }

    async fn post(&self, bearer: &Bearer, body: &Bytes) -> Result<Answer, Said> {
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
        headers.insert(AUTHORIZATION, bearer.header());
        self.http.post(&self.send, headers, body.clone()).await.map_err(|broken| broken.said())
    }
}

#[derive(Deserialize)]
struct Taken {
    /// `projects/*/messages/*`
    name: String,
}

/// 401 with `THIRD_PARTY_AUTH_ERROR` is about the key for Apple or the web, which another token of ours does not mend.
fn is_about_the_receiver(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Whole {
        error: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        #[serde(default)]
        details: Vec<Detail>,
    }
    #[derive(Deserialize)]
    struct Detail {
        #[serde(rename = "errorCode", default)]
        code: String,
    }
    serde_json::from_slice::<Whole>(body)
        .is_ok_and(|whole| whole.error.details.iter().any(|d| d.code == "THIRD_PARTY_AUTH_ERROR"))
}
