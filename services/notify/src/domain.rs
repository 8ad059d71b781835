//! Decisions as plain functions of their arguments: no I/O, no clock, no randomness but what is handed in.

pub mod address;
pub mod breaker;
pub mod classes;
pub mod condition;
pub mod failover;
pub mod pace;
pub mod path;
pub mod preferences;
pub mod quiet;
pub mod retry;
pub mod rules;
pub mod schema;
pub mod sms_text;
pub mod state;
pub mod suppression;
pub mod templates;
