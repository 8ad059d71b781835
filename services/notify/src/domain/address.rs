//! Addresses: e-mail, phone, push tokens. What is refused here is never handed to a provider; what is let through may still not
//! exist.

mod email;
mod phone;
mod push;

pub use email::Email;
pub use phone::Phone;
pub use push::{FcmToken, WebPushSubscription};

use artel_contract::notify::Channel;
use serde::{Deserialize, Serialize};

/// What an address is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Email,
    Phone,
    Fcm,
    WebPush,
}

impl Kind {
    /// The channel that it is reached over.
    pub fn channel(self) -> Channel {
        match self {
            Kind::Email => Channel::Email,
            Kind::Phone => Channel::Sms,
            Kind::Fcm | Kind::WebPush => Channel::Push,
        }
    }
}

/// Where one message goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    Email(Email),
    Phone(Phone),
    Fcm(FcmToken),
    WebPush(WebPushSubscription),
}

impl Address {
    pub fn kind(&self) -> Kind {
        match self {
            Address::Email(_) => Kind::Email,
            Address::Phone(_) => Kind::Phone,
            Address::Fcm(_) => Kind::Fcm,
            Address::WebPush(_) => Kind::WebPush,
        }
    }

    pub fn channel(&self) -> Channel {
        self.kind().channel()
    }

    /// What two spellings of one address have in common: the key of suppressions and of pacing per recipient.
    pub fn key(&self) -> String {
        match self {
            Address::Email(email) => email.key(),
            Address::Phone(phone) => phone.as_str().to_owned(),
            Address::Fcm(token) => token.as_str().to_owned(),
            Address::WebPush(subscription) => subscription.endpoint().to_owned(),
        }
    }

    /// As logs and pages may show it.
    pub fn masked(&self) -> String {
        match self {
            Address::Email(email) => email.masked(),
            Address::Phone(phone) => phone.masked(),
            Address::Fcm(token) => token.masked(),
            Address::WebPush(subscription) => subscription.masked(),
        }
    }
}

/// Why something is no address. The text of the address is not in it: it gets into logs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct BadAddress {
    /// `email`, `phone`, `token`, `endpoint`, `p256dh`, `auth`.
    pub field: &'static str,
    pub reason: String,
}

impl BadAddress {
    fn new(field: &'static str, reason: impl Into<String>) -> BadAddress {
        BadAddress { field, reason: reason.into() }
    }
}

/// The first `shown` characters and stars: enough to recognise, too little to write to.
fn first(text: &str, shown: usize) -> String {
    let mut masked: String = text.chars().take(shown).collect();
    masked.push_str("***");
    masked
}

#[cfg(test)]
mod tests;
