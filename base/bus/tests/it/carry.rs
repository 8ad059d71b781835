//! A topic's records from one log to another.

use artel_bus::segments::{Segments, SegmentsConfig};
use artel_bus::{Compared, Log, Record, TopicSpec, Topics, carry, compare};
use artel_message::Time;
use std::sync::Arc;
use tempfile::TempDir;

async fn log(folder: &TempDir, batch_bytes: usize) -> Arc<Segments> {
    let config = SegmentsConfig {
        max_message_bytes: 40 << 10,
        max_batch_bytes: batch_bytes,
        ..SegmentsConfig::default()
    };
    let log = Segments::open(folder.path(), config).unwrap();
    let spec = TopicSpec { name: "t".into(), partitions: 1, retention_ms: None, retention_bytes: None };
    log.make(spec).await.unwrap();
    log
}

async fn append(log: &Segments, n: i64, bytes: usize) {
    let value = vec![u8::try_from(n % 251).unwrap(); bytes];
    let (key, number) = (n.to_be_bytes(), n.to_string());
    let headers = [("h", Some(number.as_bytes())), ("h", None), ("", Some(&b"x"[..]))];
    let record = Record {
        key: (n % 3 > 0).then_some(&key[..]),
        value: (n % 7 > 0).then_some(&value[..]),
        headers: &headers,
        time: Time::from_millis(1_000_000 - n),
    };
    log.append("t", 0, &[record]).await.unwrap();
}

#[tokio::test]
async fn records_arrive_in_order_with_all_that_they_are_made_of() {
    let (a, b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    // The target takes smaller batches than the source gives.
    let (from, to) = (log(&a, 4 << 20).await, log(&b, 64 << 10).await);
    for n in 0..2_500 {
        append(&from, n, if n % 500 == 0 { 30 << 10 } else { 100 }).await;
    }
    append(&to, 1, 1).await;
    let shift = carry(from.as_ref(), to.as_ref(), "t", 0, &|_| {}).await.unwrap();
    assert_eq!((shift.records(), shift.offset(0), shift.offset(2_500)), (2_500, 1, 2_501));
    let said = compare(from.as_ref(), to.as_ref(), "t", 0, &shift, &|_| {}).await.unwrap_err().to_string();
    assert!(said.contains("offset 0 is not the same"), "what was there before is none of it: {said}");
}

#[tokio::test]
async fn a_difference_is_found_wherever_it_is() {
    let (a, b, c) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let (from, to, other) = (log(&a, 4 << 20).await, log(&b, 4 << 20).await, log(&c, 4 << 20).await);
    for n in 0..1_500 {
        append(&from, n, 10).await;
        append(&other, n, if n == 1_234 { 11 } else { 10 }).await;
    }
    let shift = carry(from.as_ref(), to.as_ref(), "t", 0, &|_| {}).await.unwrap();
    let found = async |log: &Segments| compare(from.as_ref(), log, "t", 0, &shift, &|_| {}).await;
    assert_eq!(found(&to).await.unwrap(), Compared { same: 1_500, gone: 0 });
    assert!(found(&other).await.unwrap_err().to_string().contains("offset 1234 is not the same"));
    append(&to, 1, 1).await;
    assert!(found(&to).await.unwrap_err().to_string().contains("holds more, from offset 1500 on"));
}
