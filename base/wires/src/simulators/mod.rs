//! The other side of the protocols, on a local port: whoever has no account tries everything with them.
//!
//! Each simulator takes what it is sent, puts it on the [`Board`], and does what its [`Judge`] says: answers as the protocol has
//! it, or with a fault. They speak the real protocols, so that any other client can talk to them too.

mod board;
mod derive;
mod faults;
pub mod fcm;
mod fit;
mod front;
mod jws;
mod serve;
mod set;
pub mod smpp;
pub mod smtp;
pub mod twilio;
pub mod web_push;

pub use board::{Arrival, Board, Counts, Wanted};
pub use faults::{
    AddressRule, Answered, BadPlan, FaultPlan, Faults, Latency, ReceiptKind, ReceiptShares, Share, Shares,
};
pub use serve::{Listen, Served};
pub use set::{Running, Settings, StartFailure, start};

use std::sync::Arc;
use std::time::Duration;

/// Decides how each message is treated. Called once for each message, before it is answered; it has to be quick.
pub type Judge = Arc<dyn Fn(&Arrival) -> Behaviour + Send + Sync>;

/// How a message is treated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Behaviour {
    /// Before the answer.
    pub delay: Duration,
    /// In place of "taken".
    pub refusal: Option<Refusal>,
    /// The message counts as arrived (or as refused), and the connection is closed without an answer.
    pub lose_reply: bool,
    /// Receipts, in order, each so long after the answer; where the protocol has receipts and the sender asked for one.
    /// An empty list means none at all.
    pub receipts: Vec<(Duration, Receipt)>,
}

impl Behaviour {
    /// Taken at once, and delivered a moment later.
    pub fn good() -> Behaviour {
        Behaviour { receipts: vec![(Duration::from_millis(100), Receipt::Delivered)], ..Behaviour::default() }
    }
}

/// An answer that is no success, in the protocol's own terms. One of another protocol is answered as that protocol's general
/// failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// `enhanced` may be empty.
    Smtp {
        code: u16,
        enhanced: String,
        text: String,
    },
    /// `code` is the provider's own and goes where it puts such codes in its bodies.
    Http {
        status: u16,
        code: String,
        retry_after: Option<Duration>,
    },
    Smpp {
        status: u32,
    },
}

/// What a receipt says, each in the protocol's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    OnItsWay,
    Delivered,
    /// With this error code of the provider.
    Undelivered(u32),
    Expired,
    Unknown,
}

/// A judge that finds everything good.
pub fn all_good() -> Judge {
    Arc::new(|_| Behaviour::good())
}
