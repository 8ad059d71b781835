//! Migrations: in order, once, whole, or refused with a sentence.

use super::{change, number};
use crate::conformance::DbHarness;
use crate::{Db, MigrationState, Migrations, StoreError};

type Files = &'static [(&'static str, &'static str)];

const FIRST: (&str, &str) =
    ("0001_init.sql", "CREATE TABLE a (n BIGINT NOT NULL); INSERT INTO a (n) VALUES (1);");
const SECOND: (&str, &str) =
    ("0002_more.sql", "-- begins with a comment\nUPDATE a SET n = n * 10;\nCREATE TABLE b (n BIGINT)");

fn set(files: Files) -> Migrations {
    Migrations { component: "shop", files }
}

async fn versions(db: &Db, sets: &[Migrations]) -> Vec<u32> {
    let applied = db.migrate(sets).await.expect("migrates");
    applied.into_iter().map(|applied| applied.version).collect()
}

pub async fn migrations_in_order(harness: DbHarness) {
    let db = harness.db().await;
    let one = [set(&[FIRST])];
    let both = [
        set(&[FIRST, SECOND]),
        Migrations { component: "flow", files: &[("0001_x.sql", "CREATE TABLE c (n BIGINT)")] },
    ];
    assert_eq!(db.migration_plan(&both).await.expect("plans").len(), 3);
    assert_eq!(versions(&db, &one).await, [1]);
    assert_eq!(versions(&db, &one).await, [0u32; 0]);
    let plan = db.migration_plan(&both).await.expect("plans");
    let names: Vec<_> = plan.iter().map(|line| (line.component.as_str(), line.file.as_str())).collect();
    assert_eq!(names, [("flow", "0001_x.sql"), ("shop", "0002_more.sql")]);
    assert_eq!(versions(&db, &both).await, [2, 1]);
    assert_eq!(number(&db, "SELECT n FROM a").await, 10);
    let status = db.migration_status(&both).await.expect("tells");
    assert_eq!(status.len(), 3);
    assert!(status.iter().all(|line| matches!(line.state, MigrationState::Applied { .. })));
    // A component that this program does not have is none of its business.
    assert_eq!(versions(&db, &both[1..]).await, [0u32; 0]);
}

pub async fn migrations_refused(harness: DbHarness) {
    let db = harness.db().await;
    assert_eq!(versions(&db, &[set(&[FIRST, SECOND])]).await, [1, 2]);
    let changed = [set(&[FIRST, ("0002_more.sql", "UPDATE a SET n = n * 11")])];
    let error = db.migrate(&changed).await.expect_err("was changed");
    assert!(matches!(&error, StoreError::Checksum { .. }), "{error:?}");
    assert!(error.to_string().contains("0002_more.sql"), "{error}");
    assert!(db.migration_plan(&changed).await.is_err());
    let status = db.migration_status(&changed).await.expect("tells");
    assert!(matches!(status[1].state, MigrationState::Changed { .. }));
    let older = [set(&[FIRST])];
    let error = db.migrate(&older).await.expect_err("the database is newer");
    assert!(matches!(&error, StoreError::Newer { file, .. } if file == "0002_more.sql"), "{error:?}");
    let sentence = error.to_string();
    assert!(sentence.contains("know shop/0002 or later") && sentence.contains("up to 0001"), "{sentence}");
    let status = db.migration_status(&older).await.expect("tells");
    assert!(matches!(status[1].state, MigrationState::Unknown { .. }));
    let misnumbered: [Files; 9] = [
        &[FIRST, ("0003_gap.sql", "SELECT 1")],
        &[FIRST, ("0001_double.sql", "SELECT 1")],
        &[SECOND, FIRST],
        &[("init.sql", "SELECT 1")],
        &[FIRST, SECOND, ("0003_ends.sql", "CREATE TABLE z (n BIGINT); COMMIT; DROP TABLE z")],
        &[("0001_init.txt", "SELECT 1")],
        &[FIRST, SECOND, ("0003_later.sql", "-- works from 0004\nSELECT 1")],
        &[FIRST, SECOND, ("0003_words.sql", "-- works from the beginning\nSELECT 1")],
        &[FIRST, SECOND, ("0003_twice.sql", "-- works from 0001\n-- works from 0002\nSELECT 1")],
    ];
    for files in misnumbered {
        let error = db.migrate(&[set(files)]).await.expect_err("is refused");
        assert!(matches!(error, StoreError::Migration { .. }), "{error:?}");
    }
    assert!(db.migrate(&[set(&[FIRST, SECOND]), set(&[FIRST, SECOND])]).await.is_err(), "given twice");
    assert_eq!(number(&db, "SELECT n FROM a").await, 10);
}

const THIRD: (&str, &str) = (
    "0003_wider.sql",
    "-- works from 0002\nALTER TABLE a ADD COLUMN wide BIGINT; CREATE TABLE d (n BIGINT);",
);
const FOURTH: (&str, &str) = ("0004_wide.sql", "-- works from 0003\nUPDATE a SET wide = n;");

const RELEASES: [Files; 3] = [&[FIRST, SECOND], &[FIRST, SECOND, THIRD], &[FIRST, SECOND, THIRD, FOURTH]];

/// A program starts on what newer ones applied as long as that works with it, and no further back.
pub async fn migrations_of_a_newer_program(harness: DbHarness) {
    let db = harness.db().await;
    let of = |count: usize| set(RELEASES[count - 2]);
    assert_eq!(versions(&db, &[of(2)]).await, [1, 2]);
    // As a program left it that did not write down what works with what.
    change(&db, "ALTER TABLE artel_migration DROP COLUMN works_from", ()).await;
    assert!(db.migration_status(&[of(2)]).await.expect("tells").iter().all(|line| line.works_from.is_none()));
    assert_eq!(versions(&db, &[of(3)]).await, [3]);
    assert_eq!(versions(&db, &[of(2)]).await, [0u32; 0], "it works with the next one");
    assert!(db.migration_plan(&[of(2)]).await.expect("plans").is_empty());
    let third = db.migration_status(&[of(2)]).await.expect("tells").remove(2);
    assert!(matches!(third.state, MigrationState::Newer { .. }), "{third:?}");
    assert_eq!(third.works_from, Some(2));
    assert!(matches!(db.migrate(&[set(&[FIRST])]).await, Err(StoreError::Newer { .. })));
    // What it knows must still be what was applied.
    let changed = [set(&[FIRST, ("0002_more.sql", "UPDATE a SET n = n * 11")])];
    assert!(matches!(db.migrate(&changed).await, Err(StoreError::Checksum { .. })));
    assert_eq!(versions(&db, &[of(4)]).await, [4]);
    assert_eq!(versions(&db, &[of(3)]).await, [0u32; 0]);
    let error = db.migrate(&[of(2)]).await.expect_err("two behind");
    assert!(matches!(&error, StoreError::Newer { works_from: 3, knows: 2, .. }), "{error:?}");
    let state = db.migration_status(&[of(2)]).await.expect("tells").remove(3).state;
    assert!(matches!(state, MigrationState::Unknown { .. }), "{state:?}");
}

/// A file that fails leaves nothing of itself; those before it stay.
pub async fn migrations_fail_whole(harness: DbHarness) {
    let db = harness.db().await;
    let broken =
        [set(&[FIRST, ("0002_bad.sql", "CREATE TABLE half (n BIGINT); INSERT INTO nowhere (n) VALUES (1)")])];
    let error = db.migrate(&broken).await.expect_err("fails");
    assert!(error.to_string().contains("0002_bad.sql"), "{error}");
    assert_eq!(number(&db, "SELECT n FROM a").await, 1);
    assert_eq!(number(&db, "SELECT count(*) FROM artel_migration").await, 1);
    change(&db, "CREATE TABLE half (n BIGINT)", ()).await;
    change(&db, "DROP TABLE half", ()).await;
    assert_eq!(versions(&db, &[set(&[FIRST, SECOND])]).await, [2]);
}

/// Several nodes start at once: each file runs once.
pub async fn migrations_at_once(harness: DbHarness) {
    let db = harness.db().await;
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { versions(&db, &[set(&[FIRST, SECOND])]).await })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("the task ends well"));
    }
    all.sort_unstable();
    assert_eq!(all, [1, 2]);
    assert_eq!(number(&db, "SELECT n FROM a").await, 10);
}
