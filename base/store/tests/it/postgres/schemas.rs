//! Several services on one server, several processes on one schema.

use super::kit;
use artel_store::{Db, Lane, Migrations, Store, StoreError, StoreSettings};
use futures::FutureExt;
use std::time::Duration;

const FILES: &[(&str, &str)] =
    &[("0001_init.sql", "CREATE TABLE a (n BIGINT NOT NULL); INSERT INTO a (n) VALUES (1);")];
const SETS: [Migrations; 1] = [Migrations { component: "shop", files: FILES }];

async fn change(db: &Db, sql: &'static str) {
    let mut write = db.begin(Lane::Interactive).await.expect("begins");
    write.exec(sql, ()).await.expect("runs");
    write.commit().await.expect("commits");
}

/// The same texts mean other tables, with other types, on the same few connections.
#[tokio::test]
async fn services_share_connections_and_nothing_else() {
    let Some(database) = kit::database().await else { return };
    let settings = StoreSettings { connections: 3, ..StoreSettings::default() };
    let store = Store::open(&database.url, settings).await.expect("opens");
    let (shop, bank) = (store.db("shop").await.expect("opens"), store.db("bank-2").await.expect("opens"));
    change(&shop, "CREATE TABLE a (x BIGINT)").await;
    change(&bank, "CREATE TABLE a (x TEXT)").await;
    change(&shop, "INSERT INTO a (x) VALUES (7)").await;
    change(&bank, "INSERT INTO a (x) VALUES ('seven')").await;
    for _ in 0..3 {
        let mut read = shop.read().await.expect("reads");
        assert_eq!(read.one::<(i64,)>("SELECT x FROM a", ()).await.expect("reads").0, 7);
        drop(read);
        let mut read = bank.read().await.expect("reads");
        assert_eq!(read.one::<(String,)>("SELECT x FROM a", ()).await.expect("reads").0, "seven");
    }
    shop.close().await;
    assert!(matches!(shop.read().await, Err(StoreError::Closed { .. })));
    change(&bank, "DELETE FROM a").await;
    store.close().await;
    assert!(matches!(bank.begin(Lane::Interactive).await, Err(StoreError::Closed { .. })));
}

#[tokio::test]
async fn nodes_start_at_once() {
    let Some(database) = kit::database().await else { return };
    let nodes = (0..6).map(|_| {
        let url = database.url.clone();
        tokio::spawn(async move {
            let store = Store::open(&url, StoreSettings { connections: 3, ..StoreSettings::default() })
                .await
                .expect("opens");
            let db = store.db("shop").await.expect("opens");
            db.migrate(&SETS).await.expect("migrates").len()
        })
    });
    let mut applied = 0;
    for node in nodes.collect::<Vec<_>>() {
        applied += node.await.expect("the task ends well");
    }
    assert_eq!(applied, 1);
}

/// The budget: readers don't keep writers out, background work leaves room for requests, and who is too many is told so.
#[tokio::test]
async fn the_budget_is_bounded_and_cut() {
    let Some(database) = kit::database().await else { return };
    // Wake-ups, 2 readers, 5 writers of which 4 may be in the background.
    let settings = StoreSettings { connections: 8, waiting: 1, ..StoreSettings::default() };
    let (_store, db) = database.store(settings).await;
    let _readers = [db.read().await.expect("reads"), db.read().await.expect("reads")];
    let mut third = db.read().boxed();
    assert!((&mut third).now_or_never().is_none(), "both readers are busy");
    assert!(matches!(db.read().await.err(), Some(StoreError::Crowded { bound: 1, .. })));
    let mut background = Vec::new();
    for _ in 0..4 {
        background.push(db.begin(Lane::Background).await.expect("begins"));
    }
    let mut fifth = db.begin(Lane::Background).boxed();
    assert!((&mut fifth).now_or_never().is_none(), "the background has its share");
    let request = db.begin(Lane::Interactive).await.expect("begins");
    let mut waits = db.begin(Lane::Interactive).boxed();
    assert!((&mut waits).now_or_never().is_none());
    assert!(matches!(db.begin(Lane::Interactive).await.err(), Some(StoreError::Crowded { bound: 1, .. })));
    drop(request);
    waits.await.expect("its turn");
    background.pop();
    fifth.await.expect("its turn");
    let mut connection = database.connection().await;
    let all = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let (open,): (i64,) = sqlx::query_as(all).fetch_one(&mut connection).await.expect("tells");
    assert!(open <= 7, "{open} connections");
}

async fn woken_within(woken: &mut artel_store::Woken, deadline: Duration) -> bool {
    tokio::time::timeout(deadline, woken.wait()).await.is_ok()
}

/// Two processes, as far as the store can tell.
#[tokio::test]
async fn another_process_is_woken_also_after_its_connection_was_lost() {
    let Some(database) = kit::database().await else { return };
    let (here, there) =
        (database.store(StoreSettings::default()).await, database.store(StoreSettings::default()).await);
    let bank = there.0.db("bank").await.expect("opens");
    let (mut outbox, mut other) = (there.1.woken("outbox"), there.1.woken("timers"));
    let mut elsewhere = bank.woken("outbox");
    let deadline = Duration::from_secs(30);
    // Once it listens everybody is woken, for what may have been before.
    assert!(woken_within(&mut outbox, deadline).await && woken_within(&mut other, deadline).await);
    assert!(woken_within(&mut elsewhere, deadline).await);
    here.1.wake("outbox");
    assert!(woken_within(&mut outbox, deadline).await);
    let mut own = here.1.woken("outbox");
    here.1.wake("outbox");
    assert!(own.wait().now_or_never().is_some(), "one's own are woken at once");
    assert!(woken_within(&mut outbox, deadline).await);
    assert!(other.wait().now_or_never().is_none() && elsewhere.wait().now_or_never().is_none());
    let mut connection = database.connection().await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    sqlx::query(cut).execute(&mut connection).await.expect("ends them");
    // It connects again, wakes everybody for what it may have missed, and hears again.
    assert!(woken_within(&mut other, deadline).await);
    assert!(woken_within(&mut outbox, deadline).await);
    here.1.wake("timers");
    assert!(woken_within(&mut other, deadline).await);
}

/// The last that a process says is that it gave back what it had: nobody is to find that out by looking.
#[tokio::test]
async fn a_process_that_ends_sends_what_it_still_has_to_say() {
    let Some(database) = kit::database().await else { return };
    let (here, there) =
        (database.store(StoreSettings::default()).await, database.store(StoreSettings::default()).await);
    let (mut outbox, mut timers) = (there.1.woken("outbox"), there.1.woken("timers"));
    let deadline = Duration::from_secs(30);
    assert!(woken_within(&mut outbox, deadline).await && woken_within(&mut timers, deadline).await);
    here.1.wake("outbox");
    assert!(woken_within(&mut outbox, deadline).await);
    // What comes right behind a notification waits for the next one.
    here.1.wake("timers");
    here.0.close().await;
    assert!(woken_within(&mut timers, deadline).await);
}

/// A migration takes as long as it takes, and a node that starts meanwhile waits for it.
#[tokio::test]
async fn migrations_are_not_bound_in_time() {
    const SLOW: &[(&str, &str)] = &[("0001_slow.sql", "SELECT pg_sleep(1); CREATE TABLE a (n BIGINT)")];
    let Some(database) = kit::database().await else { return };
    let short = Duration::from_millis(100);
    let settings =
        StoreSettings { statement_timeout: short, lock_timeout: short, ..StoreSettings::default() };
    let sets = [Migrations { component: "shop", files: SLOW }];
    let (first, second) = (database.store(settings.clone()).await, database.store(settings).await);
    let (one, other) = futures::join!(first.1.migrate(&sets), second.1.migrate(&sets));
    let applied = one.expect("migrates").len() + other.expect("waits").len();
    assert_eq!(applied, 1);
}
