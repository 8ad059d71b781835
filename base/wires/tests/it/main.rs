//! Clients against simulators, and both against programs of others.
#![allow(clippy::unwrap_used)]

mod smpp;
mod twilio;
