//! Brokers that end and come back.

use super::foreign::{brokers, leader};
use super::own::{Cluster, Options, libs};
use super::{ALL, append, config, read_all, ready, text, topic, until, within};
use artel_bus::kafka::{Kafka, KafkaConfig};
use artel_bus::{BusError, Log};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// A writer that appends batches of ten numbers, one after the other, each again until it is acknowledged.
struct Writer {
    acknowledged: AtomicUsize,
    stop: AtomicBool,
}

async fn write(bus: Arc<Kafka>, name: String, writer: Arc<Writer>) {
    while !writer.stop.load(Ordering::Relaxed) {
        let first = writer.acknowledged.load(Ordering::Relaxed);
        let batch: Vec<String> = (first..first + 10).map(|number| number.to_string()).collect();
        match append(&bus, &name, &batch).await {
            Ok(_) => {
                writer.acknowledged.fetch_add(10, Ordering::Relaxed);
            }
            Err(BusError::Unavailable(_)) => {}
            Err(other) => panic!("only Unavailable is expected, not {other}"),
        }
    }
}

/// A reader that follows from the beginning until it has seen `wanted`; the numbers in the order of the log.
async fn follow(bus: Arc<Kafka>, name: String, wanted: Arc<AtomicUsize>) -> Vec<usize> {
    let (mut at, mut seen) = (0, Vec::new());
    while seen.last().is_none_or(|last| last + 1 < wanted.load(Ordering::Relaxed)) {
        bus.wait(&name, 0, at).await.expect("there will be more");
        match bus.read(&name, 0, at, ALL).await {
            Ok(fetched) => {
                at = fetched.next;
                seen.extend(
                    fetched.records.iter().map(|record| text(record).parse::<usize>().expect("a number")),
                );
            }
            Err(BusError::Unavailable(_)) => {}
            Err(other) => panic!("only Unavailable is expected, not {other}"),
        }
    }
    seen
}

/// Every number is there, and in order but for whole tails that were sent again.
fn check_order(seen: &[usize], count: usize) {
    let mut next = 0;
    for pair in [usize::MAX].iter().chain(seen).collect::<Vec<_>>().windows(2) {
        let (before, number) = (*pair[0], *pair[1]);
        if number == next {
            next += 1;
        } else {
            assert!(number < next, "{number} came before {next}");
            assert!(
                before.wrapping_add(1) == number || number % 10 == 0,
                "a repeat begins with a batch: {before}, {number}"
            );
        }
    }
    assert!(next >= count, "{next} of {count} acknowledged are there");
}

async fn write_while(bus: &Arc<Kafka>, mut disturb: impl AsyncFnMut(&Writer, &str)) {
    let name = topic(bus, 1).await;
    let writer = Arc::new(Writer { acknowledged: AtomicUsize::new(0), stop: AtomicBool::new(false) });
    let writing = tokio::spawn(write(bus.clone(), name.clone(), writer.clone()));
    let wanted = Arc::new(AtomicUsize::new(usize::MAX));
    let following = tokio::spawn(follow(bus.clone(), name.clone(), wanted.clone()));
    acknowledged(&writer, 500).await;
    disturb(&writer, &name).await;
    writer.stop.store(true, Ordering::Relaxed);
    within("the writer", writing).await.expect("the writer ends well");
    let count = writer.acknowledged.load(Ordering::Relaxed);
    wanted.store(count, Ordering::Relaxed);
    // Wakes the reader in case it waits for more than there is.
    let last = vec![count.to_string()];
    until("a last append", async || append(bus, &name, &last).await.is_ok()).await;
    let seen = within("the reader", following).await.expect("the reader ends well");
    check_order(&seen, count);
    let again: Vec<usize> =
        read_all(bus, &name, 0).await.iter().map(|record| text(record).parse().expect("a number")).collect();
    assert_eq!(again[..seen.len()], seen, "both readers see the same");
}

async fn acknowledged(writer: &Writer, more: usize) {
    let goal = writer.acknowledged.load(Ordering::Relaxed) + more;
    until("more is acknowledged", async || writer.acknowledged.load(Ordering::Relaxed) >= goal).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_and_started_again_in_the_middle_of_a_stream() {
    let Some(libs) = libs("failover::a_broker_that_is_killed_and_started_again_in_the_middle_of_a_stream")
    else {
        return;
    };
    let mut cluster = Cluster::start(libs, 1, &Options::default());
    let bus = ready(config(&cluster.address())).await;
    write_while(&bus, async |writer, name| {
        for _ in 0..2 {
            cluster.kill(1);
            let away = bus.bounds(name, 0);
            let waiting = tokio::spawn({
                let (bus, name) = (bus.clone(), name.to_owned());
                async move { bus.wait(&name, 0, i64::from(u32::MAX)).await }
            });
            cluster.up(1);
            // It either succeeds once the broker is back, or says that it is away.
            let found = within("a call during the restart", away).await;
            assert!(matches!(found, Ok(_) | Err(BusError::Unavailable(_))), "{found:?}");
            acknowledged(writer, 500).await;
            assert!(!waiting.is_finished(), "a wait outlives the broker");
            waiting.abort();
        }
    })
    .await;
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_killed_loses_nothing_that_was_acknowledged() {
    let Some(libs) = libs("failover::a_leader_that_is_killed_loses_nothing_that_was_acknowledged") else {
        return;
    };
    let mut cluster = Cluster::start(libs, 3, &Options::default());
    let address = cluster.address();
    let copies =
        KafkaConfig { replication_factor: Some(3), min_insync_replicas: Some(2), ..config(&address) };
    let bus = ready(copies).await;
    until("three brokers", async || brokers(&address) == 3).await;
    write_while(&bus, async |writer, name| {
        for _ in 0..2 {
            let leader = leader(&address, name).expect("a leader").0;
            cluster.kill(leader);
            acknowledged(writer, 500).await;
            let now = super::foreign::leader(&address, name);
            assert!(now.is_some_and(|(now, _)| now != leader), "another broker leads");
            cluster.up(leader);
            let all =
                async || super::foreign::leader(&address, name).is_some_and(|(_, in_sync)| in_sync == 3);
            until("three copies again", all).await;
        }
    })
    .await;
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_brokers_calls_end_in_time_and_go_on_when_they_are_back() {
    let Some(libs) = libs("failover::without_brokers_calls_end_in_time_and_go_on_when_they_are_back") else {
        return;
    };
    let mut cluster = Cluster::start(libs, 1, &Options::default());
    let short = KafkaConfig {
        append_deadline: Duration::from_secs(2),
        request_deadline: Duration::from_secs(3),
        close_deadline: Duration::from_secs(3),
        ..config(&cluster.address())
    };
    let bus = ready(short).await;
    let name = topic(&bus, 1).await;
    append(&bus, &name, &["before".to_owned()]).await.expect("appended");
    cluster.kill(1);
    let lost = within("an append", append(&bus, &name, &["during".to_owned()])).await;
    match lost {
        Err(BusError::Unavailable(reason)) => {
            assert!(reason.contains(&cluster.address()), "{reason}");
        }
        other => panic!("it should be unavailable, not {other:?}"),
    }
    let read = within("a read", bus.read(&name, 0, 0, ALL)).await;
    assert!(matches!(read, Err(BusError::Unavailable(_))), "{read:?}");
    cluster.up(1);
    until("an append succeeds", async || append(&bus, &name, &["after".to_owned()]).await.is_ok()).await;
    let texts: Vec<String> = read_all(&bus, &name, 0).await.iter().map(text).collect();
    assert_eq!(
        (texts.first().map(String::as_str), texts.last().map(String::as_str)),
        (Some("before"), Some("after"))
    );
    bus.close().await;
}
