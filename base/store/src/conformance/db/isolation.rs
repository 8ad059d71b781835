//! Transactions at the same time give what some order one after the other would have given.

use super::{Dice, change, number, rerun};
use crate::conformance::DbHarness;
use crate::{Db, Lane, StoreError};

const COUNTERS: &str = "CREATE TABLE counter (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)";
const PUT: &str = "INSERT INTO counter (id, n) VALUES ($1, $2)";
const GET: &str = "SELECT n FROM counter WHERE id = $1";
const SET: &str = "UPDATE counter SET n = $2 WHERE id = $1";
const SUM: &str = "SELECT CAST(sum(n) AS BIGINT) FROM counter";

async fn counters(db: &Db, count: i64, n: i64) {
    change(db, COUNTERS, ()).await;
    for id in 0..count {
        change(db, PUT, (id, n)).await;
    }
}

fn lane(task: u64) -> Lane {
    if task.is_multiple_of(2) { Lane::Interactive } else { Lane::Background }
}

/// Tasks read a number and write it back one higher: no addition is lost.
pub async fn lost_update(harness: DbHarness) {
    const TASKS: u64 = 8;
    const EACH: i64 = 30;
    let db = harness.db().await;
    counters(&db, 1, 0).await;
    let add = |db: Db, lane| async move {
        let mut write = db.begin(lane).await?;
        let (n,) = write.one::<(i64,)>(GET, (0i64,)).await?;
        tokio::task::yield_now().await;
        write.exec(SET, (0i64, n + 1)).await?;
        write.commit().await
    };
    let task = |task| {
        let db = db.clone();
        tokio::spawn(async move {
            for _ in 0..EACH {
                rerun(|| add(db.clone(), lane(task))).await;
            }
        })
    };
    for task in (0..TASKS).map(task).collect::<Vec<_>>() {
        task.await.expect("the task ends well");
    }
    assert_eq!(number(&db, SUM).await, i64::try_from(TASKS).expect("small") * EACH);
}

/// Tasks move random amounts between random accounts, never below zero: the sum stays, and no account is overdrawn.
pub async fn transfers(harness: DbHarness) {
    const ACCOUNTS: u64 = 5;
    let db = harness.db().await;
    counters(&db, 5, 100).await;
    let transfer = |db: Db, from: i64, to: i64, amount: i64, lane| async move {
        let mut write = db.begin(lane).await?;
        let (have,) = write.one::<(i64,)>(GET, (from,)).await?;
        if have < amount {
            return write.rollback().await;
        }
        write.exec(SET, (from, have - amount)).await?;
        let (have,) = write.one::<(i64,)>(GET, (to,)).await?;
        write.exec(SET, (to, have + amount)).await?;
        write.commit().await
    };
    let task = |seed: u64| {
        let db = db.clone();
        tokio::spawn(async move {
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ seed);
            let mut roll = |bound| i64::try_from(dice.below(bound)).expect("small");
            for _ in 0..40 {
                let (from, to, amount) = (roll(ACCOUNTS), roll(ACCOUNTS), roll(60));
                if from != to {
                    rerun(|| transfer(db.clone(), from, to, amount, lane(seed))).await;
                }
                assert_eq!(number(&db, SUM).await, 500, "seed {seed}: a reader sees whole transfers only");
            }
        })
    };
    for task in (1..=6).map(task).collect::<Vec<_>>() {
        task.await.expect("the task ends well");
    }
    assert_eq!(number(&db, SUM).await, 500);
    assert!(number(&db, "SELECT min(n) FROM counter").await >= 0);
}

/// Two doctors sign off, each after having seen the other on call: one of them always stays.
pub async fn write_skew(harness: DbHarness) {
    let db = harness.db().await;
    counters(&db, 2, 1).await;
    let sign_off = |db: Db, doctor: i64| async move {
        let mut write = db.begin(Lane::Interactive).await?;
        let (on_call,) = write.one::<(i64,)>(SUM, ()).await?;
        tokio::task::yield_now().await;
        if on_call > 1 {
            write.exec(SET, (doctor, 0i64)).await?;
        }
        write.commit().await
    };
    for round in 0..30 {
        change(&db, "UPDATE counter SET n = 1", ()).await;
        let doctors = [0, 1].map(|doctor| {
            let db = db.clone();
            tokio::spawn(async move { rerun(|| sign_off(db.clone(), doctor)).await })
        });
        for doctor in doctors {
            doctor.await.expect("the task ends well");
        }
        assert_eq!(number(&db, SUM).await, 1, "round {round}");
    }
}

/// A read transaction stays at the state of its first statement; what is not committed is seen by nobody else.
pub async fn snapshots(harness: DbHarness) {
    let db = harness.db().await;
    counters(&db, 1, 1).await;
    let mut old = db.read().await.expect("reads");
    assert_eq!(old.one::<(i64,)>(SUM, ()).await.expect("reads").0, 1);
    let mut write = db.begin(Lane::Interactive).await.expect("begins while one reads");
    write.exec(SET, (0i64, 2i64)).await.expect("runs");
    assert_eq!(write.one::<(i64,)>(SUM, ()).await.expect("sees its own work").0, 2);
    assert_eq!(number(&db, SUM).await, 1);
    write.commit().await.expect("commits while one reads");
    assert_eq!(number(&db, SUM).await, 2);
    assert_eq!(old.one::<(i64,)>(SUM, ()).await.expect("reads").0, 1);
    drop(old);
    let refused = db.read().await.expect("reads").one::<(i64,)>("DELETE FROM counter RETURNING n", ()).await;
    assert!(matches!(refused, Err(StoreError::Statement { .. })), "{refused:?}");
    assert_eq!(number(&db, SUM).await, 2);
}
