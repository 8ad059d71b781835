//! Decisions as plain functions of their arguments: no I/O, no clock, no randomness but what is handed in.

pub mod address;
pub mod breaker;
pub mod classes;
pub mod failover;
pub mod pace;
pub mod quiet;
pub mod retry;
pub mod sms_text;
pub mod state;
pub mod suppression;
