//! PostgreSQL: the suite, and what only a server has.

mod kit;
mod suite;
