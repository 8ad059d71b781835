//! Templates: texts per language and channel, filled from a message.
//!
//! The language is Jinja (MiniJinja), without includes, macros and loaders, and without what could make texts and lists of any size
//! (`subset.rs`, `filters.rs`); it is bounded in steps, depth and output. A field that is not
//! there can be asked for (`{% if eta %}`) but not printed. What is checked when a template is saved is not found out by the
//! first recipient: [`Compiled::new`] compiles each text, [`Compiled::check`] holds it against the message's schema.
//!
//! A text sees the fields of the message at the top, and beside them (these names win): `recipient` (`name`, `language`), `lang`,
//! `zone`, `now`, and `unsubscribe_url` where what it is about can be turned off by a link. `words` has the filters for dates and numbers.

mod check;
mod compile;
mod fields;
mod filters;
mod mjml;
mod preview;
mod seen;
mod shipped;
mod subset;
mod tags;
#[cfg(test)]
mod tests;
mod words;

pub use check::sample;
pub use compile::{Bounds, Compiled, RenderError};
pub use fields::Fields;
pub use preview::Preview;
pub use shipped::shipment;

use artel_contract::notify::Channel;
use artel_message::Time;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A template as it is stored; each change makes a new version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    pub id: String,
    #[serde(default = "first_version")]
    pub version: u32,
    /// The language that everybody gets who asks for one that it has not.
    pub default_language: String,
    /// By language tag, such as `ru` or `en-GB`.
    pub languages: BTreeMap<String, Texts>,
}

fn first_version() -> u32 {
    1
}

/// The texts of one language; a channel without texts is not sent over in this language.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Texts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailTexts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sms: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<PushTexts>,
}

/// Of an e-mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailTexts {
    pub subject: String,
    /// Plain: every mail has it, for readers that show no HTML and for filters that distrust mails without.
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<Markup>,
}

/// How the HTML of a mail is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Markup {
    Html(String),
    /// Made into HTML once, when it is saved. Jinja's tags between MJML's elements stand in `<mj-raw>`.
    Mjml(String),
}

/// Of a push message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushTexts {
    pub title: String,
    pub body: String,
    /// For the app.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
}

/// What a text sees beside the message.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    pub recipient_name: Option<&'a str>,
    pub recipient_language: Option<&'a str>,
    /// In which dates are written.
    pub zone: Tz,
    pub now: Time,
    /// Where what it is about can be turned off.
    pub unsubscribe_url: Option<&'a str>,
}

/// A message ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rendered {
    /// The language that it is in.
    pub language: String,
    #[serde(flatten)]
    pub body: Body,
}

/// Its text, by channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    Email {
        subject: String,
        text: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        html: Option<String>,
    },
    Sms {
        text: String,
    },
    Push {
        title: String,
        body: String,
        data: BTreeMap<String, String>,
    },
}

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `ru.email.html`, `en.sms`; `default_language`, `id`.
    pub part: String,
    /// From 1; 0 where it is about the part as a whole.
    pub line: usize,
    pub reason: String,
}

impl Problem {
    fn new(part: &str, line: usize, reason: impl Into<String>) -> Problem {
        Problem { part: part.to_owned(), line, reason: reason.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.part, self.reason),
            line => write!(f, "{}, line {line}: {}", self.part, self.reason),
        }
    }
}

impl Template {
    /// The languages to try for a wanted one: `ru-RU`, `ru`, then the default and what it falls back to. Compared without regard to
    /// capitals, given as the template writes them.
    pub fn fallbacks(&self, wanted: Option<&str>) -> Vec<&str> {
        let mut chain: Vec<&str> = Vec::new();
        for start in wanted.into_iter().chain([self.default_language.as_str()]) {
            let mut tag = start.replace('_', "-");
            loop {
                let known = self.languages.keys().find(|known| known.eq_ignore_ascii_case(&tag));
                if let Some(known) = known.filter(|known| !chain.contains(&known.as_str())) {
                    chain.push(known);
                }
                match tag.rfind('-') {
                    Some(at) => tag.truncate(at),
                    None => break,
                }
            }
        }
        chain
    }

    /// The channels that the default language has texts for.
    pub fn channels(&self) -> Vec<Channel> {
        let texts = self.languages.get(&self.default_language);
        Channel::ALL.into_iter().filter(|channel| texts.is_some_and(|texts| texts.has(*channel))).collect()
    }
}

impl Texts {
    pub fn has(&self, channel: Channel) -> bool {
        match channel {
            Channel::Email => self.email.is_some(),
            Channel::Sms => self.sms.is_some(),
            Channel::Push => self.push.is_some(),
        }
    }

    /// Every text with the name of its part below the language.
    fn parts(&self) -> Vec<(String, &str)> {
        let mut parts = Vec::new();
        if let Some(email) = &self.email {
            parts.push(("email.subject".to_owned(), email.subject.as_str()));
            parts.push(("email.text".to_owned(), email.text.as_str()));
            if let Some(Markup::Html(source) | Markup::Mjml(source)) = &email.html {
                parts.push(("email.html".to_owned(), source.as_str()));
            }
        }
        if let Some(sms) = &self.sms {
            parts.push(("sms".to_owned(), sms.as_str()));
        }
        if let Some(push) = &self.push {
            parts.push(("push.title".to_owned(), push.title.as_str()));
            parts.push(("push.body".to_owned(), push.body.as_str()));
            parts.extend(push.data.iter().map(|(name, text)| (format!("push.data.{name}"), text.as_str())));
        }
        parts
    }
}

/// The channel that a part of [`Texts::parts`] is of.
fn channel_of(part: &str) -> Option<Channel> {
    let name = part.split('.').next().unwrap_or_default();
    Channel::ALL.into_iter().find(|channel| channel.as_str() == name)
}
