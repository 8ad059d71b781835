//! Short messages over HTTP, as Twilio has it (Programmable Messaging, API version 2010-04-01), and those who are like it.
//!
//! The answer to a message says that it is queued. What becomes of it comes to the message's callback ([`callback`]), and can be
//! asked for ([`Twilio::fetch`]). Where the answer was lost there is no id to ask by: [`Twilio::sent_to`] lists what was sent to
//! the number, and the callback brings back the `reference` of the message, which is put into its URL.

pub mod callback;
mod listing;

pub use listing::{Fetched, Found, Message};

use crate::http::{BadSetting, Clock, Http, HttpSettings, NoTrust, checked_url, host_of};
use crate::said::Handed;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use form_urlencoded::Serializer;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Uri};
use serde::Deserialize;
use std::time::Duration;

/// An account.
#[derive(Clone)]
pub struct Settings {
    /// `https://api.twilio.com`, or whoever is like it; without a path.
    pub base: String,
    /// The account's id, `AC…`.
    pub account: String,
    /// Who logs in: the account's id, or that of an API key.
    pub user: String,
    /// The account's token, or the key's secret.
    pub secret: String,
    /// Who messages are from that do not say it themselves.
    pub from: From,
    /// Where reports go; empty for none.
    pub callback: String,
    /// Pages of a list that are read at most.
    pub most_pages: usize,
    pub http: HttpSettings,
}

/// Who a message is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// A number or a name.
    Sender(String),
    /// A messaging service, `MG…`, that chooses the sender.
    Service(String),
}

/// A message to one number.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    /// `+` and digits.
    pub to: String,
    pub from: Option<From>,
    /// At most 1,600 characters; the provider divides it.
    pub body: String,
    /// Our own name of the message. It goes as the parameter `reference` of the callback's URL.
    pub reference: Option<String>,
    /// How long the provider may try: 1 to 36,000 seconds.
    pub validity: Option<Duration>,
}

/// Settings that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error(transparent)]
    Setting(#[from] BadSetting),
    #[error(transparent)]
    Trust(#[from] NoTrust),
}

/// A client of one account.
pub struct Twilio {
    http: Http,
    settings: Settings,
    messages: Uri,
    headers: HeaderMap,
}

impl Settings {
    /// Who logs in with the account itself.
    pub fn new(base: &str, account: &str, secret: &str, from: From) -> Settings {
        Settings {
            base: base.to_owned(),
            account: account.to_owned(),
            user: account.to_owned(),
            secret: secret.to_owned(),
            from,
            callback: String::new(),
            most_pages: 10,
            http: HttpSettings::default(),
        }
    }
}

impl Twilio {
    /// `clock` gives milliseconds since 1970.
    pub fn new(settings: Settings, clock: Clock) -> Result<Twilio, Unusable> {
        let bad = |field, reason: &str| BadSetting::new(field, reason);
        let base = checked_url("base", &settings.base)?;
        if base.path() != "/" || base.query().is_some() {
            return Err(bad("base", "has a path; write https://HOST").into());
        }
        if settings.account.is_empty() || !settings.account.bytes().all(|octet| octet.is_ascii_alphanumeric())
        {
            return Err(bad("account", "not an id; letters and digits, as a rule AC and 32 digits").into());
        }
        if settings.user.contains(':') {
            return Err(bad("user", "has a colon in it").into());
        }
        if !settings.callback.is_empty() {
            checked_url("callback", &settings.callback)?;
        }
        let path = format!("/2010-04-01/Accounts/{}/Messages.json", settings.account);
        let messages = at(&base, &path).ok_or_else(|| bad("base", "no URL can be made of it"))?;
        let login = STANDARD.encode(format!("{}:{}", settings.user, settings.secret));
        let mut login =
            HeaderValue::try_from(format!("Basic {login}")).map_err(|_| bad("secret", "no header"))?;
        login.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (AUTHORIZATION, login),
            (ACCEPT, HeaderValue::from_static("application/json")),
            (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
        ]);
        Ok(Twilio { http: Http::new(settings.http.clone(), clock)?, settings, messages, headers })
    }

    /// The account and the host, as logs name them.
    pub fn account(&self) -> String {
        format!("{}@{}", self.settings.account, host_of(&self.messages))
    }

    pub async fn send(&self, text: &Text) -> Handed {
        let answer = self.http.post(&self.messages, self.headers.clone(), self.form(text)).await;
        let (said, reference) = match answer {
            Err(broken) => (broken.said(), None),
            Ok(answer) => {
                let sid = answer.is_success().then(|| sid(&answer.body)).flatten();
                (answer.said(host_of(&self.messages)), sid)
            }
        };
        Handed { said, reference, parts: Vec::new(), by: self.account() }
    }

    fn form(&self, text: &Text) -> Bytes {
        let mut form = Serializer::new(String::new());
        form.append_pair("To", &text.to).append_pair("Body", &text.body);
        match text.from.as_ref().unwrap_or(&self.settings.from) {
            From::Sender(from) => form.append_pair("From", from),
            From::Service(id) => form.append_pair("MessagingServiceSid", id),
        };
        if !self.settings.callback.is_empty() {
            form.append_pair("StatusCallback", &self.callback(text.reference.as_deref()));
        }
        if let Some(validity) = text.validity {
            form.append_pair("ValidityPeriod", &validity.as_secs().clamp(1, 36_000).to_string());
        }
        form.finish().into()
    }

    /// The callback's URL for a message with this reference: what the report's signature is made over.
    pub fn callback(&self, reference: Option<&str>) -> String {
        let url = &self.settings.callback;
        let Some(reference) = reference else { return url.clone() };
        let query = Serializer::new(String::new()).append_pair("reference", reference).finish();
        format!("{url}{}{query}", if url.contains('?') { '&' } else { '?' })
    }
}

/// Another path on the same host.
fn at(base: &Uri, path: &str) -> Option<Uri> {
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    format!("{scheme}://{authority}{path}").parse().ok()
}

fn sid(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Taken {
        sid: String,
    }
    serde_json::from_slice::<Taken>(body).ok().map(|taken| taken.sid).filter(|sid| !sid.is_empty())
}

/// The secret stays out of logs.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("base", &self.base)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// The number and the text stay out of logs.
impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Text").field("reference", &self.reference).finish_non_exhaustive()
    }
}
