//! The wires through their public interface: against simulators, scripted servers, and programs of others.
#![allow(clippy::unwrap_used)]

#[path = "../foreign/mod.rs"]
mod foreign;
mod judges;
mod mail;
mod push;
mod smpp;
mod smtp;
mod twilio;
