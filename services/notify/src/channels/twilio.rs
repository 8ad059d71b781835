//! Short messages over HTTP: Twilio, and those who are like it.

use super::files::secret;
use super::{Candidate, Carrier, Outgoing, Posted, Question, Word};
use crate::deliveries::Told;
use crate::domain::address::Address;
use crate::domain::classes::{Answer, Provider, Verdict, classify};
use crate::domain::state::{Found, Receipt};
use crate::domain::templates::Body;
use artel_message::{Fault, Time};
use artel_wires::http::system_clock;
use artel_wires::twilio::callback::{Form, Report};
use artel_wires::twilio::{From, Message, Settings, Text, Twilio as Client};
use artel_wires::{Handed, Said};
use async_trait::async_trait;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwilioSettings {
    /// The account's id, `AC` and 32 digits.
    pub account_sid: String,
    /// Its token, which reports are signed with too.
    pub secret_file: PathBuf,
    /// Who messages are from: a number or a name. This or `service`.
    #[serde(default)]
    pub from: Option<String>,
    /// A messaging service, `MG` and 32 digits, that chooses the sender.
    #[serde(default)]
    pub service: Option<String>,
    /// Where Twilio finds this account's callback, as it is reached from outside: `/api/notify/callbacks/twilio/` and the account's name
    /// below the public address. Without one nothing is heard of what became of messages.
    #[serde(default)]
    pub status_callback: Option<String>,
    /// Another host in place of Twilio's, such as a simulator's.
    #[serde(default)]
    pub base: Option<String>,
    /// How long after an attempt its list of messages may still not have what it has taken.
    #[serde(default = "settles_seconds")]
    pub settles_seconds: u64,
}

fn settles_seconds() -> u64 {
    60
}

/// Characters of a message, of which Twilio makes parts.
const MOST: usize = 1_600;
/// How far our clock may be ahead of Twilio's.
const SKEW: Duration = Duration::from_secs(30);
/// How long after its beginning an attempt may be on its way to Twilio.
const WAY: Duration = Duration::from_secs(120);

pub(super) struct Twilio {
    client: Client,
    token: String,
    /// Where it is called, without a query.
    callback: Option<String>,
    settles: Duration,
}

impl Twilio {
    /// Errors name the field.
    pub fn new(settings: &TwilioSettings) -> Result<Twilio, String> {
        let from = match (&settings.from, &settings.service) {
            (Some(from), None) if !from.trim().is_empty() => From::Sender(from.clone()),
            (None, Some(service)) if !service.trim().is_empty() => From::Service(service.clone()),
            _ => return Err("from: name who messages are from, or a messaging service in service".to_owned()),
        };
        if settings.settles_seconds > 3_600 {
            return Err(format!("settles_seconds: {} is not 0 to 3600", settings.settles_seconds));
        }
        let token = secret("secret_file", &settings.secret_file)?;
        let base = settings.base.as_deref().unwrap_or("https://api.twilio.com");
        let mut wire = Settings::new(base, &settings.account_sid, &token, from);
        wire.callback = settings.status_callback.clone().unwrap_or_default();
        let without_query = |url: &String| url.split(['?', '#']).next().unwrap_or(url).to_owned();
        let callback = settings.status_callback.as_ref().map(without_query);
        let client = Client::new(wire, system_clock()).map_err(|unusable| ours(&unusable.to_string()))?;
        Ok(Twilio { client, token, callback, settles: Duration::from_secs(settings.settles_seconds) })
    }

    fn text(&self, message: &Outgoing) -> Result<Text, String> {
        let (Address::Phone(to), Body::Sms { text }) = (&message.address, &message.body) else {
            return Err("is no short message".to_owned());
        };
        let characters = text.chars().count();
        if characters > MOST {
            return Err(format!("text: has {characters} characters; the most are {MOST}"));
        }
        Ok(Text {
            to: to.to_string(),
            from: None,
            body: text.clone(),
            reference: Some(message.key.clone()),
            validity: message.time_left(),
        })
    }

    /// What was sent to the number about then: what a message whose answer was lost may be.
    async fn candidates(&self, question: &Question) -> Result<Word, Fault> {
        let Address::Phone(to) = &question.address else { return Ok(Word::Found(Found::CantSay)) };
        let seconds = |time: Time| time.millis().div_euclid(1_000);
        let since = seconds(question.begun_at - SKEW);
        let until = seconds(question.begun_at + WAY);
        let found = self.client.sent_to(to.as_str(), since).await;
        if !found.whole {
            return Err(Fault::unavailable("the provider did not show all that it has"));
        }
        let then = found.messages.into_iter().filter(|message| message.created <= until);
        let candidate = |it: Message| {
            let receipt = meaning(&it.status, it.error_code)?;
            Some(Candidate { name: it.sid, text: it.body, receipt })
        };
        Ok(Word::OneOf(then.filter_map(candidate).collect()))
    }
}

/// The wire's names of settings in the words of ours.
fn ours(reason: &str) -> String {
    match reason.split_once(':') {
        Some(("account", rest)) => format!("account_sid:{rest}"),
        Some(("callback", rest)) => format!("status_callback:{rest}"),
        Some(("secret", rest)) => format!("secret_file:{rest}"),
        _ => reason.to_owned(),
    }
}

/// What a status means; `None` where it is none of a message that was sent.
fn meaning(status: &str, code: Option<u32>) -> Option<Receipt> {
    match status {
        "accepted" | "scheduled" | "queued" | "sending" | "sent" => Some(Receipt::OnItsWay),
        "delivered" | "read" => Some(Receipt::Delivered),
        "undelivered" | "failed" | "canceled" => {
            let code = code.map_or_else(|| status.to_owned(), |code| code.to_string());
            let answer = Answer::Http { status: 0, code: Some(&code), retry_after: None, host: "" };
            let verdict = classify(Provider::Twilio, answer);
            Some(Receipt::Refused(Box::new(Verdict { code, ..verdict })))
        }
        _ => None,
    }
}

#[async_trait]
impl Carrier for Twilio {
    fn provider(&self) -> Provider {
        Provider::Twilio
    }

    async fn hand(&self, message: &Outgoing) -> Handed {
        match self.text(message) {
            Ok(text) => self.client.send(&text).await,
            Err(reason) => Handed::unfit(self.client.account(), reason),
        }
    }

    async fn ask(&self, question: &Question) -> Result<Word, Fault> {
        let Some(sid) = &question.reference else { return self.candidates(question).await };
        let fetched = self.client.fetch(sid).await;
        match (fetched.message, fetched.said) {
            (Some(message), _) => {
                let known = meaning(&message.status, message.error_code).map(Found::Known);
                Ok(Word::Found(known.unwrap_or(Found::CantSay)))
            }
            (None, Said::Http { status: 404, .. }) => Ok(Word::Found(Found::CantSay)),
            (None, _) => Err(Fault::unavailable("the provider can't be asked now")),
        }
    }

    fn settles(&self) -> Duration {
        self.settles
    }

    fn tells_by_key(&self) -> bool {
        self.callback.is_some()
    }

    fn posted(&self, posted: &Posted<'_>) -> Option<Vec<Told>> {
        let form = Form::read(posted.body).ok()?;
        // The address that it was told to call, not the one that a proxy made of it.
        let mut url = self.callback.clone()?;
        if !posted.query.is_empty() {
            url = format!("{url}?{}", posted.query);
        }
        if !form.is_signed(&self.token, &url, posted.signature) {
            return None;
        }
        // Something else of theirs is no receipt.
        let Ok(Report { sid, status, error_code }) = form.report() else { return Some(Vec::new()) };
        let query = Form::read(posted.query.as_bytes()).ok()?;
        let key = query.get("reference").filter(|key| !key.is_empty());
        let reference = key.map_or(sid, str::to_owned);
        let told = |receipt| Told { reference, receipt };
        Some(meaning(&status, error_code).map(told).into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::classes::Class;

    #[test]
    fn statuses_and_their_codes_have_a_meaning() {
        assert_eq!(meaning("sent", None), Some(Receipt::OnItsWay));
        assert_eq!(meaning("delivered", None), Some(Receipt::Delivered));
        assert_eq!(meaning("received", None), None);
        for (status, code, class, said) in [
            ("undelivered", Some(30_003), Class::Retry, "30003"),
            ("undelivered", Some(30_005), Class::Suppress, "30005"),
            ("failed", Some(30_008), Class::Permanent, "30008"),
            ("canceled", None, Class::Permanent, "canceled"),
        ] {
            let Some(Receipt::Refused(verdict)) = meaning(status, code) else { panic!("{status}") };
            assert_eq!((verdict.class, verdict.code.as_str()), (class, said));
        }
    }
}
