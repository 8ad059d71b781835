//! Clients and simulators, each against the other side.
#![allow(clippy::unwrap_used)]

mod push;
