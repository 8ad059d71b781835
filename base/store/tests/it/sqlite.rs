//! SQLite: the suite, and what only files have.

use artel_message::{Code, Fault};
use artel_store::conformance::DbHarness;
use artel_store::{Args, Db, Lane, Store, StoreError, StoreSettings};
use futures::FutureExt;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

async fn open(folder: &Path, settings: StoreSettings) -> (Store, Db) {
    let store = Store::open(&url(folder), settings).await.expect("opens");
    let db = store.db("shop").await.expect("opens");
    (store, db)
}

async fn change(db: &Db, sql: &'static str, args: impl Args) -> Result<u64, StoreError> {
    let mut write = db.begin(Lane::Interactive).await?;
    let changed = write.exec(sql, args).await?;
    write.commit().await?;
    Ok(changed)
}

async fn count(db: &Db) -> i64 {
    let mut read = db.read().await.expect("reads");
    read.one::<(i64,)>("SELECT count(*) FROM t", ()).await.expect("reads").0
}

const TABLE: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, body BYTEA NOT NULL)";
const INSERT: &str = "INSERT INTO t (id, body) VALUES ($1, $2)";

/// Inserts 4 kB rows from `from` on until one fails; the next free id and the error.
async fn fill(db: &Db, from: i64) -> (i64, StoreError) {
    for id in from..from + 10_000 {
        if let Err(error) = change(db, INSERT, (id, vec![7u8; 4096])).await {
            return (id, error);
        }
    }
    panic!("there is room for 40 MB");
}

fn assert_full(error: StoreError) {
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(error.is_infrastructure());
    assert!(error.to_string().contains("free space"), "{error}");
    assert!(Fault::from(error).is_storage_full());
}

#[tokio::test]
async fn a_folder_belongs_to_one_process() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (store, db) = open(folder.path(), StoreSettings::default()).await;
    let refused = Store::open(&url(folder.path()), StoreSettings::default()).await.err().expect("is refused");
    let sentence = refused.to_string();
    assert!(sentence.contains(&folder.path().display().to_string()), "{sentence}");
    assert!(sentence.contains(&format!("pid {}", std::process::id())), "{sentence}");
    store.close().await;
    let (again, other) = open(folder.path(), StoreSettings::default()).await;
    assert!(matches!(db.read().await, Err(StoreError::Closed { .. })), "an old handle stays closed");
    drop((again, other, store, db));
    open(folder.path(), StoreSettings::default()).await;
    let file = folder.path().join("file");
    std::fs::write(&file, "text").expect("writes");
    let refused = Store::open(&url(&file), StoreSettings::default()).await.err().expect("is refused");
    assert!(matches!(refused, StoreError::Folder { .. }), "{refused}");
}

#[tokio::test]
async fn the_settings_that_durability_rests_on_are_set() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_store, db) = open(folder.path(), StoreSettings::default()).await;
    let mut write = db.begin(Lane::Interactive).await.expect("begins");
    assert_eq!(write.one::<(String,)>("PRAGMA journal_mode", ()).await.expect("tells").0, "wal");
    assert_eq!(write.one::<(i64,)>("PRAGMA synchronous", ()).await.expect("tells").0, 2);
    assert_eq!(write.one::<(i64,)>("PRAGMA foreign_keys", ()).await.expect("tells").0, 1);
    let mut read = db.read().await.expect("reads");
    assert_eq!(read.one::<(i64,)>("PRAGMA mmap_size", ()).await.expect("tells").0, 0);
    assert_eq!(read.one::<(i64,)>("PRAGMA cache_size", ()).await.expect("tells").0, -2048);
}

#[tokio::test]
async fn a_full_file_refuses_and_takes_again_when_there_is_room() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = StoreSettings { max_bytes: Some(1 << 20), ..StoreSettings::default() };
    let (store, db) = open(folder.path(), settings).await;
    change(&db, TABLE, ()).await.expect("runs");
    let (next, error) = fill(&db, 0).await;
    assert_full(error);
    assert!(next > 100, "{next} rows fitted");
    assert_eq!(count(&db).await, next, "one can read");
    change(&db, "DELETE FROM t WHERE id < $1", (50i64,)).await.expect("one can delete");
    change(&db, INSERT, (next, vec![7u8; 4096])).await.expect("there is room again");
    let (next, error) = fill(&db, next + 1).await;
    assert_full(error);
    store.close().await;
    let (_store, db) = open(folder.path(), StoreSettings::default()).await;
    change(&db, INSERT, (next, vec![7u8; 4096])).await.expect("the bound is gone");
}

/// A small file system of its own, for root on Linux.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=3m", "artel-test"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: connections may still be closing. A failure leaves a mount that the next start of the machine clears.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_takes_again_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        println!(
            "skipped: a_full_disk_refuses_and_takes_again_when_there_is_room: mounting a tmpfs needs root on Linux"
        );
        return;
    };
    let folder = disk.0.path();
    let (store, db) = open(folder, StoreSettings::default()).await;
    change(&db, TABLE, ()).await.expect("runs");
    let ballast = folder.join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).expect("there is room");
    let (next, error) = fill(&db, 0).await;
    assert_full(error);
    let (_, error) = fill(&db, next).await;
    assert_full(error);
    assert_eq!(count(&db).await, next, "one can read what was committed");
    std::fs::remove_file(&ballast).expect("is there");
    change(&db, INSERT, (next, vec![7u8; 4096])).await.expect("there is room again");
    assert_eq!(count(&db).await, next + 1);
    store.close().await;
}

#[tokio::test]
async fn another_program_on_the_file_is_waited_for_and_then_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = StoreSettings { busy_timeout: Duration::from_millis(20), ..StoreSettings::default() };
    let (_store, db) = open(folder.path(), settings).await;
    change(&db, TABLE, ()).await.expect("runs");
    let options = SqliteConnectOptions::new().filename(folder.path().join("shop.db"));
    let mut other = options.connect().await.expect("connects");
    other.execute("BEGIN IMMEDIATE").await.expect("takes the lock");
    let error = change(&db, INSERT, (1i64, vec![0u8])).await.expect_err("it is locked");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert_eq!(Fault::from(error).code, Code::Unavailable);
    other.execute("ROLLBACK").await.expect("gives the lock back");
    change(&db, INSERT, (1i64, vec![0u8])).await.expect("goes on");
}

#[tokio::test]
async fn a_dropped_transaction_keeps_its_connection() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_store, db) = open(folder.path(), StoreSettings::default()).await;
    change(&db, TABLE, ()).await.expect("runs");
    change(&db, "CREATE TEMP TABLE mine (n BIGINT)", ()).await.expect("is of this connection alone");
    let mut write = db.begin(Lane::Interactive).await.expect("begins");
    let _ = write.exec(INSERT, (1i64, vec![0u8])).now_or_never();
    drop(write);
    let dropped_begin = {
        let db = db.clone();
        async move { db.begin(Lane::Interactive).await }
    };
    let _ = dropped_begin.boxed().now_or_never();
    let mut write = db.begin(Lane::Interactive).await.expect("begins");
    write.one::<(i64,)>("SELECT count(*) FROM mine", ()).await.expect("the same connection");
    assert_eq!(write.one::<(i64,)>("SELECT count(*) FROM t", ()).await.expect("reads").0, 0);
}

#[tokio::test]
async fn a_damaged_file_is_named_and_a_broken_connection_replaced() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (store, db) = open(folder.path(), StoreSettings::default()).await;
    change(&db, TABLE, ()).await.expect("runs");
    for id in 0..200i64 {
        change(&db, INSERT, (id, vec![1u8; 1000])).await.expect("runs");
    }
    store.close().await;
    let path = folder.path().join("shop.db");
    let whole = std::fs::read(&path).expect("reads");
    let mut damaged = whole.clone();
    damaged[2 * 4096..].fill(0xa5);
    std::fs::write(&path, &damaged).expect("writes");
    let (store, db) = open(folder.path(), StoreSettings::default()).await;
    let error = change(&db, "UPDATE t SET body = body", ()).await.expect_err("is damaged");
    assert!(matches!(&error, StoreError::Damaged { path: named, .. } if *named == path), "{error:?}");
    assert!(error.to_string().contains("restore a backup"), "{error}");
    std::fs::write(&path, &whole).expect("writes");
    assert_eq!(change(&db, "UPDATE t SET body = body", ()).await.expect("a new connection reads anew"), 200);
    store.close().await;
    std::fs::write(&path, "this is no database, whatever its name says; it is long enough").expect("writes");
    let store = Store::open(&url(folder.path()), StoreSettings::default()).await.expect("opens");
    assert!(matches!(store.db("shop").await, Err(StoreError::Damaged { .. })));
    assert!(matches!(store.db("../shop").await, Err(StoreError::Name { .. })));
}

#[tokio::test]
async fn readers_and_waiting_writers_are_bounded() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = StoreSettings { readers: 2, waiting: 1, ..StoreSettings::default() };
    let (_store, db) = open(folder.path(), settings).await;
    let first = db.read().await.expect("reads");
    let _second = db.read().await.expect("reads");
    let mut third = db.read().boxed();
    assert!((&mut third).now_or_never().is_none(), "both readers are busy");
    drop(first);
    third.await.expect("reads");
    let _write = db.begin(Lane::Interactive).await.expect("begins");
    let mut waits = db.begin(Lane::Interactive).boxed();
    assert!((&mut waits).now_or_never().is_none());
    let crowded = db.begin(Lane::Interactive).await.err().expect("is refused");
    assert!(matches!(crowded, StoreError::Crowded { bound: 1, .. }), "{crowded:?}");
}

/// Readers that overlap all the time: SQLite alone would let the write-ahead log grow for ever.
async fn overlapping_reads(db: Db, done: Arc<AtomicBool>) {
    let mut previous = None;
    while !done.load(Ordering::Relaxed) {
        let mut read = db.read().await.expect("reads");
        read.one::<(i64,)>("SELECT count(*) FROM t", ()).await.expect("reads");
        previous = Some(read);
        tokio::task::yield_now().await;
    }
    drop(previous);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_is_bounded() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = StoreSettings { wal_bytes: 1 << 20, ..StoreSettings::default() };
    let (store, db) = open(folder.path(), settings).await;
    change(&db, TABLE, ()).await.expect("runs");
    let done = Arc::new(AtomicBool::new(false));
    let reads = tokio::spawn(overlapping_reads(db.clone(), Arc::clone(&done)));
    let wal = folder.path().join("shop.db-wal");
    let mut largest = 0;
    for id in 0..1000i64 {
        change(&db, INSERT, (id, vec![7u8; 16_384])).await.expect("runs");
        largest = largest.max(std::fs::metadata(&wal).expect("is there").len());
    }
    assert!(largest < 4 << 20, "{largest} bytes");
    done.store(true, Ordering::Relaxed);
    reads.await.expect("the task ends well");
    store.close().await;
    assert!(std::fs::metadata(&wal).map_or(0, |meta| meta.len()) == 0, "nothing is left in the log");
    let (_store, db) = open(folder.path(), StoreSettings::default()).await;
    assert_eq!(count(&db).await, 1000);
}

/// What a killed process leaves behind: the files as they are in the middle of a transaction.
#[tokio::test]
async fn what_is_committed_survives_and_what_is_not_does_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_store, db) = open(folder.path(), StoreSettings::default()).await;
    change(&db, TABLE, ()).await.expect("runs");
    for id in 0..100i64 {
        change(&db, INSERT, (id, vec![7u8; 100])).await.expect("runs");
    }
    let mut write = db.begin(Lane::Interactive).await.expect("begins");
    // More than the page cache holds, so that some of it is in the log already.
    for id in 100..1100i64 {
        write.exec(INSERT, (id, vec![7u8; 20_000])).await.expect("runs");
    }
    let after = tempfile::tempdir().expect("a temporary folder");
    for name in ["shop.db", "shop.db-wal"] {
        std::fs::copy(folder.path().join(name), after.path().join(name)).expect("copies");
    }
    let (_store, survivor) = open(after.path(), StoreSettings::default()).await;
    assert_eq!(count(&survivor).await, 100);
    change(&survivor, INSERT, (100i64, vec![1u8])).await.expect("goes on");
    write.rollback().await.expect("rolls back");
}

#[tokio::test]
async fn a_copy_holds_one_moment_and_is_begun_while_writers_are_kept_out() {
    let (folder, target) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (store, db) = open(folder.path(), StoreSettings::default()).await;
    change(&db, TABLE, ()).await.expect("made");
    for id in 0..3_000 {
        change(&db, INSERT, (id, vec![7u8; 2048])).await.expect("stored");
    }
    let copy = target.path().join("shop.db");
    let held = db.begin(Lane::Interactive).await.expect("a turn");
    let (begun, moment) = tokio::sync::oneshot::channel();
    let copying = tokio::spawn({
        let (db, copy) = (db.clone(), copy.clone());
        async move { db.copy_to(&copy, move || begun.send(()).expect("somebody waits")).await }
    });
    moment.await.expect("it begins");
    held.rollback().await.expect("ends");
    change(&db, INSERT, (9_999, vec![7u8; 10])).await.expect("writers go on");
    copying.await.expect("ends").expect("copied");
    Db::check_copy(&copy).await.expect("is whole");
    let (_other, copied) = open(target.path(), StoreSettings::default()).await;
    assert_eq!((count(&copied).await, count(&db).await), (3_000, 3_001));
    assert_eq!(store.names().expect("a folder"), ["shop"]);
    let taken = db.copy_to(&copy, || {}).await.expect_err("the file is there").to_string();
    assert!(taken.contains("already exists"), "{taken}");
}

#[tokio::test]
async fn a_damaged_copy_is_told() {
    let (folder, target) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (_store, db) = open(folder.path(), StoreSettings::default()).await;
    change(&db, TABLE, ()).await.expect("made");
    for id in 0..50 {
        change(&db, INSERT, (id, vec![7u8; 1000])).await.expect("stored");
    }
    let copy = target.path().join("shop.db");
    db.copy_to(&copy, || {}).await.expect("copied");
    let mut bytes = std::fs::read(&copy).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xff);
    std::fs::write(&copy, bytes).expect("written");
    assert!(matches!(Db::check_copy(&copy).await, Err(StoreError::Damaged { .. })));
    assert!(matches!(Db::check_copy(&target.path().join("none")).await, Err(StoreError::Damaged { .. })));
}
