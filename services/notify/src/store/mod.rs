//! Every SQL text of the service, by what it is about.

pub mod deliveries;
pub mod lapses;
pub mod persons;
pub mod references;
pub mod rows;
pub mod rules;
pub mod subscribers;
pub mod suppression;
pub mod templates;
pub mod topics;
