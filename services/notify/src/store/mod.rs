//! Every SQL text of the service, by what it is about.

pub mod attachments;
pub mod deliveries;
pub mod lapses;
pub mod opt_outs;
pub mod persons;
pub mod references;
pub mod replays;
pub mod rows;
pub mod rules;
pub mod subscribers;
pub mod suppression;
pub mod templates;
pub mod topics;
