//! Who gets the writer when, how it ends, and its clock.

use super::{change, number};
use crate::conformance::DbHarness;
use crate::{Db, Lane, StoreError, StoreSettings, Write};
use artel_message::Time;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const TABLE: &str = "CREATE TABLE line (n BIGINT NOT NULL)";
const INSERT: &str = "INSERT INTO line (n) VALUES ($1)";
const COUNT: &str = "SELECT count(*) FROM line";

/// On PostgreSQL these connections are one for wake-ups, a reader and a writer: there too a second writer waits.
fn one_writer() -> StoreSettings {
    StoreSettings { connections: 3, ..StoreSettings::default() }
}

type Begins = BoxFuture<'static, Result<Write, StoreError>>;

/// Stands in the lane from now on.
fn waits(db: &Db, lane: Lane) -> Begins {
    let db = db.clone();
    let mut begins = async move { db.begin(lane).await }.boxed();
    assert!((&mut begins).now_or_never().is_none(), "the writer is busy");
    begins
}

/// Who waits interactively goes before who waits in the background, in order within a lane, and nobody starves.
pub async fn interactive_lane(harness: DbHarness) {
    let db = harness.db_with(StoreSettings { fairness: 2, ..one_writer() }).await;
    change(&db, TABLE, ()).await;
    let held = db.begin(Lane::Background).await.expect("begins");
    let background = [waits(&db, Lane::Background), waits(&db, Lane::Background)];
    let interactive: Vec<Begins> = (0..5).map(|_| waits(&db, Lane::Interactive)).collect();
    // Those that gave up are passed over.
    drop(waits(&db, Lane::Interactive));
    let numbered = background.into_iter().zip([10i64, 11]).chain(interactive.into_iter().zip(0..));
    let tasks: Vec<_> = numbered
        .map(|(begins, n)| {
            tokio::spawn(async move {
                let mut write = begins.await?;
                let (place,) = write.one::<(i64,)>(COUNT, ()).await?;
                write.exec(INSERT, (place * 100 + n,)).await?;
                write.commit().await
            })
        })
        .collect();
    held.rollback().await.expect("gives way");
    for task in tasks {
        task.await.expect("the task ends well").expect("each gets its turn");
    }
    let order = db.read().await.expect("reads").all::<(i64,)>("SELECT n FROM line ORDER BY n", ()).await;
    let order: Vec<i64> = order.expect("reads").into_iter().map(|(n,)| n % 100).collect();
    assert_eq!(order, [0, 1, 10, 2, 3, 11, 4]);
}

/// A transaction that begins late is nobody's burden before its first statement, and that waits for those before it.
pub async fn late(harness: DbHarness) {
    let db = harness.db_with(one_writer()).await;
    change(&db, TABLE, ()).await;
    let before = CancellationToken::new();
    let mut late = db.begin_late(Lane::Background, before.clone());
    change(&db, INSERT, (1i64,)).await;
    let mut waits = async { late.exec(INSERT, (2i64,)).await }.boxed();
    assert!((&mut waits).now_or_never().is_none(), "it is not its turn");
    change(&db, INSERT, (3i64,)).await;
    before.cancel();
    waits.await.expect("runs");
    let behind = self::waits(&db, Lane::Background);
    assert_eq!(late.one::<(i64,)>(COUNT, ()).await.expect("reads").0, 3);
    late.commit().await.expect("commits");
    drop(behind);

    let mut late = db.begin_late(Lane::Background, before.clone());
    change(&db, INSERT, (4i64,)).await;
    let mut rows = late.stream::<(i64,)>("SELECT n FROM line ORDER BY n", ()).expect("runs");
    let mut seen = Vec::new();
    while let Some((n,)) = rows.next().await.expect("reads") {
        seen.push(n);
    }
    drop(rows);
    assert_eq!(seen, [1, 2, 3, 4]);
    late.exec(INSERT, (5i64,)).await.expect("runs");
    late.rollback().await.expect("undone");

    db.begin_late(Lane::Interactive, CancellationToken::new())
        .commit()
        .await
        .expect("there is nothing to do");
    db.begin_late(Lane::Interactive, CancellationToken::new()).rollback().await.expect("nothing was done");
    let mut late = db.begin_late(Lane::Background, CancellationToken::new());
    assert!(!late.waited_in_vain());
    let given_up = late.exec(INSERT, (6i64,)).now_or_never();
    assert!(given_up.is_none() && late.waited_in_vain(), "it is not its turn");
    let abandoned = late.commit().await.expect_err("a statement was given up");
    assert!(matches!(abandoned, StoreError::Latched { .. }), "{abandoned}");
    let mut late = db.begin_late(Lane::Background, before.clone());
    let dropped = async { late.exec(INSERT, (6i64,)).await }.boxed();
    drop(dropped);
    late.exec(INSERT, (7i64,)).await.expect("a statement that nobody polled is none");
    let outdated = late.outdated();
    assert!(matches!(outdated, StoreError::Serialization), "{outdated}");
    let never = late.commit().await.expect_err("what it goes by has changed");
    assert!(matches!(never, StoreError::Latched { .. }), "{never}");
    assert_eq!(number(&db, COUNT).await, 4);
}

/// A long background loop that looks at `pressed` after each message lets a waiting request in.
pub async fn pressed_background(harness: DbHarness) {
    let db = harness.db_with(StoreSettings { slice: Duration::ZERO, ..one_writer() }).await;
    change(&db, TABLE, ()).await;
    let mut write = db.begin(Lane::Background).await.expect("begins");
    for n in 0..100i64 {
        write.exec(INSERT, (n,)).await.expect("runs");
        assert!(!write.pressed(), "nobody waits");
    }
    let other = waits(&db, Lane::Background);
    assert!(!write.pressed(), "background does not press background");
    let request = waits(&db, Lane::Interactive);
    assert!(write.pressed());
    write.commit().await.expect("commits");
    let mut answered = request.await.expect("begins");
    assert_eq!(answered.one::<(i64,)>(COUNT, ()).await.expect("reads").0, 100);
    let next = waits(&db, Lane::Interactive);
    assert!(!answered.pressed(), "a request is never pressed");
    drop((answered, next, other));
    let slow = StoreSettings { slice: Duration::from_secs(3600), ..one_writer() };
    db.close().await;
    drop(db);
    let db = harness.db_with(slow).await;
    let write = db.begin(Lane::Background).await.expect("begins");
    let _request = waits(&db, Lane::Interactive);
    assert!(!write.pressed(), "its slice of time is not over");
}

/// Closing waits for who is at it, refuses the others, and loses nothing.
pub async fn closing(harness: DbHarness) {
    let db = harness.db_with(one_writer()).await;
    change(&db, TABLE, ()).await;
    let mut write = db.begin(Lane::Interactive).await.expect("begins");
    write.exec(INSERT, (1i64,)).await.expect("runs");
    let waiting = waits(&db, Lane::Interactive);
    let mut closing = db.close().boxed();
    assert!((&mut closing).now_or_never().is_none(), "somebody writes");
    assert!(matches!(waiting.await, Err(StoreError::Closed { .. })));
    write.commit().await.expect("commits");
    closing.await;
    assert!(matches!(db.begin(Lane::Background).await, Err(StoreError::Closed { .. })));
    assert!(matches!(db.read().await, Err(StoreError::Closed { .. })));
    db.close().await;
    drop(db);
    assert_eq!(number(&harness.db().await, COUNT).await, 1);
}

/// The database's clock goes forward and is about the same as this machine's.
pub async fn clock(harness: DbHarness) {
    let db = harness.db().await;
    let first = db.now().await.expect("tells the time");
    let second = db.now().await.expect("tells the time");
    assert!(second >= first);
    let here = Time::from_system(std::time::SystemTime::now());
    assert!(here.since(first) < Duration::from_secs(3600) && first.since(here) < Duration::from_secs(3600));
}
