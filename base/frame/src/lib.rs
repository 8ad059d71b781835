//! What every process needs: configuration, telemetry and the HTTP edge. No business words, no statics.

pub mod config;
pub mod edge;
pub mod telemetry;
