//! Failing statements: their types, and the latch.

use super::{change, number};
use crate::conformance::DbHarness;
use crate::{Args, ConstraintKind, Lane, StoreError};
use artel_message::{Code, Fault};

const TABLE: &str = "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL, \
     amount BIGINT NOT NULL CHECK (amount >= 0), UNIQUE (name, amount))";
const INSERT: &str = "INSERT INTO item (id, name, amount) VALUES ($1, $2, $3)";
const COUNT: &str = "SELECT count(*) FROM item";

/// A caught error does not hide: later statements fail, the commit fails, nothing is kept. On SQLite alone the rest
/// would commit, on PostgreSQL alone the commit would succeed and do nothing.
pub async fn swallowed_error_latches(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    let mut write = db.begin(Lane::Interactive).await.expect("begins");
    write.exec(INSERT, (1i64, "a", 1i64)).await.expect("runs");
    assert!(write.latched().is_none());
    assert!(write.exec(INSERT, (1i64, "b", 2i64)).await.is_err());
    assert!(write.latched().is_some_and(StoreError::is_unique));
    for later in [write.exec(INSERT, (2i64, "c", 3i64)).await, write.exec("DELETE FROM item", ()).await] {
        assert!(matches!(&later, Err(StoreError::Latched { .. })), "{later:?}");
        assert!(later.is_err_and(|error| error.is_unique()));
    }
    assert!(write.opt::<(i64,)>(COUNT, ()).await.is_err());
    assert!(write.all::<(i64,)>(COUNT, ()).await.is_err());
    assert!(write.stream::<(i64,)>(COUNT, ()).is_err());
    assert!(write.exec_rows("DELETE FROM item WHERE id IN (VALUES {rows})", (), Vec::new()).await.is_err());
    let refused = write.commit().await.expect_err("an error was swallowed");
    assert!(matches!(refused, StoreError::Latched { .. }), "{refused:?}");
    assert_eq!(Fault::from(refused).code, Code::Conflict);
    assert_eq!(number(&db, COUNT).await, 0);
    change(&db, INSERT, (1i64, "a", 1i64)).await;
    assert_eq!(number(&db, COUNT).await, 1);
    let mut read = db.read().await.expect("reads");
    assert!(read.one::<(i64,)>("SELECT no_such_column FROM item", ()).await.is_err());
    assert!(matches!(read.one::<(i64,)>(COUNT, ()).await, Err(StoreError::Latched { .. })));
}

pub async fn unique_violation(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    change(&db, INSERT, (1i64, "secret-value", 1i64)).await;
    for row in [(1i64, "other", 9i64), (2, "secret-value", 1)] {
        let mut write = db.begin(Lane::Interactive).await.expect("begins");
        let error = write.exec(INSERT, row).await.expect_err("is there already");
        assert!(
            matches!(&error, StoreError::Unique { table, constraint } if table == "item" && !constraint.is_empty())
        );
        assert!(!error.to_string().contains("secret-value"), "no values in errors");
        assert!(!error.is_infrastructure());
    }
    let broken = [
        ((3i64, "a", -1i64).values(), ConstraintKind::Check),
        ((3i64, None::<String>, 1i64).values(), ConstraintKind::NotNull),
    ];
    for (row, expected) in broken {
        let mut write = db.begin(Lane::Interactive).await.expect("begins");
        let error = write.exec(INSERT, row).await.expect_err("breaks a constraint");
        assert!(matches!(error, StoreError::Constraint { kind, .. } if kind == expected), "{error:?}");
    }
}

/// Expected conflicts are no errors: `ON CONFLICT DO NOTHING` and the number of rows.
pub async fn conflicts_are_counted(harness: DbHarness) {
    const PUT: &str = "INSERT INTO item (id, name, amount) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    const PUT_ROWS: &str = "INSERT INTO item (id, name, amount) VALUES {rows} ON CONFLICT DO NOTHING";
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    let mut write = db.begin(Lane::Interactive).await.expect("begins");
    assert_eq!(write.exec(PUT, (1i64, "a", 1i64)).await.expect("runs"), 1);
    assert_eq!(write.exec(PUT, (1i64, "a", 1i64)).await.expect("runs"), 0);
    let rows = (0..100i64).map(|id| (id, "n", id + 1).values()).collect();
    assert_eq!(write.exec_rows(PUT_ROWS, (), rows).await.expect("runs"), 99);
    assert_eq!(
        write.exec("UPDATE item SET amount = amount WHERE id > $1", (89i64,)).await.expect("runs"),
        10
    );
    assert_eq!(write.exec("DELETE FROM item WHERE id > $1", (1000i64,)).await.expect("runs"), 0);
    write.commit().await.expect("commits");
    assert_eq!(number(&db, COUNT).await, 100);
}

/// A constraint that is checked at the commit fails there, and nothing is kept.
pub async fn deferred_constraint(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    change(&db, "CREATE TABLE part (id BIGINT PRIMARY KEY, item BIGINT NOT NULL REFERENCES item (id) DEFERRABLE INITIALLY DEFERRED)", ()).await;
    let mut write = db.begin(Lane::Interactive).await.expect("begins");
    write.exec("INSERT INTO part (id, item) VALUES ($1, $2)", (1i64, 7i64)).await.expect("is checked later");
    let error = write.commit().await.expect_err("there is no item 7");
    assert!(matches!(error, StoreError::Constraint { kind: ConstraintKind::ForeignKey, .. }), "{error:?}");
    assert_eq!(number(&db, "SELECT count(*) FROM part").await, 0);
    let mut write = db.begin(Lane::Interactive).await.expect("begins");
    write.exec("INSERT INTO part (id, item) VALUES ($1, $2)", (1i64, 7i64)).await.expect("is checked later");
    write.exec(INSERT, (7i64, "a", 1i64)).await.expect("runs");
    write.commit().await.expect("is whole now");
    assert_eq!(number(&db, "SELECT count(*) FROM part").await, 1);
}

/// Too few or too many values fail loudly: SQLite alone would take a missing one as null.
pub async fn wrong_parameters(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    for args in [(1i64, "a").values(), (1i64, "a", 1i64, 1i64).values(), ().values()] {
        let mut write = db.begin(Lane::Interactive).await.expect("begins");
        let error = write.exec(INSERT, args).await.expect_err("is refused");
        assert!(matches!(error, StoreError::Statement { .. }), "{error:?}");
        assert!(write.commit().await.is_err());
    }
    let mut write = db.begin(Lane::Interactive).await.expect("begins");
    assert!(matches!(write.one::<(i64,)>("SELECT id FROM item", ()).await, Err(StoreError::NoRow)));
    assert!(write.latched().is_none(), "no row is no failed statement");
    write.commit().await.expect("commits");
}

/// What only one of the engines stores is refused by all, as the sender's mistake.
pub async fn unfit_values(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, "CREATE TABLE t (x DOUBLE PRECISION, s TEXT, j JSONB)", ()).await;
    const INSERT: &str = "INSERT INTO t (x, s, j) VALUES ($1, $2, $3)";
    let json = |text: &str| crate::Json(serde_json::Value::from(text));
    for args in [
        (f64::NAN, "a", json("b")).values(),
        (1.0, "a\0b", json("b")).values(),
        (1.0, "a", json("b\0")).values(),
    ] {
        let mut write = db.begin(Lane::Interactive).await.expect("begins");
        let error = write.exec(INSERT, args).await.expect_err("is refused");
        assert!(matches!(error, StoreError::Value { .. }), "{error:?}");
        assert_eq!(Fault::from(error).code, Code::Invalid);
        assert!(write.commit().await.is_err());
    }
    assert_eq!(number(&db, "SELECT count(*) FROM t").await, 0);
}
