//! What services say to each other: one file per service with its commands, queries, events and topics. This page is the
//! table of contents of the platform.

use artel_message::Described;

/// Every message of the contract. Start-up refuses a command or query here without a handler, and the JSON Schemas of all
/// of them are kept as snapshots in `schemas/`.
pub fn catalogue() -> Vec<Described> {
    Vec::new()
}
