//! A copy of the log that is made while it goes on.

use artel_bus::segments::{Compression, Segments, SegmentsConfig, check_copy};
use artel_bus::{Bounds, Fetch, From as StartAt, Groups, Log, Received, Record, TopicSpec, Topics};
use artel_message::Time;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

const ALL: Fetch = Fetch { max_records: usize::MAX, max_bytes: 1 << 20 };

fn small() -> SegmentsConfig {
    SegmentsConfig {
        segment_bytes: 8 << 10,
        index_interval_bytes: 512,
        compression: Compression::Lz4,
        ..SegmentsConfig::default()
    }
}

/// A log with two topics, one of them in many segments.
async fn filled(root: &Path) -> Arc<Segments> {
    let bus = Segments::open(root, small()).unwrap();
    for (name, partitions) in [("a", 2), ("b-1", 1)] {
        let spec = TopicSpec {
            name: name.into(),
            partitions,
            retention_ms: Some(1),
            retention_bytes: Some(1 << 30),
        };
        bus.make(spec).await.unwrap();
    }
    bus.register("readers", "a", StartAt::Earliest).await.unwrap();
    fill(&bus, "a", 0, 300).await;
    fill(&bus, "b-1", 0, 3).await;
    bus.advise("readers", "a", 0, 7).await.unwrap();
    bus
}

async fn fill(bus: &Segments, topic: &str, partition: u32, count: usize) {
    for n in 0..count {
        let value: String = (0..20).map(|i| format!("{:x}", (n * 7_919 + i * 104_729) % 1_000_003)).collect();
        let headers = [("h", Some(&b"1"[..])), ("h", None)];
        let time = Time::from_millis(i64::try_from(n).unwrap().max(1));
        let record = Record { key: Some(b"k"), value: Some(value.as_bytes()), headers: &headers, time };
        bus.append(topic, partition, &[record]).await.unwrap();
    }
}

async fn read_all(bus: &Segments, topic: &str, partition: u32) -> Vec<Received> {
    let Bounds { begin, end } = bus.bounds(topic, partition).await.unwrap();
    let (mut from, mut all) = (begin, Vec::new());
    while from < end {
        let fetched = bus.read(topic, partition, from, ALL).await.unwrap();
        from = fetched.next;
        all.extend(fetched.records);
    }
    all
}

#[tokio::test]
async fn a_copy_is_the_log_as_it_was_whatever_comes_behind_it() {
    let (place, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let bus = filled(place.path()).await;
    let before = read_all(&bus, "a", 0).await;
    let snapshot = bus.freeze().await.unwrap();
    fill(&bus, "a", 0, 200).await;
    // What would go by age has to stay, and topics too, until the copy is made.
    bus.advise("readers", "a", 0, 500).await.unwrap();
    bus.retain().await.unwrap();
    assert_eq!(bus.bounds("a", 0).await.unwrap(), Bounds { begin: 0, end: 500 });
    let refused = bus.delete("b-1").await.unwrap_err().to_string();
    assert!(refused.contains("while the log is copied"), "{refused}");
    let copied = AtomicU64::new(0);
    snapshot
        .copy_to(copy.path(), &|bytes| {
            copied.fetch_add(bytes, Ordering::Relaxed);
        })
        .unwrap();
    assert!(copied.into_inner() >= snapshot.bytes());
    assert_eq!(check_copy(copy.path()).unwrap(), snapshot.topics());
    let topics = snapshot.topics();
    assert_eq!(topics[0].bounds, [Bounds { begin: 0, end: 300 }, Bounds { begin: 0, end: 0 }]);
    drop(snapshot);
    bus.retain().await.unwrap();
    assert!(bus.bounds("a", 0).await.unwrap().begin > 0, "retention goes on");
    bus.delete("b-1").await.unwrap();

    let other = Segments::open(copy.path(), small()).unwrap();
    assert_eq!(read_all(&other, "a", 0).await, before);
    assert_eq!(read_all(&other, "b-1", 0).await.len(), 3);
    assert_eq!(other.describe("a").await.unwrap().id, bus.describe("a").await.unwrap().id);
    let offsets = other.offsets().await.unwrap();
    assert_eq!(offsets.iter().map(|offset| offset.next).collect::<Vec<_>>(), [7, 0]);
    fill(&other, "a", 0, 1).await;
    assert_eq!(other.bounds("a", 0).await.unwrap().end, 301);
}

#[tokio::test]
async fn a_copy_that_is_damaged_is_told_with_its_place() {
    let (place, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let bus = filled(place.path()).await;
    let snapshot = bus.freeze().await.unwrap();
    snapshot.copy_to(copy.path(), &|_| {}).unwrap();
    let mut segments: Vec<_> = std::fs::read_dir(copy.path().join("a-0"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort();
    assert!(segments.len() > 3, "{segments:?}");
    let whole = std::fs::read(&segments[1]).unwrap();
    let mut bad = whole.clone();
    bad[whole.len() / 2] ^= 1;
    std::fs::write(&segments[1], &bad).unwrap();
    let said = check_copy(copy.path()).unwrap_err().to_string();
    assert!(said.contains("is damaged") && said.contains(segments[1].to_str().unwrap()), "{said}");
    std::fs::remove_file(&segments[1]).unwrap();
    let said = check_copy(copy.path()).unwrap_err().to_string();
    assert!(said.contains("are missing before it"), "{said}");
}
