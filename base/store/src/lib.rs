//! State. [`Store`] opens one database per service and [`Db`] runs one SQL text on every engine: [`Write`] is a write
//! transaction, [`Read`] a snapshot. [`Migrations`] bring the tables there, and [`Cache`] is the port for what may be lost.
//!
//! The SQL is written in the subset that SQLite and PostgreSQL share: `$1` parameters, `ON CONFLICT`, `RETURNING`, row
//! values, CTEs; the types TEXT, BIGINT, BOOLEAN, DOUBLE PRECISION, UUID, JSONB and BYTEA; no `SELECT *`. [`Sql`] holds the
//! two texts of the rare statement that needs them.

mod cache;
#[cfg(feature = "conformance")]
pub mod conformance;
mod db;
mod error;
mod gate;
mod late;
mod lint;
mod migrate;
mod parts;
#[cfg(feature = "postgres")]
mod postgres;
mod row;
mod session;
#[cfg(feature = "sim")]
mod sim;
mod sql;
mod sqlite;
mod store;
mod transaction;
mod transfer;
mod value;
mod wake;

pub use cache::{Cache, CacheClock, CacheError, KeyEntry, KeyPage, MemoryCache, open_cache};
#[cfg(feature = "redis")]
pub use cache::{RedisCache, RedisSettings};
pub use db::{Db, Engine, PrepareProblem};
pub use error::{ConstraintKind, StoreError};
pub use gate::Lane;
pub use lint::lint_sql;
pub use migrate::{Applied, MigrationState, MigrationStatus, Migrations};
pub use row::{Cell, Column, ColumnIndex, FromRow, Row};
#[cfg(feature = "sim")]
pub use sim::{SimClient, SimDeed, SimHook, SimPlan, SimServer, SimStep};
pub use sql::Sql;
pub use store::{Connections, Store, StoreSettings};
pub use transaction::{Read, RowStream, Write};
pub use transfer::{Kind, Refill, Table, TableHash, TableRows};
pub use value::{Args, Json, ToValue, Value, Values};
pub use wake::Woken;
