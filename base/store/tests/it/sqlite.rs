//! SQLite: the suite, and what only files have.

use artel_store::Store;
use artel_store::conformance::DbHarness;
use std::path::Path;

artel_store::db_conformance_tests!(harness());

fn harness() -> DbHarness {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = url(folder.path());
    DbHarness::new("suite", folder, move |settings| {
        let url = url.clone();
        async move { Store::open(&url, settings).await.expect("opens") }
    })
}

fn url(folder: &Path) -> String {
    format!("sqlite:{}", folder.display())
}
