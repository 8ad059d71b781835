//! Many rows in one call, and results row by row.

use super::{change, number};
use crate::conformance::DbHarness;
use crate::{Args, Lane, StoreError, Values};

const TABLE: &str = "CREATE TABLE r (id BIGINT PRIMARY KEY, n BIGINT, s TEXT)";
const INSERT: &str = "INSERT INTO r (id, n, s) VALUES {rows}";
const UPDATE: &str = "UPDATE r SET n = v.column2, s = $1 FROM (VALUES {rows}) AS v WHERE r.id = v.column1";
const DELETE: &str = "DELETE FROM r WHERE id IN (VALUES {rows})";
const RETURNING: &str = "UPDATE r SET n = n + $1 WHERE id IN (VALUES {rows}) RETURNING id, n";
const COUNT: &str = "SELECT count(*) FROM r";

fn ids(count: i64) -> Vec<Values> {
    (0..count).map(|id| (id,).values()).collect()
}

/// The sizes around the borders of the statements that they are cut into, with few and with many columns.
pub async fn many_rows(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    for count in [0i64, 1, 2, 4, 5, 63, 64, 65, 300, 1000] {
        let affected = u64::try_from(count).expect("positive");
        let mut write = db.begin(Lane::Background).await.expect("begins");
        let rows = (0..count).map(|id| (id, id, "new").values()).collect();
        assert_eq!(write.exec_rows(INSERT, (), rows).await.expect("runs"), affected);
        let rows = (0..count).map(|id| (id, id * 2).values()).collect();
        assert_eq!(write.exec_rows(UPDATE, ("set",), rows).await.expect("runs"), affected);
        let sum = "SELECT count(*) FROM r WHERE n = id * 2 AND s = $1";
        assert_eq!(write.one::<(i64,)>(sum, ("set",)).await.expect("reads").0, count);
        let mut back = write.all_rows::<(i64, i64)>(RETURNING, (1i64,), ids(count)).await.expect("runs");
        back.sort_unstable();
        assert_eq!(back, (0..count).map(|id| (id, id * 2 + 1)).collect::<Vec<_>>());
        assert_eq!(write.exec_rows(DELETE, (), ids(count)).await.expect("runs"), affected);
        write.commit().await.expect("commits");
        assert_eq!(number(&db, COUNT).await, 0);
    }
    wide_rows(&db).await;
}

/// A thousand rows of sixteen columns.
async fn wide_rows(db: &crate::Db) {
    const WIDE: &str = "CREATE TABLE wide (a BIGINT, b BIGINT, c BIGINT, d BIGINT, e BIGINT, f BIGINT, g BIGINT, \
         h BIGINT, i BIGINT, j BIGINT, k BIGINT, l BIGINT, m BIGINT, n BIGINT, o BIGINT, p BIGINT)";
    const INSERT: &str = "INSERT INTO wide (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) VALUES {rows}";
    change(db, WIDE, ()).await;
    let row = |x: i64| (x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x + 1).values();
    let mut write = db.begin(Lane::Background).await.expect("begins");
    assert_eq!(write.exec_rows(INSERT, (), (0..1000).map(row).collect()).await.expect("runs"), 1000);
    write.commit().await.expect("commits");
    assert_eq!(number(db, "SELECT count(*) FROM wide WHERE a = o AND p = o + 1").await, 1000);
}

/// Columns of which some rows are null, typed, also where nothing but the value tells the type.
pub async fn rows_with_nulls(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    let mut write = db.begin(Lane::Background).await.expect("begins");
    let rows = (0..70i64).map(|id| (id, (id % 2 == 0).then_some(id), None::<String>).values()).collect();
    assert_eq!(write.exec_rows(INSERT, (), rows).await.expect("runs"), 70);
    let rows = (0..70i64).map(|id| (id, None::<i64>).values()).collect();
    assert_eq!(write.exec_rows(UPDATE, (None::<String>,), rows).await.expect("runs"), 70);
    write.commit().await.expect("commits");
    assert_eq!(number(&db, "SELECT count(*) FROM r WHERE n IS NULL AND s IS NULL").await, 70);
}

pub async fn rows_refused(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    let uneven = vec![(1i64, 1i64, "a").values(), (2i64, 1i64).values()];
    let calls: [(&'static str, Values, Vec<Values>); 5] = [
        (INSERT, ().values(), uneven),
        (INSERT, (1i64,).values(), ids(1)),
        (INSERT, ().values(), vec![().values()]),
        ("DELETE FROM r", ().values(), ids(1)),
        (UPDATE, ().values(), vec![(1i64, 2i64).values()]),
    ];
    for (sql, fixed, rows) in calls {
        let mut write = db.begin(Lane::Background).await.expect("begins");
        let refused = write.exec_rows(sql, fixed, rows).await;
        assert!(matches!(refused, Err(StoreError::Statement { .. })), "{sql}: {refused:?}");
        assert!(write.commit().await.is_err());
    }
}

/// Results row by row; a stream that is left early does no harm, a failing one latches.
pub async fn streams(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    let mut write = db.begin(Lane::Background).await.expect("begins");
    let rows = (0..20_000i64).map(|id| (id, id, "x").values()).collect();
    write.exec_rows(INSERT, (), rows).await.expect("runs");
    write.commit().await.expect("commits");
    const SELECT: &str = "SELECT id FROM r WHERE id >= $1 ORDER BY id";
    let mut read = db.read().await.expect("reads");
    let mut rows = read.stream::<(i64,)>(SELECT, (5i64,)).expect("starts");
    let mut expected = 5;
    while let Some((id,)) = rows.next().await.expect("gives rows") {
        assert_eq!(id, expected);
        expected += 1;
    }
    assert_eq!(expected, 20_000);
    drop(rows);
    let mut rows = read.stream::<(i64,)>(SELECT, (0i64,)).expect("starts");
    assert_eq!(rows.next().await.expect("gives rows"), Some((0,)));
    drop(rows);
    assert_eq!(read.one::<(i64,)>(COUNT, ()).await.expect("goes on").0, 20_000);
    drop(read);
    let mut write = db.begin(Lane::Background).await.expect("begins");
    let mut rows = write.stream::<(i64,)>("SELECT id FROM no_such_table", ()).expect("starts");
    assert!(rows.next().await.is_err());
    drop(rows);
    assert!(write.commit().await.is_err());
}

/// A service's tests give all their SQL to `prepare_all`.
pub async fn prepared_texts(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    let good = [INSERT, UPDATE, DELETE, RETURNING, COUNT, "SELECT id FROM r WHERE n IS NOT DISTINCT FROM $1"];
    let problems = db.prepare_all(&good).await.expect("tries them");
    assert!(problems.is_empty(), "{problems:?}");
    let bad = ["SELECT nothing FROM r", "INSERT INTO r (id, other) VALUES {rows}", "SELEC", COUNT];
    let problems = db.prepare_all(&bad).await.expect("tries them");
    assert_eq!(problems.iter().map(|problem| problem.sql).collect::<Vec<_>>(), bad[..3]);
    assert_eq!(number(&db, COUNT).await, 0);
}
