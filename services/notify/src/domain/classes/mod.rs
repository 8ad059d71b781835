//! What a provider's answer means, as data: a table per provider, each row a code, its class, and what to do beside it.
//!
//! [`classify`] goes through the provider's table from the top, rows of one code before rows of many, and falls back to what
//! the protocol says of codes nobody has heard of. The tables are the only place that knows codes; what follows from a class stands in
//! `failover`, `retry`, `breaker` and `pace`.

mod explain;
mod guard;
mod http;
mod protocols;
mod push;
mod sms;
#[cfg(test)]
mod tests;

pub use explain::{Language, explain};
pub use guard::{Guard, GuardSettings, Over, Removal};
pub use http::code_of;
pub use protocols::{ReceiptState, Stage, receipt_state};

use super::suppression::Reason;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A kind of provider: each has a table of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    Smtp,
    /// Amazon SES over SMTP or its API.
    Ses,
    Fcm,
    Apns,
    WebPush,
    Twilio,
    Smpp,
    /// SMSC.ru
    Smsc,
    /// SMS.ru
    SmsRu,
}

impl Provider {
    pub const ALL: [Provider; 9] = [
        Provider::Smtp,
        Provider::Ses,
        Provider::Fcm,
        Provider::Apns,
        Provider::WebPush,
        Provider::Twilio,
        Provider::Smpp,
        Provider::Smsc,
        Provider::SmsRu,
    ];

    /// Whether whoever gets a message chooses who takes it: then no answer, and no silence, says anything of the account.
    pub fn is_the_recipient_s(self) -> bool {
        self == Provider::WebPush
    }

    /// The name in settings and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Provider::Smtp => "smtp",
            Provider::Ses => "ses",
            Provider::Fcm => "fcm",
            Provider::Apns => "apns",
            Provider::WebPush => "web_push",
            Provider::Twilio => "twilio",
            Provider::Smpp => "smpp",
            Provider::Smsc => "smsc",
            Provider::SmsRu => "sms_ru",
        }
    }

    /// Its table, for documentation and for the simulators, which answer with each row.
    pub fn rows(self) -> &'static [Row] {
        match self {
            Provider::Smtp => protocols::SMTP,
            Provider::Ses => protocols::SES,
            Provider::Smpp => protocols::SMPP,
            Provider::Fcm => push::FCM,
            Provider::Apns => push::APNS,
            Provider::WebPush => push::WEB_PUSH,
            Provider::Twilio => sms::TWILIO,
            Provider::Smsc => sms::SMSC,
            Provider::SmsRu => sms::SMS_RU,
        }
    }
}

/// What an answer means for the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The provider has it, or says that it has had it already: treated as sent.
    Accepted,
    /// Passes by itself: again after a pause.
    Retry,
    /// The same, and the provider says when, or the row does. It uses up no try.
    RetryAfter,
    /// Too fast: slow down, then again. It uses up no try.
    Throttled(Scope),
    /// This address takes no messages: it is not written to any more.
    Suppress,
    /// The same request would be refused again: a dead letter.
    Permanent,
    /// Our account or our settings are at fault: the account is taken out of use and somebody is told; another account may do.
    Config,
    /// It may have been taken or not: never again before the provider, or a person, says so.
    Ambiguous,
}

/// What is too fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything over this account.
    Account,
    /// This connection: it pauses as a whole, and the message goes back to the head of the queue.
    Link,
    /// This recipient only.
    Recipient,
}

/// What a row is found by. Empty texts and 0 mean "any".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Reply codes from..=to, the enhanced status (`5.1.1`, or its end `.2.2`, or its beginning `5.7.`), and a part of the text in
    /// lower case; of answers to MAIL FROM alone where it is about the `sender`.
    Smtp { from: u16, to: u16, enhanced: &'static str, text: &'static str, sender: bool },
    /// Status from..=to, the provider's own code, and the end of the host's name.
    Http { from: u16, to: u16, code: &'static str, host: &'static str },
    /// `command_status` from..=to.
    Smpp { from: u32, to: u32 },
}

/// What one answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub key: Key,
    pub class: Class,
    /// How long to wait at least, where the provider does not say.
    pub wait: Option<Duration>,
    /// Why the address is not written to any more.
    pub suppress: Option<Reason>,
    /// Counts as a soft bounce: the address is suppressed after some of them.
    pub soft: bool,
    /// The account has to be paced more slowly.
    pub slow: bool,
    /// The connection has to be made anew before the next message.
    pub reconnect: bool,
    /// At most this many tries for this cause; 0 = as the policy says.
    pub tries: u32,
    /// The code's meaning in English and Russian.
    pub meaning: [&'static str; 2],
}

impl Row {
    const fn new(key: Key, class: Class, english: &'static str, russian: &'static str) -> Row {
        let slow = matches!(class, Class::Throttled(_));
        Row {
            key,
            class,
            wait: None,
            suppress: None,
            soft: false,
            slow,
            reconnect: false,
            tries: 0,
            meaning: [english, russian],
        }
    }
    const fn wait(mut self, seconds: u64) -> Row {
        self.wait = Some(Duration::from_secs(seconds));
        self
    }
    const fn suppress(mut self, reason: Reason) -> Row {
        self.suppress = Some(reason);
        self
    }
    const fn soft(mut self) -> Row {
        self.soft = true;
        self
    }
    const fn slow(mut self) -> Row {
        self.slow = true;
        self
    }
    const fn reconnect(mut self) -> Row {
        self.reconnect = true;
        self
    }
    const fn tries(mut self, tries: u32) -> Row {
        self.tries = tries;
        self
    }
}

/// What a provider said, or that it said nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// `sender`: to MAIL FROM, when nothing was said of a recipient yet.
    Smtp {
        code: u16,
        enhanced: Option<&'a str>,
        text: &'a str,
        sender: bool,
    },
    /// `code` is the provider's own, from [`code_of`]; `host` is whom we asked.
    Http {
        status: u16,
        code: Option<&'a str>,
        retry_after: Option<Duration>,
        host: &'a str,
    },
    Smpp {
        status: u32,
    },
    /// No answer: the connection failed or the time was over.
    Broken {
        stage: Stage,
        text: &'a str,
    },
}

/// What to do after an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub provider: Provider,
    pub class: Class,
    /// What was answered, in short: `550 5.1.1`, `404 UNREGISTERED`, `0x58`.
    pub code: String,
    /// How long to wait at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Duration>,
    /// Why the address is not to be written to any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppress: Option<Reason>,
    pub soft: bool,
    pub slow: bool,
    pub reconnect: bool,
    /// At most this many tries for this cause; 0 = as the policy says.
    pub tries: u32,
    /// What it means, in English and Russian.
    pub meaning: [String; 2],
}

/// What an answer means. Nothing of the provider's free text gets into the verdict: it may hold addresses.
pub fn classify(provider: Provider, answer: Answer<'_>) -> Verdict {
    let code = protocols::code(answer);
    let row = match answer {
        Answer::Broken { stage, .. } => protocols::broken(stage),
        _ => *find(provider, answer).unwrap_or_else(|| protocols::fallback(answer)),
    };
    let said = match answer {
        Answer::Http { retry_after, .. } => retry_after,
        _ => None,
    };
    // A server that names the moment is believed, within a day; a plain retry becomes one that waits for it.
    let said = said.map(|wait| wait.min(Duration::from_secs(86_400)));
    let class = match row.class {
        Class::Retry if said.is_some() => Class::RetryAfter,
        class => class,
    };
    let waits = matches!(class, Class::Retry | Class::RetryAfter | Class::Throttled(_) | Class::Config);
    Verdict {
        provider,
        class,
        code,
        wait: said.filter(|_| waits).max(row.wait),
        suppress: row.suppress,
        soft: row.soft,
        slow: row.slow,
        reconnect: row.reconnect,
        tries: row.tries,
        meaning: row.meaning.map(str::to_owned),
    }
}

/// What it means that a message can't be sent as it is, which we found out ourselves: the reason is ours.
pub fn unfit(provider: Provider, reason: &str) -> Verdict {
    own(provider, Class::Permanent, "unfit", [reason, reason])
}

/// What it means that all of our own connections were in use: nothing of the message, and nothing of the account.
pub fn busy(provider: Provider) -> Verdict {
    let meaning = ["all of our connections were in use", "все наши соединения были заняты"];
    Verdict { wait: Some(Duration::from_secs(1)), ..own(provider, Class::RetryAfter, "busy", meaning) }
}

/// A verdict of ours that no answer led to.
fn own(provider: Provider, class: Class, code: &str, meaning: [&str; 2]) -> Verdict {
    Verdict {
        provider,
        class,
        code: code.to_owned(),
        wait: None,
        suppress: None,
        soft: false,
        slow: false,
        reconnect: false,
        tries: 0,
        meaning: meaning.map(str::to_owned),
    }
}

/// The first row of the provider's table that the answer fits.
pub fn find(provider: Provider, answer: Answer<'_>) -> Option<&'static Row> {
    provider.rows().iter().find(|row| row.key.fits(answer))
}

fn is_enhanced(said: &str, pattern: &str) -> bool {
    match (pattern.starts_with('.'), pattern.ends_with('.')) {
        (true, _) => said.ends_with(pattern),
        (_, true) => said.starts_with(pattern),
        _ => said == pattern,
    }
}

impl Key {
    fn fits(&self, answer: Answer<'_>) -> bool {
        match (*self, answer) {
            (
                Key::Smtp { from, to, enhanced, text, sender: own },
                Answer::Smtp { code, enhanced: said, text: words, sender },
            ) => {
                (from..=to).contains(&code)
                    && (sender || !own)
                    && (enhanced.is_empty() || said.is_some_and(|said| is_enhanced(said, enhanced)))
                    && (text.is_empty() || words.to_lowercase().contains(text))
            }
            (Key::Http { from, to, code, host }, Answer::Http { status, code: said, host: asked, .. }) => {
                (from..=to).contains(&status)
                    && (code.is_empty() || said == Some(code))
                    && (host.is_empty() || asked.ends_with(host))
            }
            (Key::Smpp { from, to }, Answer::Smpp { status }) => (from..=to).contains(&status),
            _ => false,
        }
    }
}
