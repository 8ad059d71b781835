//! Segments go when they are old or many, never while a group needs them, until the hard size.

use crate::sim_disk::SimDisk;
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{Bounds, BusError, Fetch, From as StartAt, Groups, Log, Record, TopicSpec, Topics};
use artel_message::Time;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

const ALL: Fetch = Fetch { max_records: usize::MAX, max_bytes: usize::MAX };

struct Fixture {
    disk: SimDisk,
    bus: Arc<Segments>,
    now: Arc<AtomicI64>,
}

/// Segments of ten records each, one record a second; the clock stands at `now` milliseconds.
async fn fixture(retention_ms: Option<i64>, retention_bytes: Option<u64>, hard_bytes: u64) -> Fixture {
    let disk = SimDisk::new();
    let now = Arc::new(AtomicI64::new(0));
    let bus = open(&disk, &now, hard_bytes);
    bus.make(TopicSpec { name: "t".into(), partitions: 1, retention_ms, retention_bytes })
        .await
        .expect("made");
    Fixture { disk, bus, now }
}

fn open(disk: &SimDisk, now: &Arc<AtomicI64>, hard_bytes: u64) -> Arc<Segments> {
    let clock = now.clone();
    let config = SegmentsConfig {
        segment_bytes: 10 * 170,
        tail_cache_bytes: 0,
        hard_bytes,
        clock: Arc::new(move || Time::from_millis(clock.load(Ordering::Relaxed))),
        ..SegmentsConfig::default()
    };
    Segments::open_on(Arc::new(disk.clone()), "/log", config).expect("opens")
}

impl Fixture {
    async fn append(&self, number: i64) -> Result<i64, BusError> {
        let value = format!("{number:0100}");
        let time = Time::from_millis((number * 1000).max(1));
        let record = Record { key: None, value: Some(value.as_bytes()), headers: &[], time };
        self.bus.append("t", 0, &[record]).await.map(|a| a.base)
    }

    async fn fill(&self, count: i64) {
        for number in 0..count {
            self.append(number).await.expect("stored");
        }
    }

    async fn begin_after(&self, now: i64) -> i64 {
        self.now.store(now, Ordering::Relaxed);
        self.bus.retain().await.expect("retention runs");
        self.bounds().await.begin
    }

    async fn bounds(&self) -> Bounds {
        self.bus.bounds("t", 0).await.expect("known")
    }
}

#[tokio::test]
async fn by_age() {
    let log = fixture(Some(5_000), None, u64::MAX).await;
    log.fill(35).await;
    assert_eq!(log.begin_after(14_000).await, 0, "the first segment's last record is just young enough");
    assert_eq!(log.begin_after(14_001).await, 10);
    let gone = log.bus.read("t", 0, 9, ALL).await.expect_err("removed");
    assert!(matches!(gone, BusError::OutOfRange { begin: 10, end: 35, .. }), "{gone}");
    assert_eq!(log.bus.read("t", 0, 10, ALL).await.expect("kept").records[0].offset, 10);
    assert_eq!(log.begin_after(1_000_000).await, 35, "a quiet partition ends empty");
    assert_eq!(log.append(35).await.expect("goes on"), 35);
    log.bus.close().await;
    let bus = open(&log.disk, &log.now, u64::MAX);
    assert_eq!(bus.bounds("t", 0).await.expect("known"), Bounds { begin: 35, end: 36 });
    bus.close().await;
}

#[tokio::test]
async fn by_size() {
    let log = fixture(None, Some(2 * 1700), u64::MAX).await;
    log.fill(45).await;
    assert_eq!(log.begin_after(0).await, 20, "two whole segments and the one being written stay");
    assert_eq!(log.bus.describe("t").await.expect("known").bytes, [25 * 170]);
    log.bus.close().await;
}

#[tokio::test]
async fn never_above_a_registered_group() {
    let log = fixture(Some(1), None, u64::MAX).await;
    log.bus.register("slow", "t", StartAt::Earliest).await.expect("registered");
    log.bus.register("fast", "t", StartAt::Earliest).await.expect("registered");
    log.fill(35).await;
    log.bus.advise("fast", "t", 0, 35).await.expect("advised");
    assert_eq!(log.begin_after(1_000_000).await, 0);
    log.bus.advise("slow", "t", 0, 19).await.expect("advised");
    assert_eq!(log.begin_after(1_000_000).await, 10, "offset 19 is still needed");
    log.bus.forget("slow", "t").await.expect("forgotten");
    assert_eq!(log.begin_after(1_000_000).await, 35);
    log.bus.close().await;
}

#[tokio::test]
async fn at_the_hard_size_appends_are_refused_and_the_group_is_named() {
    let log = fixture(None, Some(1), 3 * 1700).await;
    log.bus.register("stuck", "t", StartAt::Earliest).await.expect("registered");
    log.fill(30).await;
    for _ in 0..2 {
        let full = log.append(30).await.expect_err("the hard size is reached");
        assert!(matches!(&full, BusError::Full { group, .. } if group == "stuck"), "{full}");
        assert!(full.is_retriable());
    }
    log.bus.advise("stuck", "t", 0, 10).await.expect("advised");
    assert_eq!(log.append(30).await.expect("room is made at once"), 30);
    assert_eq!(log.bounds().await.begin, 10);
    log.bus.close().await;
}

#[tokio::test]
async fn what_is_kept_for_ever_has_no_hard_size() {
    let log = fixture(None, None, 1700).await;
    log.bus.register("stuck", "t", StartAt::Earliest).await.expect("registered");
    log.fill(40).await;
    assert_eq!(log.begin_after(i64::MAX).await, 0);
    log.bus.close().await;
}

#[tokio::test]
async fn advised_offsets_are_stored_and_never_ahead_of_the_truth() {
    let log = fixture(None, None, u64::MAX).await;
    log.bus.register("g", "t", StartAt::Offset(3)).await.expect("registered");
    log.fill(10).await;
    log.bus.advise("g", "t", 0, 9).await.expect("advised");
    // Killed before the advice was stored: the registered start point is what is left.
    log.disk.kill();
    let bus = open(&log.disk, &log.now, u64::MAX);
    let next = bus.offsets().await.expect("listed")[0].next;
    assert!(next == 3 || next == 9, "{next}");
    bus.advise("g", "t", 0, 7).await.expect("advised");
    bus.close().await;
    let bus = open(&log.disk, &log.now, u64::MAX);
    assert_eq!(bus.offsets().await.expect("listed")[0].next, 7, "closing stores it");
    bus.delete("t").await.expect("deleted");
    assert_eq!(bus.offsets().await.expect("listed"), [], "a topic takes its groups along");
    bus.close().await;
}

/// Readers of the oldest records while retention removes them, then while the topic is deleted: either records or a plain
/// refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_beside_removal_see_records_or_a_refusal() {
    let log = fixture(None, Some(1700), u64::MAX).await;
    log.fill(30).await;
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let bus = log.bus.clone();
            tokio::spawn(async move {
                let mut read = 0;
                loop {
                    let at = match bus.bounds("t", 0).await {
                        Ok(bounds) => bounds.begin,
                        Err(BusError::UnknownTopic(_)) => return read,
                        Err(other) => panic!("{other}"),
                    };
                    match bus.read("t", 0, at, Fetch { max_records: 3, max_bytes: 1 }).await {
                        Ok(fetched) => read += fetched.records.len(),
                        Err(BusError::OutOfRange { .. }) => {}
                        Err(BusError::UnknownTopic(_)) => return read,
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        })
        .collect();
    for number in 30..400 {
        log.append(number).await.expect("stored");
        if number % 5 == 0 {
            log.bus.retain().await.expect("retention runs");
        }
    }
    log.bus.delete("t").await.expect("deleted");
    for reader in readers {
        assert!(reader.await.expect("a reader ends well") > 0);
    }
    log.bus.close().await;
}
