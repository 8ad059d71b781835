//! The whole program, end to end. What any system of nodes must do stands in `scenarios`, over the trait `System`; how a
//! system is run stands beside it: `process` is the real binary as one process, `nodes` are several, `sandboxes` are nodes in the process of the test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod address;
#[cfg(feature = "grown")]
mod backends;
mod backups;
mod bad_input;
mod cli;
#[cfg(feature = "grown")]
mod cluster;
#[cfg(feature = "otlp")]
mod collector;
mod disks;
#[cfg(feature = "grown")]
mod driver;
mod errands;
mod failed;
#[cfg(feature = "grown")]
mod foreign;
#[cfg(feature = "grown")]
mod java;
#[cfg(feature = "grown")]
mod keyed;
#[cfg(feature = "grown")]
mod losses;
#[cfg(feature = "grown")]
mod moves;
mod newer;
#[cfg(feature = "grown")]
mod nodes;
mod process;
mod providers;
#[cfg(feature = "grown")]
mod refusals;
#[cfg(feature = "grown")]
mod roles;
#[cfg(feature = "grown")]
mod sandboxes;
mod scenarios;
mod scrape;
mod shipments;
mod simulate;
mod size;
mod stops;
mod system;
#[cfg(feature = "grown")]
mod tails;
#[cfg(feature = "grown")]
mod tally;
#[cfg(feature = "otlp")]
mod traces;
#[cfg(feature = "grown")]
mod truth;
mod until;
#[cfg(feature = "grown")]
mod upgrade;
#[cfg(feature = "grown")]
mod waits;
mod why;
