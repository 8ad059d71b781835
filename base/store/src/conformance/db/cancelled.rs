//! Callers that go away: whatever was under way is undone whole or done whole, and the writer stays usable.

use super::{Dice, change, number};
use crate::conformance::DbHarness;
use crate::{Args, Db, Lane, StoreError};
use futures::FutureExt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

const TABLE: &str =
    "CREATE TABLE mark (attempt BIGINT NOT NULL, part BIGINT NOT NULL, PRIMARY KEY (attempt, part))";
const INSERT: &str = "INSERT INTO mark (attempt, part) VALUES ($1, $2)";
const INSERT_ROWS: &str = "INSERT INTO mark (attempt, part) VALUES {rows}";
const COUNT: &str = "SELECT count(*) FROM mark";
/// Attempts of which only a part is there.
const TORN: &str =
    "SELECT count(*) FROM (SELECT attempt FROM mark GROUP BY attempt HAVING count(*) <> 100) AS torn";

/// Polls the future so many times, then drops it.
struct Polls<F> {
    future: Option<Pin<Box<F>>>,
    left: u32,
}

impl<F: Future> Future for Polls<F> {
    /// `None` when it was dropped before its end.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            self.future = None;
        }
        self.left = self.left.saturating_sub(1);
        match &mut self.future {
            None => Poll::Ready(None),
            Some(future) => future.as_mut().poll(context).map(Some),
        }
    }
}

/// Run again where it collides: on PostgreSQL others insert into the same page of the index.
async fn attempt(db: Db, attempt: i64) -> Result<(), StoreError> {
    loop {
        match once(db.clone(), attempt).await {
            Err(error) if error.is_rerun() => {}
            done => return done,
        }
    }
}

/// A transaction of 100 rows in several statements.
async fn once(db: Db, attempt: i64) -> Result<(), StoreError> {
    let mut write = db.begin(Lane::Interactive).await?;
    for part in 0..10i64 {
        write.exec(INSERT, (attempt, part)).await?;
        tokio::task::yield_now().await;
    }
    let rows = (10..100i64).map(|part| (attempt, part).values()).collect();
    write.exec_rows(INSERT_ROWS, (), rows).await?;
    write.one::<(i64,)>("SELECT count(*) FROM mark WHERE attempt = $1", (attempt,)).await?;
    write.commit().await
}

/// The caller is dropped after each number of polls there is, the ones within the commit included.
pub async fn cancelled_anywhere(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    // With the yields a run takes more than ten polls, and about forty where the engine is slower than a poll.
    for polls in 0..60 {
        let future = Some(Box::pin(attempt(db.clone(), i64::from(polls))));
        if let Some(done) = (Polls { future, left: polls }).await {
            done.expect("undisturbed it succeeds");
        }
        assert_eq!(number(&db, TORN).await, 0, "after {polls} polls");
    }
    attempt(db.clone(), -1).await.expect("the writer is usable");
    assert_eq!(number(&db, TORN).await, 0);
    assert!(number(&db, COUNT).await >= 100);
}

/// Tasks are aborted wherever they happen to be, while others want the writer too.
pub async fn aborted_tasks(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    let mut dice = Dice(20_261_121);
    for round in 0..60i64 {
        let tasks: Vec<_> = (0..4).map(|task| tokio::spawn(attempt(db.clone(), round * 10 + task))).collect();
        for task in &tasks {
            for _ in 0..dice.below(40) {
                tokio::task::yield_now().await;
            }
            task.abort();
        }
        for task in tasks {
            if let Ok(done) = task.await {
                done.expect("who was not aborted succeeds");
            }
        }
        attempt(db.clone(), round * 10 + 9).await.expect("the writer is usable");
        assert_eq!(number(&db, TORN).await, 0, "round {round}");
    }
}

/// A transaction whose statement was dropped half-way does not commit: nobody knows what the statement did.
pub async fn abandoned_statement(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    let mut write = db.begin(Lane::Interactive).await.expect("begins");
    let mut part = 0;
    while write.exec(INSERT, (1i64, part)).now_or_never().is_some() {
        part += 1; // the engine was quicker than one poll
    }
    let later = write.exec(INSERT, (1i64, -1i64)).await;
    assert!(matches!(later.expect_err("is latched").first(), StoreError::Abandoned));
    assert!(write.commit().await.is_err());
    assert_eq!(number(&db, COUNT).await, 0);
    change(&db, INSERT, (1i64, 1i64)).await;
}

pub async fn rolled_back_on_drop(harness: DbHarness) {
    let db = harness.db().await;
    change(&db, TABLE, ()).await;
    for explicit in [true, false] {
        let mut write = db.begin(Lane::Background).await.expect("begins");
        assert_eq!(write.exec(INSERT, (1i64, 1i64)).await.expect("runs"), 1);
        if explicit {
            write.rollback().await.expect("rolls back");
        } else {
            drop(write);
        }
        assert_eq!(number(&db, COUNT).await, 0);
        change(&db, INSERT, (2i64, 1i64)).await;
        change(&db, "DELETE FROM mark", ()).await;
    }
}
