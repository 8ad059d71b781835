//! Channels: accounts at providers, and the port that each kind of provider is spoken to through.
//!
//! A kind of provider is one file with a [`Carrier`] and its settings, a field of [`AccountSettings`], and a line in
//! [`Carriers::make`].

mod accounts;
mod fcm;
mod files;
mod none;
mod smpp;
mod smtp;
mod twilio;
mod web_push;

pub use accounts::{Line, Taken};
pub use fcm::FcmAccount;
pub(crate) use files::secret;
pub use none::NoneSettings;
pub use smpp::{SmppIds, SmppSettings};
pub use smtp::{DkimSettings, SmtpSecurity, SmtpSettings};
pub use twilio::TwilioSettings;
pub use web_push::WebPushAccount;

use crate::NotifySettings;
use crate::deliveries::Told;
use crate::domain::address::{Address, Kind};
use crate::domain::classes::Provider;
use crate::domain::state::{Found, Receipt};
use crate::domain::templates::Body;
use artel_contract::notify::{Channel, DeliveryId};
use artel_flow::Ctx;
use artel_message::{Fault, Time};
use artel_wires::Handed;
use artel_wires::mail::Attachment;
use async_trait::async_trait;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A message on its way to a provider. Its `Debug` shows nothing of what it says, nor to whom.
#[derive(Clone)]
pub struct Outgoing {
    pub delivery: DeliveryId,
    /// The same for every time that this attempt is made, whoever makes it; another one for the next attempt.
    pub key: String,
    pub address: Address,
    pub body: Body,
    /// The language that it is in.
    pub language: String,
    /// Files that go with it, where the channel carries them.
    pub attachments: Option<Arc<Files>>,
    /// Where the recipient can turn off what it is about: https.
    pub unsubscribe_url: Option<String>,
    /// After which it means nothing any more, where there is such a moment.
    pub expires_at: Option<Time>,
    pub begun_at: Time,
}

/// Files in memory; the room that they take there is given back with the last mail that has them.
pub struct Files {
    pub files: Vec<Attachment>,
    pub(crate) _room: OwnedSemaphorePermit,
}

impl Outgoing {
    /// For how long it means something, at least a second.
    fn time_left(&self) -> Option<Duration> {
        self.expires_at.map(|over| over.since(self.begun_at).max(Duration::from_secs(1)))
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing").field("key", &self.key).field("kind", &self.address.kind()).finish()
    }
}

/// An attempt that nobody knows the end of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// As of [`Outgoing::key`].
    pub key: String,
    /// What the provider called it, where it got so far; of a message in parts the first one's name.
    pub reference: Option<String>,
    /// Of a message in parts, what each is called.
    pub parts: Vec<String>,
    pub address: Address,
    pub begun_at: Time,
}

/// What a provider says of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    Found(Found),
    /// It can't be asked by our name, and has these that the attempt may be. Which of them are other attempts is known here. With none
    /// it never got it.
    OneOf(Vec<Candidate>),
}

/// A message that a provider has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What it calls it.
    pub name: String,
    pub text: String,
    /// What became of it.
    pub receipt: Receipt,
}

/// What was posted to an account's callback.
#[derive(Clone, Copy)]
pub struct Posted<'a> {
    /// Of the URL, as it was asked for.
    pub query: &'a str,
    /// The header that shows whose it is; empty where there is none.
    pub signature: &'a str,
    pub body: &'a [u8],
}

/// An account at a provider. It carries messages over and says what was answered; what that means, how fast it goes and what is
/// tried again is decided by who calls it.
#[async_trait]
pub trait Carrier: Send + Sync {
    /// Whose table of answers holds.
    fn provider(&self) -> Provider;

    /// Whether it reaches addresses of this kind, among those of its channel.
    fn takes(&self, _: Kind) -> bool {
        true
    }

    /// Hands one message over. It has its own time limits; its caller has one over them.
    async fn hand(&self, message: &Outgoing) -> Handed;

    /// Asks what became of an attempt. Where the provider can't be asked: [`Found::CantSay`]. A fault: not now.
    async fn ask(&self, _: &Question) -> Result<Word, Fault> {
        Ok(Word::Found(Found::CantSay))
    }

    /// How long after an attempt the provider may not know yet what it has taken.
    fn settles(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether it tells of messages by [`Outgoing::key`], so that it is heard of those too whose answers were lost.
    fn tells_by_key(&self) -> bool {
        false
    }

    /// What is told by a post to the account's callback; `None` where nothing shows that it is the provider's.
    fn posted(&self, _: &Posted<'_>) -> Option<Vec<Told>> {
        None
    }
}

/// The accounts of a channel, in the order in which they are used.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelSettings {
    pub accounts: Vec<AccountSettings>,
}

/// One account. It names its kind of provider by having that one's table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountSettings {
    /// For ever: attempts and receipts are known by it.
    pub name: String,
    /// Messages a second; as many as there are when absent.
    #[serde(default)]
    pub per_second: Option<u64>,
    /// How many may go at once after a rest.
    #[serde(default)]
    pub burst: Option<u32>,
    /// How many may be on their way to it together: as many as nobody would know the end of, should the node die. As many as its
    /// connections carry when absent.
    #[serde(default)]
    pub at_once: Option<u32>,
    /// Takes everything and sends nothing.
    #[serde(default)]
    pub none: Option<NoneSettings>,
    #[serde(default)]
    pub smtp: Option<SmtpSettings>,
    #[serde(default)]
    pub smpp: Option<SmppSettings>,
    #[serde(default)]
    pub twilio: Option<TwilioSettings>,
    #[serde(default)]
    pub fcm: Option<FcmAccount>,
    #[serde(default)]
    pub web_push: Option<WebPushAccount>,
}

impl ChannelSettings {
    /// What is wrong, each naming its field.
    pub fn check(&self, channel: Channel) -> Vec<String> {
        let (mut problems, mut names) = (Vec::new(), BTreeSet::new());
        for (at, account) in self.accounts.iter().enumerate() {
            let place = format!("{}.accounts[{at}]", channel.as_str());
            let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if account.name.is_empty() || account.name.len() > 60 || !account.name.chars().all(good) {
                problems.push(format!("{place}.name: use 1 to 60 letters, digits, '-', '_' and '.'"));
            }
            if !names.insert(account.name.as_str()) {
                problems.push(format!("{place}.name: '{}' stands there twice", account.name));
            }
            if account.per_second.is_some_and(|rate| !(1..=1_000_000).contains(&rate)) {
                problems.push(format!("{place}.per_second: is not 1 to 1000000"));
            }
            if account.at_once.is_some_and(|most| !(1..=10_000).contains(&most)) {
                problems.push(format!("{place}.at_once: is not 1 to 10000"));
            }
            problems.extend(account.kind(channel).err().map(|reason| format!("{place}: {reason}")));
        }
        problems
    }
}

impl AccountSettings {
    /// Messages on their way to it, so that none waits where its time is running already unless somebody asked for that.
    fn most_at_once(&self) -> usize {
        let carried = match self {
            AccountSettings { smtp: Some(smtp), .. } => smtp.connections,
            AccountSettings { smpp: Some(smpp), .. } => smpp.links.saturating_mul(smpp.window),
            _ => AT_ONCE,
        };
        let asked = self.at_once.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        asked.unwrap_or(carried).clamp(1, Semaphore::MAX_PERMITS)
    }

    /// Whether it names one kind of provider, which the channel has and whose settings can be used.
    fn kind(&self, channel: Channel) -> Result<(), String> {
        let all = [
            ("none", self.none.is_some(), None),
            ("smtp", self.smtp.is_some(), Some(Channel::Email)),
            ("smpp", self.smpp.is_some(), Some(Channel::Sms)),
            ("twilio", self.twilio.is_some(), Some(Channel::Sms)),
            ("fcm", self.fcm.is_some(), Some(Channel::Push)),
            ("web_push", self.web_push.is_some(), Some(Channel::Push)),
        ];
        let of: Vec<&str> =
            all.iter().filter(|kind| kind.2.is_none_or(|of| of == channel)).map(|kind| kind.0).collect();
        let named: Vec<&str> = all.iter().filter(|kind| kind.1).map(|kind| kind.0).collect();
        let kind = match named[..] {
            [kind] if of.contains(&kind) => kind,
            [kind] => {
                return Err(format!("{kind} sends no {}; use one of {}", channel.as_str(), of.join(", ")));
            }
            _ => return Err(format!("name one kind of provider: one of {}", of.join(", "))),
        };
        self.usable().map_err(|reason| format!("{kind}.{reason}"))
    }

    /// Errors name the field.
    fn usable(&self) -> Result<(), String> {
        if let Some(smtp) = &self.smtp {
            smtp::Smtp::new(smtp, CHECKED).map(drop)?;
        }
        if let Some(smpp) = &self.smpp {
            smpp.wire().map(drop)?;
        }
        if let Some(twilio) = &self.twilio {
            twilio::Twilio::new(twilio).map(drop)?;
        }
        if let Some(fcm) = &self.fcm {
            fcm::Apps::new(fcm, CHECKED).map(drop)?;
        }
        if let Some(web_push) = &self.web_push {
            web_push::Browsers::new(web_push).map(drop)?;
        }
        Ok(())
    }
}

/// Messages on their way over HTTP, which is as many as its clients send together.
const AT_ONCE: usize = 256;

/// The time of a call where settings are only looked at.
const CHECKED: Duration = Duration::from_secs(1);

/// Makes a carrier of an account's settings; `None` = it is of no kind that this one knows.
pub type Make = Arc<dyn Fn(Channel, &AccountSettings) -> Option<Arc<dyn Carrier>> + Send + Sync>;

/// The kinds of providers.
#[derive(Clone, Default)]
pub struct Carriers {
    own: Option<Make>,
}

impl Carriers {
    /// With one of the caller's own, which is asked first.
    pub fn with(make: Make) -> Carriers {
        Carriers { own: Some(make) }
    }

    /// The carrier of an account.
    pub(crate) fn make(
        &self,
        ctx: &Ctx,
        channel: Channel,
        account: &AccountSettings,
    ) -> Result<Arc<dyn Carrier>, Fault> {
        if let Some(own) = self.own.as_ref().and_then(|make| make(channel, account)) {
            return Ok(own);
        }
        let call = ctx.settings::<NotifySettings>().call();
        let made: Result<Arc<dyn Carrier>, String> = match account {
            AccountSettings { none: Some(none), .. } => Ok(Arc::new(none::Nowhere::new(channel, none))),
            AccountSettings { smtp: Some(smtp), .. } => {
                smtp::Smtp::new(smtp, call).map(|it| Arc::new(it) as _)
            }
            AccountSettings { smpp: Some(smpp), .. } => {
                smpp::Centre::start(ctx, &account.name, smpp).map(|it| Arc::new(it) as _)
            }
            AccountSettings { fcm: Some(fcm), .. } => fcm::Apps::new(fcm, call).map(|it| Arc::new(it) as _),
            AccountSettings { twilio: Some(twilio), .. } => {
                twilio::Twilio::new(twilio).map(|it| Arc::new(it) as _)
            }
            AccountSettings { web_push: Some(own), .. } => {
                web_push::Browsers::new(own).map(|it| Arc::new(it) as _)
            }
            _ => Err("names no kind of provider".to_owned()),
        };
        made.map_err(|reason| Fault::internal(format!("account '{}': {reason}", account.name)))
    }
}
