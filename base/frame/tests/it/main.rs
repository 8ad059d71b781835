//! The frame as a whole: configuration from real files, HTTP over real sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod access;
mod admin;
mod api;
mod config;
mod edge;
mod node;
mod outbound;
mod peers;
mod sandbox;
mod stall;
mod telemetry;
mod tls;
