//! Every SQL text of the service, by what it is about.

pub mod deliveries;
pub mod references;
