//! What was once said between services stays understood.
#![allow(clippy::unwrap_used)]

mod compatible;
mod schemas;
