//! The delivery state machine. A delivery is one message to one recipient; it has a leg for each channel, a leg has attempts.
//!
//! Two kinds of things happen. *Facts* are told of an attempt by providers (answers, receipts, replies to our questions); they
//! arrive in any order, late, and repeated, and only ever add to what is known ([`Fact`]). *Control* is our own: beginning an
//! attempt, putting off, superseding, decisions of people. It is refused where it does not fit the state. A leg's state
//! follows from both.
//!
//! The rules that the tests beside this hold:
//! - An attempt begins only where it is certain that the one before did not arrive, or a person decided so.
//! - `delivered` is the end of everything. `failed`, `suppressed`, `superseded` and `expired` are left only because a receipt says
//!   that the message arrived after all, or because a person sends a failed one again.
//! - Receipts of an attempt lead to the same state in any order.
//! - What happens twice has its actions once.

mod apply;
mod facts;
mod leg;
mod plan;
#[cfg(test)]
mod tests;

pub use facts::{Attempt, Cause, Fact, Part};
pub use leg::{End, Leg, MOST_ATTEMPTS, Wait, Why};

use super::classes::Verdict;
use artel_contract::notify::{Channel, Mode, State};
use artel_message::Time;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One message to one recipient. Stored as it stands (serde).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub mode: Mode,
    /// With [`Mode::First`]: how long after its first attempt a channel may stay without a receipt before the next one is
    /// tried as well. `None` = the next one is tried only when this one has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<Duration>,
    /// No attempt begins from this moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// In the order in which they are tried.
    pub legs: Vec<Leg>,
}

/// What happened to a delivery. `leg` is the index in [`Delivery::legs`], `attempt` counts from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// It has to wait.
    PutOff { leg: usize, wait: Wait },
    /// The request is about to be written; nothing may be written before this is stored.
    Begun { leg: usize, attempt: u32, provider: String },
    /// What came of the request.
    Answered { leg: usize, attempt: u32, answer: Answer },
    /// The provider tells by itself what became of it, or of the part that it calls `reference`.
    Receipt { leg: usize, attempt: u32, receipt: Receipt, reference: Option<String> },
    /// The provider was asked what became of it.
    Asked { leg: usize, attempt: u32, found: Found },
    /// The patience with a channel is over; asked for by [`Action::AwaitReceipt`].
    NoReceipt { leg: usize },
    /// The recipient does not want this channel, or the address is bad.
    Suppressed { leg: usize, reason: String },
    /// It is not tried any more: its tries, or the time for them, are used up.
    GivenUp { leg: usize, reason: String },
    /// A newer delivery with the same key takes the place of all that is not under way.
    Superseded { by: String },
    /// The time is over for all that is not under way.
    Expired,
    /// A person decided, and may have said why.
    Decided { leg: usize, decision: Decision, by: String, why: Option<String> },
}

/// What came of a request to a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is the provider's now; `reference` is what receipts will call it, `parts` what they call its parts where it has several.
    Taken {
        reference: Option<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parts: Vec<String>,
    },
    /// Not taken; another attempt may begin at `again`.
    NotTaken { again: Time, reason: String },
    /// Not taken, and not tried again.
    Refused { cause: Cause, reason: String },
    /// No answer, or a lost link, after the request was written.
    Lost { reason: String },
}

/// What a provider tells later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receipt {
    /// It is on its way (accepted, queued, en route).
    OnItsWay,
    Delivered,
    /// It did not arrive; `again` where another attempt is allowed.
    Undelivered {
        again: Option<Time>,
        cause: Cause,
        reason: String,
    },
    /// It did not arrive, for this reason. The policy makes `Undelivered` of it; where it does not, it is for good.
    Refused(Box<Verdict>),
    /// The provider does not know.
    Unclear {
        reason: String,
    },
}

/// What a provider says when asked about an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// The same as a receipt would say.
    Known(Receipt),
    /// It never got it: the attempt may be made again.
    Nothing,
    /// It can't say; a person has to decide.
    CantSay,
}

/// What a person may decide of a leg that is `unknown` or `failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Send it once more; where it was unknown it may arrive twice.
    SendAgain,
    /// It arrived.
    Arrived,
    GiveUp,
}

/// What is to be done after a step, each at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Begin this attempt at this moment. A later `Send` for the same leg replaces it; whether it is still wanted is found out by
    /// [`Happened::Begun`].
    Send { leg: usize, attempt: u32, at: Time },
    /// Ask the provider what became of the attempt.
    AskProvider { leg: usize, attempt: u32 },
    /// Tell [`Happened::NoReceipt`] at this moment.
    AwaitReceipt { leg: usize, until: Time },
}

/// A leg that has another state now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub leg: usize,
    pub channel: Channel,
    pub from: State,
    pub to: State,
}

/// What came of something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Of the delivery as a whole, before and after.
    pub from: State,
    pub to: State,
    pub changes: Vec<Change>,
    pub actions: Vec<Action>,
    pub audit: Entry,
}

impl Step {
    /// Whether it told nothing new; the audit still says that it was told.
    pub fn is_repeat(&self) -> bool {
        self.audit.repeated
    }
}

/// One line of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub at: Time,
    /// `put_off`, `begun`, `answered`, `receipt`, `asked`, `no_receipt`, `suppressed`, `given_up`, `superseded`, `expired`,
    /// `decided`, `replay_refused`.
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The leg's state before and after, or the delivery's where no leg is meant.
    pub from: State,
    pub to: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who decided, where a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// It was known before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
    /// It contradicts what was known, such as a failure after the delivery.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contradicts: bool,
}

/// Why something can't happen to a delivery; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no leg {leg}")]
    NoLeg { leg: usize },
    #[error("there is no attempt {attempt}; {made} were made")]
    NoAttempt { attempt: u32, made: usize },
    /// It has begun already, is over, or is unknown.
    #[error("it is {}, so that {what} is not possible", state.as_str())]
    WrongState { state: State, what: &'static str },
    #[error("attempt {attempt} is not the next one, which is {next}")]
    WrongAttempt { attempt: u32, next: u32 },
    #[error("it waits until {until}")]
    TooEarly { until: Time },
    #[error("its time was over at {at}")]
    TooLate { at: Time },
    #[error("{MOST_ATTEMPTS} attempts were made")]
    TooMany,
}

impl Delivery {
    /// A delivery over these channels, in order, and what to do first. Several of one channel in a row are one person's devices: they
    /// are tried together.
    pub fn plan(
        channels: &[Channel],
        mode: Mode,
        patience: Option<Duration>,
        expires_at: Option<Time>,
        now: Time,
    ) -> (Delivery, Vec<Action>) {
        let legs = channels.iter().map(|channel| Leg::new(*channel)).collect();
        let mut delivery = Delivery { mode, patience, expires_at, legs };
        let actions = delivery.start(now);
        (delivery, actions)
    }

    /// Of the whole: the best that any leg has reached, `failed` only where all have ended.
    pub fn state(&self) -> State {
        const BEST_FIRST: [State; 10] = [
            State::Delivered,
            State::Sending,
            State::Sent,
            State::Scheduled,
            State::Accepted,
            State::Unknown,
            State::Failed,
            State::Expired,
            State::Superseded,
            State::Suppressed,
        ];
        // A channel that the plan has not reached says nothing, unless there is nothing else.
        let reached = |state: State| {
            self.legs.iter().any(|leg| (leg.started || leg.end.is_some()) && leg.state() == state)
        };
        BEST_FIRST.into_iter().find(|state| reached(*state)).unwrap_or(State::Accepted)
    }

    /// The attempt had begun by then, which is told only now. What has ended the leg meanwhile did not end what was under way; it
    /// holds again where another attempt would follow.
    pub fn was_begun(&mut self, leg: usize, attempt: u32, provider: &str, at: Time) -> Result<Step, Refused> {
        let end = self.legs.get_mut(leg).and_then(|leg| leg.end.take());
        let step = self.apply(&Happened::Begun { leg, attempt, provider: provider.to_owned() }, at);
        if let (Some(end), Some(leg)) = (end, self.legs.get_mut(leg)) {
            match &step {
                Ok(_) => leg.held = Some(end),
                Err(_) => leg.end = Some(end),
            }
        }
        step
    }

    /// Keeps what an attempt's answer means, for explanations; `counts` = it uses up a try.
    pub fn judged(&mut self, leg: usize, attempt: u32, counts: bool, verdict: Option<Verdict>) {
        let at = usize::try_from(attempt).unwrap_or(usize::MAX).wrapping_sub(1);
        if let Some(attempt) = self.legs.get_mut(leg).and_then(|leg| leg.attempts.get_mut(at)) {
            attempt.counts = counts;
            attempt.verdict = verdict.map(Box::new);
        }
    }

    /// When the next thing is due by itself, over all legs.
    pub fn due(&self) -> Option<Time> {
        self.legs.iter().filter(|leg| leg.started).filter_map(Leg::due).min()
    }
}
