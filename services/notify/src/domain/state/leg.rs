//! One channel of a delivery: its attempts, and what ended it apart from them.

use super::facts::{Attempt, Fact};
use artel_contract::notify::{Channel, State};
use artel_message::Time;
use serde::{Deserialize, Serialize};

/// More attempts than this are never made, whatever a policy says.
pub const MOST_ATTEMPTS: usize = 50;

/// What waits for a moment, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    pub until: Time,
    pub why: Why,
}

/// Why something is put off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Whoever asked for it named the moment.
    SendAt,
    QuietHours,
    /// Every account of the channel is at its pace.
    Pace,
    /// Every account of the channel is out of order.
    Breaker,
    /// A message to the same recipient goes first.
    Turn,
}

/// What ends a leg that is not under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The recipient does not want it, or the address is known to be bad; the reason.
    Suppressed(String),
    /// The delivery with this key or id took its place.
    Superseded(String),
    /// Another channel delivered it, or has taken over.
    NotNeeded,
    Expired,
    /// A person gave it up.
    GivenUp,
    /// Its tries, or the time for them, are used up without an attempt that says so; the reason.
    Exhausted(String),
}

impl End {
    fn state(&self) -> State {
        match self {
            End::Suppressed(_) => State::Suppressed,
            End::Superseded(_) | End::NotNeeded => State::Superseded,
            End::Expired => State::Expired,
            End::GivenUp | End::Exhausted(_) => State::Failed,
        }
    }

    /// A word on it for the timeline.
    pub fn reason(&self) -> &str {
        match self {
            End::Suppressed(reason) | End::Exhausted(reason) => reason,
            End::Superseded(by) => by,
            End::NotNeeded => "another channel has it",
            End::Expired => "its time is over",
            End::GivenUp => "given up by a person",
        }
    }
}

/// One channel of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    pub channel: Channel,
    /// The plan has reached it: it is sent, or waits for its moment.
    pub started: bool,
    /// The next channel took over because nothing was heard; this one is not tried again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gave_way: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// What ended it while an attempt was under way: it is not tried again after that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<End>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
}

impl Leg {
    pub(super) fn new(channel: Channel) -> Leg {
        Leg {
            channel,
            started: false,
            gave_way: false,
            wait: None,
            end: None,
            held: None,
            attempts: Vec::new(),
        }
    }

    /// Follows from the facts alone, so that it can't disagree with them.
    pub fn state(&self) -> State {
        if self.attempts.iter().any(|attempt| attempt.fact == Fact::Delivered) {
            return State::Delivered;
        }
        if let Some(end) = &self.end {
            return end.state();
        }
        let Some(last) = self.attempts.last() else {
            return if self.wait.is_some() { State::Scheduled } else { State::Accepted };
        };
        match last.fact {
            Fact::Lost | Fact::Unclear | Fact::Failed { .. } if last.released => State::Scheduled,
            Fact::Open => State::Sending,
            Fact::Lost | Fact::Unclear => State::Unknown,
            Fact::NotTaken { .. } | Fact::Undelivered { .. } => State::Scheduled,
            Fact::Taken => State::Sent,
            Fact::Failed { .. } => State::Failed,
            Fact::Delivered => State::Delivered,
        }
    }

    /// When the next attempt may begin; `None` where none may.
    pub fn due(&self) -> Option<Time> {
        if !matches!(self.state(), State::Accepted | State::Scheduled) {
            return None;
        }
        let wait = self.wait.map(|wait| wait.until);
        let again = self.attempts.last().and_then(|last| last.fact.again());
        Some(wait.max(again).unwrap_or(Time::MIN))
    }

    /// Whether it waits, so that it can be put off, superseded, or go out of date.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state(), State::Accepted | State::Scheduled)
    }

    /// The number of the next attempt, from 1.
    pub fn next_attempt(&self) -> u32 {
        u32::try_from(self.attempts.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// How many messages too many the recipient may have got over this channel.
    pub fn possible_duplicates(&self) -> usize {
        let taken = self.attempts.iter().filter(|attempt| attempt.fact.may_have_been_taken()).count();
        taken.saturating_sub(1)
    }

    /// Why it is where it is, where that needs a word.
    pub fn reason(&self) -> Option<&str> {
        match &self.end {
            Some(end) if self.state() != State::Delivered => Some(end.reason()),
            _ => self.attempts.last().and_then(|last| last.reason.as_deref()),
        }
    }
}
