//! The embedded log as a whole: the port's suite, faults, recovery, retention, and Kafka's own tools.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod broken_disk;
mod carry;
mod conformance;
mod crash;
mod crash_admin;
mod faults;
mod folder;
mod groups;
mod kafka;
#[cfg(feature = "kafka")]
mod kafka_broker;
mod limits;
mod recovery;
mod retention;
mod sim_disk;
mod snapshot;
mod times;
