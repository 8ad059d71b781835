//! PostgreSQL: the suite, and what only a server has.

mod contention;
mod failures;
mod kit;
mod schemas;
mod suite;
mod texts;
mod transfer;
