//! Databases of a real PostgreSQL server, for tests here and in other crates: `ARTEL_TEST_POSTGRES` is the URL of a user who may make databases.

use crate::{Db, Store, StoreSettings};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

/// A database of a test's own; it is dropped with this.
pub struct TestDatabase {
    administrator: PgConnectOptions,
    pub name: String,
    pub url: String,
}

/// `None`, said on the standard output, where no server is given.
pub async fn database() -> Option<TestDatabase> {
    let Ok(url) = std::env::var("ARTEL_TEST_POSTGRES") else {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        println!("skipped: {test}: ARTEL_TEST_POSTGRES is not set to the URL of a PostgreSQL administrator");
        return None;
    };
    Some(database_on(&url).await)
}

/// The same on the server of this URL.
#[allow(clippy::expect_used)]
pub async fn database_on(url: &str) -> TestDatabase {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let administrator =
        PgConnectOptions::from_str(url).expect("the URL can be read").disable_statement_logging();
    let name = format!("artel_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut connection = administrator.connect().await.expect("the server takes connections");
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("makes a database");
    let (before, query) = url.split_once('?').map_or((url, String::new()), |(a, b)| (a, format!("?{b}")));
    let server = before.rsplit_once('/').expect("the URL names a database").0;
    let url = format!("{server}/{name}{query}");
    TestDatabase { administrator, name, url }
}

impl TestDatabase {
    /// A connection beside the store's.
    #[allow(clippy::expect_used)]
    pub async fn connection(&self) -> PgConnection {
        self.administrator.clone().database(&self.name).connect().await.expect("connects")
    }

    pub async fn store(&self, settings: StoreSettings) -> (Store, Db) {
        let store = Store::open(&self.url, settings).await.expect("opens");
        let db = store.db("shop").await.expect("opens");
        (store, db)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (options, name) = (self.administrator.clone(), self.name.clone());
        // A test's own runtime can't be waited for in here.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = options.connect().await?;
                connection
                    .execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")))
                    .await
            })?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        });
        if !matches!(dropped.join(), Ok(Ok(()))) {
            println!("the database {} is left behind", self.name);
        }
    }
}
