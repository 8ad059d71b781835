//! A disk that fails: full, broken on fsync, writing short.

use crate::sim_disk::{Op, SimDisk};
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{BusError, Fetch, Log, Record, TopicSpec, Topics};
use artel_message::{Code, Fault, Time};
use std::sync::Arc;

const ALL: Fetch = Fetch { max_records: usize::MAX, max_bytes: usize::MAX };

async fn open(disk: &SimDisk, partitions: u32) -> Arc<Segments> {
    let config = SegmentsConfig { tail_cache_bytes: 0, ..SegmentsConfig::default() };
    let bus = Segments::open_on(Arc::new(disk.clone()), "/log", config).expect("opens");
    let spec = TopicSpec { name: "t".into(), partitions, retention_ms: None, retention_bytes: None };
    bus.make(spec).await.expect("made");
    bus
}

async fn append(bus: &Segments, partition: u32, value: &[u8]) -> Result<i64, BusError> {
    let record = Record { key: None, value: Some(value), headers: &[], time: Time::from_millis(1) };
    bus.append("t", partition, &[record]).await.map(|a| a.base)
}

async fn values(bus: &Segments, partition: u32) -> Vec<Vec<u8>> {
    let end = bus.bounds("t", partition).await.expect("known").end;
    let (mut at, mut values) = (0, Vec::new());
    while at < end {
        let fetched = bus.read("t", partition, at, ALL).await.expect("readable");
        values.extend(fetched.records.into_iter().map(|r| r.value.expect("a value").to_vec()));
        at = fetched.next;
    }
    values
}

#[tokio::test]
async fn a_full_disk_refuses_whole_batches_and_goes_on_when_there_is_room() {
    let disk = SimDisk::new();
    let bus = open(&disk, 1).await;
    append(&bus, 0, b"first").await.expect("there is room");
    let log = std::path::Path::new("/log/t-0/00000000000000000000.log");
    let before = disk.content(log);
    disk.set(|faults| faults.room = Some(700));
    for _ in 0..3 {
        let refused = append(&bus, 0, &[7; 2000]).await.expect_err("there is no room");
        assert!(matches!(&refused, BusError::DiskFull { path } if path.contains("t-0")), "{refused}");
        assert!(refused.is_retriable());
        assert_eq!(Fault::from(refused).code, Code::Exhausted);
        assert_eq!(disk.content(log), before, "what was written in part is cut back");
    }
    append(&bus, 0, b"small").await.expect("a small one fits");
    disk.set(|faults| faults.room = None);
    assert_eq!(append(&bus, 0, b"again").await.expect("there is room again"), 2);
    assert_eq!(values(&bus, 0).await, [&b"first"[..], b"small", b"again"]);
    disk.set(|faults| faults.room = Some(0));
    let spec = |name: &str| TopicSpec {
        name: name.into(),
        partitions: 1,
        retention_ms: None,
        retention_bytes: None,
    };
    let refused = bus.make(spec("another")).await.expect_err("no room for a topic");
    assert!(matches!(refused, BusError::DiskFull { .. }), "{refused}");
    disk.set(|faults| faults.room = None);
    bus.make(spec("another")).await.expect("made once there is room");
    bus.close().await;
}

#[tokio::test]
async fn a_failed_fsync_stops_the_partition_until_a_restart_and_is_never_tried_again() {
    let disk = SimDisk::new();
    let bus = open(&disk, 2).await;
    append(&bus, 0, b"kept").await.expect("stored");
    let waiter = tokio::spawn({
        let bus = bus.clone();
        async move { bus.wait("t", 0, 1).await }
    });
    disk.set(|faults| faults.failing = vec![(Op::Sync, "t-0/00000000000000000000.log")]);
    let unknown = append(&bus, 0, b"doubtful").await.expect_err("the fsync fails");
    assert!(matches!(&unknown, BusError::Unavailable(why) if why.contains("fsync")), "{unknown}");
    let woken = waiter.await.expect("the waiter ends well").expect_err("there will never be more");
    assert!(matches!(woken, BusError::Stopped { partition: 0, .. }), "{woken}");
    for _ in 0..3 {
        let stopped = append(&bus, 0, b"more").await.expect_err("it is stopped");
        let sentence = stopped.to_string();
        assert!(sentence.contains("start again") && sentence.contains("t/0"), "{sentence}");
        assert!(matches!(bus.read("t", 0, 0, ALL).await, Err(BusError::Stopped { .. })));
    }
    assert_eq!(disk.faults().failed_syncs, 1, "a failed fsync is not tried again");
    append(&bus, 1, b"other").await.expect("the other partition goes on");
    bus.close().await;
    assert_eq!(disk.faults().failed_syncs, 1, "nor on closing");

    disk.set(|faults| faults.failing.clear());
    let bus = open(&disk, 2).await;
    let held = values(&bus, 0).await;
    assert_eq!(held[0], b"kept");
    append(&bus, 0, b"more").await.expect("it serves again");
    assert_eq!(values(&bus, 1).await, [b"other"]);
    bus.close().await;
}

#[tokio::test]
async fn short_writes_lose_nothing() {
    let disk = SimDisk::new();
    let bus = open(&disk, 1).await;
    disk.set(|faults| faults.short_writes = Some(7));
    let wanted: Vec<Vec<u8>> = (0..20u8).map(|i| vec![i; 100 + usize::from(i)]).collect();
    for value in &wanted {
        append(&bus, 0, value).await.expect("stored");
    }
    assert_eq!(values(&bus, 0).await, wanted);
    bus.close().await;
}

#[tokio::test]
async fn a_write_that_cannot_be_cut_back_stops_the_partition_and_promises_nothing() {
    let disk = SimDisk::new();
    let bus = open(&disk, 1).await;
    append(&bus, 0, b"kept").await.expect("stored");
    // The power goes within the write: cutting back fails as well.
    disk.set(|faults| faults.power_for = Some(1));
    let unknown = append(&bus, 0, &[1; 500]).await.expect_err("no power");
    assert!(matches!(unknown, BusError::Unavailable(_)), "{unknown}");
    let stopped = append(&bus, 0, b"more").await.expect_err("it is stopped");
    assert!(matches!(stopped, BusError::Stopped { .. }), "{stopped}");
    bus.close().await;
}

/// A folder on a small file system of its own, from `./test`.
#[tokio::test]
async fn a_disk_that_is_really_full_is_survived() {
    let Some(disks) = std::env::var_os("ARTEL_TEST_SMALL_DISKS") else {
        println!(
            "skipped: faults::a_disk_that_is_really_full_is_survived: ARTEL_TEST_SMALL_DISKS is not set (root, from ./test)"
        );
        return;
    };
    let disk = std::path::Path::new(&disks).join("log");
    let filler = disk.join("filler");
    std::fs::write(&filler, vec![0; 8 << 20]).expect("room for the filler");
    let root = disk.join("data");
    let bus = Segments::open(&root, SegmentsConfig::default()).expect("opens");
    bus.make(TopicSpec { name: "t".into(), partitions: 1, retention_ms: None, retention_bytes: None })
        .await
        .expect("made");
    let value = vec![7; 1 << 20];
    let mut stored = 0;
    let refused = loop {
        match append(&bus, 0, &value).await {
            Ok(offset) => stored = offset + 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, BusError::DiskFull { .. }) && stored > 8, "{refused} after {stored}");
    std::fs::remove_file(&filler).expect("removed");
    for _ in 0..4 {
        assert_eq!(append(&bus, 0, &value).await.expect("there is room again"), stored);
        stored += 1;
    }
    bus.close().await;
    let bus = Segments::open(&root, SegmentsConfig::default()).expect("opens again");
    let held = values(&bus, 0).await;
    assert!(held.len() as i64 == stored && held.iter().all(|v| *v == value), "{} of {stored}", held.len());
    bus.close().await;
    std::fs::remove_dir_all(&root).expect("removed");
}
