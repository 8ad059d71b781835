//! From a rule, an event, and people, to deliveries.

use super::{KeyTemplate, Rule};
use crate::domain::address::Address;
use crate::domain::preferences::{Preferences, Topic};
use crate::domain::quiet::{Quiet, QuietHours};
use crate::domain::suppression::Suppressed;
use artel_contract::notify::{Channel, DeliveryId, Lane, Mode};
use artel_message::Time;
use chrono_tz::Tz;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// What the message itself says of the recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    pub subscriber: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub name: Option<String>,
    pub language: Option<String>,
}

/// A recipient with all that is known: a subscriber, what the message gave, or both.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Person {
    pub subscriber: Option<String>,
    pub name: Option<String>,
    /// Verified ones, the one to use first in front; all push devices are used.
    pub addresses: Vec<Address>,
    pub language: Option<String>,
    pub zone: Option<Tz>,
    pub preferences: Preferences,
    pub quiet: QuietHours,
    /// Channels that keep quiet hours; an e-mail wakes nobody, so it is not in here by default.
    pub quiet_channels: Vec<Channel>,
    /// Of these addresses, by [`Address::key`].
    pub suppressed: Vec<(String, Suppressed)>,
    /// What the message gave and is no address.
    pub malformed: Vec<(Channel, String)>,
}

/// A delivery to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    pub id: DeliveryId,
    pub rule: String,
    pub rule_version: u32,
    pub subscriber: Option<String>,
    pub name: Option<String>,
    pub topic: String,
    pub template: String,
    /// The language wanted; the template's fallback chain begins with it.
    pub language: Option<String>,
    pub zone: Option<Tz>,
    /// `None`: nothing has to wait for the recipient's morning.
    pub quiet: Option<Quiet>,
    pub mode: Mode,
    pub lane: Lane,
    /// Whether the recipient can turn off what it is about.
    pub can_opt_out: bool,
    pub patience: Option<Duration>,
    pub expires_at: Option<Time>,
    /// Of this recipient: it has the recipient in it.
    pub supersede_key: Option<String>,
    /// What orders it among others to the same recipient.
    pub recipient_key: String,
    /// In the order in which they are tried; empty = suppressed as a whole.
    pub legs: Vec<PlannedLeg>,
    /// Channels that are not used, and why.
    pub left_out: Vec<LeftOut>,
}

/// A channel that is used.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedLeg {
    pub address: Address,
    /// Because of quiet hours; the present where there are none.
    pub not_before: Time,
}

/// A channel, or one address of it, that is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub channel: Channel,
    pub why: WhyLeftOut,
}

/// Why something is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhyLeftOut {
    #[error("no address for it is known")]
    NoAddress,
    /// The reason of the address's check; nothing of the address.
    #[error("{0}")]
    Malformed(String),
    #[error("the recipient has opted out")]
    OptedOut,
    #[error("the address is suppressed: {}", .0.as_str())]
    Suppressed(crate::domain::suppression::Reason),
    #[error("more than {MOST_DEVICES} devices")]
    TooMany,
}

/// What an event becomes.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// One for each recipient, also where all of its channels are left out; and what only this event has, where the rule says.
    Planned { planned: Vec<Planned>, once_per: Option<String> },
    /// It meant something until this moment.
    Stale { expired_at: Time },
    /// A path that one of the rule's keys needs is not in the message.
    NoKey { reason: String },
}

/// Devices of one person that a message goes to.
pub const MOST_DEVICES: usize = 10;

impl Given {
    /// The person that a message's own words describe, over what is known of the subscriber. An address in the message goes before
    /// the subscriber's own of the same channel.
    pub fn person(&self, subscriber: Option<Person>) -> Person {
        let mut person = subscriber.unwrap_or_default();
        person.subscriber = person.subscriber.or_else(|| self.subscriber.clone());
        person.name = person.name.or_else(|| self.name.clone());
        person.language = person.language.or_else(|| self.language.clone());
        let mut take = |channel: Channel, parsed: Result<Address, String>| match parsed {
            Ok(address) => {
                person.addresses.retain(|own| own.channel() != channel);
                person.addresses.push(address);
            }
            Err(reason) => person.malformed.push((channel, reason)),
        };
        if let Some(email) = &self.email {
            take(Channel::Email, email.parse().map(Address::Email).map_err(|error| error.to_string()));
        }
        if let Some(phone) = &self.phone {
            take(Channel::Sms, phone.parse().map(Address::Phone).map_err(|error| error.to_string()));
        }
        person
    }
}

impl Person {
    /// What says that two are one: the subscriber, or else the addresses.
    pub fn key(&self) -> String {
        match &self.subscriber {
            Some(id) => format!("subscriber:{id}"),
            None => {
                let mut keys: Vec<String> = self.addresses.iter().map(Address::key).collect();
                keys.sort();
                format!("address:{}", keys.join(" "))
            }
        }
    }
}

impl Rule {
    /// Deliveries of an event for these people; `at` is the message's time. `topic` is what holds for [`Rule::topic`]. `id` gives
    /// the id for a text: the same one for the same event and text.
    pub fn plan(
        &self,
        event: &Value,
        people: &[Person],
        topic: &Topic,
        at: Time,
        now: Time,
        id: &mut dyn FnMut(&str) -> DeliveryId,
    ) -> Outcome {
        let expires_at = self.valid_for().map(|valid| at + valid);
        if let Some(expired_at) = expires_at.filter(|expires| *expires <= now) {
            return Outcome::Stale { expired_at };
        }
        let filled = |field: &str, key: &Option<KeyTemplate>| {
            let filled = key.as_ref().map(|key| key.fill(event)).transpose();
            filled.map_err(|path| Outcome::NoKey { reason: format!("{field}: the message has no {path}") })
        };
        let (supersede, once_per) =
            match (filled("supersede", &self.supersede), filled("once_per", &self.once_per)) {
                (Ok(supersede), Ok(once_per)) => (supersede, once_per),
                (Err(without), _) | (_, Err(without)) => return without,
            };
        let (mut seen, mut planned) = (BTreeSet::new(), Vec::new());
        for person in people {
            let key = person.key();
            if !seen.insert(key.clone()) {
                continue;
            }
            let (legs, left_out) = self.legs(person, topic, now);
            planned.push(Planned {
                // Not the version: the same event read again after the rule was changed is still the same.
                id: id(&format!("{}\n{key}", self.id)),
                rule: self.id.clone(),
                rule_version: self.version,
                subscriber: person.subscriber.clone(),
                name: person.name.clone(),
                topic: self.topic.clone(),
                template: self.template.clone(),
                language: self.language.clone().or_else(|| person.language.clone()),
                zone: person.zone,
                quiet: self.quiet(person),
                mode: self.mode,
                lane: self.lane,
                can_opt_out: topic.can_opt_out(self.lane),
                patience: self.patience(),
                expires_at,
                supersede_key: supersede.as_ref().map(|own| format!("{own}\n{key}")),
                recipient_key: key,
                legs,
                left_out,
            });
        }
        Outcome::Planned { planned, once_per }
    }

    fn legs(&self, person: &Person, topic: &Topic, now: Time) -> (Vec<PlannedLeg>, Vec<LeftOut>) {
        let (mut legs, mut left_out) = (Vec::new(), Vec::new());
        for channel in &self.channels {
            let channel = *channel;
            let mut leave = |why| left_out.push(LeftOut { channel, why });
            let malformed = person.malformed.iter().find(|(bad, _)| *bad == channel);
            if let Some((_, reason)) = malformed {
                leave(WhyLeftOut::Malformed(reason.clone()));
            }
            let (allowed, _) = person.preferences.allow(&self.topic, topic, channel, self.lane);
            if !allowed {
                leave(WhyLeftOut::OptedOut);
                continue;
            }
            let mut addresses: Vec<&Address> =
                person.addresses.iter().filter(|address| address.channel() == channel).collect();
            if addresses.is_empty() {
                if malformed.is_none() {
                    leave(WhyLeftOut::NoAddress);
                }
                continue;
            }
            let most = if channel == Channel::Push { MOST_DEVICES } else { 1 };
            if addresses.len() > most && channel == Channel::Push {
                leave(WhyLeftOut::TooMany);
            }
            addresses.truncate(most);
            for address in addresses {
                match self.held_back(person, address, now) {
                    Some(reason) => leave(WhyLeftOut::Suppressed(reason)),
                    None => legs.push(self.leg(person, address, now)),
                }
            }
        }
        (legs, left_out)
    }

    fn held_back(
        &self,
        person: &Person,
        address: &Address,
        now: Time,
    ) -> Option<crate::domain::suppression::Reason> {
        let key = address.key();
        let own = person.suppressed.iter().filter(|(of, entry)| *of == key && entry.kind == address.kind());
        own.map(|(_, entry)| entry).find(|entry| entry.holds_back(self.lane, now)).map(|entry| entry.reason)
    }

    fn leg(&self, person: &Person, address: &Address, now: Time) -> PlannedLeg {
        let until = |quiet: &Quiet, zone| quiet.not_before(address.channel(), now, zone);
        let not_before = self.quiet(person).as_ref().zip(person.zone).map(|(quiet, zone)| until(quiet, zone));
        PlannedLeg { address: address.clone(), not_before: not_before.unwrap_or(now) }
    }

    /// What is critical keeps no quiet hours.
    fn quiet(&self, person: &Person) -> Option<Quiet> {
        let keeps =
            self.lane != Lane::Critical && person.zone.is_some() && !person.quiet.windows().is_empty();
        keeps.then(|| Quiet { hours: person.quiet.clone(), channels: person.quiet_channels.clone() })
    }
}
