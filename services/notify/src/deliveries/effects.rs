//! Attempts as effects: one for each channel and lane, so that bulk never holds up the rest.

use super::ask::AskProvider;
use super::content::Content;
use super::receipts::NoReceipt;
use crate::domain::address::{Address, Kind};
use crate::domain::classes::Verdict;
use crate::domain::state::{Action, Answer, Delivery, Wait};
use crate::store::references::Reference;
use artel_contract::notify::{Channel, DeliveryId, Lane};
use artel_flow::Tx;
use artel_message::{Cause, Effect, Fault, Later, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

/// Which leg is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leg {
    pub delivery: DeliveryId,
    /// Its index.
    pub leg: u32,
    /// Of its address: not every account of a channel reaches all kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub kind: Option<Kind>,
}

/// What came of an effect of sending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ended {
    /// The rows in which its attempts were written down as begun.
    pub begun: Vec<Uuid>,
    #[schemars(with = "Value")]
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing was sent, and nothing is to be stored: something else came before.
    Nothing,
    /// It has to wait for long.
    PutOff(Wait),
    Expired,
    /// There is no account for the channel, or the address is suppressed by now.
    Suppressed(String),
    /// It is not tried any more.
    GivenUp(String),
    Attempt(Attempted),
}

/// An attempt that has ended, or whose end nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempted {
    pub attempt: u32,
    pub account: String,
    pub begun_at: Time,
    pub answer: Answer,
    /// It uses up a try.
    pub counts: bool,
    /// What the answer means, where it was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

impl Attempted {
    /// The attempt under a name that its provider knows it by.
    pub fn named(&self, delivery: DeliveryId, leg: u32, reference: String) -> Reference {
        Reference { account: self.account.clone(), reference, delivery, leg, attempt: self.attempt }
    }
}

/// An effect that sends a leg.
pub trait Sending: Effect<Done = Ended> + Later + Clone {
    fn leg(&self) -> Leg;
}

macro_rules! sending {
    ($($type:ident, $name:literal $(, $key:ident)?;)*) => {$(
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Effect)]
        #[effect(name = $name, done = Ended $(, key = $key)?)]
        pub struct $type {
            #[serde(flatten)]
            pub what: Leg,
            $(
                /// What orders it: the recipient.
                pub $key: String,
            )?
        }

        impl Sending for $type {
            fn leg(&self) -> Leg {
                self.what
            }
        }
    )*};
}

sending! {
    DeliverEmail, "notify.deliver-email", order;
    DeliverSms, "notify.deliver-sms", order;
    DeliverPush, "notify.deliver-push", order;
    DeliverEmailBulk, "notify.deliver-email-bulk";
    DeliverSmsBulk, "notify.deliver-sms-bulk";
    DeliverPushBulk, "notify.deliver-push-bulk";
}

/// What actions are about.
pub struct About<'a> {
    pub id: DeliveryId,
    pub content: &'a Content,
    pub recipient: &'a str,
}

/// Sets what a step asks for.
pub fn act(tx: &mut Tx, about: About<'_>, plan: &Delivery, actions: &[Action]) {
    let now = tx.now();
    for action in actions {
        match action {
            Action::Send { leg, at, .. } => {
                let at = about.content.not_before(*leg).map_or(*at, |from| from.max(*at));
                // What is over by then is found out at the moment at which it is.
                let at = plan.expires_at.map_or(at, |over| over.min(at));
                let channel = plan.legs[*leg].channel;
                queue(tx, &about, (*leg, channel), at.since(now));
            }
            Action::AskProvider { leg, attempt } => {
                let wait = tx.settings::<crate::NotifySettings>().ask_after_seconds;
                let question = AskProvider { delivery: about.id, leg: index(*leg), attempt: *attempt };
                let key = format!("{}:{leg}:{attempt}", about.id);
                tx.after(key, Duration::from_secs(wait), question);
            }
            Action::AwaitReceipt { leg, until } => {
                let patience = NoReceipt { delivery: about.id, leg: index(*leg) };
                tx.after(format!("{}:{leg}", about.id), until.since(now), patience);
            }
        }
    }
}

/// Has the flow call an effect again, not before a moment.
pub fn again_at(until: Time, now: Time, reason: &str) -> Fault {
    let wait = u64::try_from(until.since(now).as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    Fault::unavailable(reason).with(serde_json::json!({ "retry_after_ms": wait }))
}

pub fn index(leg: usize) -> u32 {
    u32::try_from(leg).unwrap_or(u32::MAX)
}

fn queue(tx: &mut Tx, about: &About<'_>, (leg, channel): (usize, Channel), wait: Duration) {
    let kind = about.content.address(leg).map(Address::kind);
    let (key, what) = (format!("{}:{leg}", about.id), Leg { delivery: about.id, leg: index(leg), kind });
    let order = || order_of(about.recipient);
    match (channel, about.content.lane) {
        (Channel::Email, Lane::Bulk) => tx.after(key, wait, DeliverEmailBulk { what }),
        (Channel::Sms, Lane::Bulk) => tx.after(key, wait, DeliverSmsBulk { what }),
        (Channel::Push, Lane::Bulk) => tx.after(key, wait, DeliverPushBulk { what }),
        (Channel::Email, _) => tx.after(key, wait, DeliverEmail { what, order: order() }),
        (Channel::Sms, _) => tx.after(key, wait, DeliverSms { what, order: order() }),
        (Channel::Push, _) => tx.after(key, wait, DeliverPush { what, order: order() }),
    }
}

/// What orders the messages to one recipient: short, whatever addresses the recipient has, and nothing personal.
pub fn order_of(recipient: &str) -> String {
    let epoch = Time::from_micros(0);
    Cause::keyed("notify", "recipient", recipient, epoch).id().simple().to_string()
}
