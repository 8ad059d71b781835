//! What programs of others make of our mails.

mod dkim;
mod maildev;
mod sink;

pub use crate::foreign::{Server, given, port, until};
