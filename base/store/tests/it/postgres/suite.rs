//! The suite, on a database of its own for each case.

use super::kit;
use artel_store::Store;
use artel_store::conformance::DbHarness;
use std::sync::Arc;

artel_store::db_conformance_tests!(match harness().await {
    Some(harness) => harness,
    None => return,
});

async fn harness() -> Option<DbHarness> {
    let database = Arc::new(kit::database().await?);
    let url = database.url.clone();
    Some(DbHarness::new("suite", database, move |settings| {
        let url = url.clone();
        async move { Store::open(&url, settings).await.expect("opens") }
    }))
}
