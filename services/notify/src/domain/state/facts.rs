//! What is known of one attempt. Facts arrive in any order and more than once: the one that says more stays.

use crate::domain::classes::Verdict;
use artel_message::Time;
use serde::{Deserialize, Serialize};

/// What is known of an attempt, ordered by how much it says: knowing two things is knowing the greater one. So the order in which
/// answers and receipts of an attempt arrive can't matter, nor how often they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The request is on its way; nothing was heard yet.
    Open,
    /// The link was lost, or no answer came in time, after the request was written: it may have been taken or not.
    Lost,
    /// The provider did not take it, and may be tried again.
    NotTaken { again: Time },
    /// The provider took it.
    Taken,
    /// The provider took it and does not know what came of it.
    Unclear,
    /// The provider took it, it did not arrive, and another attempt may succeed.
    Undelivered { again: Time },
    /// It did not arrive, and is not tried again.
    Failed { cause: Cause },
    /// It arrived.
    Delivered,
}

/// Why no further attempt follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The tries, or the time in which it means something, are used up.
    Temporary,
    /// The same request can never succeed.
    Permanent,
}

impl Fact {
    /// Whether the provider may have taken the message: two such attempts may be two messages on somebody's screen.
    pub fn may_have_been_taken(self) -> bool {
        matches!(self, Fact::Open | Fact::Lost | Fact::Taken | Fact::Unclear | Fact::Delivered)
    }

    /// When the next attempt may begin, where one may.
    pub fn again(self) -> Option<Time> {
        match self {
            Fact::NotTaken { again } | Fact::Undelivered { again } => Some(again),
            _ => None,
        }
    }
}

/// One handing over to a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub provider: String,
    pub begun_at: Time,
    pub fact: Fact,
    /// What the provider calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// In the words of whoever told the fact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A person decided that it be sent again although it may have arrived.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
    /// Its failure used up a try.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counts: bool,
    /// What its answer means, where it was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Box<Verdict>>,
}

impl Attempt {
    pub(super) fn begin(provider: &str, now: Time) -> Attempt {
        Attempt {
            provider: provider.to_owned(),
            begun_at: now,
            fact: Fact::Open,
            reference: None,
            reason: None,
            released: false,
            counts: false,
            verdict: None,
        }
    }

    /// Takes a fact in; false where it says nothing new.
    pub(super) fn learn(&mut self, fact: Fact, reason: Option<&str>) -> bool {
        if fact <= self.fact {
            return false;
        }
        self.fact = fact;
        self.reason = reason.map(str::to_owned);
        true
    }
}
