//! The plan as it is written.

use super::super::{Receipt, Refusal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What goes wrong. Shares are percents, from 0 to 100.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultPlan {
    pub seed: u64,
    /// By provider: `smtp`, `smpp`, `twilio`, `fcm`, `web_push`; and `fcm_token` for requests for access tokens, which go to the
    /// e-mail of a service account.
    pub providers: BTreeMap<String, Shares>,
    /// Looked through before the shares; the first one that fits counts.
    pub addresses: Vec<AddressRule>,
}

/// Of one provider's messages.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shares {
    /// Together 100 at most.
    pub refusals: Vec<Share>,
    /// The message is taken (or refused), and the connection closed without an answer.
    pub lost_replies: f64,
    pub latency: Latency,
    pub receipts: ReceiptShares,
}

/// So many are answered like this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    pub percent: f64,
    pub answer: Answered,
}

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answered {
    Smtp {
        code: u16,
        /// RFC 3463, such as `5.1.1`; may be empty.
        #[serde(default)]
        enhanced: String,
        #[serde(default)]
        text: String,
    },
    Http {
        status: u16,
        /// The provider's own.
        #[serde(default)]
        code: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_s: Option<u32>,
    },
    Smpp {
        status: u32,
    },
}

/// So many wait, each a time between the two.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Latency {
    pub percent: f64,
    pub least_ms: u64,
    pub most_ms: u64,
}

/// What receipts say, where the protocol has them; the rest says "delivered".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReceiptShares {
    /// How long after the answer.
    pub after_ms: u64,
    pub missing: f64,
    pub undelivered: f64,
    /// The provider's code for these.
    pub undelivered_code: u32,
    pub expired: f64,
    pub unknown: f64,
    /// Of all: sent twice.
    pub duplicate: f64,
    /// Of all: sent so late.
    pub late: f64,
    pub late_ms: u64,
}

impl Default for ReceiptShares {
    fn default() -> ReceiptShares {
        ReceiptShares {
            after_ms: 100,
            missing: 0.0,
            undelivered: 0.0,
            undelivered_code: 1,
            expired: 0.0,
            unknown: 0.0,
            duplicate: 0.0,
            late: 0.0,
            late_ms: 30_000,
        }
    }
}

/// What happens to messages to an address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AddressRule {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub begins: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ends: String,
    /// Only the first so many times for each address: what comes after goes through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Answered>,
    pub lose_reply: bool,
    pub delay_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReceiptKind>,
}

/// What a receipt says in place of "delivered".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptKind {
    Missing,
    Undelivered,
    Expired,
    Unknown,
}

impl FaultPlan {
    /// No fault but at addresses that ask for one by their form. Whoever tries the whole can make each of them happen with these.
    pub fn by_address() -> FaultPlan {
        let rule = |provider: &str, begins: &str, ends: &str| AddressRule {
            provider: Some(provider.to_owned()),
            begins: begins.to_owned(),
            ends: ends.to_owned(),
            ..AddressRule::default()
        };
        let smtp = |begins: &str, code: u16, enhanced: &str, text: &str| AddressRule {
            refusal: Some(Answered::Smtp { code, enhanced: enhanced.to_owned(), text: text.to_owned() }),
            ..rule("smtp", begins, "")
        };
        let fcm = |begins: &str, status: u16, code: &str| AddressRule {
            refusal: Some(Answered::Http { status, code: code.to_owned(), retry_after_s: None }),
            ..rule("fcm", begins, "")
        };
        let smpp = |ends: &str, status: u32| AddressRule {
            refusal: Some(Answered::Smpp { status }),
            ..rule("smpp", "", ends)
        };
        let twilio = |ends: &str, code: &str| AddressRule {
            refusal: Some(Answered::Http { status: 400, code: code.to_owned(), retry_after_s: None }),
            ..rule("twilio", "", ends)
        };
        let addresses = vec![
            smtp("fail-550-5.1.1@", 550, "5.1.1", "no such user here"),
            smtp("fail-552-5.2.2@", 552, "5.2.2", "mailbox full"),
            AddressRule { times: Some(2), ..smtp("retry-451@", 451, "4.3.0", "try again later") },
            AddressRule { lose_reply: true, times: Some(1), ..rule("smtp", "lost-reply@", "") },
            smpp("0011", 0x0b),
            AddressRule { times: Some(2), ..smpp("0088", 0x58) },
            // The numbers that Twilio keeps for tests, https://www.twilio.com/docs/iam/test-credentials.
            twilio("5005550001", "21211"),
            twilio("5005550004", "21610"),
            fcm("fail-unregistered-", 404, "UNREGISTERED"),
            fcm("fail-sender-", 403, "SENDER_ID_MISMATCH"),
            AddressRule { times: Some(2), ..fcm("retry-unavailable-", 503, "UNAVAILABLE") },
        ];
        FaultPlan { seed: 1, providers: BTreeMap::new(), addresses }
    }
}

impl Answered {
    pub(super) fn refusal(&self) -> Refusal {
        match self {
            Answered::Smtp { code, enhanced, text } => {
                Refusal::Smtp { code: *code, enhanced: enhanced.clone(), text: text.clone() }
            }
            Answered::Http { status, code, retry_after_s } => Refusal::Http {
                status: *status,
                code: code.clone(),
                retry_after: retry_after_s.map(|seconds| Duration::from_secs(seconds.into())),
            },
            Answered::Smpp { status } => Refusal::Smpp { status: *status },
        }
    }
}

impl ReceiptShares {
    /// `None` is "delivered".
    pub(super) fn drawn(&self, percent: f64) -> Option<ReceiptKind> {
        let kinds = [
            (self.missing, ReceiptKind::Missing),
            (self.undelivered, ReceiptKind::Undelivered),
            (self.expired, ReceiptKind::Expired),
            (self.unknown, ReceiptKind::Unknown),
        ];
        let mut sum = 0.0;
        kinds.into_iter().find_map(|(share, kind)| {
            sum += share;
            (percent < sum).then_some(kind)
        })
    }

    pub(super) fn of(&self, kind: Option<ReceiptKind>) -> Vec<(Duration, Receipt)> {
        let receipt = match kind {
            None => Receipt::Delivered,
            Some(ReceiptKind::Missing) => return Vec::new(),
            Some(ReceiptKind::Undelivered) => Receipt::Undelivered(self.undelivered_code),
            Some(ReceiptKind::Expired) => Receipt::Expired,
            Some(ReceiptKind::Unknown) => Receipt::Unknown,
        };
        vec![(Duration::from_millis(self.after_ms), receipt)]
    }
}
