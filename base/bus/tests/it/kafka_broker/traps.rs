//! Traps of librdkafka and rdkafka that others fell into, one test each. Those about group membership, rebalancing and
//! stored offsets can't happen with partitions that are assigned by hand. The numbers are those of the list in the module's
//! documentation below.
//!
//! 1. A consumer parks and never wakes (rust-rdkafka #665, #638). 3. and 4. Taking messages out one by one, each with a
//!    wake-up. 5. A full queue stops fetching for a second. 6. One round trip per message. 12. `drop` hangs (rust-rdkafka #453,
//!    #509). 13. Messages of an old position are delivered after a seek.

use super::{ALL, append, config, open, read_all, shared, text, topic, within};
use artel_bus::kafka::KafkaConfig;
use artel_bus::{BusError, Fetch, Log, Topics};
use std::collections::BTreeSet;
use std::time::Duration;

/// 1: each of many lonely records wakes its waiter, also with readers of other partitions in the same consumer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_1_a_reader_wakes_for_every_lonely_record() {
    let Some(brokers) = shared("traps::trap_1_a_reader_wakes_for_every_lonely_record") else { return };
    let bus = open(config(&brokers));
    let name = topic(&bus, 4).await;
    let mut next = [0i64; 4];
    for round in 0..200usize {
        let partition = round % 4;
        let number = u32::try_from(partition).expect("small");
        let waiting = tokio::spawn({
            let (bus, name, from) = (bus.clone(), name.clone(), next[partition]);
            async move { bus.wait(&name, number, from).await }
        });
        bus.append(&name, number, &[super::record(b"x")]).await.expect("appended");
        within("the wait", waiting).await.expect("ends well").expect("woken");
        let fetched = bus.read(&name, number, next[partition], ALL).await.expect("a read succeeds");
        assert_eq!(fetched.records.len(), 1);
        next[partition] = fetched.next;
    }
    bus.close().await;
}

/// 5 and the bounds on memory: a reader that stops for a while and goes on gets everything, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_5_a_full_queue_goes_on_where_it_stopped() {
    let Some(brokers) = shared("traps::trap_5_a_full_queue_goes_on_where_it_stopped") else { return };
    let bus = open(KafkaConfig { read_bytes: 1 << 20, ..config(&brokers) });
    let name = topic(&bus, 2).await;
    let value = vec![b'v'; 10_000];
    let batch = vec![super::record(&value); 200];
    for _ in 0..10 {
        for partition in [0, 1] {
            bus.append(&name, partition, &batch).await.expect("appended");
        }
    }
    // 20 MB in each: one is read slowly, in small pieces, the other in one go.
    let few = Fetch { max_records: 37, max_bytes: usize::MAX };
    let (mut slow, mut fast) = (0, 0);
    while slow < 2_000 {
        let fetched = within("a slow read", bus.read(&name, 0, slow, few)).await.expect("a read succeeds");
        assert_eq!(fetched.records[0].offset, slow);
        slow = fetched.next;
        while fast < 2_000 {
            let fetched =
                within("a fast read", bus.read(&name, 1, fast, ALL)).await.expect("a read succeeds");
            assert_eq!(fetched.records[0].offset, fast);
            fast = fetched.next;
        }
    }
    assert_eq!((slow, fast), (2_000, 2_000));
    bus.close().await;
}

/// 6: records of an append are on their way together, not one after the other: a linger of a second is waited for once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_6_a_batch_waits_for_its_reports_together() {
    let Some(brokers) = shared("traps::trap_6_a_batch_waits_for_its_reports_together") else { return };
    let bus = open(KafkaConfig { linger: Duration::from_secs(1), ..config(&brokers) });
    let name = topic(&bus, 1).await;
    let texts: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    // One after the other would be a thousand seconds; nothing here takes as long as the patience of a test.
    within("the append", append(&bus, &name, &texts)).await.expect("appended");
    assert_eq!(read_all(&bus, &name, 0).await.len(), 1_000);
    bus.close().await;
}

/// 12: neither `close` nor `drop` waits longer than it may, with brokers and without, in the middle of everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_12_closing_and_dropping_come_to_an_end() {
    let Some(brokers) = shared("traps::trap_12_closing_and_dropping_come_to_an_end") else { return };
    for address in [brokers.as_str(), "127.0.0.1:1"] {
        for closes in [true, false] {
            let short = KafkaConfig { close_deadline: Duration::from_secs(5), ..config(address) };
            let bus = open(short);
            let name = if address == brokers { topic(&bus, 2).await } else { "none".to_owned() };
            let tasks: Vec<_> = (0..4u32)
                .map(|task| {
                    let (bus, name) = (bus.clone(), name.clone());
                    tokio::spawn(async move {
                        let (partition, _) = (task % 2, ());
                        loop {
                            let result = match task {
                                0 | 1 => {
                                    bus.append(&name, partition, &[super::record(b"x")]).await.map(|_| ())
                                }
                                _ => bus.wait(&name, partition, i64::MAX).await,
                            };
                            match result {
                                Ok(()) => {}
                                Err(error) => return error,
                            }
                        }
                    })
                })
                .collect();
            if address == brokers {
                bus.wait(&name, 0, 3).await.expect("they write");
            }
            if closes {
                within("closing", bus.close()).await;
                for task in tasks {
                    let error = within("a call", task).await.expect("ends well");
                    assert!(matches!(error, BusError::Closed | BusError::Unavailable(_)), "{error}");
                }
            } else {
                tasks.iter().for_each(tokio::task::JoinHandle::abort);
                for task in tasks {
                    let _ = task.await;
                }
            }
            // On a thread of the runtime.
            within("dropping", async { drop(bus) }).await;
        }
    }
}

/// 13: readers that jump back and forth over one partition see exactly what is at their place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_13_a_jump_brings_nothing_of_the_old_position() {
    let Some(brokers) = shared("traps::trap_13_a_jump_brings_nothing_of_the_old_position") else { return };
    let bus = open(KafkaConfig { max_streams: 3, read_bytes: 1, ..config(&brokers) });
    let name = topic(&bus, 1).await;
    let texts: Vec<String> = (0..5_000).map(|number| format!("{number:>300}")).collect();
    for chunk in texts.chunks(500) {
        append(&bus, &name, chunk).await.expect("appended");
    }
    let few = Fetch { max_records: 50, max_bytes: usize::MAX };
    let mut at = 0usize;
    for step in 0..60usize {
        at = (at + 1_987 * (step + 1)) % 4_990;
        let from = i64::try_from(at).expect("small");
        let fetched = within("a read", bus.read(&name, 0, from, few)).await.expect("a read succeeds");
        assert!(!fetched.records.is_empty());
        for (record, wanted) in fetched.records.iter().zip(&texts[at..]) {
            assert_eq!(text(record), *wanted);
        }
        assert_eq!(fetched.records[0].offset, from);
    }
    bus.close().await;
}

/// Two readers that are far from each other, and come together: each sees everything once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_far_apart_do_not_take_from_each_other() {
    let Some(brokers) = shared("traps::readers_far_apart_do_not_take_from_each_other") else { return };
    let bus = open(KafkaConfig { read_bytes: 1, ..config(&brokers) });
    let name = topic(&bus, 1).await;
    let texts: Vec<String> = (0..3_000).map(|number| format!("{number:>500}")).collect();
    for chunk in texts.chunks(500) {
        append(&bus, &name, chunk).await.expect("appended");
    }
    let reader = |from: i64, max_records: usize| {
        let (bus, name) = (bus.clone(), name.clone());
        tokio::spawn(async move {
            let (mut at, mut seen) = (from, Vec::new());
            while at < 3_000 {
                let fetched = bus
                    .read(&name, 0, at, Fetch { max_records, max_bytes: usize::MAX })
                    .await
                    .expect("a read succeeds");
                seen.extend(fetched.records.iter().map(|record| record.offset));
                at = fetched.next;
            }
            seen
        })
    };
    let readers = [(0, 10), (1_000, 7), (2_500, 3), (0, 400)].map(|(from, many)| (from, reader(from, many)));
    for (from, reader) in readers {
        let seen = within("a reader", reader).await.expect("ends well");
        assert_eq!(seen, (from..3_000).collect::<Vec<_>>());
    }
    let ids: BTreeSet<_> = bus.list().await.expect("listed").into_iter().map(|topic| topic.id).collect();
    assert!(!ids.is_empty());
    bus.close().await;
}
