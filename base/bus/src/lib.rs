//! The log: topics of partitions, each an ordered, durable sequence of records with offsets.
//!
//! [`Log`] is what runs per message, [`Topics`] and [`Groups`] are administration; an adapter implements all three
//! ([`Bus`]). Adapters: `segments` (embedded, Kafka's own file format). One conformance suite runs on each.

mod carry;
pub mod codec;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
#[cfg(feature = "kafka")]
pub mod kafka;
mod kept;
mod name;
pub mod partition;
mod port;
mod prefixed;
pub mod segments;
mod storable;

pub use carry::{CarryError, Compared, Shift, carry, compare};
pub use error::BusError;
pub use kept::Kept;
pub use port::{
    Appended, Bounds, Bus, Fetch, Fetched, From, GroupOffset, Groups, Log, Piece, Received, Record, Topic,
    TopicSpec, Topics,
};
pub use prefixed::Prefixed;
pub use segments::{Segments, SegmentsConfig};
pub use storable::{alone, unstorable};
