//! Single operations of the disk that fail, and what the next start makes of what they left.

use crate::sim_disk::{Chance, Op, SimDisk};
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{Bounds, BusError, Fetch, Log, Record, TopicSpec, Topics};
use artel_message::Time;
use std::sync::Arc;

const ALL: Fetch = Fetch { max_records: usize::MAX, max_bytes: usize::MAX };

/// Segments of ten records, with room left for a small one.
fn open(disk: &SimDisk) -> Arc<Segments> {
    let config = SegmentsConfig { segment_bytes: 1800, tail_cache_bytes: 0, ..SegmentsConfig::default() };
    Segments::open_on(Arc::new(disk.clone()), "/log", config).expect("opens")
}

fn spec(retention_bytes: Option<u64>) -> TopicSpec {
    TopicSpec { name: "t".into(), partitions: 1, retention_ms: None, retention_bytes }
}

/// A topic with the records 0..`count`.
async fn filled(disk: &SimDisk, count: i64, retention_bytes: Option<u64>) -> Arc<Segments> {
    let bus = open(disk);
    bus.make(spec(retention_bytes)).await.expect("made");
    for number in 0..count {
        assert_eq!(append(&bus, number, 100).await.expect("stored"), number);
    }
    bus
}

async fn append(bus: &Segments, number: i64, width: usize) -> Result<i64, BusError> {
    let value = format!("{number:0width$}");
    let record =
        Record { key: None, value: Some(value.as_bytes()), headers: &[], time: Time::from_millis(1) };
    bus.append("t", 0, &[record]).await.map(|a| a.base)
}

async fn numbers(bus: &Segments) -> Vec<i64> {
    let Bounds { begin, end } = bus.bounds("t", 0).await.expect("it serves");
    let (mut at, mut all) = (begin, Vec::new());
    while at < end {
        let fetched = bus.read("t", 0, at, ALL).await.expect("readable");
        let number = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap().parse::<i64>().unwrap();
        all.extend(fetched.records.iter().map(|r| number(r.value.as_deref().unwrap())));
        at = fetched.next;
    }
    all
}

#[tokio::test]
async fn a_segment_that_was_made_in_part_costs_no_later_record() {
    let faults = [
        (Op::Create, "00000000000000000010.index"),
        (Op::Create, "00000000000000000010.timeindex"),
        (Op::SetLen, "00000000000000000010.log"),
        (Op::SyncDir, "/log/t-0"),
    ];
    for fault in faults {
        let disk = SimDisk::new();
        let bus = filled(&disk, 10, None).await;
        disk.set(|faults| faults.failing.push(fault));
        append(&bus, 10, 100).await.expect_err("the segment can't be begun");
        // It would fit into the old one, behind whose end the new one's name already stands.
        let mut next = 10 + i64::from(append(&bus, 10, 2).await.is_ok());
        disk.set(|faults| faults.failing.clear());
        for _ in 0..3 {
            assert_eq!(append(&bus, next, 100).await.expect("it goes on"), next, "{fault:?}");
            next += 1;
        }
        disk.kill();
        let bus = open(&disk);
        assert_eq!(numbers(&bus).await, (0..next).collect::<Vec<_>>(), "{fault:?}");
        bus.close().await;
    }
}

/// As an earlier version could leave it.
#[tokio::test]
async fn an_empty_segment_within_its_predecessor_is_removed_at_open() {
    use artel_bus::segments::Disk;
    use std::path::Path;
    // In the last segment, and in one that has a successor.
    for stray in [33, 17] {
        let disk = SimDisk::new();
        filled(&disk, 35, None).await.close().await;
        let path = format!("/log/t-0/{stray:020}.log");
        disk.open(Path::new(&path), true).unwrap();
        disk.sync_dir(Path::new("/log/t-0")).unwrap();
        let bus = open(&disk);
        assert_eq!(numbers(&bus).await, (0..35).collect::<Vec<_>>());
        assert_eq!(append(&bus, 35, 100).await.expect("it goes on"), 35);
        bus.close().await;
        assert!(!disk.list(Path::new("/log/t-0")).unwrap().iter().any(|n| n.starts_with(&path[9..29])));
    }
}

/// The kernel holds pages for clean whose fsync failed: an fsync at the next start is no proof that they were written.
#[tokio::test]
async fn what_a_failed_fsync_left_in_the_cache_is_written_before_it_is_served() {
    for seed in 0..20 {
        let disk = SimDisk::new();
        let bus = filled(&disk, 3, None).await;
        disk.set(|faults| faults.failing.push((Op::Sync, "t-0/00000000000000000000.log")));
        let unknown = append(&bus, 3, 1000).await.expect_err("the fsync fails");
        assert!(matches!(unknown, BusError::Unavailable(_)), "{unknown}");
        bus.close().await;
        disk.kill();
        let bus = open(&disk);
        let served = numbers(&bus).await;
        bus.close().await;
        disk.crash(&mut Chance::new(seed));
        let bus = open(&disk);
        assert_eq!(numbers(&bus).await, served, "seed {seed}: what was readable is gone");
        bus.close().await;
    }
}

#[tokio::test]
async fn a_removal_that_failed_is_finished_before_the_next_and_leaves_no_gap() {
    let disk = SimDisk::new();
    let bus = filled(&disk, 25, Some(1)).await;
    disk.set(|faults| faults.failing.push((Op::Remove, "00000000000000000000.log")));
    bus.retain().await.expect("retention runs");
    for number in 25..45 {
        append(&bus, number, 100).await.expect("stored");
    }
    bus.retain().await.expect("retention runs");
    disk.kill();
    let bus = open(&disk);
    assert_eq!(
        numbers(&bus).await,
        (0..45).collect::<Vec<_>>(),
        "what was not removed is back, without a gap"
    );
    disk.set(|faults| faults.failing.push((Op::Remove, "00000000000000000010.log")));
    bus.retain().await.expect("retention runs");
    disk.set(|faults| faults.failing.clear());
    bus.retain().await.expect("retention runs");
    disk.kill();
    let bus = open(&disk);
    assert_eq!(numbers(&bus).await, (40..45).collect::<Vec<_>>(), "it was tried again");
    bus.close().await;
}

#[tokio::test]
async fn a_deletion_that_failed_deletes_nothing_later() {
    let disk = SimDisk::new();
    let bus = filled(&disk, 1, None).await;
    disk.set(|faults| faults.failing.push((Op::Rename, "/log/topics")));
    bus.delete("t").await.expect_err("the mark can't be put in place");
    disk.set(|faults| faults.failing.clear());
    assert_eq!(append(&bus, 1, 100).await.expect("the topic is there"), 1);
    disk.set(|faults| faults.failing.push((Op::SyncDir, "/log/topics")));
    bus.delete("t").await.expect_err("the mark can't be made durable");
    disk.set(|faults| faults.failing.clear());
    let stopped = append(&bus, 2, 100).await.expect_err("nobody knows whether the topic will be there");
    assert!(matches!(stopped, BusError::Stopped { .. }), "{stopped}");
    disk.kill();
    let bus = open(&disk);
    assert_eq!(numbers(&bus).await, [0, 1], "what was acknowledged is there");
    bus.close().await;
}

#[tokio::test]
async fn a_topic_that_could_not_be_stored_is_not_there_after_the_next_start() {
    let disk = SimDisk::new();
    let bus = open(&disk);
    disk.set(|faults| faults.failing_once.push((Op::SyncDir, "/log/topics")));
    bus.make(spec(None)).await.expect_err("it can't be made durable");
    assert!(bus.list().await.expect("listed").is_empty());
    disk.kill();
    let bus = open(&disk);
    assert!(bus.list().await.expect("listed").is_empty(), "its maker was told that it is not there");

    disk.set(|faults| faults.failing.push((Op::SyncDir, "/log/topics")));
    let unknown = bus.make(spec(None)).await.expect_err("nor can it be taken back");
    assert!(
        matches!(&unknown, BusError::Unavailable(why) if why.contains("may be there") && why.contains("make it again")),
        "{unknown}"
    );
    disk.set(|faults| faults.failing.clear());
    bus.make(spec(None)).await.expect("made");
    assert_eq!(append(&bus, 0, 100).await.expect("stored"), 0);
    disk.kill();
    let bus = open(&disk);
    assert_eq!(numbers(&bus).await, [0]);
    bus.close().await;
}

#[tokio::test]
async fn a_deleted_topic_that_cannot_be_removed_keeps_no_other_from_opening() {
    let disk = SimDisk::new();
    let bus = filled(&disk, 1, None).await;
    bus.make(TopicSpec { name: "gone".into(), ..spec(None) }).await.expect("made");
    for op in [Op::Remove, Op::RemoveDir] {
        disk.set(|faults| faults.failing.push((op, "gone-0")));
    }
    bus.delete("gone").await.expect("deleted");
    bus.close().await;
    let bus = open(&disk);
    assert_eq!(numbers(&bus).await, [0]);
    assert_eq!(bus.list().await.expect("listed").len(), 1);
    bus.close().await;
}
