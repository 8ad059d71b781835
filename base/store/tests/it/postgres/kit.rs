//! Databases of a real server.

pub use artel_store::conformance::{TestDatabase, database};
