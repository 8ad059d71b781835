//! Looking for a time, after the index of times was damaged or lost in part.

use crate::sim_disk::{Chance, SimDisk};
use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{BusError, Fetch, Log, Record, TopicSpec, Topics};
use artel_message::Time;
use std::path::Path;
use std::sync::Arc;

const ALL: Fetch = Fetch { max_records: usize::MAX, max_bytes: usize::MAX };
const TIMES: &str = "/log/t-0/00000000000000000000.timeindex";
const ENTRY: usize = 12;

/// Nearly every batch has its entries in the indexes; a segment has about `records` of them.
fn open(disk: &SimDisk, records: u64) -> Arc<Segments> {
    let config = SegmentsConfig {
        segment_bytes: 1024 + records * 80,
        index_interval_bytes: 60,
        tail_cache_bytes: 0,
        ..SegmentsConfig::default()
    };
    Segments::open_on(Arc::new(disk.clone()), "/log", config).expect("opens")
}

async fn make(bus: &Segments) {
    let spec = TopicSpec { name: "t".into(), partitions: 1, retention_ms: None, retention_bytes: None };
    bus.make(spec).await.expect("made");
}

async fn append(bus: &Segments, millis: i64) -> Result<i64, BusError> {
    let record = Record { key: None, value: Some(b"x"), headers: &[], time: Time::from_millis(millis) };
    bus.append("t", 0, &[record]).await.map(|appended| appended.base)
}

/// The times of all records.
async fn times(bus: &Segments) -> Vec<i64> {
    let end = bus.bounds("t", 0).await.expect("it serves").end;
    let (mut at, mut all) = (0, Vec::new());
    while at < end {
        let fetched = bus.read("t", 0, at, ALL).await.expect("readable");
        all.extend(fetched.records.iter().map(|record| record.time.millis()));
        at = fetched.next;
    }
    all
}

/// Every time that a record has, and the one after, is found where a look at all records finds it.
async fn finds(bus: &Segments, what: &str) {
    let all = times(bus).await;
    for millis in all.iter().flat_map(|millis| [*millis, millis + 1]) {
        let first = all.iter().position(|of| *of >= millis).map(|at| i64::try_from(at).unwrap());
        let found = bus.offset_at("t", 0, Time::from_millis(millis)).await.expect("looked up");
        assert_eq!(found, first, "{what}: the time {millis} of {all:?}");
    }
}

/// A log of one segment, or of several.
async fn filled(segment_records: u64) -> SimDisk {
    let disk = SimDisk::new();
    let bus = open(&disk, segment_records);
    make(&bus).await;
    for number in 0..40 {
        append(&bus, 1_000 + number * 10).await.expect("stored");
    }
    bus.close().await;
    disk
}

fn entry(timestamp: i64, relative: u32) -> Vec<u8> {
    [&timestamp.to_be_bytes()[..], &relative.to_be_bytes()].concat()
}

/// A way to damage a file.
type Damage = fn(&mut Vec<u8>);

#[tokio::test]
async fn an_index_of_times_that_lies_costs_time_and_no_record() {
    let damages: [(&str, Damage); 6] = [
        ("the newer entries are lost", |times| times.truncate(2 * ENTRY)),
        ("all but one are lost", |times| times.truncate(ENTRY)),
        ("the last one is of a later time", |times| {
            let at = times.len() - ENTRY;
            times.splice(at..at + 8, 99_999i64.to_be_bytes());
        }),
        ("one points too far", |times| {
            times.splice(3 * ENTRY..4 * ENTRY, entry(1_020, 12));
        }),
        ("the first of them point too far", |times| {
            let wrong: Vec<u8> = (0..8).flat_map(|at| entry(1_000 + at, 9)).collect();
            times.splice(..8 * ENTRY, wrong);
        }),
        ("a page is lost", |times| times[2 * ENTRY..6 * ENTRY].fill(0)),
    ];
    for (what, damage) in damages {
        for segment_records in [100, 5] {
            let disk = filled(segment_records).await;
            disk.tamper(Path::new(TIMES), damage);
            let bus = open(&disk, segment_records);
            finds(&bus, what).await;
            append(&bus, 9_000).await.expect("it goes on");
            finds(&bus, what).await;
            bus.close().await;
        }
    }
}

#[tokio::test]
async fn times_are_found_after_a_power_loss() {
    let mut crashes = 0;
    for seed in 0..200 {
        let mut chance = Chance::new(seed);
        let disk = SimDisk::new();
        let segment_records = [5, 100][chance.below(2)];
        let bus = open(&disk, segment_records);
        make(&bus).await;
        bus.close().await;
        for _ in 0..3 {
            disk.set(|faults| faults.power_for = Some(20 + chance.below(200) as u64));
            let bus = open(&disk, segment_records);
            for number in 0..40 {
                let millis = 1_000 + number * 10 + i64::try_from(chance.below(50)).unwrap();
                if append(&bus, millis).await.is_err() {
                    break;
                }
            }
            crashes += usize::from(disk.is_dead());
            bus.close().await;
            disk.crash(&mut chance);
            let bus = open(&disk, segment_records);
            finds(&bus, &format!("seed {seed}")).await;
            bus.close().await;
        }
    }
    assert!(crashes > 300, "only {crashes} crashes");
}
