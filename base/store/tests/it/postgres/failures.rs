//! What goes wrong with a server, and with those who give up on it.

use super::kit::{self, TestDatabase};
use artel_message::{Code, Fault};
use artel_store::{Args, Db, Lane, Store, StoreError, StoreSettings, Write};
use futures::FutureExt;
use sqlx::{AssertSqlSafe, Executor};
use std::time::Duration;

const TABLE: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)";
const INSERT: &str = "INSERT INTO t (id, n) VALUES ($1, $2)";
const UPDATE: &str = "UPDATE t SET n = n + 1 WHERE id = $1";
const COUNT: &str = "SELECT count(*) FROM t";

async fn change(db: &Db, sql: &'static str, args: impl Args) -> Result<u64, StoreError> {
    let mut write = db.begin(Lane::Interactive).await?;
    let changed = write.exec(sql, args).await?;
    write.commit().await?;
    Ok(changed)
}

async fn count(db: &Db) -> i64 {
    db.read().await.expect("reads").one::<(i64,)>(COUNT, ()).await.expect("reads").0
}

/// Ends every other connection to the database, as a restart or a failing network would.
async fn cut(database: &TestDatabase) {
    let mut connection = database.connection().await;
    let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    connection.execute(others).await.expect("ends them");
    let left = "SELECT 1 / (count(*) - 1) FROM pg_stat_activity WHERE datname = current_database()";
    // The division fails as long as nobody else is left; else they are ending still.
    while connection.execute(left).await.is_ok() {}
}

async fn refused(url: &str) -> StoreError {
    let settings = StoreSettings { connect_timeout: Duration::from_secs(2), ..StoreSettings::default() };
    match Store::open(url, settings).await {
        Err(error) => error,
        Ok(store) => store.db("shop").await.err().expect("is refused"),
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_url_is_told_without_its_password() {
    let Some(database) = kit::database().await else { return };
    let mut connection = database.connection().await;
    let user = format!("{}_user", database.name);
    let make = format!(
        "CREATE ROLE {user} LOGIN PASSWORD 'right'; REVOKE CREATE ON DATABASE {} FROM PUBLIC",
        database.name
    );
    connection.execute(sqlx::raw_sql(AssertSqlSafe(make))).await.expect("makes a user");
    let (scheme, rest) = database.url.split_once("://").expect("a URL");
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let server = host.rsplit_once('/').expect("names a database").0;
    let url = |user: &str, database: &str| format!("{scheme}://{user}:secret-word@{server}/{database}");
    let cases = [
        (url("nobody-here", &database.name), "refuses the user or the password"),
        (url(&user, "no_such_database"), "CREATE DATABASE"),
        (url(&user, &database.name), "GRANT CREATE ON DATABASE"),
    ];
    for (url, said) in cases {
        let error = refused(&url).await;
        let sentence = format!("{error} {error:?}");
        assert!(matches!(error, StoreError::Refused { .. }), "{sentence}");
        assert!(sentence.contains(said), "{sentence}");
        assert!(!sentence.contains("secret-word"), "{sentence}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let error = refused(&format!("postgres://u:secret-word@{free}/d")).await;
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(
        error.to_string().contains("can't be reached") && !error.to_string().contains("secret-word"),
        "{error}"
    );
    for url in ["postgres://u:secret-word@h:not-a-port/d", "postgres://u:secret-word@h"] {
        let error = refused(url).await;
        assert!(
            matches!(error, StoreError::Url { .. }) && !format!("{error:?}").contains("secret-word"),
            "{error:?}"
        );
    }
    let drop = format!("DROP OWNED BY {user}; DROP ROLE {user}");
    connection.execute(sqlx::raw_sql(AssertSqlSafe(drop))).await.expect("drops the user");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_on() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let url = format!("postgres://u:secret-word@{}/d?sslmode=disable", silent.local_addr().expect("bound"));
    let settings = StoreSettings { connect_timeout: Duration::from_millis(50), ..StoreSettings::default() };
    let error = Store::open(&url, settings).await.err().expect("is refused");
    assert!(
        matches!(&error, StoreError::Unavailable { reason, .. } if reason.contains("no answer")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_lost_connection_is_told_and_replaced() {
    let Some(database) = kit::database().await else { return };
    let (_store, db) = database.store(StoreSettings::default()).await;
    change(&db, TABLE, ()).await.expect("runs");
    let mut in_statement = db.begin(Lane::Interactive).await.expect("begins");
    in_statement.exec(INSERT, (1i64, 1i64)).await.expect("runs");
    let mut at_commit = db.begin(Lane::Interactive).await.expect("begins");
    at_commit.exec(INSERT, (2i64, 1i64)).await.expect("runs");
    let mut read = db.read().await.expect("reads");
    cut(&database).await;
    let errors = [
        in_statement.exec(INSERT, (3i64, 1i64)).await.err(),
        at_commit.commit().await.err(),
        read.one::<(i64,)>(COUNT, ()).await.err(),
    ];
    for error in errors.map(|error| error.expect("the connection is lost")) {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(error.is_infrastructure() && !error.is_rerun());
        assert_eq!(Fault::from(error).code, Code::Unavailable);
    }
    assert!(matches!(in_statement.commit().await, Err(StoreError::Latched { .. })));
    drop(read);
    assert_eq!(count(&db).await, 0);
    change(&db, INSERT, (1i64, 1i64)).await.expect("goes on");
    cut(&database).await;
    change(&db, INSERT, (2i64, 1i64)).await.expect("what was kept is replaced unseen");
    assert_eq!(count(&db).await, 2);
}

/// A transaction that holds the row, and another one that waits for it.
async fn waiting(db: &Db) -> (Write, Write) {
    let mut holder = db.begin_plain(Lane::Interactive).await.expect("begins");
    holder.exec(UPDATE, (1i64,)).await.expect("runs");
    let mut waiter = db.begin_plain(Lane::Interactive).await.expect("begins");
    waiter.exec(INSERT, (7i64, 7i64)).await.expect("runs");
    assert!(waiter.exec(UPDATE, (1i64,)).now_or_never().is_none(), "it waits for the row");
    (holder, waiter)
}

#[tokio::test]
async fn a_statement_given_up_on_poisons_nobody() {
    let Some(database) = kit::database().await else { return };
    // One writer: the next transaction would get the same connection.
    let settings =
        StoreSettings { connections: 4, lock_timeout: Duration::from_secs(60), ..StoreSettings::default() };
    let (_store, db) = database.store(settings).await;
    change(&db, TABLE, ()).await.expect("runs");
    change(&db, INSERT, (1i64, 0i64)).await.expect("runs");
    let (holder, mut waiter) = waiting(&db).await;
    let later = waiter.exec(INSERT, (8i64, 8i64)).await.expect_err("the one before was given up on");
    assert!(matches!(later.first(), StoreError::Abandoned), "{later:?}");
    drop(waiter);
    let mut next = db.begin(Lane::Interactive).await.expect("begins on another connection");
    assert_eq!(next.one::<(i64,)>(COUNT, ()).await.expect("reads").0, 1, "nothing of the other one is here");
    next.exec(INSERT, (9i64, 9i64)).await.expect("runs");
    next.commit().await.expect("commits");
    holder.commit().await.expect("commits");
    let mut read = db.read().await.expect("reads");
    let rows = read.all::<(i64, i64)>("SELECT id, n FROM t ORDER BY id", ()).await.expect("reads");
    assert_eq!(rows, [(1, 1), (9, 9)]);
}

#[tokio::test]
async fn closing_gives_up_on_transactions_that_do_not_end() {
    let Some(database) = kit::database().await else { return };
    let settings = StoreSettings {
        lock_timeout: Duration::from_secs(3600),
        statement_timeout: Duration::from_secs(3600),
        close_timeout: Duration::from_millis(200),
        ..StoreSettings::default()
    };
    let (store, db) = database.store(settings).await;
    change(&db, TABLE, ()).await.expect("runs");
    change(&db, INSERT, (1i64, 0i64)).await.expect("runs");
    let mut holder = db.begin_plain(Lane::Interactive).await.expect("begins");
    holder.exec(UPDATE, (1i64,)).await.expect("runs");
    let mut waiter = db.begin_plain(Lane::Interactive).await.expect("begins");
    let waits = tokio::spawn(async move { waiter.exec(UPDATE, (1i64,)).await });
    tokio::time::timeout(Duration::from_secs(60), store.close()).await.expect("closing ends");
    let says = |error: StoreError| assert!(error.first().to_string().contains("close_timeout"), "{error}");
    says(waits.await.expect("it ends well").expect_err("it is given up on"));
    says(holder.exec(UPDATE, (1i64,)).await.expect_err("so is this"));
    drop(holder);
    assert!(matches!(db.read().await, Err(StoreError::Closed { .. })));
    // The server has undone it once the connections are gone.
    let mut connection = database.connection().await;
    let changed = format!("UPDATE artel_{}.t SET n = n + 10 WHERE id = 1 AND n = 0", db.name());
    let done = connection.execute(sqlx::raw_sql(AssertSqlSafe(changed))).await.expect("the row is free");
    assert_eq!(done.rows_affected(), 1);
}

#[tokio::test]
async fn an_idle_transaction_dropped_keeps_its_connection() {
    let Some(database) = kit::database().await else { return };
    let (_store, db) = database.store(StoreSettings { connections: 3, ..StoreSettings::default() }).await;
    change(&db, TABLE, ()).await.expect("runs");
    let pid = async |db: &Db| {
        let mut write = db.begin(Lane::Interactive).await.expect("begins");
        write.exec(INSERT, (1i64, 1i64)).await.expect("runs");
        let pid = write.one::<(i64,)>("SELECT CAST(pg_backend_pid() AS BIGINT)", ()).await.expect("tells").0;
        (write, pid)
    };
    let (write, first) = pid(&db).await;
    drop(write);
    let (mut write, second) = pid(&db).await;
    assert_eq!(first, second);
    assert!(write.exec(INSERT, (1i64, 1i64)).await.is_err_and(|error| error.is_unique()));
    drop(write);
    let (write, third) = pid(&db).await;
    assert_eq!(first, third, "a failed one does as well");
    write.commit().await.expect("commits");
    assert_eq!(count(&db).await, 1);
    // So does a result that nobody read to its end.
    let mut read = db.read().await.expect("reads");
    let numbers = "SELECT n FROM generate_series(CAST(1 AS BIGINT), CAST(100000 AS BIGINT)) AS s (n)";
    let mut rows = read.stream::<(i64,)>(numbers, ()).expect("runs");
    assert_eq!(rows.next().await.expect("reads"), Some((1,)));
    drop(rows);
    assert_eq!(read.one::<(i64,)>(COUNT, ()).await.expect("goes on").0, 1);
    let mut rows = read.stream::<(i64,)>(numbers, ()).expect("runs");
    assert_eq!(rows.next().await.expect("reads"), Some((1,)));
    drop(rows);
    drop(read);
    assert_eq!(count(&db).await, 1);
}

#[tokio::test]
async fn time_outs_and_deadlocks_have_their_classes() {
    let Some(database) = kit::database().await else { return };
    let short = Duration::from_millis(100);
    let settings = StoreSettings { lock_timeout: short, ..StoreSettings::default() };
    let (_store, db) = database.store(settings).await;
    let settings = StoreSettings { idle_in_transaction_timeout: short, ..StoreSettings::default() };
    let (_silent_store, silent) = database.store(settings).await;
    change(&db, TABLE, ()).await.expect("runs");
    change(&db, "INSERT INTO t (id, n) VALUES (1, 0), (2, 0)", ()).await.expect("runs");
    let mut holder = db.begin_plain(Lane::Interactive).await.expect("begins");
    holder.exec(UPDATE, (1i64,)).await.expect("runs");
    let mut waiter = db.begin_plain(Lane::Background).await.expect("begins");
    let error = waiter.exec(UPDATE, (1i64,)).await.expect_err("waits for too long");
    assert!(
        matches!(&error, StoreError::Unavailable { reason, .. } if reason.contains("lock_timeout")),
        "{error:?}"
    );
    drop((waiter, holder));
    let mut holder = silent.begin_plain(Lane::Interactive).await.expect("begins");
    holder.exec(UPDATE, (1i64,)).await.expect("runs");
    // The server ends a transaction that says nothing: whoever waits for its row gets it in the end.
    while change(&db, UPDATE, (1i64,)).await.is_err() {}
    let error = holder.exec(UPDATE, (2i64,)).await.expect_err("was ended");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(holder.commit().await.is_err());

    let (_store, db) = database.store(StoreSettings::default()).await;
    let slow = StoreSettings { statement_timeout: short, ..StoreSettings::default() };
    let (_slow_store, slow) = database.store(slow).await;
    let mut read = slow.read().await.expect("reads");
    let error = read.all::<(Option<i64>,)>("SELECT CAST(NULL AS BIGINT) FROM pg_sleep(60)", ());
    let error = error.await.expect_err("takes too long");
    assert!(
        matches!(&error, StoreError::Unavailable { reason, .. } if reason.contains("statement_timeout")),
        "{error:?}"
    );

    let mut one = db.begin_plain(Lane::Interactive).await.expect("begins");
    let mut other = db.begin_plain(Lane::Interactive).await.expect("begins");
    one.exec(UPDATE, (1i64,)).await.expect("runs");
    other.exec(UPDATE, (2i64,)).await.expect("runs");
    let (a, b) = futures::join!(one.exec(UPDATE, (2i64,)), other.exec(UPDATE, (1i64,)));
    let error = a.err().or(b.err()).expect("one of them is the victim");
    assert!(
        matches!(error, StoreError::Serialization) && error.is_rerun() && error.is_infrastructure(),
        "{error:?}"
    );
}

#[tokio::test]
async fn values_are_not_told() {
    let Some(database) = kit::database().await else { return };
    let (_store, db) = database.store(StoreSettings::default()).await;
    let mut write = db.begin(Lane::Interactive).await.expect("begins");
    let text = "SELECT CAST($1 AS TEXT), CAST(CAST($1 AS TEXT) AS BIGINT)";
    let error = write.one::<(String, i64)>(text, ("secret-word",)).await.expect_err("is no number");
    assert!(
        matches!(error, StoreError::Statement { .. }) && !format!("{error:?}").contains("secret"),
        "{error:?}"
    );
}

/// The same text with other types, which sqlx alone would bind to the parameters of the first ones.
#[tokio::test]
async fn one_text_serves_several_types() {
    let Some(database) = kit::database().await else { return };
    let (_store, db) = database.store(StoreSettings::default()).await;
    let mut read = db.read().await.expect("reads");
    for _ in 0..2 {
        assert_eq!(read.one::<(String,)>("SELECT CAST($1 AS TEXT)", (7i64,)).await.expect("reads").0, "7");
        assert_eq!(
            read.one::<(String,)>("SELECT CAST($1 AS TEXT)", ("12345678",)).await.expect("reads").0,
            "12345678"
        );
        assert_eq!(read.one::<(String,)>("SELECT CAST($1 AS TEXT)", (true,)).await.expect("reads").0, "true");
    }
}
