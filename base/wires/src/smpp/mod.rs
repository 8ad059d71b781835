//! Short messages over SMPP 3.4 (Short Message Peer to Peer Protocol Specification v3.4, issue 1.2).
//!
//! [`Client`] keeps links to a centre and sends over them; [`codec`] is the protocol itself, which the simulator has in common with
//! it.

mod client;
pub mod codec;
mod delivery;
mod link;
pub mod pdu;
mod receipt;
pub(crate) mod session;
mod settings;
mod sms;
#[cfg(test)]
mod tests;
pub mod tlv;
mod udh;

pub use client::{Client, Queried, Sent};
pub use delivery::Delivery;
pub use pdu::{Address, Mode, State};
pub use receipt::{Ids, Incoming, Receipt, Received};
pub use settings::{Settings, Tls};
pub use sms::{BadSms, Sms, sender};
pub use udh::{Part, Reference};
