//! What every adapter of the two ports has to pass before anybody may rely on it. [`db_conformance_tests!`] and
//! [`cache_conformance_tests!`] make a test of each case. Each case is given an empty database or cache of its own.
//!
//! [`db_conformance_tests!`]: crate::db_conformance_tests
//! [`cache_conformance_tests!`]: crate::cache_conformance_tests

pub mod cache;
pub mod db;
#[cfg(feature = "postgres")]
mod server;

#[cfg(feature = "postgres")]
pub use server::{TestDatabase, database, database_on};

use crate::{Cache, CacheClock, Db, Store, StoreSettings};
use artel_message::Time;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

type Opened<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How a case of the database suite gets its database.
pub struct DbHarness {
    open: Box<dyn Fn(StoreSettings) -> Opened<Store> + Send + Sync>,
    name: String,
    /// What has to outlive the database, such as a temporary folder; dropped last.
    _keep: Box<dyn Send + Sync>,
}

impl DbHarness {
    /// `open` gives the store; the case works in the database `name` of it, which is empty.
    pub fn new<F>(
        name: impl Into<String>,
        keep: impl Send + Sync + 'static,
        open: impl Fn(StoreSettings) -> F + Send + Sync + 'static,
    ) -> DbHarness
    where
        F: Future<Output = Store> + Send + 'static,
    {
        DbHarness {
            open: Box::new(move |settings| Box::pin(open(settings))),
            name: name.into(),
            _keep: Box::new(keep),
        }
    }

    async fn db(&self) -> Db {
        self.db_with(StoreSettings::default()).await
    }

    async fn db_with(&self, settings: StoreSettings) -> Db {
        let store = (self.open)(settings).await;
        store.db(&self.name).await.expect("the database opens")
    }
}

/// How a case of the cache suite gets its cache, with a clock that the case moves.
pub struct CacheHarness {
    pub cache: Arc<dyn Cache>,
    /// Lets that much time pass for the cache.
    pub pass: Box<dyn Fn(Duration) + Send + Sync>,
    /// How far a time to live may be off.
    pub precision: Duration,
}

impl CacheHarness {
    /// For an adapter that takes its time from a [`CacheClock`].
    pub fn with_clock(open: impl FnOnce(CacheClock) -> Arc<dyn Cache>) -> CacheHarness {
        let now = Arc::new(AtomicI64::new(1_700_000_000_000_000));
        let read = Arc::clone(&now);
        let pass = move |time: Duration| {
            now.fetch_add(i64::try_from(time.as_micros()).expect("a short time"), Ordering::SeqCst);
        };
        CacheHarness {
            cache: open(Arc::new(move || Time::from_micros(read.load(Ordering::SeqCst)))),
            pass: Box::new(pass),
            precision: Duration::ZERO,
        }
    }
}

/// A test of each case of the database suite; the argument makes a [`DbHarness`].
#[macro_export]
macro_rules! db_conformance_tests {
    ($harness:expr) => {
        $crate::db_conformance_tests!(@ $harness,
            lost_update, transfers, write_skew, serial_histories,
            swallowed_error_latches, unique_violation, conflicts_are_counted, deferred_constraint,
            wrong_parameters, unfit_values, rolled_back_on_drop, cancelled_anywhere, aborted_tasks, abandoned_statement,
            interactive_lane, late, pressed_background, snapshots, closing, clock,
            every_type, wrong_types, any_values, repeated_parameters, big_values, many_rows, rows_with_nulls,
            rows_refused, streams, prepared_texts,
            migrations_in_order, migrations_refused, migrations_of_a_newer_program, migrations_fail_whole, migrations_at_once);
    };
    (@ $harness:expr, $($case:ident),*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::conformance::db::$case($harness).await;
            }
        )*
    };
}

/// A test of each case of the cache suite; the argument makes a [`CacheHarness`], or with `@when` a function from
/// the case's name to one, or to none after it has printed why that case is skipped.
#[macro_export]
macro_rules! cache_conformance_tests {
    (@when $harness:expr) => {
        $crate::cache_conformance_tests!(@ $harness,
            set_and_get, time_to_live, deletes, absent_once, counts, not_a_number, pages_of_keys, keys_refused,
            one_winner);
    };
    (@ $harness:expr, $($case:ident),*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let harness: Option<$crate::conformance::CacheHarness> = ($harness)(stringify!($case));
                if let Some(harness) = harness {
                    $crate::conformance::cache::$case(harness).await;
                }
            }
        )*
    };
    ($harness:expr) => {
        $crate::cache_conformance_tests!(@when |_: &str| Some($harness));
    };
}
