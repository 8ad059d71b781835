//! The suites of both ports on the embedded adapters, and what only those have: files, disks, locks.

mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod sqlite;
