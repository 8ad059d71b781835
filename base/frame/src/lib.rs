//! What every process needs: configuration, telemetry, the HTTP edge, the administration, and [`Node`], which puts them
//! together. No business words, no statics.

mod admin;
pub mod backup;
pub mod client;
pub mod config;
pub mod edge;
pub mod moving;
mod node;
pub mod outbound;
mod peers;
#[cfg(feature = "sandbox")]
mod sandbox;
pub mod telemetry;

pub use node::{Closed, Node, Overrides, Standing, StartFailure, TOKEN_FILE, check_services, open_store};
#[cfg(feature = "sandbox")]
pub use sandbox::{Sandbox, SandboxOptions};
