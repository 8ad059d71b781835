//! What the provider knows of messages.

use super::{Twilio, at};
use crate::http::{Answer, host_of};
use crate::said::Said;
use form_urlencoded::Serializer;
use http::Uri;
use serde::{Deserialize, Deserializer};

/// Bytes of one page that are read.
const MOST_PAGE: usize = 1 << 20;
/// Messages that a page has.
const PAGE: &str = "50";

/// A message as the provider tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Message {
    pub sid: String,
    pub to: String,
    pub body: String,
    /// `queued`, `sending`, `sent`, `delivered`, `undelivered`, `failed`, …
    pub status: String,
    #[serde(default)]
    pub error_code: Option<u32>,
    /// Seconds since 1970; 0 where the provider does not say.
    #[serde(default, rename = "date_created", deserialize_with = "moment")]
    pub created: i64,
}

/// Of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub said: Said,
    pub message: Option<Message>,
}

/// Of all to a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Of the last page that was asked for.
    pub said: Said,
    pub messages: Vec<Message>,
    /// No page is missing: what is not listed was not taken.
    pub whole: bool,
}

#[derive(Deserialize)]
struct Page {
    messages: Vec<Message>,
    #[serde(default)]
    next_page_uri: Option<String>,
}

impl Twilio {
    /// Asks for a message by its id, which [`Handed::reference`](crate::Handed) has.
    pub async fn fetch(&self, sid: &str) -> Fetched {
        let known = !sid.is_empty() && sid.bytes().all(|octet| octet.is_ascii_alphanumeric());
        let uri = at(&self.messages, &format!("{}/{sid}.json", self.folder())).filter(|_| known);
        let Some(uri) = uri else {
            let text = "not the id of a message".to_owned();
            return Fetched { said: Said::Broken { stage: crate::Stage::Before, text }, message: None };
        };
        match self.page(&uri).await {
            Err(said) => Fetched { said, message: None },
            Ok(answer) => {
                let message = serde_json::from_slice(&answer.body).ok().filter(|_| answer.is_success());
                Fetched { said: answer.said(host_of(&uri)), message }
            }
        }
    }

    /// What was sent to this number since this moment, in seconds since 1970. The provider filters by the day.
    pub async fn sent_to(&self, to: &str, since: i64) -> Found {
        let day =
            chrono::DateTime::from_timestamp(since, 0).unwrap_or_default().format("%Y-%m-%d").to_string();
        let mut next = Some(format!("{}.json?{}", self.folder(), list(to, &day)));
        let (mut messages, mut said) = (Vec::new(), None);
        for _ in 0..self.settings.most_pages.max(1) {
            // A list leads to nowhere else.
            let own = next.take().filter(|path| path.starts_with(&self.folder()));
            let Some(uri) = own.and_then(|path| at(&self.messages, &path)) else { break };
            let answer = match self.page(&uri).await {
                Ok(answer) => answer,
                Err(broken) => return Found { said: broken, messages, whole: false },
            };
            let page = serde_json::from_slice::<Page>(&answer.body).ok().filter(|_| answer.is_success());
            said = Some(answer.said(host_of(&uri)));
            let Some(page) = page else {
                return Found { said: said.unwrap_or_else(nothing), messages, whole: false };
            };
            messages.extend(
                page.messages.into_iter().filter(|message| message.created >= since || message.created == 0),
            );
            next = page.next_page_uri.filter(|next| !next.is_empty());
            if next.is_none() {
                return Found { said: said.unwrap_or_else(nothing), messages, whole: true };
            }
        }
        Found { said: said.unwrap_or_else(nothing), messages, whole: false }
    }

    async fn page(&self, uri: &Uri) -> Result<Answer, Said> {
        self.http.get(uri, self.headers.clone(), MOST_PAGE).await.map_err(|broken| broken.said())
    }

    fn folder(&self) -> String {
        format!("/2010-04-01/Accounts/{}/Messages", self.settings.account)
    }
}

fn list(to: &str, day: &str) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("To", to).append_pair("DateSent>", day).append_pair("PageSize", PAGE).finish()
}

fn nothing() -> Said {
    Said::Broken { stage: crate::Stage::Before, text: "nothing was asked".to_owned() }
}

/// RFC 2822, section 3.3.
fn moment<'a, D: Deserializer<'a>>(from: D) -> Result<i64, D::Error> {
    let text = Option::<String>::deserialize(from)?.unwrap_or_default();
    Ok(chrono::DateTime::parse_from_rfc2822(&text).map_or(0, |moment| moment.timestamp()))
}
