//! The runtime through its public face, on the embedded log and SQLite.

mod ask;
mod given_up;
mod kit;
mod put_off;
mod run_time_groups;
mod shop;
mod start;
mod take_in;
