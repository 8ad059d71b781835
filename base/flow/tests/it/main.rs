//! The runtime through its public face: every test on SQLite, and on PostgreSQL where a server is given.
#![allow(clippy::duplicate_mod)]

mod arriving;
mod bell;
mod books;
mod bounds;
mod caller;
mod calls;
mod claims;
mod gated;
mod keepers;
mod kit;
mod late;
mod mill;
mod nodes;
mod peers;
mod postgres;
mod said;
mod shop;
mod sqlite;
mod start;
mod unstorable;
mod versions;
