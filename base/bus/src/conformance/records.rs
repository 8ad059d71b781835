//! Appending and reading.

use super::{ALL, Harness, append, bytes, millis, numbered, read_from, record, texts, topic, within};
use crate::{BusError, Fetch, Record};
use artel_message::Time;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

/// What one caller appends comes back in that order, with consecutive offsets from 0.
pub async fn order(harness: Harness) {
    let bus = harness.open().await;
    let topic = topic(&bus, 1).await;
    let wanted = numbered("n", 0..60);
    for (i, chunk) in wanted.chunks(7).enumerate() {
        assert_eq!(append(&bus, &topic, 0, chunk).await, i64::try_from(i * 7).unwrap_or(-1));
    }
    assert_eq!(texts(&read_from(&bus, &topic, 0, 0, ALL).await), wanted);
    let bounds = bus.bounds(&topic, 0).await.expect("bounds are known");
    assert_eq!((bounds.begin, bounds.end), (0, 60));
    assert_eq!(bus.append(&topic, 0, &[]).await.map(|a| (a.base, a.count)).ok(), Some((60, 0)));
    bus.close().await;
}

/// Batches of concurrent callers are never interleaved, and stay in the partition they were sent to.
pub async fn batches_stay_whole(harness: Harness) {
    let bus = harness.open().await;
    let topic = topic(&bus, 2).await;
    let mut tasks = Vec::new();
    for writer in 0..4usize {
        let (bus, topic) = (bus.clone(), topic.clone());
        tasks.push(tokio::spawn(async move {
            let mut placed = Vec::new();
            for round in 0..25usize {
                let partition = u32::from((writer + round) % 2 == 1);
                let batch = numbered(&format!("{writer}.{round}."), 0..(1 + round % 9));
                placed.push((partition, append(&bus, &topic, partition, &batch).await, batch));
            }
            placed
        }));
    }
    let mut partitions = [Vec::new(), Vec::new()];
    for task in tasks {
        let placed = task.await.expect("a writer ends well");
        for own in [0, 1] {
            let bases: Vec<i64> =
                placed.iter().filter(|(p, ..)| *p == own).map(|(_, base, _)| *base).collect();
            assert!(bases.is_sorted(), "batches of one caller land in its order");
        }
        for (partition, base, batch) in placed {
            partitions[partition as usize].push((base, batch));
        }
    }
    for (partition, mut batches) in (0u32..).zip(partitions) {
        batches.sort_by_key(|(base, _)| *base);
        let wanted: Vec<String> = batches.into_iter().flat_map(|(_, batch)| batch).collect();
        assert_eq!(texts(&read_from(&bus, &topic, partition, 0, ALL).await), wanted);
    }
    bus.close().await;
}

/// A read may begin at every offset, also inside a batch, and continues where the last one ended.
pub async fn resume_anywhere(harness: Harness) {
    let bus = harness.open().await;
    let topic = topic(&bus, 1).await;
    let wanted = numbered("n", 0..40);
    for chunk in wanted.chunks(9) {
        append(&bus, &topic, 0, chunk).await;
    }
    let few = Fetch { max_records: 4, max_bytes: usize::MAX };
    for from in 0..=wanted.len() {
        let offset = i64::try_from(from).unwrap_or(-1);
        assert_eq!(texts(&read_from(&bus, &topic, 0, offset, few).await), wanted[from..]);
    }
    bus.close().await;
}

/// Reads keep to their limits, and bring one record even where it passes them.
pub async fn fetch_limits(harness: Harness) {
    let bus = harness.open().await;
    let topic = topic(&bus, 1).await;
    let value = "v".repeat(100);
    append(&bus, &topic, 0, &vec![value.clone(); 10]).await;
    let count = async |max_records, max_bytes| {
        let fetch = Fetch { max_records, max_bytes };
        let fetched = bus.read(&topic, 0, 2, fetch).await.expect("a read succeeds");
        assert_eq!(fetched.next, fetched.records.last().map_or(2, |r| r.offset + 1));
        fetched.records.len()
    };
    assert_eq!(count(3, usize::MAX).await, 3);
    assert_eq!(count(usize::MAX, 250).await, 2);
    assert_eq!(count(usize::MAX, 1).await, 1);
    assert_eq!(count(0, 0).await, 1);
    bus.close().await;
}

/// An offset that the partition does not hold is an error that names the bounds; its end is an empty read.
pub async fn out_of_range(harness: Harness) {
    let bus = harness.open().await;
    let topic = topic(&bus, 1).await;
    append(&bus, &topic, 0, &numbered("n", 0..3)).await;
    let end = bus.read(&topic, 0, 3, ALL).await.expect("reading at the end succeeds");
    assert!(end.records.is_empty() && end.next == 3);
    for wrong in [4, -1, i64::MAX] {
        match bus.read(&topic, 0, wrong, ALL).await {
            Err(BusError::OutOfRange { offset, begin: 0, end: 3, .. }) => assert_eq!(offset, wrong),
            other => panic!("offset {wrong} should be out of range, not {other:?}"),
        }
    }
    bus.close().await;
}

/// A waiter sleeps until its record is readable, wakes then, and returns at once where it is already.
pub async fn waiting_readers(harness: Harness) {
    let bus = harness.open().await;
    let topic = topic(&bus, 1).await;
    append(&bus, &topic, 0, &numbered("n", 0..2)).await;
    within(bus.wait(&topic, 0, 1)).await.expect("the record is there");
    let mut next = pin!(bus.wait(&topic, 0, 2));
    let mut beyond = pin!(bus.wait(&topic, 0, 4));
    assert!(is_pending(next.as_mut()) && is_pending(beyond.as_mut()), "nothing to read yet");
    append(&bus, &topic, 0, &numbered("n", 2..4)).await;
    within(next).await.expect("woken by the append");
    let seen = read_from(&bus, &topic, 0, 2, ALL).await;
    assert_eq!(texts(&seen), numbered("n", 2..4), "what woke the waiter is readable");
    assert!(is_pending(beyond.as_mut()), "its offset is not there yet");
    append(&bus, &topic, 0, &numbered("n", 4..5)).await;
    within(beyond).await.expect("woken by the second append");
    bus.close().await;
}

fn is_pending(future: std::pin::Pin<&mut impl Future>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// Two readers follow a writer, each at its own pace, and both see everything once.
pub async fn two_readers(harness: Harness) {
    let bus = harness.open().await;
    let topic = topic(&bus, 1).await;
    let wanted = numbered("n", 0..200);
    let reader = |max_records: usize| {
        let (bus, topic, count) = (bus.clone(), topic.clone(), wanted.len());
        tokio::spawn(async move {
            let (mut at, mut seen) = (0, Vec::new());
            while seen.len() < count {
                bus.wait(&topic, 0, at).await.expect("there will be more");
                let fetch = Fetch { max_records, max_bytes: usize::MAX };
                let fetched = bus.read(&topic, 0, at, fetch).await.expect("a read succeeds");
                assert!(!fetched.records.is_empty(), "a woken reader finds records");
                at = fetched.next;
                seen.extend(texts(&fetched.records));
            }
            seen
        })
    };
    let (slow, fast) = (reader(1), reader(50));
    for chunk in wanted.chunks(3) {
        append(&bus, &topic, 0, chunk).await;
    }
    for task in [slow, fast] {
        assert_eq!(within(task).await.expect("a reader ends well"), wanted);
    }
    bus.close().await;
}

/// The first offset at or after a time, also where times go back and forth.
pub async fn by_time(harness: Harness) {
    let bus = harness.open().await;
    let topic = topic(&bus, 1).await;
    assert_eq!(bus.offset_at(&topic, 0, millis(0)).await.expect("answers"), None, "an empty partition");
    let times = [100, 300, 200, 300, 500, 400, 900];
    for pair in times.chunks(2) {
        let batch: Vec<Record<'_>> = pair.iter().map(|ms| record(b"x", *ms)).collect();
        within(bus.append(&topic, 0, &batch)).await.expect("an append succeeds");
    }
    for (ms, wanted) in [
        (0, Some(0)),
        (100, Some(0)),
        (101, Some(1)),
        (300, Some(1)),
        (301, Some(4)),
        (501, Some(6)),
        (900, Some(6)),
        (901, None),
    ] {
        let found = bus.offset_at(&topic, 0, millis(ms)).await.expect("answers");
        assert_eq!(found, wanted, "at {ms} ms");
    }
    let read = read_from(&bus, &topic, 0, 0, ALL).await;
    assert_eq!(read.iter().map(|r| r.time).collect::<Vec<_>>(), times.map(millis), "times are kept");
    bus.close().await;
}

/// A batch that no buffer inside holds is still one batch.
pub async fn a_batch_beyond_the_buffers(harness: Harness) {
    let bus = harness.open().await;
    let topic = topic(&bus, 1).await;
    let value = vec![b'v'; 1000];
    let batch = vec![record(&value, 0); harness.features.large_batch_bytes / 1100];
    let appended = within(bus.append(&topic, 0, &batch)).await.expect("an append succeeds");
    assert_eq!((appended.base, appended.count as usize), (0, batch.len()));
    let small = Fetch { max_records: usize::MAX, max_bytes: 10_000 };
    for fetch in [ALL, small] {
        let read = read_from(&bus, &topic, 0, 0, fetch).await;
        assert_eq!(read.len(), batch.len());
        assert!(read.iter().all(|r| r.value.as_deref() == Some(&value[..])));
    }
    bus.close().await;
}

/// A message of a megabyte passes, between small ones.
pub async fn a_megabyte(harness: Harness) {
    let bus = harness.open().await;
    let topic = topic(&bus, 1).await;
    let big: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
    for value in [&b"before"[..], &big, b"after"] {
        within(bus.append(&topic, 0, &[record(value, 0)])).await.expect("an append succeeds");
    }
    let read = read_from(&bus, &topic, 0, 0, Fetch { max_records: 10, max_bytes: 1000 }).await;
    assert_eq!(read.len(), 3);
    assert!(read[1].value.as_deref() == Some(&big[..]), "the large value is intact");
    assert_eq!(read[2].value, bytes("after"));
    bus.close().await;
}

/// What is too large is refused with the setting's name; nothing of its batch is readable, and the next append works.
pub async fn too_large(harness: Harness) {
    let bus = harness.open().await;
    let topic = topic(&bus, 1).await;
    let big = vec![0u8; harness.features.too_large_bytes];
    match within(bus.append(&topic, 0, &[record(b"small", 0), record(&big, 0)])).await {
        Err(BusError::TooLarge { size, limit, setting, .. }) => {
            assert!(size > limit && !setting.is_empty(), "{size} {limit} {setting}");
        }
        other => panic!("it should be refused as too large, not {other:?}"),
    }
    append(&bus, &topic, 0, &numbered("n", 0..1)).await;
    assert_eq!(texts(&read_from(&bus, &topic, 0, 0, ALL).await), numbered("n", 0..1));
    bus.close().await;
}

/// What another adapter could not hold is refused, with the place in the batch; nothing of the batch is readable, and the next
/// append works.
pub async fn unstorable(harness: Harness) {
    let bus = harness.open().await;
    let topic = topic(&bus, 1).await;
    let headers: [(&str, Option<&[u8]>); 2] = [("good", Some(b"\0")), ("b\0d", Some(b"x"))];
    let named = Record { headers: &headers, ..record(b"named", 0) };
    let early = Record { time: Time::from_millis(0), ..record(b"early", 0) };
    for (bad, says) in [(named, "U+0000"), (early, "1970")] {
        match within(bus.append(&topic, 0, &[record(b"good", 0), bad])).await {
            Err(BusError::InvalidRecord { index: 1, reason }) => assert!(reason.contains(says), "{reason}"),
            other => panic!("it should be refused as a record that no log holds, not {other:?}"),
        }
    }
    let good = Record { headers: &headers[..1], ..record(b"n0", 0) };
    within(bus.append(&topic, 0, &[good])).await.expect("a zero byte in a value is as good as any");
    let read = read_from(&bus, &topic, 0, 0, ALL).await;
    assert_eq!(texts(&read), numbered("n", 0..1));
    assert_eq!(read[0].headers.get("good"), Some(Some(&b"\0"[..])));
    bus.close().await;
}

/// Null is not empty, names repeat, values are null, order stays.
pub async fn nulls_and_repeats(harness: Harness) {
    let bus = harness.open().await;
    let topic = topic(&bus, 1).await;
    let headers: [(&str, Option<&[u8]>); 5] =
        [("a", Some(b"1")), ("b", None), ("a", Some(b"2")), ("", Some(b"")), ("é", Some(&[0, 255]))];
    let batch = [
        Record { key: None, value: None, headers: &headers, time: millis(1) },
        Record { key: Some(b""), value: Some(b""), headers: &[], time: millis(2) },
        Record { key: Some(b"k"), value: Some(b"v"), headers: &headers[..1], time: millis(3) },
    ];
    within(bus.append(&topic, 0, &batch)).await.expect("an append succeeds");
    let read = read_from(&bus, &topic, 0, 0, ALL).await;
    assert_eq!(read.len(), batch.len());
    for (got, sent) in read.iter().zip(&batch) {
        assert_eq!((got.key.as_deref(), got.value.as_deref(), got.time), (sent.key, sent.value, sent.time));
        let got: Vec<_> = got.headers.iter().collect();
        assert_eq!(got, sent.headers);
    }
    bus.close().await;
}
